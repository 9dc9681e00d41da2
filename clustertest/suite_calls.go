package clustertest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/abhishekg16/cluster"
)

var callRules = []rule{
	{
		"a reply goes to the call that waits for it and into no Inbox",
		"Call returns what the other program replies to this request, whose MsgId it has, with that server's id. Programs reply in any order. What is in the caller's Inbox neither holds a reply up nor gets to see it.",
		testReplies,
	},
	{
		"requests keep their order among messages",
		"A request is received in Inbox, once, in its place among what the goroutine that calls sends by Send.",
		testRequestOrder,
	},
	{
		"the error of a call tells what went wrong and whether the request was seen",
		"It is a CallError with the id of the server: the other program's error as a RemoteError, a RefusedError if the other node does not take the request, or one of the errors of Send. If MaybeSeen is false, the other program has not received the request, and will not.",
		testCallErrors,
	},
	{
		"a call ends with its context and with its peer",
		"Nobody waits for a reply that cannot come: if the server is not there, or closes, or the context ends, the call fails. So it does if its own server closes.",
		testCallEnds,
	},
	{
		"a late reply disturbs nobody",
		"A reply to a call that has ended goes nowhere: into no Inbox, and to no other call. It is counted as refused.",
		testLateReply,
	},
	{
		"CallAll yields one result for each server as it comes",
		"That is a reply or a CallError, from each server of the address, and none of them waits for another's. A program that has seen enough breaks off, and when the context ends, those that are left yield its error.",
		testCallAll,
	},
}

type caller interface {
	Call(ctx context.Context, pid int, msg any) (*cluster.Envelope, error)
}

// calls is the server with Call, once it has called the others. Where servers do not take calls, the rule is skipped. The programs of the others are to
// take the calls that are made then.
func (t *trial) calls(from cluster.Server, to ...cluster.Server) caller {
	t.Helper()
	c := need[caller](t, from, "Call(context.Context, int, any) (*cluster.Envelope, error)")
	for _, s := range to {
		t.eventually("a server that is there takes calls", func() bool { // A SendTimeout that is short may be too short for the first question.
			done := t.call(context.Background(), c, s.Pid(), "do you take calls?")
			select {
			case e, open := <-s.Inbox():
				if err := arrived(s, e, open); err != nil {
					t.Fatal(err)
				} else if r, ok := e.Msg.(*cluster.Request); !ok {
					t.Fatalf("server %d received %v (%T), want a request", s.Pid(), e.Msg, e.Msg)
				} else if err := r.Reply(context.Background(), "yes"); err != nil {
					t.Fatalf("Reply: %v", err)
				}
				if env, err := t.outcome(done); err != nil || env.Msg != "yes" {
					t.Fatalf("Call to server %d returns %v, %v, want its reply", s.Pid(), env, err)
				}
				return true
			case o := <-done:
				if errors.Is(o.err, cluster.ErrNoCalls) {
					t.skip("the servers do not take calls: Call returns ErrNoCalls")
				} else if !errors.Is(o.err, cluster.ErrUnreachable) {
					t.Fatalf("Call to server %d, which is there, returns %v, %v before that has received the request", s.Pid(), o.env, o.err)
				}
			case <-time.After(trialLimit):
			}
			return false
		})
	}
	return c
}

// A called is what came of a call.
type called struct {
	env *cluster.Envelope
	err error
}

// call calls, and returns where the outcome will come.
func (t *trial) call(ctx context.Context, c caller, pid int, msg any) <-chan called {
	done := make(chan called, 1)
	go func() { // It ends with the call, at the latest when the server closes.
		env, err := c.Call(ctx, pid, msg)
		done <- called{env, err}
	}()
	return done
}

// outcome is what a call returns, which must not take long.
func (t *trial) outcome(done <-chan called) (*cluster.Envelope, error) {
	t.Helper()
	select {
	case o := <-done:
		if (o.env == nil) == (o.err == nil) {
			t.Fatalf("Call returns %v, %v, want a reply or an error", o.env, o.err)
		}
		return o.env, o.err
	case <-time.After(trialLimit):
		t.Fatalf("Call has not returned in %v", trialLimit)
	}
	panic("not reached")
}

