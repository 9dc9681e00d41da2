package zmq

import (
	"errors"
	"net"
	"strings"
	"sync"
	"time"
	"unsafe"

	zmq4 "github.com/pebbe/zmq4"

	"github.com/abhishekg16/cluster/internal/transport"
)

// Conn is a PUSH socket connected to one peer.
type Conn struct {
	soc *zmq4.Socket   // used by one goroutine at a time: see transport.Conn
	raw unsafe.Pointer // the same, as ZeroMQ knows it

	mu          sync.Mutex
	waiter      *waiter // guarded by mu for Interrupt; the owner alone sets it
	interrupted bool    // Interrupt came while there was no waiter
}

// Dial implements transport.Network.
func (Network) Dial(endpoint string, sec *transport.Security, peer string) (transport.Conn, error) {
	soc, err := newSocket(zmq4.PUSH,
		// Frames queue on completed connections only, so that "not writable"
		// means not connected, or full.
		func(s *zmq4.Socket) error { return s.SetImmediate(true) },
		func(s *zmq4.Socket) error { return s.SetSndhwm(sendFrames) },
		func(s *zmq4.Socket) error { return s.SetReconnectIvl(reconnectMin) },
		func(s *zmq4.Socket) error { return s.SetReconnectIvlMax(reconnectMax) },
		func(s *zmq4.Socket) error { return s.SetConnectTimeout(connectTimeout) },
		func(s *zmq4.Socket) error { return s.SetHandshakeIvl(handshakeTimeout) },
		func(s *zmq4.Socket) error { return s.SetHeartbeatIvl(heartbeatInterval) },
		func(s *zmq4.Socket) error { return s.SetHeartbeatTimeout(heartbeatTimeout) },
		func(s *zmq4.Socket) error { return s.SetHeartbeatTtl(heartbeatTTL) },
		func(s *zmq4.Socket) error { return s.SetTcpMaxrt(unacknowledged) },
		func(s *zmq4.Socket) error { return s.SetRcvhwm(recvFrames) },
		// A peer says nothing on this connection but ZeroMQ's own commands.
		func(s *zmq4.Socket) error { return s.SetMaxmsgsize(4096) },
		func(s *zmq4.Socket) error { return s.SetIpv6(needsIPv6(endpoint)) },
		func(s *zmq4.Socket) error {
			if sec == nil {
				return nil
			}
			return errors.Join(s.SetCurveServerkey(peer), s.SetCurvePublickey(sec.Public), s.SetCurveSecretkey(sec.Secret))
		},
		func(s *zmq4.Socket) error { return s.Connect(endpoint) },
	)
	if err != nil {
		return nil, err
	}
	w, err := newWaiter(soc)
	if err != nil {
		soc.Close()
		return nil, err
	}
	return &Conn{soc: soc, raw: pointer(soc), waiter: w}, nil
}

// needsIPv6 reports whether the host of endpoint is an IPv6 address. With
// ZMQ_IPV6 set a name resolves to its IPv6 address first, where a server that
// listens on an IPv4 one is not found.
func needsIPv6(endpoint string) bool {
	host, _, err := net.SplitHostPort(strings.TrimPrefix(endpoint, "tcp://"))
	return err == nil && strings.Contains(host, ":")
}

// TrySend implements transport.Conn.
func (c *Conn) TrySend(head, tail []byte) (bool, error) {
	err := transmit(c.raw, head, tail)
	if err != nil && again(err) {
		return false, nil
	}
	return err == nil, err
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
	w := c.waiter
	c.waitOn(nil)
	return errors.Join(w.close(), closeAndWait(c.soc, linger, c.waitOn))
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
