package clustertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/abhishekg16/cluster"
)

// A program hands envelopes over in several ways, and takes them in two. What does not depend on the way is tried with each.

var wayRules = []rule{
	{
		"no way of sending changes an envelope",
		"What Send, SendUrgent and Deliver are given belongs to the library as what is put into Outbox does, and is not changed, not even by the message id that is assigned.",
		testNotChangedByAnyWay,
	},
	{
		"every way of sending keeps a MsgId or gives one",
		"Outbox, Send, SendUrgent and Deliver reach every address, keep a MsgId, and give one where it is 0: a positive one that no other message has, of any server, and all copies have.",
		testMsgIDByAnyWay,
	},
}

// A sendMethod is how envelopes are handed over to a server.
type sendMethod struct {
	name string
	send func(ctx context.Context, e *cluster.Envelope) error
}

// ways are those that the server has. By Outbox nothing ever fails.
func (t *trial) ways(s cluster.Server) (all []sendMethod) {
	all = append(all, sendMethod{"Outbox", func(_ context.Context, e *cluster.Envelope) error { t.put(s, e); return nil }})
	add := func(name string, send func(context.Context, *cluster.Envelope) error) {
		all = append(all, sendMethod{name, func(ctx context.Context, e *cluster.Envelope) (err error) {
			t.Helper()
			ctx, cancel := context.WithTimeout(ctx, trialLimit)
			defer cancel()
			if !within(trialLimit+trialSlack, func() { err = send(ctx, e) }) {
				t.Fatalf("%s has not returned %v after its context ended", name, trialSlack)
			}
			if errors.Is(err, cluster.ErrUnsupported) {
				t.put(s, e) // the servers do not confirm: there is no such way
				err = nil
			}
			return err
		}})
	}
	if a, ok := s.(sender); ok {
		add("Send", a.Send)
	}
	if a, ok := s.(urgentSender); ok {
		add("SendUrgent", a.SendUrgent)
	}
	if a, ok := s.(deliverer); ok {
		add("Deliver", a.Deliver)
	}
	return all
}

// eachWay lets servers 0 and 1 send an envelope with each of the ids in each way, to server 2, to a group, to all and to themselves, and
// lets see look at what was sent, as it was and as it is, and at what comes, once for each receiver.
func (t *trial) eachWay(servers []cluster.Server, ids []int64, see func(how string, sent, now, got cluster.Envelope, copy int)) {
	t.Helper()
	for _, s := range servers[:2] {
		peers := without([]int{0, 1, 2}, s.Pid())
		addresses := append(t.addresses(s, 2, peers), manner{name: "send to oneself", to: s.Pid(), all: []int{s.Pid()}})
		for _, w := range t.ways(s) {
			for _, a := range addresses {
				for _, id := range ids {
					how := fmt.Sprintf("%s, a %s", w.name, a.name)
					sent := cluster.Envelope{Pid: a.to, MsgId: id, Msg: how}
					now := sent
					if err := w.send(context.Background(), &now); err != nil {
						t.Fatalf("%s of server %d: %v", how, s.Pid(), err)
					}
					for i, receiver := range a.all {
						got := t.take(servers[receiver])
						if got.Pid != s.Pid() || got.Msg != how {
							t.Fatalf("server %d received %v from %d, want that by %s from %d", receiver, got.Msg, got.Pid, how, s.Pid())
						}
						see(how, sent, now, *got, i)
					}
				}
			}
		}
	}
	for _, s := range servers[:3] {
		t.nothing(s)
	}
}

func testNotChangedByAnyWay(t *trial) {
	t.cfg.Peers = t.cfg.Peers[:3]
	t.eachWay(t.startAll(3), []int64{0, 7}, func(how string, sent, now, _ cluster.Envelope, _ int) {
		if now != sent {
			t.Errorf("%s: after it was sent the envelope is %+v, want %+v as before", how, now, sent)
		}
	})
}

