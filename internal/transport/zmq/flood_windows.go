//go:build cgo && !nozmq

package zmq

// cutOff leaves the connection: a socket of Windows cannot be duplicated for the process itself.
func (h *handshakes) cutOff(int) {}
