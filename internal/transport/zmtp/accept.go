package zmtp

import (
	"errors"
	"net"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/zmtp/curve"
)

// acceptPause is how long no connection is accepted after that has failed, for want of
// descriptors as a rule.
const acceptPause = 20 * time.Millisecond

// accept accepts connections until Close.
func (l *Listener) accept() {
	for {
		nc, err := l.nl.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			select {
			case <-time.After(acceptPause):
			case <-l.ended:
			}
			continue
		}
		c := l.shakes.enter(nc)
		if c == nil {
			nc.Close()
			return
		}
		l.all.Go(func() { l.admit(c) }) // Close ends it, and waits for it.
	}
}

// admit makes the handshake on a connection and hands it on to be read.
func (l *Listener) admit(c *halfOpen) {
	s, rest, err := l.shake(c)
	if evicted := l.shakes.leave(c); evicted && err != nil {
		err = errEvicted
	}
	if err == nil {
		err = l.attach(s, c.Conn, rest)
	}
	if err != nil {
		c.Close()
		if !errors.Is(err, errNotAdmitted) && !l.shakes.over() {
			l.failed(1, err)
		}
	}
}

// attach has the receiver read a stream. What came behind the handshake is rest.
func (l *Listener) attach(s *stream, nc net.Conn, rest []byte) error {
	err := l.in.attach(l, s, nc, rest)
	if err != nil {
		s.close(l)
	}
	return err
}

func (l *Listener) shake(c *halfOpen) (s *stream, rest []byte, err error) {
	m := mechanism(null{pulling})
	if l.keys != nil {
		m = curveServer{curve.NewServer(l.keys), l.shakes, c}
	}
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		// A connection that has ended by now shows that below.
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: transport.KeepAliveIdle, Interval: transport.KeepAliveInterval, Count: transport.KeepAliveCount})
	}
	_, rest, err = shake(c.Conn, m, func() { l.shakes.cameFurther(c) })
	if err != nil {
		return nil, nil, err
	}
	key, seal := m.proved()
	return newStream(key, seal, c.origin), rest, nil
}