func testMsgIDByAnyWay(t *trial) {
	t.cfg.Peers = t.cfg.Peers[:3]
	assigned := make(map[int64]string)
	last := int64(0)
	t.eachWay(t.startAll(3), []int64{0, 0, 42, -42, 1 << 62}, func(how string, sent, _, got cluster.Envelope, copy int) {
		id := got.MsgId
		switch other, twice := assigned[id]; {
		case sent.MsgId != 0:
			if id != sent.MsgId {
				t.Errorf("%s: got the id %d, want %d to be kept", how, id, sent.MsgId)
			}
			return
		case copy > 0 && id != last:
			t.Errorf("%s: one copy has the id %d and another one %d", how, last, id)
		case copy == 0 && twice:
			t.Errorf("%s: the assigned id is %d, which another message has: %s", how, id, other)
		case id <= 0:
			t.Errorf("%s: the assigned id is %d, want a positive one", how, id)
		}
		assigned[id], last = how, id
	})
}

// drops checks that what a server says it has not sent, since the context had ended, does not arrive.
func (t *trial) drops(a, b cluster.Server) {
	t.Helper()
	done, cancel := context.WithCancel(context.Background())
	cancel()
	said := make(map[any]error)
	for _, w := range t.ways(a)[1:] {
		msg := "by " + w.name + " with a context that is done"
		err := w.send(done, &cluster.Envelope{Pid: b.Pid(), Msg: msg})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a context that is done: %v", w.name, err)
		}
		if !errors.Is(err, cluster.ErrUnconfirmed) {
			said[msg] = err
		}
	}
	// Each way keeps its order: what is behind these would be told of, too.
	for _, w := range t.ways(a) {
		if err := w.send(context.Background(), &cluster.Envelope{Pid: b.Pid(), Msg: w.name}); err != nil {
			t.Fatalf("%s: %v", w.name, err)
		}
	}
	for last := len(t.ways(a)); last > 0; {
		e := t.take(b)
		if err, told := said[e.Msg]; told {
			t.Errorf("what was sent %v arrives, and the error was %v", e.Msg, err)
		}
		if slices.ContainsFunc(t.ways(a), func(w sendMethod) bool { return e.Msg == w.name }) {
			last--
		}
	}
}

// confirmed checks that what b has got counts as confirmed at a, and that nothing else does. Servers that do not confirm count nothing.
func (t *trial) confirmed(a, b cluster.Server) {
	t.Helper()
	d, ok := a.(deliverer)
	if !ok {
		return
	}
	if err := t.deliver(context.Background(), d, &cluster.Envelope{Pid: b.Pid(), Msg: "the last"}); errors.Is(err, cluster.ErrUnsupported) {
		return
	} else if err != nil {
		t.Fatalf("Deliver: %v", err)
	}
	t.expect(b, a.Pid(), "the last")
	counts := func() cluster.SentStats { return countedBy(a.(counter), b.Pid()).Sent }
	t.eventually("what has arrived counts as confirmed", func() bool { return counts().Confirmed == counts().Sent })
	// Now its program stops reading: what is in no Inbox is not confirmed.
	before := countedBy(b.(counter), a.Pid()).Received.Received
	confirmed := counts().Confirmed
	room := cap(b.Inbox())
	for i := range 2*room + spare {
		t.put(a, &cluster.Envelope{Pid: b.Pid(), Msg: i})
	}
	t.eventually("the Inbox is full", func() bool { return len(b.Inbox()) == room })
	t.moment()
	got := counts().Confirmed - confirmed
	if more := countedBy(b.(counter), a.Pid()).Received.Received - before; got > more {
		t.Errorf("%d messages count as confirmed, and %d were put into Inbox", got, more)
	}
}