// request takes the next envelope, which must be a request.
func (t *trial) request(s cluster.Server) (*cluster.Request, *cluster.Envelope) {
	t.Helper()
	e := t.take(s)
	r, ok := e.Msg.(*cluster.Request)
	if !ok {
		t.Fatalf("server %d received %v (%T), want a request", s.Pid(), e.Msg, e.Msg)
	}
	return r, e
}

// failed checks the error of a call; what says which.
func (t *trial) failed(what string, err error, pid int, seen bool, want ...error) {
	t.Helper()
	var c *cluster.CallError
	is := false
	for _, w := range want {
		is = is || errors.Is(err, w)
	}
	switch {
	case !is:
		t.Errorf("%s: got %v, want %v", what, err, errors.Join(want...))
	case !errors.As(err, &c) || c.Pid != pid:
		t.Errorf("%s: %v is no CallError with the id %d", what, err, pid)
	case c.MaybeSeen != seen:
		t.Errorf("%s: MaybeSeen is %v: %v", what, c.MaybeSeen, err)
	}
}

func testReplies(t *trial) {
	t.cfg.SendTimeout = trialLimit
	t.cfg.InboxSize = 1
	a := t.start(0)
	t.cfg.InboxSize = 0
	b := t.start(1)
	c := t.calls(a, b)
	// The caller's Inbox is full, and its program takes nothing.
	const count = 50
	for i := range 10 {
		t.send(b, 0, i)
	}
	t.eventually("the Inbox is full", func() bool { return len(a.Inbox()) == 1 })
	waiting := make([]<-chan called, count)
	for i := range count {
		waiting[i] = t.call(context.Background(), c, 1, i)
	}
	ids := make([]int64, count)
	var requests []*cluster.Request
	for range count {
		r, e := t.request(b)
		i, ok := r.Msg.(int)
		if e.Pid != 0 || !ok || i < 0 || i >= count || ids[i] != 0 {
			t.Fatalf("server 1 received the request %v from %d", r.Msg, e.Pid)
		}
		ids[i], requests = e.MsgId, append(requests, r)
	}
	for i := range count {
		r := requests[count-1-i]
		if err := r.Reply(context.Background(), -r.Msg.(int)); err != nil {
			t.Fatalf("Reply: %v", err)
		}
	}
	for i, done := range waiting {
		if env, err := t.outcome(done); err != nil || env.Msg != -i || env.Pid != 1 || env.MsgId != ids[i] {
			t.Errorf("Call %d returns %+v, %v, want %d from 1 with the id %d", i, env, err, -i, ids[i])
		}
	}
	for i := range 10 {
		t.expect(a, 1, i)
	}
	for _, m := range append(payloads(), make([]byte, largeSize)) {
		done := t.call(context.Background(), c, 1, m)
		if r, _ := t.request(b); !reflect.DeepEqual(r.Msg, m) {
			t.Errorf("a request of %.50s (%T) arrives as %.50s (%T)", fmt.Sprint(m), m, fmt.Sprint(r.Msg), r.Msg)
		} else {
			r.Reply(context.Background(), m)
		}
		if env, err := t.outcome(done); err != nil || !reflect.DeepEqual(env.Msg, m) {
			t.Errorf("a reply of %.50s (%T): got %.50s, %v", fmt.Sprint(m), m, fmt.Sprint(env), err)
		}
	}
	done := t.call(context.Background(), c, 0, "to oneself")
	r, _ := t.request(a)
	r.Reply(context.Background(), r.Msg)
	if env, err := t.outcome(done); err != nil || env.Msg != "to oneself" || env.Pid != 0 {
		t.Errorf("a call to oneself returns %v, %v", env, err)
	}
	t.nothing(a)
}

