package clustertest_test

import (
	"context"
	"iter"
	"sync/atomic"
	"time"

	"github.com/abhishekg16/cluster"
)

const ruleWaiting = "what waits holds up nothing else"

// A turn is had by one at a time. In a bubble time passes for who waits for it, as it does not for who waits for a mutex.
type turn chan struct{}

// during calls f in its turn, unless the node closes before.
func (t turn) during(b *broken, f func()) {
	select {
	case t <- struct{}{}:
		f()
		<-t
	case <-b.Node.Done():
	}
}

// brokenWaits are servers in which one method waits for another.
var brokenWaits = []breakage{
	{"Peers waits for Send", ruleWaiting, func(b *broken) {
		one := make(turn, 1)
		b.say = func(ctx context.Context, e *cluster.Envelope) (err error) {
			one.during(b, func() { err = b.Node.Send(ctx, e) })
			return err
		}
		b.peers = func() (ids []int) {
			one.during(b, func() { ids = b.Node.Peers() })
			return ids
		}
	}},
	{"Stats waits for Receive", ruleWaiting, func(b *broken) {
		one := make(turn, 1)
		b.hear = func(ctx context.Context) (e *cluster.Envelope, err error) {
			one.during(b, func() { e, err = b.next(ctx) })
			return e, err
		}
		b.stats = func() (s cluster.Stats) {
			one.during(b, func() { s = b.Node.Stats() })
			return s
		}
	}},
	{"Stats waits until Outbox has room", ruleWaiting, func(b *broken) {
		b.stats = func() cluster.Stats {
			for len(b.outbox) == cap(b.outbox) {
				select {
				case <-time.After(10 * time.Millisecond):
				case <-b.Node.Done():
					return b.Node.Stats()
				}
			}
			return b.Node.Stats()
		}
	}},
	{"Group waits for Deliver", ruleWaiting, func(b *broken) {
		one := make(turn, 1)
		b.deliver = func(ctx context.Context, e *cluster.Envelope) (err error) {
			one.during(b, func() { err = b.Node.Deliver(ctx, e) })
			return err
		}
		b.group = func(ids ...int) (address int, err error) {
			one.during(b, func() { address, err = b.Node.Group(ids...) })
			return address, err
		}
	}},
	{"Peers waits for Call", ruleWaiting, func(b *broken) {
		one := make(turn, 1)
		b.call = func(ctx context.Context, pid int, msg any) (e *cluster.Envelope, err error) {
			one.during(b, func() { e, err = b.Node.Call(ctx, pid, msg) })
			return e, err
		}
		b.peers = func() (ids []int) {
			one.during(b, func() { ids = b.Node.Peers() })
			return ids
		}
	}},
	{"Stats waits for who reads Events", ruleWaiting, func(b *broken) {
		one := make(turn, 1)
		b.events = func(ctx context.Context) iter.Seq[cluster.Event] {
			return func(yield func(cluster.Event) bool) { one.during(b, func() { b.Node.Events(ctx)(yield) }) }
		}
		b.stats = func() (s cluster.Stats) {
			one.during(b, func() { s = b.Node.Stats() })
			return s
		}
	}},
	{"Receive waits for Send", ruleWaiting, func(b *broken) {
		one := make(turn, 1)
		b.say = func(ctx context.Context, e *cluster.Envelope) (err error) {
			one.during(b, func() { err = b.Node.Send(ctx, e) })
			return err
		}
		b.hear = func(ctx context.Context) (e *cluster.Envelope, err error) {
			one.during(b, func() { e, err = b.next(ctx) })
			return e, err
		}
	}},
	{"nothing is received while Send waits", ruleWaiting, func(b *broken) {
		var waits atomic.Bool
		b.say = func(ctx context.Context, e *cluster.Envelope) error {
			waits.Store(true)
			defer waits.Store(false)
			return b.Node.Send(ctx, e)
		}
		b.receiveEach(func(e *cluster.Envelope) *cluster.Envelope {
			for waits.Load() {
				select {
				case <-time.After(10 * time.Millisecond):
				case <-b.Node.Done():
					return e
				}
			}
			return e
		})
	}},
}
