//go:build cgo && !nozmq

package zmq

import (
	"errors"
	"strings"
	"sync"
	"time"
	"unsafe"

	zmq4 "github.com/pebbe/zmq4"

	"github.com/abhishekg16/cluster/internal/names"
	"github.com/abhishekg16/cluster/internal/transport"
)

// Conn is a PUSH socket connected to one peer.
type Conn struct {
	soc *zmq4.Socket   // used by one goroutine at a time: see transport.Conn
	raw unsafe.Pointer // the same, as ZeroMQ knows it
	// Nil but where the events of the socket are followed.
	monitor  *monitor
	endpoint string // that it is connected to; empty for a name
	keyed    bool
	broke    func() // to be called when the connection may have ended; nil: nothing
	fd       int    // ZMQ_FD, once it has rested

	mu          sync.Mutex
	waiter      *waiter // guarded by mu for Interrupt; the owner alone sets it
	interrupted bool    // Interrupt came while there was no waiter
}

// Dial implements transport.Network. A name in the endpoint is looked up after it has returned,
// and again while there is no connection; all its addresses are tried in turn.
func (Network) Dial(endpoint string, sec *transport.Security, peer string) (transport.Conn, error) {
	c, err := newConn(sec, peer)
	if err != nil {
		return nil, err
	}
	if host, port, ok := names.Split(endpoint); ok && names.IsName(host) {
		return dialName(c, host, port, names.Lookup)
	}
	// Where the machine has no IPv6, ZeroMQ could not dial an IPv4 address with ZMQ_IPV6 set.
	if err := errors.Join(c.soc.SetIpv6(strings.HasPrefix(endpoint, "tcp://[")), c.soc.Connect(endpoint)); err != nil {
		return nil, errors.Join(err, c.Close(0))
	}
	c.endpoint = endpoint
	return c, nil
}

// newConn makes a socket that is to be connected.
func newConn(sec *transport.Security, peer string) (*Conn, error) {
	soc, err := newSocket(zmq4.PUSH,
		// Frames queue on completed connections only, so that "not writable"
		// means not connected, or full.
		func(s *zmq4.Socket) error { return s.SetImmediate(true) },
		func(s *zmq4.Socket) error { return s.SetSndhwm(transport.SendFrames) },
		func(s *zmq4.Socket) error { return s.SetReconnectIvl(transport.ReconnectMin) },
		func(s *zmq4.Socket) error { return s.SetReconnectIvlMax(transport.ReconnectMax) },
		func(s *zmq4.Socket) error { return s.SetConnectTimeout(transport.ConnectTimeout) },
		func(s *zmq4.Socket) error { return s.SetHandshakeIvl(transport.HandshakeTimeout) },
		func(s *zmq4.Socket) error { return s.SetHeartbeatIvl(transport.HeartbeatInterval) },
		func(s *zmq4.Socket) error { return s.SetHeartbeatTimeout(transport.HeartbeatTimeout) },
		func(s *zmq4.Socket) error { return s.SetHeartbeatTtl(transport.HeartbeatTTL) },
		func(s *zmq4.Socket) error { return s.SetTcpMaxrt(transport.Unacknowledged) },
		func(s *zmq4.Socket) error { return s.SetRcvhwm(recvFrames) },
		// A peer says nothing on this connection but ZeroMQ's own commands.
		func(s *zmq4.Socket) error { return s.SetMaxmsgsize(4096) },
		func(s *zmq4.Socket) error {
			if sec == nil {
				return nil
			}
			return errors.Join(s.SetCurveServerkey(peer), s.SetCurvePublickey(sec.Public), s.SetCurveSecretkey(sec.Secret))
		},
	)
	if err != nil {
		return nil, err
	}
	w, err := newWaiter(soc)
	if err != nil {
		soc.Close()
		return nil, err
	}
	return &Conn{soc: soc, raw: pointer(soc), waiter: w, keyed: sec != nil}, nil
}

// TrySend implements transport.Conn.
func (c *Conn) TrySend(head, tail []byte) (bool, error) {
	err := transmit(c.raw, head, tail)
	if err != nil && again(err) {
		return false, nil
	}
	return err == nil, err
}

// pollInterval is how often a connection is to be looked at that does not rest.
const pollInterval = 250 * time.Millisecond

// Watch implements transport.Watch.
func (c *Conn) Watch(broke func()) { c.broke = broke }

// Poll implements transport.Watch: ZeroMQ does not say that a connection has ended, unless a monitor follows each socket.
func (c *Conn) Poll() time.Duration { return pollInterval }

// Stands implements transport.Stands. A socket on which nothing is on its way is writable if it is connected.
func (c *Conn) Stands(idle bool) bool { return c.standsTo(c.endpoint, idle) }

// Stands is the same for the address that was dialed last.
func (n *namedConn) Stands(idle bool) bool { return n.standsTo(n.dialed, idle) }

func (c *Conn) standsTo(endpoint string, idle bool) bool {
	events, err := c.soc.GetEvents()
	if err != nil || events&zmq4.POLLOUT != 0 {
		return true
	}
	return !idle && transport.Connected(endpoint)
}

// Wait implements transport.Conn.
func (c *Conn) Wait(deadline time.Time) error { return c.waiter.wait(zmq4.POLLOUT, deadline) }

// Interrupt implements transport.Conn.
func (c *Conn) Interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiter != nil {
		c.waiter.interrupt()
	} else {
		c.interrupted = true
	}
}

// Close implements transport.Conn.
func (c *Conn) Close(linger time.Duration) error {
	c.stir()
	w := c.waiter
	c.waitOn(nil)
	err := w.close()
	if c.monitor != nil {
		return errors.Join(err, closeWatched(c.soc, c.monitor, linger, c.waitOn))
	}
	return errors.Join(err, closeAndWait(c.soc, linger, c.waitOn))
}

// waitOn makes w what Interrupt interrupts.
func (c *Conn) waitOn(w *waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiter = w
	if w != nil && c.interrupted {
		w.interrupt()
	}
}
