package clustertest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/abhishekg16/cluster"
)

func testCallEnds(t *trial) {
	t.cfg.SendTimeout = t.patience(200 * time.Millisecond)
	servers := t.startAll(2) // 2 is not there
	c := t.calls(servers[0], servers[1])
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	waits := t.call(ctx, c, 1, "x")
	t.request(servers[1])
	cancel()
	_, err := t.outcome(waits)
	t.failed("the context ends", err, 1, true, context.Canceled)
	began := time.Now()
	_, err = t.outcome(t.call(context.Background(), c, 2, "x"))
	t.failed("the server is not there", err, 2, false, cluster.ErrUnreachable)
	if took := time.Since(began); took > t.cfg.SendTimeout+t.slack() {
		t.Errorf("that a server is not there took %v to tell, want SendTimeout (%v) and a little", took, t.cfg.SendTimeout)
	}
	if _, ok := servers[1].(closer); !ok {
		return
	}
	waits = t.call(context.Background(), c, 1, "x")
	t.request(servers[1])
	t.shut(servers[1])
	servers[1] = t.start(1)
	_, err = t.outcome(waits)
	t.failed("the server closes, and starts anew", err, 1, true, cluster.ErrUnreachable, cluster.ErrRestarted)
	t.eventually("the server's next life takes calls", func() bool {
		waits = t.call(context.Background(), c, 1, "x")
		select {
		case <-servers[1].Inbox():
			return true
		case <-waits:
			return false
		case <-time.After(trialLimit):
			return false
		}
	})
	t.end(0, servers[0].(closer).Close)
	_, err = t.outcome(waits)
	t.failed("its own server closes", err, 1, true, cluster.ErrClosed)
}

func testLateReply(t *trial) {
	servers := t.startAll(2)
	c := t.calls(servers[0], servers[1])
	const count = 5
	for i := range count {
		ctx, cancel := context.WithCancel(context.Background())
		waits := t.call(ctx, c, 1, i)
		late, _ := t.request(servers[1])
		cancel()
		if _, err := t.outcome(waits); err == nil {
			t.Errorf("a call whose context has ended returns a reply, and nobody had replied")
		}
		next := t.call(context.Background(), c, 1, "next")
		r, _ := t.request(servers[1])
		for _, r := range []*cluster.Request{late, r} {
			if err := r.Reply(context.Background(), r.Msg); err != nil {
				t.Errorf("Reply, whether it is late or not: %v", err)
			}
		}
		if env, err := t.outcome(next); err != nil || env.Msg != "next" {
			t.Errorf("the next call returns %v, %v, want its own reply", env, err)
		}
	}
	t.nothing(servers[0])
	if s, ok := servers[0].(counter); ok {
		if got := countedBy(s, 1).Received.Refused[cluster.RefusedLate]; got != count {
			t.Errorf("%d replies are counted as late, want %d", got, count)
		}
	}
}

type allCaller interface {
	CallAll(ctx context.Context, address int, msg any) iter.Seq2[*cluster.Envelope, error]
}

// answer lets a goroutine answer the requests to a server.
func (t *trial) answer(s cluster.Server, f func(r *cluster.Request)) {
	go func() { // It ends with the trial, or when the server closes.
		for {
			select {
			case e, open := <-s.Inbox():
				if !open {
					return
				}
				if err := arrived(s, e, open); err != nil {
					t.Error(err)
				} else if r, ok := e.Msg.(*cluster.Request); ok {
					f(r)
				}
			case <-t.over:
				return
			}
		}
	}()
}

func testCallAll(t *trial) {
	t.cfg.SendTimeout = t.patience(200 * time.Millisecond)
	t.cfg.Peers = t.cfg.Peers[:4]
	servers := t.startAll(3) // 3 is not there
	t.calls(servers[0], servers[1:]...)
	a := need[allCaller](t, servers[0], "CallAll(context.Context, int, any) iter.Seq2[*cluster.Envelope, error]")
	ctx := context.Background()
	t.answer(servers[1], func(r *cluster.Request) { r.Reply(ctx, fmt.Sprint("reply to ", r.Msg)) })
	seen := make(chan bool, 1) // a token when there is a result
	t.answer(servers[2], func(r *cluster.Request) {
		switch r.Msg {
		case "silence":
			return
		case "later":
			select {
			case <-seen:
			case <-t.over:
			}
		}
		r.Fail(ctx, errors.New("no"))
	})
	results := t.callAll(ctx, a, cluster.BROADCAST, "later", 99, func() {
		select {
		case seen <- true:
		default:
		}
	})
	t.yielded("BROADCAST", results, 1, 2, 3)
	if o := results[1]; o.err != nil || o.env.Msg != "reply to later" {
		t.Errorf("server 1 yields %v, %v, want its reply", o.env, o.err)
	}
	var remote *cluster.RemoteError
	if o := results[2]; !errors.As(o.err, &remote) {
		t.Errorf("server 2 yields %v, want its error", o.err)
	}
	t.failed("a server that is not there", results[3].err, 3, false, cluster.ErrUnreachable)
	if g, ok := servers[0].(groups); ok {
		group, err := g.Group(1, 2)
		if err != nil {
			t.Fatalf("Group: %v", err)
		}
		t.yielded("a group", t.callAll(ctx, a, group, "x", 99, nil), 1, 2)
		// What it is broken off for does not come by itself.
		if n := len(t.callAll(ctx, a, group, "silence", 1, nil)); n != 1 {
			t.Errorf("who breaks off after one result has %d", n)
		}
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	results = t.callAll(short, a, cluster.BROADCAST, "silence", 99, nil)
	t.yielded("when the context ends, BROADCAST", results, 1, 2, 3)
	t.failed("a server that has not replied when the context ends", results[2].err, 2, true, context.DeadlineExceeded)
}

// callAll are the results of CallAll by server, until there are enough. It calls have, if not nil, for each.
func (t *trial) callAll(ctx context.Context, a allCaller, address int, msg string, enough int, have func()) map[int]called {
	t.Helper()
	results := make(map[int]called)
	if !within(trialLimit, func() {
		for env, err := range a.CallAll(ctx, address, msg) {
			pid := -1
			var failed *cluster.CallError
			if errors.As(err, &failed) {
				pid = failed.Pid
			} else if env != nil {
				pid = env.Pid
			}
			if _, again := results[pid]; again {
				t.Errorf("CallAll yields %v, %v, after another result of server %d", env, err, pid)
			}
			if results[pid] = (called{env, err}); have != nil {
				have()
			}
			if len(results) == enough {
				break
			}
		}
	}) {
		t.Fatalf("CallAll of %q has not ended in %v", msg, trialLimit)
	}
	return results
}

// yielded checks of which servers there are results.
func (t *trial) yielded(what string, results map[int]called, want ...int) {
	t.Helper()
	if got := slices.Sorted(maps.Keys(results)); !slices.Equal(got, want) {
		t.Errorf("%s yields results of the servers %v, want %v", what, got, want)
	}
}
