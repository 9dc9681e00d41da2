package zmtp

import (
	"context"
	"sync"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

// Conn is a PUSH socket connected to one peer. Its goroutine (see dial.go) makes the connection,
// and makes it again; who uses it writes.
type Conn struct {
	mechanism func() mechanism
	named     *named // nil: the host is a number, or it is a path
	cancel    context.CancelFunc
	all       sync.WaitGroup // its goroutines
	stop      chan struct{}  // holds a token after Interrupt

	mu      sync.Mutex    // guards what follows, and the fields of the session that say so
	session *session      // the connection that stands; nil: none
	changed chan struct{} // closed when who waits should look again; nil: nobody waits
	trouble error         // why no connection stands, without a name; nil: unknown
	broken  func()        // is called when one has ended that stood; nil: nobody wants to know
}

// newConn returns a Conn that nobody connects yet. The context ends with Close.
func newConn(m func() mechanism) (*Conn, context.Context) {
	ctx, cancel := context.WithCancel(context.Background())
	return &Conn{mechanism: m, cancel: cancel, stop: make(chan struct{}, 1)}, ctx
}

// TrySend implements transport.Conn.
func (c *Conn) TrySend(head, tail []byte) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil || !c.session.writable() {
		return false, nil
	}
	return c.session.send(head, tail), nil
}

// Wait implements transport.Conn.
func (c *Conn) Wait(deadline time.Time) error {
	return c.await(deadline, func() bool { return c.session != nil && c.session.writable() })
}

// Watch implements transport.Watch.
func (c *Conn) Watch(broke func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = broke
}

// Stands implements transport.Stands.
func (c *Conn) Stands(bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session != nil
}

// await waits until a condition holds, which is asked with mu held.
func (c *Conn) await(deadline time.Time, holds func() bool) error {
	var late <-chan time.Time
	for {
		select {
		case <-c.stop:
			return transport.ErrInterrupted
		default:
		}
		c.mu.Lock()
		if holds() {
			c.mu.Unlock()
			return nil
		}
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		if late == nil && !deadline.IsZero() {
			t := time.NewTimer(time.Until(deadline))
			defer t.Stop()
			late = t.C
		}
		select {
		case <-c.stop:
			return transport.ErrInterrupted
		case <-changed:
		case <-late:
			return transport.ErrTimeout
		}
	}
}

// signal makes who waits look again. The caller holds mu.
func (c *Conn) signal() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// Interrupt implements transport.Conn.
func (c *Conn) Interrupt() {
	select {
	case c.stop <- struct{}{}:
	default:
	}
}

// Trouble is why no connection stands: see transport.Trouble.
func (c *Conn) Trouble() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.session != nil:
		return nil
	case c.named != nil:
		return c.named.route.Err(time.Now())
	}
	return c.trouble
}

// partTime is how long Close waits at most for the peer to close the connection, too, once all
// that was sent is the kernel's. To close it before could cost what the peer has not read yet: what
// comes on a connection that was closed, such as a PONG, makes the kernel reset it.
const partTime = 250 * time.Millisecond

// Close implements transport.Conn.
func (c *Conn) Close(linger time.Duration) error {
	if linger > 0 {
		c.drain(time.Now().Add(linger))
	}
	c.cancel()
	c.all.Wait()
	return nil
}

// drain waits until the peer has all that was sent, or as long as Close may take.
func (c *Conn) drain(deadline time.Time) {
	var s *session
	if err := c.await(deadline, func() bool {
		s = c.session
		return s == nil || s.flushed()
	}); err != nil || s == nil {
		return
	}
	if !s.closeWrite() {
		return
	}
	late := time.NewTimer(time.Until(earlier(deadline, time.Now().Add(partTime))))
	defer late.Stop()
	select {
	case <-s.ended:
	case <-late.C:
	case <-c.stop:
	}
}
