package clustertest

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/abhishekg16/cluster"
)

var waitingRules = []rule{
	{
		"what waits holds up nothing else",
		"All methods may be called concurrently. While a program waits for room in Outbox or in Send, for what becomes of a message or a call, or for what comes, the other methods return, and what others send arrives.",
		testWaiting,
	},
}

// A waiter is what a program may wait for.
type waiter struct {
	what string
	wait func() // which takes as long as the trial
}

// waiters are those that the server has, for messages to server 1, which is not there.
func (t *trial) waiters(ctx context.Context, s cluster.Server) (all []waiter) {
	message := func() *cluster.Envelope { return &cluster.Envelope{Pid: 1, Msg: make([]byte, 10_000)} }
	all = append(all, waiter{"who puts into Outbox", func() {
		for ctx.Err() == nil {
			select {
			case s.Outbox() <- message():
			case <-ctx.Done():
			}
		}
	}})
	if a, ok := s.(sender); ok {
		all = append(all, waiter{"Send", func() { a.Send(ctx, message()) }})
	}
	if d, ok := s.(deliverer); ok {
		all = append(all, waiter{"Deliver", func() { d.Deliver(ctx, message()) }})
	}
	if c, ok := s.(caller); ok {
		all = append(all, waiter{"Call", func() { c.Call(ctx, 1, "x") }})
	}
	if e, ok := s.(teller); ok {
		all = append(all, waiter{"a range over Events", func() {
			for range e.Events(ctx) {
			}
		}})
	}
	return all
}

func testWaiting(t *trial) {
	t.cfg.SendTimeout, t.cfg.Linger = time.Hour, 50*time.Millisecond
	t.cfg.QueueBytes, t.cfg.OutboxSize = 64<<10, 1
	t.cfg.Peers = t.cfg.Peers[:3]
	a, b := t.start(0), t.start(2) // 1 is not there
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i, w := range t.waiters(ctx, a) {
		go w.wait() // It ends with the context.
		t.moment()
		t.answers(a, w.what)
		t.send(b, 0, i)
		t.expect(a, 2, i)
	}
	r, ok := a.(receiver)
	if !ok {
		return
	}
	var got atomic.Pointer[cluster.Envelope]
	go func() { // likewise
		if e, err := r.Receive(ctx); err == nil {
			got.Store(e)
		}
	}()
	t.moment()
	t.answers(a, "Receive")
	t.send(b, 0, "last")
	t.eventually("Receive returns what comes", func() bool { return got.Load() != nil })
	if e := got.Load(); e.Pid != 2 || e.Msg != "last" {
		t.Errorf("Receive returns %v from %d, want what server 2 has sent", e.Msg, e.Pid)
	}
}

// answers checks that what has not to wait returns, while what waits.
func (t *trial) answers(s cluster.Server, what string) {
	t.Helper()
	answer := func(method string, call func()) {
		t.Helper()
		if !within(trialLimit, call) {
			t.Fatalf("while %s waits, %s has not returned in %v", what, method, trialLimit)
		}
	}
	answer("Pid", func() { s.Pid() })
	answer("Peers", func() { s.Peers() })
	if c, ok := s.(counter); ok {
		answer("Stats", func() { c.Stats() })
	}
	if g, ok := s.(groups); ok {
		answer("Group", func() { g.Group(0, 2) })
	}
	if c, ok := s.(catalogued); ok {
		answer("Catalog", func() { c.Catalog() })
	}
}
