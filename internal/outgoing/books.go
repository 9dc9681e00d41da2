package outgoing

import (
	"time"

	"github.com/abhishekg16/cluster/internal/stream"
)

// Books count the messages to one peer.
type Books struct {
	Accepted, Sent, SentBytes uint64
	Dropped                   [stream.Reasons]uint64
	Fates                     stream.SenderBooks // of those that were sent, but for what is still kept
}

// drop counts messages that are dropped instead of being queued.
func (b *Books) drop(r stream.Reason, count int) {
	b.Accepted += uint64(count)
	b.Dropped[r] += uint64(count)
}

// Stats are the books of a link, and how it stands.
type Stats struct {
	Books
	State      stream.Standing
	Since      time.Time // of State
	Heard      time.Time // a frame of the peer last came; zero: none did yet
	Answered   time.Time // it last acknowledged something
	RoundTrip  time.Duration
	Queued     int   // messages
	QueueBytes int   // of Queued
	OnItsWay   int   // bytes that were written and not yet acknowledged
	Urgent     bool  // the peer is known to have an urgent stream
	Trouble    error // why the peer cannot be reached, as far as that is known
}

// Stats returns a copy.
func (l *Link) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	state, since := l.sender.Standing()
	heard, answered, trip := l.sender.Answers()
	l.books.Fates = l.sender.Books
	st := Stats{
		Books: l.books, State: state, Since: since, Heard: heard, Answered: answered, RoundTrip: trip,
		Queued: l.queue.messages, QueueBytes: l.queue.bytes, OnItsWay: l.sender.OnItsWay(),
		Trouble: l.trouble(),
	}
	l.addUrgent(&st)
	return st
}
