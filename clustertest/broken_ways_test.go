package clustertest_test

import (
	"bytes"
	"context"
	"iter"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
)

// brokenWays are servers whose channels and methods give what no server gives, or that do by one way of sending, or of
// receiving, what they do by the others as they should.
var brokenWays = []breakage{
	// Nothing in the place of something.
	{"Inbox closes while others send", ruleOrder, closing(50)},
	{"Inbox closes while others send to who reads late", ruleStalled, closing(3)},
	{"nil is received now and then", ruleOrder, func(b *broken) {
		b.receive(everyTenth(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
			on(nil)
			on(e)
		}))
	}},
	{"Receive returns neither an envelope nor an error", ruleReceive, func(b *broken) {
		n := 0
		b.hear = func(ctx context.Context) (*cluster.Envelope, error) {
			if n++; n%10 == 0 {
				return nil, nil
			}
			return b.next(ctx)
		}
	}},
	{"CallAll yields neither a reply nor an error", ruleCallAll, callsAll(func(_ *broken, all iter.Seq2[*cluster.Envelope, error], yield func(*cluster.Envelope, error) bool) {
		for e, err := range all {
			if err != nil {
				e, err = nil, nil
			}
			if !yield(e, err) {
				return
			}
		}
	})},

	// One of the ways of sending.
	{"Send writes the id into the envelope", ruleNoWay, saying(writing)},
	{"SendUrgent writes the id into the envelope", ruleNoWay, urging(writing)},
	{"Deliver writes the id into the envelope", ruleNoWay, delivering(writing)},
	{"Send gives each an id", ruleEveryWay, saying(renumbering(func(int64) int64 { return 0 }))},
	{"SendUrgent gives each an id", ruleEveryWay, urging(renumbering(func(int64) int64 { return 0 }))},
	{"Deliver gives each an id", ruleEveryWay, delivering(renumbering(func(int64) int64 { return 0 }))},
	{"ids of Deliver begin at 1", ruleEveryWay, func(b *broken) {
		next := int64(0)
		delivering(renumbering(func(old int64) int64 {
			if old == 0 {
				next++
				return next
			}
			return old
		}))(b)
	}},
	{"ids of SendUrgent are negative", ruleEveryWay, urging(renumbering(func(old int64) int64 {
		if old == 0 {
			return -time.Now().UnixNano()
		}
		return old
	}))},
	{"an urgent broadcast reaches one", ruleEveryWay, func(b *broken) {
		urging(func(send waySend, ctx context.Context, e *cluster.Envelope) error {
			if e != nil && e.Pid == cluster.BROADCAST && len(b.Peers()) > 0 {
				e = &cluster.Envelope{Pid: b.Peers()[0], MsgId: e.MsgId, Msg: e.Msg}
			}
			return send(ctx, e)
		})(b)
	}},
	{"Send sends though its context has ended", ruleSend, saying(nevertheless)},
	{"SendUrgent sends though its context has ended", ruleSend, urging(nevertheless)},
	{"Receive drops what comes when its context has ended", ruleReceive, func(b *broken) {
		b.hear = func(ctx context.Context) (*cluster.Envelope, error) {
			e, err := b.next(ctx)
			if err == nil && ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return e, err
		}
	}},

	// Values.
	{"-0 arrives as 0", ruleTypes, inside(func(v reflect.Value) {
		if v.CanFloat() && v.Float() == 0 {
			v.SetFloat(0)
		}
	})},
	{"NaN arrives as 0", ruleTypes, inside(func(v reflect.Value) {
		if v.CanFloat() && v.Float() != v.Float() {
			v.SetFloat(0)
		}
	})},
	{"strings that are not UTF-8 are mended", rulePayloads, inside(func(v reflect.Value) {
		if v.Kind() == reflect.String {
			v.SetString(strings.ToValidUTF8(v.String(), "\uFFFD"))
		}
	})},
	{"integers are those of a float64", rulePayloads, inside(func(v reflect.Value) {
		if v.Kind() == reflect.Int64 {
			v.SetInt(v.Int() / 2 * 2)
		}
	})},
	{"a float64 has 24 bits", ruleTypes, inside(func(v reflect.Value) {
		if v.Kind() == reflect.Float64 {
			v.SetFloat(float64(float32(v.Float())))
		}
	})},
	{"zeros at the end are cut", ruleTypes, inside(func(v reflect.Value) {
		if b, is := v.Interface().([]byte); is && len(b) < 10 {
			v.SetBytes(bytes.TrimRight(b, "\x00"))
		}
	})},
	{"times arrive in UTC", ruleTypes, inside(func(v reflect.Value) {
		if at, is := v.Interface().(time.Time); is {
			v.Set(reflect.ValueOf(at.UTC()))
		}
	})},

	// Accounts.
	{"all that is sent counts as confirmed", ruleBooks, statistics(func(s *cluster.Stats) {
		for i := range s.Peers {
			s.Peers[i].Sent.Confirmed = s.Peers[i].Sent.Sent
		}
	})},
	{"nothing counts as confirmed", ruleBooks, statistics(func(s *cluster.Stats) {
		for i := range s.Peers {
			s.Peers[i].Sent.Confirmed = 0
		}
	})},
	{"each drop counts as one of closing", ruleBooks, statistics(func(s *cluster.Stats) {
		for i := range s.Peers {
			sent := &s.Peers[i].Sent
			sent.Dropped = map[cluster.Reason]uint64{cluster.ReasonClosed: sent.DroppedTotal()}
		}
	})},
	{"bytes are not counted", ruleBooks, statistics(func(s *cluster.Stats) {
		for i := range s.Peers {
			s.Peers[i].Received.Bytes = 0
		}
	})},
	{"Stats has another incarnation each time", ruleBooks, func(b *broken) {
		n := uint64(0)
		statistics(func(s *cluster.Stats) { n++; s.Incarnation += n })(b)
	}},
}

