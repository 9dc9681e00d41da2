package clustertest_test

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/abhishekg16/cluster"
)

const (
	ruleStanding   = "Events begin with how things stand"
	ruleComesBack  = "Events tell that a server goes down and comes back"
	ruleSlowReader = "a slow reader of Events does not miss how things stand"
	ruleChanges    = "Events tell what becomes of the catalogue"
	rulePasses     = "urgent messages pass those that wait"
)

// tellingOf lets f change what Events tell: it is called for each event, and passes on.
func tellingOf(f func(b *broken) func(e cluster.Event, on func(cluster.Event) bool) bool) func(*broken) {
	return func(b *broken) {
		b.events = func(ctx context.Context) iter.Seq[cluster.Event] {
			pass := f(b)
			return func(yield func(cluster.Event) bool) {
				for e := range b.Node.Events(ctx) {
					if !pass(e, yield) {
						return
					}
				}
			}
		}
	}
}

// withoutKind tells nothing of a kind.
func withoutKind(kind cluster.EventKind) func(*broken) {
	return tellingOf(func(*broken) func(cluster.Event, func(cluster.Event) bool) bool {
		return func(e cluster.Event, on func(cluster.Event) bool) bool { return e.Kind == kind || on(e) }
	})
}

// changing lets f change each event.
func changing(f func(e *cluster.Event)) func(*broken) {
	return tellingOf(func(*broken) func(cluster.Event, func(cluster.Event) bool) bool {
		return func(e cluster.Event, on func(cluster.Event) bool) bool {
			f(&e)
			return on(e)
		}
	})
}

// buffering reads Events in a goroutine of its own, and keeps so many for a reader; keep decides about what finds that full.
func buffering(size int, keep func(kept chan cluster.Event, e cluster.Event)) func(*broken) {
	return func(b *broken) {
		b.events = func(ctx context.Context) iter.Seq[cluster.Event] {
			return func(yield func(cluster.Event) bool) {
				kept := make(chan cluster.Event, size)
				go func() { // ends as the node closes
					defer close(kept)
					for e := range b.Node.Events(ctx) {
						keep(kept, e)
					}
				}()
				for e := range kept {
					if !yield(e) {
						return
					}
				}
			}
		}
	}
}

