package clustertest_test

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/abhishekg16/cluster"
)

// brokenMethods are servers in which a method is wrong that cluster.Server does not have: Stats, Send, SendUrgent, Receive or Group.
var brokenMethods = []breakage{
	{"messages are dropped without being counted", ruleBooks, func(b *broken) {
		b.send(everyTenth(func(*cluster.Envelope, func(*cluster.Envelope)) {}))
	}},
	{"what was dropped is counted as sent", ruleBooks, statistics(func(s *cluster.Stats) {
		for i := range s.Peers {
			p := &s.Peers[i].Sent
			p.Sent += p.DroppedTotal()
			p.Dropped = nil
		}
	})},
	{"messages to nobody are not counted", ruleBooks, statistics(func(s *cluster.Stats) { s.Unaddressed.Dropped = nil })},
	{"what was received is counted twice", ruleBooks, statistics(func(s *cluster.Stats) {
		for i := range s.Peers {
			s.Peers[i].Received.Received *= 2
		}
	})},
	{"Stats returns the server's own books", ruleBooks, func(b *broken) {
		var books cluster.Stats // kept until something changes
		b.stats = func() cluster.Stats {
			now := b.Node.Stats()
			if books.Peers == nil || now.Sent.Queued != books.Sent.Queued || now.Received.Received != books.Received.Received {
				books = now
			}
			return books
		}
	}},
	{"Send says that all is well", ruleSend, func(b *broken) {
		b.say = func(ctx context.Context, e *cluster.Envelope) error {
			b.Node.Send(ctx, e)
			return nil
		}
	}},
	{"Send does not say which peer", ruleSend, func(b *broken) {
		b.say = func(ctx context.Context, e *cluster.Envelope) error {
			for _, known := range []error{cluster.ErrUnreachable, cluster.ErrTooLarge, cluster.ErrUnknownPeer} {
				if err := b.Node.Send(ctx, e); errors.Is(err, known) {
					return known
				} else if err != nil {
					return err
				}
			}
			return nil
		}
	}},
	{"a broadcast that only some get is well", ruleSend, func(b *broken) {
		b.say = func(ctx context.Context, e *cluster.Envelope) error {
			err := b.Node.Send(ctx, e)
			if e != nil && e.Pid == cluster.BROADCAST {
				return nil
			}
			return err
		}
	}},
	{"Send does not look at its context", ruleSendWaits, func(b *broken) {
		b.say = func(_ context.Context, e *cluster.Envelope) error { return b.Node.Send(context.Background(), e) }
	}},
	{"Send does not wait", ruleSendWaits, func(b *broken) {
		b.say = func(ctx context.Context, e *cluster.Envelope) error {
			ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			if err := b.Node.Send(ctx, e); err != nil {
				return cluster.ErrTimedOut
			}
			return nil
		}
	}},
	{"Send does not say that its context has ended", ruleSendWaits, func(b *broken) {
		b.say = func(ctx context.Context, e *cluster.Envelope) error {
			if err := b.Node.Send(ctx, e); errors.Is(err, cluster.ErrTimedOut) {
				return cluster.ErrTimedOut
			}
			return nil
		}
	}},
	{"Send hands over to goroutines", ruleSendOrder, func(b *broken) { b.say = byGoroutines(b.Node.Send) }},
	{"Send gives what is small to Outbox", ruleSendOrder, func(b *broken) {
		b.send(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
			time.Sleep(time.Millisecond)
			on(e)
		})
		b.say = func(ctx context.Context, e *cluster.Envelope) error {
			if size(e) > 128<<10 {
				return b.Node.Send(ctx, e)
			}
			b.outbox <- e
			return nil
		}
	}},
	{"Send sends what comes again twice", ruleSendOrder, func(b *broken) { b.say = someTwice(b.Node.Send) }},
	{"SendUrgent hands over to goroutines", ruleUrgent, func(b *broken) { b.urge = byGoroutines(b.Node.SendUrgent) }},
	{"SendUrgent sends what comes again twice", ruleUrgent, func(b *broken) { b.urge = someTwice(b.Node.SendUrgent) }},
	{"SendUrgent gives some to Send", ruleUrgent, func(b *broken) {
		b.urge = func(ctx context.Context, e *cluster.Envelope) error {
			if i, ok := e.Msg.(int); ok && i%10 == 0 {
				return b.Node.Send(ctx, e)
			}
			return b.Node.SendUrgent(ctx, e)
		}
	}},
	{"Receive leaves what it returns in Inbox", ruleReceive, func(b *broken) {
		b.receive(func(e *cluster.Envelope, on func(*cluster.Envelope)) { on(e) })
		b.hear = func(ctx context.Context) (*cluster.Envelope, error) {
			e, err := b.next(ctx)
			if err == nil {
				select {
				case b.inbox <- e:
				default:
				}
			}
			return e, err
		}
	}},
	{"Receive returns the newest", ruleReceive, func(b *broken) {
		b.hear = func(ctx context.Context) (*cluster.Envelope, error) {
			e, err := b.next(ctx)
			if err == nil && len(b.inbox) > 0 {
				newer := <-b.inbox
				b.inbox <- e
				e = newer
			}
			return e, err
		}
	}},
	{"Receive does not look at its context", ruleReceive, func(b *broken) {
		b.hear = func(context.Context) (*cluster.Envelope, error) { return b.next(context.Background()) }
	}},
	{"a closed server's Receive returns nothing and no error", ruleReceive, func(b *broken) {
		b.hear = func(ctx context.Context) (*cluster.Envelope, error) {
			e, err := b.next(ctx)
			if errors.Is(err, cluster.ErrClosed) {
				err = nil
			}
			return e, err
		}
	}},
	{"Receive forgets what Inbox has when the server closes", ruleReceive, func(b *broken) {
		b.hear = func(ctx context.Context) (*cluster.Envelope, error) {
			select {
			case <-b.Node.Done():
				return nil, cluster.ErrClosed
			default:
				return b.next(ctx)
			}
		}
	}},
	{"a group goes to all", ruleGroup, sending(func(_ *broken, e *cluster.Envelope) *cluster.Envelope {
		if e.Pid < cluster.BROADCAST {
			return &cluster.Envelope{Pid: cluster.BROADCAST, MsgId: e.MsgId, Msg: e.Msg}
		}
		return e
	})},
	{"a group has another address each time", ruleGroup, func(b *broken) {
		last := -1
		b.group = func(ids ...int) (int, error) {
			if _, err := b.Node.Group(ids...); err != nil {
				return 0, err
			}
			last--
			return last, nil
		}
	}},
	{"a group does not reach its sender", ruleGroup, func(b *broken) {
		b.group = func(ids ...int) (int, error) {
			return b.Node.Group(slices.DeleteFunc(slices.Clone(ids), func(id int) bool { return id == b.Pid() })...)
		}
	}},
}

type sendMethod = func(context.Context, *cluster.Envelope) error

// byGoroutines is send as it is done by a goroutine for each message, which do not keep to an order.
func byGoroutines(send sendMethod) sendMethod {
	n := 0 // of one goroutine
	return func(_ context.Context, e *cluster.Envelope) error {
		n++
		wait := time.Duration(n%3) * time.Millisecond
		go func() { // ends by itself
			time.Sleep(wait)
			send(context.Background(), e)
		}()
		return nil
	}
}

// someTwice is send as it sends each hundredth message twice.
func someTwice(send sendMethod) sendMethod {
	n := 0
	return func(ctx context.Context, e *cluster.Envelope) error {
		if n++; n%100 == 0 {
			send(ctx, e)
		}
		return send(ctx, e)
	}
}
