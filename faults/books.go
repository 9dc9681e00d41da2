//go:build linux

package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// books are all that the servers of a trial have written down. The oracles judge them.
type books struct {
	lives     []lifeBook
	queue     int // Config.QueueBytes
	inbox     int // Config.InboxSize
	outbox    int // Config.OutboxSize
	received  int // in all lives
	handedAll int
	elsewhere map[int]span // the field's
}

// A lifeBook is what one process of one server has written down.
type lifeBook struct {
	pid, number int
	killed      bool
	began       int64
	ended       int64
	stopped     int64    // when it last ran, which may be before it ended
	counters    counters // at its end, or the last that it kept before it was killed
	sent        []record // in the order of each stream
	received    []record // in the order in which it took them
}

func (l *lifeBook) String() string { return fmt.Sprintf("server %d (life %d)", l.pid, l.number) }

// A flow is what one stream of one life has sent to one server.
type flow struct {
	life   uint32
	stream uint16
	to     uint16
}

func (r *record) flow() flow { return flow{r.life, r.stream, r.to} }

func (r *record) String() string {
	return fmt.Sprintf("message %d of stream %d of life %d, from %d to %d", r.number, r.stream, r.life, r.from, r.to)
}

// books reads the journals of all lives.
func (f *field) books() (*books, error) {
	b := &books{queue: cmp.Or(f.cfg.QueueBytes, 16<<20), inbox: cmp.Or(f.cfg.InboxSize, 1024), outbox: cmp.Or(f.cfg.OutboxSize, 1024), elsewhere: f.elsewhere}
	for _, l := range f.lives {
		if l.proc == nil {
			continue // it never was up
		}
		c, err := openChronicle(l.journal)
		if err != nil {
			return nil, err
		}
		book := lifeBook{pid: l.pid, number: l.number, killed: l.killed, began: l.began, ended: l.ended, stopped: cmp.Or(l.stopped, l.ended)}
		c.records(func(r *record) {
			switch r.kind {
			case sent:
				book.sent = append(book.sent, *r)
			case received:
				book.received = append(book.received, *r)
			}
		})
		switch last, ok := c.counters(); {
		case l.final != nil:
			book.counters = *l.final
		case ok:
			book.counters = last
		}
		if err := c.close(); err != nil {
			return nil, err
		}
		b.add(book)
	}
	return b, nil
}

func (b *books) add(l lifeBook) {
	b.lives = append(b.lives, l)
	b.received += len(l.received)
	b.handedAll += len(l.sent)
}

// of are the lives of one server, in order.
func (b *books) of(pid int) (lives []*lifeBook) {
	for i := range b.lives {
		if b.lives[i].pid == pid {
			lives = append(lives, &b.lives[i])
		}
	}
	return lives
}

// pids are the ids of all servers that ever ran.
func (b *books) pids() (ids []int) {
	for i := range b.lives {
		ids = append(ids, b.lives[i].pid)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// A span is a time between two readings of now.
type span struct{ from, to int64 }

func (s span) has(at int64) bool { return at >= s.from && at < s.to }

func (s span) length() time.Duration { return time.Duration(s.to - s.from) }

// deliveries calls f for each message that was taken.
func (b *books) deliveries(f func(*record)) {
	for i := range b.lives {
		for j := range b.lives[i].received {
			f(&b.lives[i].received[j])
		}
	}
}

// between counts the messages that were taken in the span, of those that which picks.
func (b *books) between(s span, which func(*record) bool) (n int) {
	b.deliveries(func(r *record) {
		if s.has(r.at) && (which == nil || which(r)) {
			n++
		}
	})
	return n
}

// among picks the messages between some servers.
func among(ids ...int) func(*record) bool {
	return func(r *record) bool { return slices.Contains(ids, int(r.from)) && slices.Contains(ids, int(r.to)) }
}

// with picks the messages from or to some servers.
func with(ids ...int) func(*record) bool {
	return func(r *record) bool { return slices.Contains(ids, int(r.from)) || slices.Contains(ids, int(r.to)) }
}

// toward picks the messages to a server.
func toward(id int) func(*record) bool { return func(r *record) bool { return int(r.to) == id } }

// sentBy picks the messages from a server.
func sentBy(id int) func(*record) bool { return func(r *record) bool { return int(r.from) == id } }

// from picks the messages of one server to another.
func from(a, b int) func(*record) bool {
	return func(r *record) bool { return int(r.from) == a && int(r.to) == b }
}
