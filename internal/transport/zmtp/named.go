package zmtp

import (
	"context"
	"net/netip"
	"time"

	"github.com/abhishekg16/cluster/internal/names"
)

// A named is what a Conn to a host that has a name knows of the way to it. A goroutine has the
// name looked up and decides which address is dialed (names.Route); another one, which that
// starts and ends, dials it.
type named struct {
	port uint16
	ask  lookup
	wake chan struct{} // holds a token when the goroutine should look again

	// The Conn's mu guards what follows.
	route *names.Route
	to    target // what the route wants
}

// A lookup is names.Lookup, but for tests.
type lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// dialName makes a connection to a host that has a name.
func dialName(m func() mechanism, host string, port uint16, ask lookup) *Conn {
	c, ctx := newConn(m)
	c.named = &named{port: port, ask: ask, wake: make(chan struct{}, 1), route: names.NewRoute(host)}
	c.all.Go(func() { c.follow(ctx, host) }) // Close ends it, and waits for it.
	return c
}

// follow does what the route says, until ctx ends.
func (c *Conn) follow(ctx context.Context, host string) {
	n := c.named
	leave := func() {}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		c.mu.Lock()
		step := n.route.Next(time.Now())
		if step.Dial.IsValid() {
			n.to = target{"tcp", netip.AddrPortFrom(step.Dial, n.port).String()}
		}
		to := n.to
		c.mu.Unlock()
		if step.LookUp {
			c.all.Go(func() { c.lookUp(ctx, host) }) // Close ends it, and waits for it.
		}
		if step.Dial.IsValid() {
			leave()
			leave = c.keepIn(ctx, to)
		}
		var late <-chan time.Time
		if !step.Until.IsZero() {
			timer.Reset(time.Until(step.Until))
			late = timer.C
		}
		select {
		case <-ctx.Done():
		case <-n.wake:
		case <-late:
		}
	}
	leave()
}

// keepIn runs keep in a goroutine, and returns what ends it and waits for it.
func (c *Conn) keepIn(ctx context.Context, to target) (leave func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { // leave ends it, and waits for it.
		defer close(ended)
		c.keep(ctx, to)
	}()
	return func() {
		cancel()
		<-ended
	}
}

func (c *Conn) lookUp(ctx context.Context, host string) {
	addrs, err := c.named.ask(ctx, host)
	c.mu.Lock()
	c.named.route.Answer(time.Now(), addrs, err)
	c.mu.Unlock()
	c.named.look()
}

// look makes follow look again.
func (n *named) look() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// connected tells that a connection stands. The caller holds mu.
func (n *named) connected(to target) {
	if to == n.to {
		n.route.Connected(time.Now())
		n.look()
	}
}

// failed tells that a connection has ended which stood, or that none came about. What is told of
// another address than the one that is wanted is from before. The caller holds mu.
func (n *named) failed(to target, stood bool, cause error) {
	switch {
	case to != n.to:
		return
	case stood:
		n.route.Lost(time.Now())
	default:
		n.route.Failed(time.Now(), cause)
	}
	n.look()
}
