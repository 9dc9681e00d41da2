package testcluster

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
)

// A Tally is what a server has received from one peer: the numbered messages, and
// how many others.
type Tally struct {
	Count  int
	Others int
	Spans  []Span        // in order of arrival
	Faults []string      // what breaks the contract
	First  time.Time     // when the first message came
	Latest time.Time     // when the latest came
	Pause  time.Duration // the longest between two messages
}

// A Span is a run of messages of one life of a sender, numbered From to To
// without a gap.
type Span struct{ Life, From, To uint64 }

// Add takes note of a message that has come.
func (t *Tally) Add(msg any) {
	now := time.Now()
	if t.Latest.IsZero() {
		t.First = now
	} else {
		t.Pause = max(t.Pause, now.Sub(t.Latest))
	}
	t.Latest = now
	b, ok := msg.([]byte)
	if !ok || len(b) < numberedBytes {
		t.Others++
		return
	}
	t.Count++
	life, number := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	for i := numberedBytes; i < len(b); i += max(1, len(b)/16) {
		if b[i] != byte(number) {
			t.fault("message %d: byte %d is %#x, want %#x", number, i, b[i], byte(number))
			break
		}
	}
	if len(t.Spans) == 0 {
		t.Spans = append(t.Spans, Span{life, number, number})
		return
	}
	last := &t.Spans[len(t.Spans)-1]
	switch {
	case life < last.Life:
		t.fault("message %d of an earlier life came after message %d of a later one", number, last.To)
	case life == last.Life && number <= last.To:
		t.fault("message %d came after message %d", number, last.To)
	case life == last.Life && number == last.To+1:
		last.To = number
	default:
		t.Spans = append(t.Spans, Span{life, number, number})
	}
}

func (t *Tally) fault(format string, args ...any) {
	if len(t.Faults) < 10 {
		t.Faults = append(t.Faults, fmt.Sprintf(format, args...))
	}
}

// Last is the number of the latest message.
func (t *Tally) Last() uint64 {
	if len(t.Spans) == 0 {
		return 0
	}
	return t.Spans[len(t.Spans)-1].To
}

// Lives are how many lives of the sender messages came from.
func (t *Tally) Lives() int {
	n, life := 0, uint64(0)
	for _, s := range t.Spans {
		if s.Life != life {
			n, life = n+1, s.Life
		}
	}
	return n
}

// CheckOrder checks that what came was in order and whole, and no message twice.
func (t *Tally) CheckOrder(tb testing.TB, who string) {
	tb.Helper()
	for _, f := range t.Faults {
		tb.Errorf("%s: %s", who, f)
	}
}

// CheckAll checks that the messages 1 to n of one life came, in order.
func (t *Tally) CheckAll(tb testing.TB, who string, n uint64) {
	tb.Helper()
	t.CheckOrder(tb, who)
	if len(t.Spans) != 1 || t.Spans[0].From != 1 || t.Spans[0].To != n {
		tb.Errorf("%s: got the messages %v, want 1 to %d in order", who, t.Spans[:min(len(t.Spans), 10)], n)
	}
}

// A Reader takes what a node receives, and keeps a tally for each sender.
type Reader struct {
	n     *cluster.Node
	Pause atomic.Int64 // after each message, in nanoseconds

	mu      sync.Mutex // guards what follows
	tallies map[int]*Tally
}

// ReadAll reads the inbox of n until it is closed.
func ReadAll(n *cluster.Node) *Reader {
	r := &Reader{n: n, tallies: make(map[int]*Tally)}
	go func() { // It ends when the node closes.
		for e := range n.Inbox() {
			r.mu.Lock()
			t := r.tallies[e.Pid]
			if t == nil {
				t = new(Tally)
				r.tallies[e.Pid] = t
			}
			t.Add(e.Msg)
			r.mu.Unlock()
			r.rest()
		}
	}()
	return r
}

// rest pauses. Short pauses are spent spinning, since timers are not that exact.
func (r *Reader) rest() {
	pause := r.Pause.Load()
	end := time.Now().Add(time.Duration(pause))
	for pause > 0 && r.Pause.Load() == pause {
		left := time.Until(end)
		if left <= 0 {
			return
		}
		if left > time.Millisecond {
			time.Sleep(min(left, 5*time.Millisecond))
		}
	}
}

// Tally returns a copy of the tally of one sender.
func (r *Reader) Tally(pid int) *Tally {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tallies[pid] == nil {
		return new(Tally)
	}
	t := *r.tallies[pid]
	t.Spans, t.Faults = slices.Clone(t.Spans), slices.Clone(t.Faults)
	return &t
}
