package cluster

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/abhishekg16/cluster/internal/events"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/peercatalog"
)

// EventKind is what an Event tells.
type EventKind int

const (
	EventUp        EventKind = iota // the peer can be reached: its link is up, or stalled
	EventDown                       // it cannot: its link is down
	EventRestarted                  // another incarnation of it was heard
	EventAdded                      // the catalogue has it now, and nothing is known of it yet
	EventChanged                    // its entry in the catalogue is another one
	EventRemoved                    // the catalogue has it no more, and nothing more is known of it but Incarnation
)

var eventKindNames = []string{"up", "down", "restarted", "added", "changed", "removed"}

func (k EventKind) String() string { return name(eventKindNames, int(k)) }

// MarshalText gives the kind its name in JSON.
func (k EventKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (k *EventKind) UnmarshalText(text []byte) error {
	return unname(k, "kind of event", eventKindNames, text)
}

// An Event is what has become of a peer, as this node sees it.
type Event struct {
	Peer        int
	Kind        EventKind
	At          time.Time
	Incarnation uint64 // of the peer, that was heard last; 0: none was yet
	Reason      string // of EventDown: why, as far as that is known
	Flaps       uint64 // how often the peer went down after it was up, since it was added; also where that was too short to be told
	Skipped     uint64 // earlier events of the peer that the reader has not seen, since this one replaces them
}

func (e Event) String() string {
	text := fmt.Sprintf("server %d: %v", e.Peer, e.Kind)
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

// Events returns what becomes of the peers, as it happens, until ctx ends or the node begins to close. It is the view of this node, and no
// consensus about who is alive: two nodes may see different things at the same time.
//
//	for e := range node.Events(ctx) {
//		if e.Kind == cluster.EventDown && e.Peer == leader { ... }
//	}
//
// Each range over it begins with how things stand: one event for each peer of the catalogue, in the order of ids, which is EventUp,
// EventDown or, if nothing is known of whether it can be reached, EventAdded. Any number of goroutines may read, each all events.
//
// EventDown is told as soon as a link is down: see LinkDown, and the README for what is noticed after how long. EventUp is told at once for the first time, and for a peer that went
// down after it was up when it has been up for a while: 250 ms, twice as long each time that it goes down again, up to 16 s, and 250 ms
// again once that was told for a minute. A peer that is stalled is up. A link that is idle, connecting or unacknowledged changes nothing. What is known is of peers
// that are sent to, or that send; with Config.Watch it is of all.
//
// A reader may be slow: it holds up nobody, and what it has not read yet is replaced by what is newer of the same kind (up and down; restarted; added, changed and
// removed) for the same peer, which counts it in Skipped. So it never misses how things stand at last, and holds three events for each peer at most. The
// loop's body runs on the reader's own goroutine, and may call any method of the node.
func (n *Node) Events(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		n.lookout.begin(n.catalog, n.pid)
		r := n.lookout.join()
		defer n.lookout.leave(r)
		for {
			select {
			case <-ctx.Done():
				return
			case <-n.closing:
				return
			default:
			}
			if e, ok := n.lookout.next(r); ok {
				if !yield(eventOf(e)) {
					return
				}
				continue
			}
			select {
			case <-r.wake:
			case <-ctx.Done():
				return
			case <-n.closing:
				return
			}
		}
	}
}

// eventKindOf are the kinds as package events has them.
var eventKindOf = [events.Kinds]EventKind{
	events.Up: EventUp, events.Down: EventDown, events.Restarted: EventRestarted,
	events.Added: EventAdded, events.Changed: EventChanged, events.Removed: EventRemoved,
}

func eventOf(e events.Event) Event {
	return Event{e.Peer, eventKindOf[e.Kind], e.At, e.Incarnation, e.Reason, e.Flaps, e.Skipped}
}

// A lookout knows how each peer stands, and tells those who read events. Its lock is the last to be taken.
type lookout struct {
	mu      sync.Mutex // guards what follows
	board   events.Board
	readers map[*eventReader]bool
	timer   *time.Timer // runs overdue; nil: it never had to
	due     time.Time   // when; zero: not
	ended   bool

	listing sync.Mutex               // guards what follows; taken before mu
	listed  map[int]peercatalog.Peer // as the catalogue had them when it was last looked at; nil until somebody reads events
}

// An eventReader is a range over Events.
type eventReader struct {
	wake chan struct{} // holds a token when there may be something in mail
	mail events.Mailbox
}

func (l *lookout) join() *eventReader {
	r := &eventReader{wake: make(chan struct{}, 1)}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.board.Present() {
		r.mail.Put(e)
	}
	if l.readers == nil {
		l.readers = make(map[*eventReader]bool)
	}
	l.readers[r] = true
	return r
}

func (l *lookout) leave(r *eventReader) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.readers, r)
}

