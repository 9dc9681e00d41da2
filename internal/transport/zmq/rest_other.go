//go:build cgo && !nozmq && (!linux || zmqpoller)

package zmq

// Rest implements transport.Rest.
func (c *Conn) Rest() bool { return false }

func (c *Conn) stir() {}
