//go:build cgo && !nozmq && !windows

package zmq

import "golang.org/x/sys/unix"

// cutOff ends the connection with that descriptor, which a message has just come on. The
// descriptor is ZeroMQ's, which may close it at any time, and then it may be anything: so the
// duplicate is made first. ZeroMQ tells that a connection has ended before it closes it; if it
// has not told yet, the duplicate is of that connection. ZeroMQ finds it ended by the other side.
func (h *handshakes) cutOff(fd int) {
	conn, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(conn)
	if h.stillOpen(fd) {
		unix.Shutdown(conn, unix.SHUT_RDWR)
	}
}