// brokenEvents are servers whose Events, or urgent messages, break a rule.
var brokenEvents = []breakage{
	{"a range begins with what comes next", ruleStanding, tellingOf(func(b *broken) func(cluster.Event, func(cluster.Event) bool) bool {
		standing := len(b.Node.Peers())
		return func(e cluster.Event, on func(cluster.Event) bool) bool {
			standing--
			return standing >= 0 || on(e)
		}
	})},
	{"whoever is in the catalogue is up", ruleStanding, changing(func(e *cluster.Event) {
		if e.Kind == cluster.EventAdded {
			e.Kind = cluster.EventUp
		}
	})},
	{"a range begins with the last server", ruleStanding, tellingOf(func(b *broken) func(cluster.Event, func(cluster.Event) bool) bool {
		var kept []cluster.Event
		return func(e cluster.Event, on func(cluster.Event) bool) bool {
			if n := len(b.Node.Peers()); len(kept) < n {
				if kept = append([]cluster.Event{e}, kept...); len(kept) == n {
					for _, e := range kept {
						if !on(e) {
							return false
						}
					}
				}
				return true
			}
			return on(e)
		}
	})},
	{"Events do not look at their context", ruleStanding, func(b *broken) {
		b.events = func(ctx context.Context) iter.Seq[cluster.Event] { return b.Node.Events(context.WithoutCancel(ctx)) }
	}},
	{"who reads Events of a server that has closed waits", ruleStanding, func(b *broken) {
		b.events = func(ctx context.Context) iter.Seq[cluster.Event] {
			return func(yield func(cluster.Event) bool) {
				for e := range b.Node.Events(ctx) {
					if !yield(e) {
						return
					}
				}
				select {
				case <-ctx.Done():
				case <-time.After(time.Hour):
				}
			}
		}
	}},
	{"nobody is ever down", ruleComesBack, withoutKind(cluster.EventDown)},
	{"nobody starts anew", ruleComesBack, withoutKind(cluster.EventRestarted)},
	{"who was down once stays so", ruleComesBack, tellingOf(func(*broken) func(cluster.Event, func(cluster.Event) bool) bool {
		down := false
		return func(e cluster.Event, on func(cluster.Event) bool) bool {
			down = down || e.Kind == cluster.EventDown
			return down && e.Kind == cluster.EventUp || on(e)
		}
	})},
	{"nobody says why", ruleComesBack, changing(func(e *cluster.Event) { e.Reason = "" })},
	{"a new life is the old one", ruleComesBack, tellingOf(func(*broken) func(cluster.Event, func(cluster.Event) bool) bool {
		first := make(map[int]uint64)
		return func(e cluster.Event, on func(cluster.Event) bool) bool {
			if first[e.Peer] == 0 {
				first[e.Peer] = e.Incarnation
			}
			e.Incarnation = first[e.Peer]
			return on(e)
		}
	})},
	{"nobody counts how often a server goes down", ruleComesBack, changing(func(e *cluster.Event) { e.Flaps = 0 })},
	{"Stats does not count how often a server goes down", ruleComesBack, standing(func(p *cluster.PeerStats) { p.Flaps = 0 })},
	{"nobody says when something was", ruleComesBack, changing(func(e *cluster.Event) { e.At = time.Time{} })},
	{"nobody is ever removed", ruleChanges, withoutKind(cluster.EventRemoved)},
	{"no entry ever changes", ruleChanges, withoutKind(cluster.EventChanged)},
	{"nobody is added later", ruleChanges, tellingOf(func(*broken) func(cluster.Event, func(cluster.Event) bool) bool {
		began := time.Now()
		return func(e cluster.Event, on func(cluster.Event) bool) bool {
			return e.Kind == cluster.EventAdded && time.Since(began) > 0 || on(e)
		}
	})},
	{"whose entry changes is removed and added", ruleChanges, tellingOf(func(*broken) func(cluster.Event, func(cluster.Event) bool) bool {
		return func(e cluster.Event, on func(cluster.Event) bool) bool {
			if e.Kind != cluster.EventChanged {
				return on(e)
			}
			gone, back := e, e
			gone.Kind, back.Kind = cluster.EventRemoved, cluster.EventAdded
			return on(gone) && on(back)
		}
	})},
	{"who is removed is down", ruleChanges, changing(func(e *cluster.Event) {
		if e.Kind == cluster.EventRemoved {
			e.Kind = cluster.EventDown
		}
	})},
	{"what becomes of the catalogue has no time", ruleChanges, changing(func(e *cluster.Event) {
		if e.Kind >= cluster.EventAdded {
			e.At = time.Time{}
		}
	})},
	{"what is told happens in a minute", ruleChanges, changing(func(e *cluster.Event) { e.At = e.At.Add(time.Minute) })},
	{"what is told was yesterday", ruleChanges, changing(func(e *cluster.Event) { e.At = e.At.Add(-24 * time.Hour) })},
	{"who does not read misses what is new", ruleSlowReader, buffering(2, func(kept chan cluster.Event, e cluster.Event) {
		select {
		case kept <- e:
		default:
		}
	})},
	{"everything is kept for who does not read", ruleSlowReader, buffering(1000, func(kept chan cluster.Event, e cluster.Event) { kept <- e })},
	{"nothing says that something was skipped", ruleSlowReader, changing(func(e *cluster.Event) { e.Skipped = 0 })},
	{"who does not read holds up who does", ruleSlowReader, func(b *broken) {
		var one sync.Mutex // held while somebody is told something
		b.events = func(ctx context.Context) iter.Seq[cluster.Event] {
			return func(yield func(cluster.Event) bool) {
				for e := range b.Node.Events(ctx) {
					for !one.TryLock() {
						select {
						case <-time.After(10 * time.Millisecond):
						case <-b.Node.Done():
							return
						}
					}
					more := yield(e)
					if one.Unlock(); !more {
						return
					}
				}
			}
		}
	}},
	{"SendUrgent is Send", rulePasses, func(b *broken) {
		b.urge = func(ctx context.Context, e *cluster.Envelope) error { return b.Node.Send(ctx, e) }
	}},
	{"SendUrgent puts into Outbox", rulePasses, func(b *broken) {
		b.urge = func(ctx context.Context, e *cluster.Envelope) error {
			b.Node.Outbox() <- e
			return nil
		}
	}},
	{"an urgent message goes when nothing else waits", rulePasses, func(b *broken) {
		b.urge = func(ctx context.Context, e *cluster.Envelope) error {
			sent := *e
			go func() { // ends when nothing waits, or the node closes
				for s := b.Node.Stats(); s.Sent.Queued > 0 || s.OutboxLen > 0; s = b.Node.Stats() {
					select {
					case <-time.After(10 * time.Millisecond):
					case <-b.Node.Done():
						return
					}
				}
				b.Node.SendUrgent(context.WithoutCancel(ctx), &sent)
			}()
			return nil
		}
	}},
	{"every size is urgent", rulePasses, func(b *broken) {
		b.urge = func(ctx context.Context, e *cluster.Envelope) error {
			if size(e) > 100_000 {
				return b.Node.Send(ctx, e)
			}
			return b.Node.SendUrgent(ctx, e)
		}
	}},
}
