package outgoing

import (
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/calls"
	"github.com/abhishekg16/cluster/internal/wire"
)

// While the peer's window is closed, whoever queues a message has nothing to decide: what is at hand waits for the acknowledgment. It is another
// matter if somebody waits for the message, of which the peer may have to be asked, or if it goes by the urgent stream.
func TestWhatIsQueuedBehindAClosedWindowWakesNobody(t *testing.T) {
	table := calls.NewTable(0)
	l := meetUrgent(openConn{}, table.Peer(1))
	h := wire.Header{
		Flags: wire.FlagResend, Incarnation: 9, Start: wire.Position{Seq: 1}, AckIncarnation: 7, Ack: wire.Position{Seq: 1},
		Window: 1, Resend: wire.Resend{Kept: wire.Position{Seq: 1}, Wanted: wire.Position{Seq: 1}, Held: wire.Position{Seq: 1}},
	}
	l.Acked(&h, nil, time.Now())
	puts(t, l, Waiting{})
	writesAll(l) // one frame may always be on its way
	puts(t, l, Waiting{})
	if step, _ := l.plan(time.Now(), false); step != stepSleep || l.current == nil {
		t.Fatalf("the step is %d, and the parcel at hand %v: the window is not closed", step, l.current)
	}
	woken := func() bool {
		select {
		case <-l.wake:
			return true
		default:
			return false
		}
	}
	woken()
	l.io.Lock() // so that who should decide wakes run for that
	defer l.io.Unlock()
	for name, c := range map[string]struct {
		w     Waiting
		wakes bool
	}{
		"ordinary":           {Waiting{}, false},
		"of a call":          {Waiting{Call: table.Peer(1).Begin(make(chan calls.Outcome, 1))}, true},
		"with a ticket":      {Waiting{Ticket: new(Ticket)}, true},
		"urgent":             {Waiting{Urgent: true}, true},
		"ordinary once more": {Waiting{}, false},
	} {
		l.activity = awaitingAck
		if puts(t, l, c.w); woken() != c.wakes {
			t.Errorf("%s: the goroutine is woken, or a sender writes: %v, want %v", name, !c.wakes, c.wakes)
		}
	}
	h.Ack.Seq, h.Wanted.Seq, h.Held.Seq, h.Window = 2, 2, 2, 1<<20
	if l.Acked(&h, nil, time.Now()); !woken() {
		t.Error("the acknowledgment that opens the window wakes nobody")
	}
	if writesAll(l); !l.queue.empty() || l.current != nil {
		t.Error("not all is written after it")
	}
}
