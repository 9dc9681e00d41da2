package clustertest

import (
	"context"
	"errors"

	"github.com/abhishekg16/cluster"
)

var urgentRules = []rule{
	{
		"urgent messages pass those that wait",
		"SendUrgent is for short messages that must not wait for what Send and Outbox have sent before, such as heartbeats: they arrive before what has not been written by then. One that is large is refused.",
		testUrgentPasses,
	},
}

func testUrgentPasses(t *trial) {
	t.cfg.InboxSize, t.cfg.SendTimeout, t.cfg.QueueBytes = 1, trialLimit, 64<<10
	t.cfg.OutboxSize = 200
	servers := t.startAll(2)
	const method = "SendUrgent(context.Context, *cluster.Envelope) error"
	a, b := need[urgentSender](t, servers[0], method), need[urgentSender](t, servers[1], method)
	books := need[counter](t, servers[0], "Stats() cluster.Stats")
	urge := func(s urgentSender, to int, msg any) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), trialLimit)
		defer cancel()
		if err := s.SendUrgent(ctx, &cluster.Envelope{Pid: to, Msg: msg}); err != nil {
			t.Fatalf("SendUrgent: %v", err)
		}
	}
	for range 3 { // after which each has heard that the other has heard it
		urge(a, 1, "hello")
		t.expect(servers[1], 0, "hello")
		urge(b, 0, "hello")
		t.expect(servers[0], 1, "hello")
	}
	if !countedBy(books, 1).Urgent {
		t.skip("the servers have no stream of their own for urgent messages: PeerStats.Urgent is false")
	}
	const count = 40 // of which a window holds a part
	for i := range count {
		m := manner{size: largeSize}
		t.put(servers[0], &cluster.Envelope{Pid: 1, Msg: m.message(i)})
	}
	t.eventually("the Inbox is full", func() bool { return len(servers[1].Inbox()) == 1 })
	const urgent = 3
	for i := range urgent {
		urge(a, 1, i)
	}
	passed, next := 0, 0 // how many urgent ones have come, and large ones
	for range count + urgent {
		switch msg := t.take(servers[1]).Msg.(type) {
		case int:
			if msg != passed {
				t.Fatalf("urgent message %d came instead of %d", msg, passed)
			}
			if passed++; next == count {
				t.Fatalf("urgent message %d came behind all %d messages of %d bytes that waited", msg, count, largeSize)
			}
		default:
			if number(msg) != next {
				t.Fatalf("message %d came instead of %d", number(msg), next)
			}
			next++
		}
	}
	for _, c := range []struct {
		name string
		env  *cluster.Envelope
		want error
	}{
		{"too large", &cluster.Envelope{Pid: 1, Msg: make([]byte, 131_073)}, cluster.ErrTooLarge},
		{"unknown peer", &cluster.Envelope{Pid: 99, Msg: "x"}, cluster.ErrUnknownPeer},
	} {
		if err := a.SendUrgent(context.Background(), c.env); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	t.nothing(servers[1])
}
