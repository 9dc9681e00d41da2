package outgoing

import (
	"log/slog"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/calls"
	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
)

// meetUrgent makes a link with a connection to a peer that has an urgent stream, and has answered. Nobody runs it but the test.
func meetUrgent(conn transport.Conn, waiting *calls.Peer) *Link {
	l := NewLink(&Config{
		Self:       stream.Self{Incarnation: 7, Knows: wire.CapResend | wire.CapConfirm | wire.CapUrgent | wire.CapCalls},
		Policy:     stream.Policy{Patience: time.Second},
		QueueBytes: 1 << 20,
		Log:        slog.New(slog.DiscardHandler),
		Woke:       func() {},
		Encrypts:   func(int) bool { return false },
		StateName:  func(stream.Standing) string { return "" },
	}, 1)
	l.calls = waiting
	now := time.Now()
	l.activity = working // so that nobody writes but who decides to
	l.conn, l.route.endpoint, l.route.dialed.Endpoint = conn, "mem://somewhere", "mem://somewhere"
	l.sender.Appeared(now)
	l.sender.Dialed(false, now)
	l.sender.PeerBegan(true, now)
	h := wire.Header{Incarnation: 9, Start: wire.Position{Seq: 1}}
	h.Announce(l.cfg.Self.Knows)
	l.sender.Acked(&h, now)
	h = wire.Header{Incarnation: 9, Start: wire.Position{Seq: 1}, AckIncarnation: 7, Ack: wire.Position{Seq: 1}, Window: 1 << 20}
	l.sender.Acked(&h, now)
	return l
}

// puts queues a message.
func puts(t *testing.T, l *Link, w Waiting) {
	t.Helper()
	var b Batch
	b.Reset()
	if err := b.Append(1, "text", &codec.Limits{Bytes: 1 << 10, Cost: 1 << 10}); err != nil {
		t.Fatal(err)
	}
	if why := l.Put(&b, &w); why != 0 || b.Count() > 0 {
		t.Fatalf("dropped for reason %d, or %d left", why, b.Count())
	}
}

// writesAll lets the link write what it has to, and nobody else.
func writesAll(l *Link) {
	for step, _ := l.plan(time.Now(), false); step == stepWrite; step, _ = l.plan(time.Now(), false) {
		l.write(false, time.Now())
	}
	l.activity = working
}

// Which of all messages the request of a call is, tells whether it was written when others are dropped: also of those that were to go by the
// urgent stream.
func TestCallsBesideUrgentMessagesThatGoByTheOrdinaryStream(t *testing.T) {
	table := calls.NewTable(0)
	l := meetUrgent(openConn{}, table.Peer(1))
	out := make(chan calls.Outcome, 2)
	call := func() *calls.Call {
		c := table.Peer(1).Begin(out)
		puts(t, l, Waiting{Call: c})
		return c
	}
	written := call()
	writesAll(l)
	for range 3 {
		puts(t, l, Waiting{Urgent: true})
	}
	l.mu.Lock()
	l.sender.Doubt()
	l.loadUrgent(time.Now())
	if l.urgent.queue.messages != 0 || l.queue.messages != 3 {
		t.Errorf("%d urgent messages are queued, and %d others", l.urgent.queue.messages, l.queue.messages)
	}
	l.mu.Unlock()
	dropped := call()
	l.mu.Lock()
	l.drop(stream.TimedOut)
	l.mu.Unlock()
	select {
	case o := <-out:
		if o.Call != dropped || o.End != calls.Dropped {
			t.Errorf("of the call %d, which was dropped with the rest, and %d, which was written, %d is told to have ended so: %+v", dropped.Number(), written.Number(), o.Call.Number(), o)
		}
	default:
		t.Error("who waits for a reply to a request that was dropped is told nothing")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endCalls(calls.Down)
	select {
	case o := <-out:
		if o.Call != written || o.End != calls.Down {
			t.Errorf("then came %+v", o)
		}
	default:
		t.Error("who waits for a reply to a request that was written is told nothing when the peer is down")
	}
}

// A lookedConn takes everything, and notes whether it was taken to be idle when it was looked at.
type lookedConn struct {
	openConn
	idle []bool
}

func (c *lookedConn) Stands(idle bool) bool {
	c.idle = append(c.idle, idle)
	return true
}

// A connection that is full of what is urgent is not idle: that it takes no frame shows nothing.
func TestAConnectionWithUrgentMessagesOnTheirWayIsNotIdle(t *testing.T) {
	conn := new(lookedConn)
	l := meetUrgent(conn, nil)
	l.poll = time.Millisecond
	looks := func() bool {
		l.broke.Store(true)
		l.plan(time.Now(), false)
		return conn.idle[len(conn.idle)-1]
	}
	writesAll(l)
	if !looks() {
		t.Error("nothing is on its way, and it is not idle")
	}
	puts(t, l, Waiting{Urgent: true})
	writesAll(l)
	if looks() {
		t.Error("an urgent message is on its way, and it is idle")
	}
	h := wire.Header{
		Flags: wire.FlagResend | wire.FlagUrgent, Incarnation: 9, Start: wire.Position{Seq: 1}, AckIncarnation: 7, Ack: wire.Position{Seq: 2},
		Window: 1 << 20, Resend: wire.Resend{Kept: wire.Position{Seq: 1}, Wanted: wire.Position{Seq: 2}, Held: wire.Position{Seq: 2}},
	}
	if l.Urgent().Acked(&h, nil, time.Now()); !looks() {
		t.Error("it has come, and the connection is not idle")
	}
}