// takesNothing checks that a Receive whose context has ended leaves in Inbox what it does not return.
func (t *trial) takesNothing(from, s cluster.Server, r receiver) {
	t.Helper()
	const count = 100
	done, cancel := context.WithCancel(context.Background())
	cancel()
	t.feed(from, count, func(i int) *cluster.Envelope { return &cluster.Envelope{Pid: s.Pid(), Msg: i} })
	for next := 0; next < count; {
		t.eventually("the next message is in the Inbox", func() bool { return len(s.Inbox()) > 0 })
		for _, ctx := range []context.Context{done, context.Background()} {
			if next == count {
				break
			}
			var e *cluster.Envelope
			var err error
			if !within(trialLimit, func() { e, err = r.Receive(ctx) }) {
				t.Fatalf("Receive has not returned in %v, of message %d, behind one whose context had ended", trialLimit, next)
			}
			if ctx == done && errors.Is(err, context.Canceled) {
				continue
			}
			if err == nil {
				err = arrived(s, e, true)
			}
			if err != nil || e.Msg != next {
				t.Fatalf("Receive returns %v, %v instead of message %d, behind one whose context had ended", e, err, next)
			}
			next++
		}
	}
}

type receiver interface {
	Receive(ctx context.Context) (*cluster.Envelope, error)
}

func testReceive(t *trial) {
	servers := t.startAll(3)
	r := need[receiver](t, servers[1], "Receive(context.Context) (*cluster.Envelope, error)")
	const count = 1000
	t.feed(servers[0], count, func(i int) *cluster.Envelope { return &cluster.Envelope{Pid: 1, Msg: i} })
	for i := range count {
		if i%3 == 0 {
			t.expect(servers[1], 0, i)
			continue
		}
		switch e, err := t.receive(servers[1], r); {
		case err != nil:
			t.Fatalf("instead of message %d Receive returns the error %v", i, err)
		case e.Pid != 0 || e.Msg != i:
			t.Fatalf("Receive returns %v from %d, want %d from 0", e.Msg, e.Pid, i)
		}
	}
	t.nothing(servers[1])
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	var err error
	if !within(trialLimit, func() { _, err = r.Receive(ctx) }) {
		t.Fatalf("Receive has not returned %v after its context ended", trialLimit)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a message Receive returns %v, want %v", err, context.DeadlineExceeded)
	}
	t.takesNothing(servers[0], servers[1], r)
	if _, ok := servers[1].(closer); !ok {
		return
	}
	t.send(servers[0], 1, "last")
	t.eventually("the message is in the Inbox", func() bool { return len(servers[1].Inbox()) == 1 })
	waits := make(chan error, 1)
	go func() { // It ends with the server, for which the trial waits.
		_, err := servers[2].(receiver).Receive(context.Background())
		waits <- err
	}()
	t.shut(servers[1])
	t.shut(servers[2])
	if e, err := t.receive(servers[1], r); err != nil || e.Msg != "last" {
		t.Errorf("after Close Receive returns %v, %v, want the message that was there", e, err)
	}
	if e, err := t.receive(servers[1], r); !errors.Is(err, cluster.ErrClosed) {
		t.Errorf("after the last message Receive returns %v, %v, want %v", e, err, cluster.ErrClosed)
	}
	select {
	case err := <-waits:
		if !errors.Is(err, cluster.ErrClosed) {
			t.Errorf("who waits in Receive while the server closes gets %v, want %v", err, cluster.ErrClosed)
		}
	case <-time.After(trialLimit):
		t.Errorf("who waits in Receive is not let go within %v of Close", trialLimit)
	}
}

// receive is what Receive returns, for which it has time enough.
func (t *trial) receive(s cluster.Server, r receiver) (e *cluster.Envelope, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), trialLimit)
	defer cancel()
	if !within(2*trialLimit, func() { e, err = r.Receive(ctx) }) {
		t.Fatalf("Receive has not returned %v after its context ended", trialLimit)
	}
	if err == nil {
		err = arrived(s, e, true)
	}
	return e, err
}
