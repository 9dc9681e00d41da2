//go:build !linux || zmtpqueue

package zmtp

import (
	"net"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

// A receiver takes what goroutines have read, one for each connection.
type receiver struct {
	*queue
	stop chan struct{} // holds a token after interrupt
	has  bool          // await has taken something,
	got  queued        // which is this
}

func newReceiver() (*receiver, error) {
	return &receiver{queue: newQueue(), stop: make(chan struct{}, 1)}, nil
}

// attach reads the stream until it ends.
func (r *receiver) attach(l *Listener, s *stream, nc net.Conn, rest []byte) error {
	c := &connInput{Conn: nc}
	s.input = c
	if !r.enter(s) {
		return net.ErrClosed
	}
	defer r.leave(s)
	r.read(l, s, c, rest)
	return nil
}

// next returns what was found, if anything was.
func (r *receiver) next(*Listener) (*stream, found, bool) {
	if r.has {
		r.has = false
		return r.got.from, r.got.found, true
	}
	select {
	case q := <-r.c:
		return q.from, q.found, true
	default:
		return nil, found{}, false
	}
}

// await waits until next may return something. It reports whether there was nothing.
func (r *receiver) await(deadline time.Time) (idle bool, err error) {
	if transport.Passed(deadline) {
		select {
		case r.got = <-r.c:
			r.has = true
			return false, nil
		default:
			return false, transport.ErrTimeout
		}
	}
	idle = r.idle()
	var late <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		late = t.C
	}
	select {
	case r.got = <-r.c:
		r.has = true
		return idle, nil
	case <-r.stop:
		return idle, transport.ErrInterrupted
	case <-late:
		return idle, transport.ErrTimeout
	}
}

// interrupts reports whether interrupt was called, and takes it back.
func (r *receiver) interrupts() bool {
	select {
	case <-r.stop:
		return true
	default:
		return false
	}
}

// interrupt makes await return.
func (r *receiver) interrupt() {
	select {
	case r.stop <- struct{}{}:
	default:
	}
}
