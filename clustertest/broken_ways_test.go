package clustertest_test

import (
	"context"
	"iter"
	"testing"

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
