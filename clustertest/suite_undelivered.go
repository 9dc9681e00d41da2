package clustertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/abhishekg16/cluster"
)

func testNotDelivered(t *trial) {
	t.cfg.MaxMessageBytes = 1000
	t.cfg.SendTimeout = 100 * time.Millisecond
	servers := t.startAll(2) // 2 is not there
	d := t.delivers(servers[0], servers[1])
	type stranger struct{ X int }
	done, cancel := context.WithCancel(context.Background())
	cancel()
	tell := func(name string, ctx context.Context, e *cluster.Envelope, want ...error) {
		t.Helper()
		err := t.deliver(ctx, d, e)
		if !slices.ContainsFunc(want, func(w error) bool { return errors.Is(err, w) }) || errors.Is(err, cluster.ErrUnconfirmed) {
			t.Errorf("%s: got %v, want %v", name, err, errors.Join(want...))
		}
	}
	ctx := context.Background()
	tell("unknown peer", ctx, &cluster.Envelope{Pid: 99, Msg: "x"}, cluster.ErrUnknownPeer)
	tell("unknown group", ctx, &cluster.Envelope{Pid: -7, Msg: "x"}, cluster.ErrUnknownPeer)
	tell("too large", ctx, &cluster.Envelope{Pid: 1, Msg: make([]byte, 1001)}, cluster.ErrTooLarge)
	tell("unregistered", ctx, &cluster.Envelope{Pid: 1, Msg: stranger{1}}, cluster.ErrNotEncodable)
	tell("no envelope", ctx, nil, cluster.ErrNotEncodable)
	tell("with a context that is done", done, &cluster.Envelope{Pid: 1, Msg: "x"}, context.Canceled)
	began := time.Now()
	tell("to a server that is not there", ctx, &cluster.Envelope{Pid: 2, Msg: "x"}, cluster.ErrTimedOut, cluster.ErrUnreachable)
	if took := time.Since(began); took > t.cfg.SendTimeout+t.slack() {
		t.Errorf("that a server is not there took %v to tell, want SendTimeout (%v) and a little", took, t.cfg.SendTimeout)
	}
	c := t.start(2)
	sent, may := -1, make(map[any]bool) // which may arrive before the last
	t.eventually("the server that is there now gets what is delivered to it", func() bool {
		sent++
		err := t.deliver(ctx, d, &cluster.Envelope{Pid: 2, Msg: sent})
		may[sent] = errors.Is(err, cluster.ErrUnconfirmed)
		return err == nil
	})
	for got := any(nil); got != sent; {
		if got = t.take(c).Msg; got != sent && !may[got] {
			t.Fatalf("server 2 received %v, of which Deliver had said that it is not delivered", got)
		}
	}
	t.nothing(servers[1])
	if _, ok := servers[0].(closer); ok {
		t.shut(servers[0])
		tell("a closed server", ctx, &cluster.Envelope{Pid: 1, Msg: "x"}, cluster.ErrClosed)
	}
}

func testUnconfirmed(t *trial) {
	t.cfg.InboxSize, t.cfg.SendTimeout, t.cfg.Linger = 1, trialLimit, 20*time.Millisecond
	servers := t.startAll(2)
	t.delivers(servers[0], servers[1])
	var h History
	ctx, cancel := context.WithCancel(context.Background())
	t.deliverUntil("its context ends", ctx, servers[0], servers[1], &h, cancel, context.Canceled)
	t.drain(servers[1], &h)
	if err := h.Check(); err != nil {
		t.Error(firstLines(err, 10))
	}
	if _, ok := servers[0].(closer); !ok {
		return
	}
	for _, end := range []struct {
		when string
		end  func(sender cluster.Server)
	}{
		{"the sender closes", func(sender cluster.Server) { t.end(2, sender.(closer).Close) }},
		{"the receiver starts anew", func(cluster.Server) {
			h.Ended(1) // What is left of what it had taken is for another rule.
			t.end(1, servers[1].(closer).Close)
			t.drain(servers[1], &h)
			servers[1] = t.start(1)
		}},
	} {
		sender := t.start(2)
		t.delivers(sender, servers[1])
		t.deliverUntil(end.when, context.Background(), sender, servers[1], &h, func() { end.end(sender) }, cluster.ErrUnconfirmed)
		t.drain(servers[1], &h)
		t.end(2, sender.(closer).Close)
	}
	if err := h.Check(); err != nil {
		t.Error(firstLines(err, 10))
	}
}

