//go:build cgo && !nozmq

package zmq

import "time"

// cutOff ends the connection that the latest message came on, where that is known.
func (l *Listener) cutOff() {
	if fd, ok := l.recv.origin(); ok {
		l.shakes.cutOff(fd)
	}
}

// Refused is called for frames that the node has refused, and for messages that are none: see
// transport.Refused.
func (l *Listener) Refused() {
	if l.flood.Bad(1) {
		l.cutOff()
	}
}

// stillOpen reports whether the connection with that descriptor is the one that a message came
// on which has just been received. It is not if one with the same descriptor has ended and the
// listener has not been found to have nothing to be received since the event of that was read:
// the message may be left of it.
func (h *handshakes) stillOpen(fd int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.monitor == nil {
		return false
	}
	h.read(time.Now())
	ended, ok := h.ended[fd]
	return !ok || ended < h.drained.Load()
}
