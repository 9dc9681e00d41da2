//go:build cgo && !nozmq && !linux

package zmq

import "time"

// A watched connection there is not.
type watched struct{}

// Poll implements transport.Watch: ZeroMQ does not say that a connection has ended, unless a monitor follows each socket.
func (c *Conn) Poll() time.Duration { return 250 * time.Millisecond }

func (c *Conn) unwatch() {}
