// Package events makes, of what a node finds out about its peers, the events that its program reads: it damps peers that go up and
// down, and keeps for a slow reader what is latest. It is pure: it has no goroutine, lock or clock.
package events

import (
	"maps"
	"slices"
	"time"
)

// Kind is what an event tells.
type Kind uint8

// The kinds, in the order of those of package cluster.
const (
	Up Kind = iota
	Down
	Restarted
	Added
	Changed
	Removed
	Kinds
)

// An Event is what has become of a peer.
type Event struct {
	Peer        int
	Kind        Kind
	At          time.Time
	Incarnation uint64 // that was heard last; 0: none was
	Reason      string // of Down
	Flaps       uint64 // how often the peer went down after it was up
	Skipped     uint64 // events of the peer that this one has replaced
}

// A Board knows how each peer stands. Its methods take in what happens, and return what is to be told of it, in order. The zero value knows
// of no peer.
type Board struct {
	peers map[int]*peer
}

type peer struct {
	listed      bool // it is in the catalogue
	damper      Damper
	incarnation uint64
	reason      string
	at          time.Time // when the latest was told of whether it is up, or it was added
}

func (b *Board) peer(id int) *peer {
	p := b.peers[id]
	if p == nil {
		if b.peers == nil {
			b.peers = make(map[int]*peer)
		}
		p = new(peer)
		b.peers[id] = p
	}
	return p
}

func (p *peer) event(id int, k Kind, at time.Time) Event {
	e := Event{Peer: id, Kind: k, At: at, Incarnation: p.incarnation, Flaps: p.damper.Flaps}
	if k == Down {
		e.Reason = p.reason
	}
	return e
}

// standing is the event that says whether the peer is up; ok is false if nothing is known of that.
func (p *peer) standing(id int) (e Event, ok bool) {
	switch p.damper.Told {
	case ToldUp:
		return p.event(id, Up, p.at), true
	case ToldDown:
		return p.event(id, Down, p.at), true
	}
	return e, false
}

// Add takes in that the catalogue has the peer. What was heard of it already is told, too.
func (b *Board) Add(id int, now time.Time) []Event {
	p := b.peer(id)
	if p.listed = true; p.damper.Told == Nothing {
		p.at = now
	}
	all := []Event{p.event(id, Added, now)}
	if e, ok := p.standing(id); ok {
		all = append(all, e)
	}
	return all
}

// Change takes in that the peer's entry has changed.
func (b *Board) Change(id int, now time.Time) []Event {
	return []Event{b.peer(id).event(id, Changed, now)}
}

// Remove takes in that the catalogue has it no more. Nothing more is known of it then but which incarnation was heard: if that comes back, Life
// does not tell of it once more.
func (b *Board) Remove(id int, now time.Time) []Event {
	p := b.peer(id)
	e := p.event(id, Removed, now)
	b.peers[id] = &peer{incarnation: p.incarnation}
	if p.incarnation == 0 {
		delete(b.peers, id)
	}
	return []Event{e}
}

// Reach takes in that the peer is up or, for a reason, down. Where that it is down was told before, the reason is kept if there is one: it may be
// a better one.
func (b *Board) Reach(id int, up bool, reason string, now time.Time) []Event {
	p := b.peer(id)
	if up {
		if !p.damper.Up(now) {
			return nil
		}
		return b.tell(id, p, now)
	}
	if reason != "" || p.damper.IsUp() {
		p.reason = reason
	}
	if !p.damper.Down(now) {
		return nil
	}
	return b.tell(id, p, now)
}

// tell tells whether the peer is up, if there is such a peer.
func (b *Board) tell(id int, p *peer, now time.Time) []Event {
	p.at = now
	if e, ok := p.standing(id); ok && p.listed {
		return []Event{e}
	}
	return nil
}

// Life takes in that a life of the peer was heard, which may be the first.
func (b *Board) Life(id int, incarnation uint64, first bool, now time.Time) []Event {
	p := b.peer(id)
	p.incarnation = incarnation
	if first || !p.listed {
		return nil
	}
	return []Event{p.event(id, Restarted, now)}
}

// Due is when Overdue is to be called; zero: never.
func (b *Board) Due() (due time.Time) {
	for _, p := range b.peers {
		if at := p.damper.Due(); !at.IsZero() && (due.IsZero() || at.Before(due)) {
			due = at
		}
	}
	return due
}

// Overdue returns what is to be told since time has passed.
func (b *Board) Overdue(now time.Time) (all []Event) {
	for _, id := range b.ids() {
		if p := b.peers[id]; p.damper.Overdue(now) {
			all = append(all, b.tell(id, p, now)...)
		}
	}
	return all
}

// Present is how all peers stand that the catalogue has: for each, in order, one event that says whether it is up, or, if nothing is known of that,
// that there is such a peer. Their times are those at which that became so.
func (b *Board) Present() (all []Event) {
	for _, id := range b.ids() {
		p := b.peers[id]
		if e, ok := p.standing(id); ok && p.listed {
			all = append(all, e)
		} else if p.listed {
			all = append(all, p.event(id, Added, p.at))
		}
	}
	return all
}

// Flaps is how often a peer went down after it was up.
func (b *Board) Flaps(id int) uint64 {
	if p := b.peers[id]; p != nil {
		return p.damper.Flaps
	}
	return 0
}

func (b *Board) ids() []int { return slices.Sorted(maps.Keys(b.peers)) }