// deliverUntil passes messages for server 1, whose program takes nothing, to Deliver until that waits, since Inbox is full. Then it calls end, of
// which Deliver has to tell as want.
func (t *trial) deliverUntil(when string, ctx context.Context, from, to cluster.Server, h *History, end func(), want error) {
	t.Helper()
	const most = 10
	ended := false
	for i := range most {
		wait := trialLimit // The first has room, and those after the end do not wait.
		if i > 0 && !ended {
			// What stands between Inbox and the server may have room for some more.
			t.eventually("the Inbox is full", func() bool { return len(to.Inbox()) == 1 })
			wait = t.quiet(500 * time.Millisecond)
		}
		e := &cluster.Envelope{Pid: 1, Msg: fmt.Sprint(when, " ", i)}
		h.Sent(from.Pid(), e)
		told := make(chan error, 1)
		go func() { told <- from.(deliverer).Deliver(ctx, e) }() // It ends with Deliver, at the latest when the server closes.
		err, returned := outcomeIn(wait, told)
		if !returned && i > 0 && !ended {
			end()
			ended = true
			err, returned = outcomeIn(trialLimit, told)
		}
		switch {
		case !returned && ended:
			t.Fatalf("%s, and Deliver has not returned %v later", when, trialLimit)
		case !returned:
			t.Fatalf("Inbox is empty, and Deliver has not returned in %v", trialLimit)
		}
		if h.Delivered(from.Pid(), e, err); err == nil {
			continue
		}
		if !errors.Is(err, want) {
			t.Errorf("%s, and Deliver returns %v, want %v", when, err, want)
		}
		return
	}
	t.Errorf("%d messages are delivered, and Inbox holds 1", most)
}

// outcomeIn is what Deliver has told within d, if it has.
func outcomeIn(d time.Duration, told <-chan error) (err error, returned bool) {
	select {
	case err = <-told:
		return err, true
	case <-time.After(d):
	}
	select {
	case err = <-told: // at the same time
		return err, true
	default:
		return nil, false
	}
}

// drain takes what comes, until nothing does for a while.
func (t *trial) drain(s cluster.Server, h *History) {
	for {
		select {
		case e, open := <-s.Inbox():
			if !open {
				return
			}
			if err := arrived(s, e, open); err != nil {
				t.Error(err)
				continue
			}
			h.Received(s.Pid(), e)
		case <-time.After(t.quiet(time.Second)):
			return
		}
	}
}

func testDeliverSeveral(t *trial) {
	t.cfg.SendTimeout = t.patience(300 * time.Millisecond)
	t.cfg.Peers = t.cfg.Peers[:4]
	servers := t.startAll(2) // 3 is not there
	t.cfg.MaxMessageBytes = 1000
	servers = append(servers, t.start(2))
	d := t.delivers(servers[0], servers[1:]...)
	tell := func(to int, size int, has []int, want map[int][]error) {
		t.Helper()
		m := manner{size: size}
		err := t.deliver(context.Background(), d, &cluster.Envelope{Pid: to, Msg: m.message(size)})
		missed := unreached(err)
		for id, failed := range missed {
			if !slices.ContainsFunc(want[id], func(w error) bool { return errors.Is(failed, w) }) || errors.Is(failed, cluster.ErrUnconfirmed) {
				t.Errorf("to %d, the error for server %d: got %v, want %v", to, id, failed, errors.Join(want[id]...))
			}
		}
		if len(missed) != len(want) || (err == nil) != (len(want) == 0) {
			t.Errorf("to %d: the error names the servers %v, want %v: %v", to, slices.Sorted(maps.Keys(missed)), slices.Sorted(maps.Keys(want)), err)
		}
		for _, id := range has {
			if e := t.take(servers[id]); number(e.Msg) != size {
				t.Errorf("server %d received %.50s, want what was delivered", id, fmt.Sprint(e.Msg))
			}
		}
	}
	gone := []error{cluster.ErrTimedOut, cluster.ErrUnreachable}
	tell(cluster.BROADCAST, 10, []int{1, 2}, map[int][]error{3: gone})
	tell(cluster.BROADCAST, 2000, []int{1}, map[int][]error{2: {cluster.ErrTooLarge}, 3: gone})
	if g, ok := servers[0].(groups); ok {
		all, err := g.Group(0, 1, 2)
		if err != nil {
			t.Fatalf("Group: %v", err)
		}
		tell(all, 20, []int{0, 1, 2}, nil)
		tell(all, 3000, []int{0, 1}, map[int][]error{2: {cluster.ErrTooLarge}})
	}
	for _, s := range servers {
		t.nothing(s)
	}
}