func (l *lookout) next(r *eventReader) (events.Event, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return r.mail.Next()
}

// take takes in what has happened, and tells what there is to tell of it.
func (l *lookout) take(happened func(b *events.Board, now time.Time) []events.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	all := happened(&l.board, now)
	for r := range l.readers {
		for _, e := range all {
			r.mail.Put(e)
		}
		if len(all) > 0 {
			select {
			case r.wake <- struct{}{}:
			default:
			}
		}
	}
	due := l.board.Due()
	if due.Equal(l.due) || l.ended {
		return
	}
	l.due = due
	switch {
	case due.IsZero():
		l.timer.Stop()
	case l.timer == nil:
		l.timer = time.AfterFunc(due.Sub(now), l.overdue)
	default:
		l.timer.Reset(due.Sub(now))
	}
}

// overdue is run by the timer.
func (l *lookout) overdue() {
	l.mu.Lock()
	l.due = time.Time{}
	l.mu.Unlock()
	l.take(func(b *events.Board, now time.Time) []events.Event { return b.Overdue(now) })
}

// stands takes in how the link to a peer stands. It does not block.
func (l *lookout) stands(id int, s stream.Standing, why error) {
	up := s == stream.StandsUp || s == stream.StandsStalled
	if !up && s != stream.StandsDown {
		return
	}
	reason := ""
	if why != nil {
		reason = why.Error()
	}
	l.take(func(b *events.Board, now time.Time) []events.Event { return b.Reach(id, up, reason, now) })
}

// began takes in that a life of a peer was heard. It does not block.
func (l *lookout) began(id int, incarnation uint64, first bool) {
	l.take(func(b *events.Board, now time.Time) []events.Event { return b.Life(id, incarnation, first, now) })
}

// begin has the catalogue looked at from now on. As long as nobody reads events that is not done: a process may have a thousand nodes that know a
// thousand peers each.
func (l *lookout) begin(c *peercatalog.Catalog, self int) {
	l.listing.Lock()
	defer l.listing.Unlock()
	if l.listed == nil {
		l.list(c, self)
	}
}

// lists takes in that the catalogue may have changed, and returns which peers it did not have before. How the links to those stand is to
// be told: what was told while an earlier entry was being removed is forgotten.
func (l *lookout) lists(c *peercatalog.Catalog, self int) (added []int) {
	l.listing.Lock()
	defer l.listing.Unlock()
	if l.listed == nil {
		return nil
	}
	return l.list(c, self)
}

// list takes in which peers the catalogue has, but for the node itself, and returns which of them it did not have before. The caller holds listing.
func (l *lookout) list(c *peercatalog.Catalog, self int) (added []int) {
	var changed, removed []int
	listed := make(map[int]peercatalog.Peer)
	for _, id := range c.IDs() {
		p, ok := c.Get(id)
		if !ok || id == self {
			continue
		}
		listed[id] = p
		if old, known := l.listed[id]; !known {
			added = append(added, id)
		} else if !reflect.DeepEqual(old, p) {
			changed = append(changed, id)
		}
	}
	for id := range l.listed {
		if _, still := listed[id]; !still {
			removed = append(removed, id)
		}
	}
	slices.Sort(removed)
	l.listed = listed
	l.take(func(b *events.Board, now time.Time) (all []events.Event) {
		for _, id := range removed {
			all = append(all, b.Remove(id, now)...)
		}
		for _, id := range changed {
			all = append(all, b.Change(id, now)...)
		}
		for _, id := range added {
			all = append(all, b.Add(id, now)...)
		}
		return all
	})
	return added
}

// end stops the timer. Nothing is told any more.
func (l *lookout) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended = true; l.timer != nil {
		l.timer.Stop()
	}
}

// flaps is how often a peer went down after it was up.
func (l *lookout) flaps(id int) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.board.Flaps(id)
}
