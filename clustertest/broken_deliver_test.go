package clustertest_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/abhishekg16/cluster"
)

const (
	ruleDeliver      = "Deliver returns nil once the message is in Inbox"
	ruleStays        = "what was delivered can be taken though its server has closed"
	ruleRefused      = "Deliver tells what the receiver has refused"
	ruleNotDelivered = "Deliver tells what was certainly not delivered"
	ruleUnconfirmed  = "Deliver tells when nobody knows"
	ruleDeliverOrder = "what Send and Deliver send keeps one order"
	ruleSeveral      = "Deliver to several names those that it did not reach"
)

// delivers lets f stand in for Deliver. What it is given calls the node's.
func delivers(f func(b *broken, ctx context.Context, e *cluster.Envelope) error) func(*broken) {
	return func(b *broken) {
		b.deliver = func(ctx context.Context, e *cluster.Envelope) error { return f(b, ctx, e) }
	}
}

// tells lets f change what Deliver returns.
func tells(f func(error) error) func(*broken) {
	return delivers(func(b *broken, ctx context.Context, e *cluster.Envelope) error { return f(b.Node.Deliver(ctx, e)) })
}

// brokenDeliveries are servers whose Deliver breaks a rule.
var brokenDeliveries = []breakage{
	{"Deliver is Send", ruleDeliver, delivers(func(b *broken, ctx context.Context, e *cluster.Envelope) error {
		return b.Node.Send(ctx, e)
	})},
	{"Deliver waits for 5 ms and believes that all is well", ruleDeliver, delivers(func(b *broken, ctx context.Context, e *cluster.Envelope) error {
		known, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
		defer cancel()
		if err := b.Node.Deliver(known, e); errors.Is(err, cluster.ErrUnconfirmed) && ctx.Err() == nil {
			return nil
		} else if err != nil {
			return err
		}
		return nil
	})},
	{"Deliver to oneself is Send", ruleDeliver, delivers(func(b *broken, ctx context.Context, e *cluster.Envelope) error {
		if e.Pid == b.Pid() {
			return b.Node.Send(ctx, e)
		}
		return b.Node.Deliver(ctx, e)
	})},
	{"Deliver does nothing for one in ten", ruleDeliver, func(b *broken) {
		n := 0 // of one goroutine
		b.deliver = func(ctx context.Context, e *cluster.Envelope) error {
			if n++; n%10 == 0 {
				return nil
			}
			return b.Node.Deliver(ctx, e)
		}
	}},
	{"Close takes what was delivered with it", ruleStays, func(b *broken) {
		b.close = func() error {
			err := b.Node.Close()
			for range b.Node.Inbox() {
			}
			return err
		}
	}},
	{"Close takes what was delivered last with it", ruleStays, func(b *broken) {
		b.close = func() error {
			kept := len(b.Node.Inbox()) - 1
			b.receive(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
				if kept--; kept >= 0 {
					on(e)
				}
			})
			for len(b.Node.Inbox()) > 0 {
				time.Sleep(time.Millisecond)
			}
			return b.Node.Close()
		}
	}},
	{"what is delivered is on its way for a while", ruleStays, delivers(func(b *broken, ctx context.Context, e *cluster.Envelope) error {
		time.AfterFunc(5*time.Millisecond, func() { b.Node.Send(ctx, e) })
		return nil
	})},

	// What was not delivered.
	{"what is refused is delivered", ruleRefused, tells(func(err error) error {
		var refused *cluster.RefusedError
		if errors.As(err, &refused) {
			return nil
		}
		return err
	})},
	{"what is refused is unconfirmed", ruleRefused, tells(func(err error) error {
		var refused *cluster.RefusedError
		if errors.As(err, &refused) {
			return errors.Join(err, cluster.ErrUnconfirmed)
		}
		return err
	})},
	{"who comes next is told of a refusal", ruleRefused, func(b *broken) {
		var mu sync.Mutex // guards what follows
		var kept error
		b.deliver = func(ctx context.Context, e *cluster.Envelope) (err error) {
			now := b.Node.Deliver(ctx, e)
			mu.Lock()
			defer mu.Unlock()
			err, kept = kept, now
			return err
		}
	}},
	{"of what is refused nobody says where", ruleRefused, tells(func(err error) error {
		var peer *cluster.PeerError
		if errors.As(err, &peer) {
			return peer.Err
		}
		return err
	})},
	{"what oneself refuses is delivered", ruleRefused, delivers(func(b *broken, ctx context.Context, e *cluster.Envelope) error {
		if err := b.Node.Deliver(ctx, e); e.Pid != b.Pid() {
			return err
		}
		return nil
	})},
	{"what nobody is there for is unconfirmed", ruleNotDelivered, tells(func(err error) error {
		if errors.Is(err, cluster.ErrTimedOut) || errors.Is(err, cluster.ErrUnreachable) {
			return cluster.ErrUnconfirmed
		}
		return err
	})},
	{"what nobody is there for is kept for who comes", ruleNotDelivered, func(b *broken) {
		var kept []*cluster.Envelope
		b.deliver = func(ctx context.Context, e *cluster.Envelope) error {
			err := b.Node.Deliver(ctx, e)
			if errors.Is(err, cluster.ErrTimedOut) || errors.Is(err, cluster.ErrUnreachable) {
				kept = append(kept, e)
			} else if err == nil {
				for _, k := range kept {
					b.Node.Deliver(ctx, k)
				}
			}
			return err
		}
	}},
	{"Deliver does not see that its context has ended", ruleNotDelivered, delivers(func(b *broken, ctx context.Context, e *cluster.Envelope) error {
		return b.Node.Deliver(context.WithoutCancel(ctx), e)
	})},
	{"a closed server does not know what it delivers", ruleNotDelivered, tells(func(err error) error {
		if errors.Is(err, cluster.ErrClosed) {
			return cluster.ErrUnconfirmed
		}
		return err
	})},
	{"who is not there is waited for", ruleNotDelivered, delivers(func(b *broken, ctx context.Context, e *cluster.Envelope) error {
		err := b.Node.Deliver(ctx, e)
		if errors.Is(err, cluster.ErrTimedOut) || errors.Is(err, cluster.ErrUnreachable) {
			time.Sleep(5 * time.Second)
		}
		return err
	})},

	// What nobody knows.
	{"Deliver does not look at its context", ruleUnconfirmed, delivers(func(b *broken, _ context.Context, e *cluster.Envelope) error {
		return b.Node.Deliver(context.Background(), e)
	})},
	{"what Deliver does not wait for any more is not delivered", ruleUnconfirmed, delivers(func(b *broken, ctx context.Context, e *cluster.Envelope) error {
		if err := b.Node.Deliver(ctx, e); ctx.Err() != nil {
			return ctx.Err()
		} else {
			return err
		}
	})},
	{"what Deliver does not wait for any more is delivered", ruleUnconfirmed, delivers(func(b *broken, ctx context.Context, e *cluster.Envelope) error {
		if err := b.Node.Deliver(ctx, e); ctx.Err() == nil {
			return err
		}
		return nil
	})},
	{"Deliver does not say that its context has ended", ruleUnconfirmed, tells(func(err error) error {
		if errors.Is(err, cluster.ErrUnconfirmed) {
			return cluster.ErrUnconfirmed
		}
		return err
	})},
	{"what is on its way to a server that closes is not delivered", ruleUnconfirmed, tells(func(err error) error {
		if errors.Is(err, cluster.ErrUnconfirmed) && !errors.Is(err, context.Canceled) {
			return cluster.ErrUnreachable
		}
		return err
	})},
	{"who waits for a server that has closed waits on", ruleUnconfirmed, delivers(func(b *broken, ctx context.Context, e *cluster.Envelope) error {
		err := b.Node.Deliver(ctx, e)
		if errors.Is(err, cluster.ErrUnconfirmed) && ctx.Err() == nil {
			time.Sleep(time.Hour)
		}
		return err
	})},

	// Order.
	{"Deliver hands over to a goroutine", ruleDeliverOrder, delivers(func(b *broken, ctx context.Context, e *cluster.Envelope) error {
		time.AfterFunc(time.Millisecond, func() { b.Node.Send(ctx, e) })
		return nil
	})},
	{"Send hands over to a goroutine, and Deliver does not", ruleDeliverOrder, func(b *broken) {
		lane := make(chan *cluster.Envelope, 1000)
		go relay(lane, b.Node.Outbox(), b.Node.Done(), func(e *cluster.Envelope, on func(*cluster.Envelope)) { // ends as the node closes
			time.Sleep(time.Millisecond)
			on(e)
		})
		b.say = func(_ context.Context, e *cluster.Envelope) error {
			lane <- e
			return nil
		}
	}},
	{"Deliver tries twice", ruleDeliverOrder, delivers(func(b *broken, ctx context.Context, e *cluster.Envelope) error {
		b.Node.Send(ctx, e)
		return b.Node.Deliver(ctx, e)
	})},

	// Several.
	{"Deliver names one server of several", ruleSeveral, tells(func(err error) error {
		if several, ok := err.(interface{ Unwrap() []error }); ok {
			return several.Unwrap()[0]
		}
		return err
	})},
	{"Deliver names no server", ruleSeveral, tells(func(err error) error {
		if err != nil {
			return cluster.ErrTimedOut
		}
		return nil
	})},
	{"what reaches one of several is delivered", ruleSeveral, delivers(func(b *broken, ctx context.Context, e *cluster.Envelope) error {
		if err := b.Node.Deliver(ctx, e); e.Pid >= 0 {
			return err
		}
		return nil
	})},
	{"what does not reach one of several is delivered to none", ruleSeveral, delivers(func(b *broken, ctx context.Context, e *cluster.Envelope) error {
		if size(e) > 1000 { // more than one of them takes
			return cluster.ErrTooLarge
		}
		return b.Node.Deliver(ctx, e)
	})},
}