const (
	ruleNoWay    = "no way of sending changes an envelope"
	ruleEveryWay = "every way of sending keeps a MsgId or gives one"
)

// A waySend is Send, SendUrgent or Deliver.
type waySend func(ctx context.Context, e *cluster.Envelope) error

// saying, urging and delivering let f stand in for the method; it is given the node's.
func saying(f func(waySend, context.Context, *cluster.Envelope) error) func(*broken) {
	return func(b *broken) {
		b.say = func(ctx context.Context, e *cluster.Envelope) error { return f(b.Node.Send, ctx, e) }
	}
}

func urging(f func(waySend, context.Context, *cluster.Envelope) error) func(*broken) {
	return func(b *broken) {
		b.urge = func(ctx context.Context, e *cluster.Envelope) error { return f(b.Node.SendUrgent, ctx, e) }
	}
}

func delivering(f func(waySend, context.Context, *cluster.Envelope) error) func(*broken) {
	return func(b *broken) {
		b.deliver = func(ctx context.Context, e *cluster.Envelope) error { return f(b.Node.Deliver, ctx, e) }
	}
}

// writing puts an id into the envelope that it is given.
func writing(send waySend, ctx context.Context, e *cluster.Envelope) error {
	if e != nil && e.MsgId == 0 {
		e.MsgId = time.Now().UnixMicro()
	}
	return send(ctx, e)
}

// renumbering sends a copy with an id of its own.
func renumbering(id func(old int64) int64) func(waySend, context.Context, *cluster.Envelope) error {
	return func(send waySend, ctx context.Context, e *cluster.Envelope) error {
		if e == nil {
			return send(ctx, nil)
		}
		sent := *e
		sent.MsgId = id(e.MsgId)
		return send(ctx, &sent)
	}
}

// nevertheless sends though the context has ended, and says that it has not.
func nevertheless(send waySend, ctx context.Context, e *cluster.Envelope) error {
	if ctx.Err() != nil {
		send(context.Background(), e)
		return ctx.Err()
	}
	return send(ctx, e)
}

// inside applies f to what is inside of each message that arrives.
func inside(f func(reflect.Value)) func(*broken) {
	return arriving(func(_ *broken, e *cluster.Envelope) *cluster.Envelope {
		if e.Msg != nil && reflect.TypeOf(e.Msg).Kind() != reflect.Pointer {
			v := reflect.New(reflect.TypeOf(e.Msg)).Elem()
			v.Set(reflect.ValueOf(e.Msg))
			if f(v); v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Interface {
				for i := range v.Len() {
					if x := v.Index(i); !x.IsNil() {
						y := reflect.New(x.Elem().Type()).Elem()
						y.Set(x.Elem())
						f(y)
						x.Set(y)
					}
				}
			}
			e.Msg = v.Interface()
		}
		return e
	})
}

// closing closes Inbox when it has given so many envelopes.
func closing(most int) func(*broken) {
	return func(b *broken) {
		b.inbox = make(chan *cluster.Envelope, cap(b.inbox))
		go func() { // It ends as the node closes.
			defer close(b.inbox)
			for range most {
				e, open := <-b.Node.Inbox()
				if !open {
					return
				}
				select {
				case b.inbox <- e:
				case <-b.Node.Done():
				}
			}
		}()
	}
}

// A reader of Events that did not keep up is told so, which is right; the rule must count with that also where the reader
// is the one whom it takes to be quick.
func TestReadersWhoAllSkipEventsAreRight(t *testing.T) {
	testBroken(t, tellingOf(func(*broken) func(cluster.Event, func(cluster.Event) bool) bool {
		skipped := uint64(0)
		return func(e cluster.Event, on func(cluster.Event) bool) bool {
			if e.Kind == cluster.EventRestarted {
				skipped += 1 + e.Skipped
				return true
			}
			e.Skipped, skipped = e.Skipped+skipped, 0
			return on(e)
		}
	}), nil, allBut(ruleSlowReader)...)
}