func testRequestOrder(t *trial) {
	servers := t.startAll(2)
	a := need[sender](t, servers[0], "Send(context.Context, *cluster.Envelope) error")
	c := t.calls(servers[0], servers[1])
	const rounds = 12
	failed := make(chan error, 1)
	go func() { // It ends with the last message, or with the trial: then the server closes.
		defer close(failed)
		for i := range rounds {
			m := manner{size: []int{smallSize, largeSize, batchSize}[i%3]}
			err := a.Send(context.Background(), &cluster.Envelope{Pid: 1, Msg: m.message(2 * i)})
			if err == nil {
				_, err = c.Call(context.Background(), 1, m.message(2*i+1))
			}
			if err != nil {
				failed <- err
				return
			}
		}
	}()
	for i := range 2 * rounds {
		msg := t.take(servers[1]).Msg
		r, ok := msg.(*cluster.Request)
		if ok {
			msg = r.Msg
		}
		if got := number(msg); got != i || ok != (i%2 == 1) {
			t.Fatalf("server 1 received number %d instead of %d, of which each other is a request", got, i)
		}
		if ok {
			r.Reply(context.Background(), "next")
		}
	}
	if err := <-failed; err != nil {
		t.Errorf("sending: %v", err)
	}
	t.nothing(servers[1])
}

func testCallErrors(t *trial) {
	t.cfg.MaxMessageBytes = 50_000
	a := t.start(0)
	t.cfg.MaxMessageBytes = 1000
	strict := t.start(1)
	t.cfg.MaxMessageBytes = 0
	large := t.start(2)
	c := t.calls(a, strict, large)
	type stranger struct{ X int }
	done, cancel := context.WithCancel(context.Background())
	cancel()
	for _, x := range []struct {
		name    string
		ctx     context.Context
		pid     int
		msg     any
		want    error
		refused bool // by the other server
	}{
		{"what the other finds too large", context.Background(), 1, make([]byte, 2000), cluster.ErrTooLarge, true},
		{"what the other cannot decode", context.Background(), 1, trialRiddle{"x"}, cluster.ErrNotEncodable, true},
		{"to an unknown server", context.Background(), 99, "x", cluster.ErrUnknownPeer, false},
		{"what is too large", context.Background(), 1, make([]byte, 60_000), cluster.ErrTooLarge, false},
		{"of an unregistered type", context.Background(), 1, stranger{1}, cluster.ErrNotEncodable, false},
		{"with a context that is done", done, 1, "x", context.Canceled, false},
	} {
		_, err := t.outcome(t.call(x.ctx, c, x.pid, x.msg))
		t.failed(x.name, err, x.pid, false, x.want)
		var refused *cluster.RefusedError
		if errors.As(err, &refused) != x.refused {
			t.Errorf("%s: that it is a RefusedError is %v, want %v: %v", x.name, !x.refused, x.refused, err)
		}
	}
	t.nothing(strict)
	// What the other program answers.
	waits := t.call(context.Background(), c, 1, "x")
	r, _ := t.request(strict)
	if err := r.Fail(context.Background(), errors.New("not today")); err != nil {
		t.Fatalf("Fail: %v", err)
	}
	if err := r.Reply(context.Background(), "after all"); !errors.Is(err, cluster.ErrAnswered) {
		t.Errorf("a second answer: got %v, want %v", err, cluster.ErrAnswered)
	}
	_, err := t.outcome(waits)
	var remote *cluster.RemoteError
	if !errors.As(err, &remote) || remote.Pid != 1 || remote.Text != "not today" {
		t.Errorf("the other program's error: got %v, want a RemoteError of server 1 with its text", err)
	} else {
		t.failed("the other program's error", err, 1, true, remote)
	}
	waits = t.call(context.Background(), c, 2, "x")
	r, _ = t.request(large)
	if err := r.Reply(context.Background(), make([]byte, 60_000)); err != nil {
		t.Fatalf("Reply: %v", err)
	}
	_, err = t.outcome(waits)
	t.failed("a reply that is too large for the caller", err, 2, true, cluster.ErrTooLarge)
	t.nothing(a)
	if _, ok := a.(closer); ok {
		t.shut(a)
		_, err := t.outcome(t.call(context.Background(), c, 1, "x"))
		t.failed("by a closed server", err, 1, false, cluster.ErrClosed)
	}
}
