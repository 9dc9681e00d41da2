package events

import "container/list"

// A Mailbox holds the events that one reader has not taken yet. It keeps the latest of each class and peer, and so a bounded number
// of them, however slow the reader is. The zero value is empty.
type Mailbox struct {
	pending list.List // of Event, in the order in which they are to be read
	of      map[key]*list.Element
}

type key struct {
	peer  int
	class class
}

// class is what an event is about: an event says all that earlier ones of its class have said.
type class uint8

const (
	ofLink  class = iota // Up, Down
	ofLife               // Restarted
	ofEntry              // Added, Changed, Removed
	classes
)

func (k Kind) class() class {
	switch k {
	case Up, Down:
		return ofLink
	case Restarted:
		return ofLife
	}
	return ofEntry
}

// Put adds an event, in place of those that it makes out of date: the one of its class or, where its peer is removed, all of
// the peer's. It counts these.
func (m *Mailbox) Put(e Event) {
	if m.of == nil {
		m.of = make(map[key]*list.Element)
	}
	for c := range classes {
		k := key{e.Peer, c}
		old := m.of[k]
		if old == nil || c != e.Kind.class() && e.Kind != Removed {
			continue
		}
		e.Skipped += 1 + m.pending.Remove(old).(Event).Skipped
		delete(m.of, k)
	}
	m.of[key{e.Peer, e.Kind.class()}] = m.pending.PushBack(e)
}

// Next takes the first event out; ok is false if there is none.
func (m *Mailbox) Next() (e Event, ok bool) {
	first := m.pending.Front()
	if first == nil {
		return e, false
	}
	e = m.pending.Remove(first).(Event)
	delete(m.of, key{e.Peer, e.Kind.class()})
	return e, true
}
