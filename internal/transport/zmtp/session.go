package zmtp

import (
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/zmtp/curve"
)

// A session is one connection of a Conn that has been through its handshake.
type session struct {
	conn *Conn
	nc   net.Conn
	raw  syscall.RawConn
	peer greeting
	seal *curve.Session // nil: nothing is encrypted

	ended chan struct{} // closed when serve has returned

	// The Conn's mu guards what follows.
	out     writer
	written int64  // bytes that the kernel took
	rest    []byte // what it had no room for, which flush writes; nil: nothing
	broken  bool   // nothing can be written any more
}

func newSession(c *Conn, nc net.Conn, m mechanism, peer greeting) (*session, error) {
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, err
	}
	_, seal := m.proved()
	s := &session{conn: c, nc: nc, raw: raw, peer: peer, seal: seal, ended: make(chan struct{})}
	s.out.init(nc)
	return s, nil
}

// writable reports whether send would be tried. The caller holds mu.
func (s *session) writable() bool { return s.rest == nil && !s.broken }

// flushed reports whether all that was sent is the kernel's, or cannot become that. The caller holds mu.
func (s *session) flushed() bool { return s.rest == nil || s.broken }

// send writes a message of one part. The caller holds mu, and has seen that the session is
// writable. It reports false if the connection has broken.
func (s *session) send(head, tail []byte) bool {
	return s.write(0, head, tail)
}

// command writes a command, if the kernel is not behind. The caller holds mu.
func (s *session) command(body []byte) bool {
	return s.writable() && s.write(flagCommand, body, nil)
}

func (s *session) write(flags byte, head, tail []byte) bool {
	size := len(head) + len(tail)
	if s.seal != nil {
		frame := transport.GetBuffer(headerLong + curve.HeadSize + size)
		defer transport.PutBuffer(frame)
		return s.put(appendFrame(frame[:0], s.seal, flags, head, tail), nil, nil)
	}
	return s.put(appendHeader(s.out.header[:0], flags, size), head, tail)
}

// put writes the slices in a row; flush goes on with what the kernel has no room for.
func (s *session) put(a, b, c []byte) bool {
	n, err := s.out.write(s.raw, a, b, c)
	s.written += int64(n)
	if err != nil {
		s.fail()
		return false
	}
	if total := len(a) + len(b) + len(c); n < total {
		s.rest = remainder(transport.GetBuffer(total-n), n, a, b, c)
		rest := s.rest
		s.conn.all.Go(func() { s.flush(rest) }) // It ends with the connection; Close waits for it.
	}
	return true
}

// remainder puts what is left of the slices behind their first n bytes into b.
func remainder(b []byte, n int, all ...[]byte) []byte {
	at := 0
	for _, a := range all {
		skip := min(n, len(a))
		n -= skip
		at += copy(b[at:], a[skip:])
	}
	return b
}

// flush writes what is left, however long it takes.
func (s *session) flush(rest []byte) {
	err := writeAll(s.nc, s.raw, rest, func(n int) {
		s.conn.mu.Lock()
		defer s.conn.mu.Unlock()
		s.written += int64(n)
		s.rest = s.rest[n:]
	})
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.rest = nil
	transport.PutBuffer(rest)
	if err != nil {
		s.fail()
	}
	s.conn.signal()
}

// fail ends a connection that cannot be written to. The caller holds mu.
func (s *session) fail() {
	s.broken = true
	s.nc.Close() // serve finds out
}

// closeWrite tells the peer that nothing more comes. It reports false if that cannot be told.
func (s *session) closeWrite() bool {
	w, ok := s.nc.(interface{ CloseWrite() error })
	return ok && w.CloseWrite() == nil
}

// acked is how many bytes of those written the other end's kernel has acknowledged. The caller
// holds mu.
func (s *session) acked() int64 { return s.written - int64(unacknowledged(s.raw)) }

// serve answers the peer's commands and keeps the heartbeat, until the connection ends. rest came
// behind the handshake. The error is what the peer did wrong; nil if that is not why.
func (s *session) serve(rest []byte) error {
	defer close(s.ended)
	h := newHeartbeat(time.Now(), s.peer.minor)
	d := decoder{most: commandMost, seal: s.seal}
	for buf := make([]byte, 256); ; {
		if ended, err := s.heed(&d, &h, rest); ended || err != nil {
			return err
		}
		n, ok := s.read(buf, &h)
		if !ok {
			return nil
		}
		if rest = buf[:n]; n > 0 {
			h.heard(time.Now())
		}
	}
}

// read reads what the peer says, until the heartbeat is to be looked at again. It reports false if
// the connection is to end.
func (s *session) read(buf []byte, h *heartbeat) (n int, ok bool) {
	until, leave := s.beat(h)
	if leave {
		// If this process was stopped, what has come meanwhile was not looked at.
		until = time.Now().Add(lastLook)
	}
	if s.nc.SetReadDeadline(until) != nil {
		return 0, false
	}
	n, err := s.nc.Read(buf)
	return n, n > 0 || isTimeout(err) && !leave
}

// heed does what the peer's commands say, and reports whether one ends the connection. A PULL
// socket sends nothing else: that is an error.
func (s *session) heed(d *decoder, h *heartbeat, b []byte) (ended bool, err error) {
	for {
		used, k, err := d.next(b)
		if err == nil && (k != nothing && k != isCommand || d.parts > 0) {
			err = fmt.Errorf("%w: a message of a PULL socket", errProtocol)
		}
		if err != nil || k == isCommand && isError(d.body) {
			return true, err
		}
		if b = b[used:]; k == nothing {
			return false, nil
		}
		if pong, _, ok := answerPing(d.body); ok {
			s.conn.mu.Lock()
			s.command(pong)
			s.conn.mu.Unlock()
		} else if isPong(d.body) {
			h.answered()
		}
	}
}

// beat does what the heartbeat says, and returns when to look again, or that the connection is to
// be left.
func (s *session) beat(h *heartbeat) (until time.Time, leave bool) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	b := h.look(time.Now(), s.written+int64(len(s.rest)), s.acked())
	if b.ping && s.command(ping(transport.HeartbeatTTL)) {
		h.pinged(s.written)
	}
	return b.until, b.leave
}
