package clustertest_test

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/abhishekg16/cluster"
)

const (
	ruleReplies      = "a reply goes to the call that waits for it and into no Inbox"
	ruleRequestOrder = "requests keep their order among messages"
	ruleCallErrors   = "the error of a call tells what went wrong and whether the request was seen"
	ruleCallEnds     = "a call ends with its context and with its peer"
	ruleLate         = "a late reply disturbs nobody"
	ruleCallAll      = "CallAll yields one result for each server as it comes"
)

// calls lets f stand in for Call.
func calls(f func(b *broken, ctx context.Context, pid int, msg any) (*cluster.Envelope, error)) func(*broken) {
	return func(b *broken) {
		b.call = func(ctx context.Context, pid int, msg any) (*cluster.Envelope, error) { return f(b, ctx, pid, msg) }
	}
}

// returns lets f change what Call returns.
func returns(f func(*cluster.Envelope, error) (*cluster.Envelope, error)) func(*broken) {
	return calls(func(b *broken, ctx context.Context, pid int, msg any) (*cluster.Envelope, error) {
		return f(b.Node.Call(ctx, pid, msg))
	})
}

// fails lets f change the error of Call.
func fails(f func(*cluster.CallError) error) func(*broken) {
	return returns(func(e *cluster.Envelope, err error) (*cluster.Envelope, error) {
		if failed, ok := err.(*cluster.CallError); ok {
			err = f(failed)
		}
		return e, err
	})
}

// callsAll lets f change how CallAll yields.
func callsAll(f func(b *broken, all iter.Seq2[*cluster.Envelope, error], yield func(*cluster.Envelope, error) bool)) func(*broken) {
	return func(b *broken) {
		b.callAll = func(ctx context.Context, address int, msg any) iter.Seq2[*cluster.Envelope, error] {
			return func(yield func(*cluster.Envelope, error) bool) { f(b, b.Node.CallAll(ctx, address, msg), yield) }
		}
	}
}

// brokenCalls are servers whose calls break a rule.
var brokenCalls = []breakage{
	{"replies go into Inbox, too", ruleReplies, func(b *broken) {
		b.mix()
		b.call = func(ctx context.Context, pid int, msg any) (*cluster.Envelope, error) {
			e, err := b.Node.Call(ctx, pid, msg)
			if err == nil {
				again := *e
				go b.slip(&again) // ends as the node closes
			}
			return e, err
		}
	}},
	{"a reply goes to the call that has waited longest", ruleReplies, func(b *broken) {
		var mu sync.Mutex // guards what follows
		var waiting []chan *cluster.Envelope
		b.call = func(ctx context.Context, pid int, msg any) (*cluster.Envelope, error) {
			mine := make(chan *cluster.Envelope, 1)
			mu.Lock()
			waiting = append(waiting, mine)
			mu.Unlock()
			e, err := b.Node.Call(ctx, pid, msg)
			mu.Lock()
			first := waiting[0]
			waiting = waiting[1:]
			mu.Unlock()
			if err != nil {
				return nil, err
			}
			first <- e
			return <-mine, nil
		}
	}},
	{"a reply waits for what came before it", ruleReplies, calls(func(b *broken, ctx context.Context, pid int, msg any) (*cluster.Envelope, error) {
		e, err := b.Node.Call(ctx, pid, msg)
		for len(b.Node.Inbox()) > 0 {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-b.Node.Done():
				return e, err
			}
		}
		return e, err
	})},
	{"a reply has an id of its own", ruleReplies, returns(func(e *cluster.Envelope, err error) (*cluster.Envelope, error) {
		if e != nil {
			e.MsgId++
		}
		return e, err
	})},
	{"what is large is received behind the next request", ruleRequestOrder, func(b *broken) {
		var kept *cluster.Envelope
		b.receive(func(e *cluster.Envelope, on func(*cluster.Envelope)) {
			if kept == nil && size(e) > 8<<10 { // a request has no size
				kept = e
				return
			}
			on(e)
			if kept != nil {
				on(kept)
				kept = nil
			}
		})
	}},
	{"requests overtake what is large", ruleRequestOrder, func(b *broken) {
		b.say = func(ctx context.Context, e *cluster.Envelope) error {
			if size(e) > 8<<10 {
				time.AfterFunc(time.Millisecond, func() { b.Node.Send(ctx, e) })
				return nil
			}
			return b.Node.Send(ctx, e)
		}
	}},
	{"what is not answered soon is asked again", ruleRequestOrder, calls(func(b *broken, ctx context.Context, pid int, msg any) (*cluster.Envelope, error) {
		go b.Node.Call(ctx, pid, msg) // ends as the node closes
		return b.Node.Call(ctx, pid, msg)
	})},

	// Errors.
	{"the other's error is a reply", ruleCallErrors, returns(func(e *cluster.Envelope, err error) (*cluster.Envelope, error) {
		var remote *cluster.RemoteError
		if errors.As(err, &remote) {
			return &cluster.Envelope{Pid: remote.Pid, Msg: remote.Text}, nil
		}
		return e, err
	})},
	{"every request may have been seen", ruleCallErrors, fails(func(err *cluster.CallError) error {
		err.MaybeSeen = true
		return err
	})},
	{"no request was seen", ruleCallErrors, fails(func(err *cluster.CallError) error {
		err.MaybeSeen = false
		return err
	})},
	{"who refuses says nothing", ruleCallErrors, fails(func(err *cluster.CallError) error {
		var refused *cluster.RefusedError
		if errors.As(err, &refused) {
			err.Err = cluster.ErrTimedOut
		}
		return err
	})},
	{"the error does not say of which call", ruleCallErrors, fails(func(err *cluster.CallError) error { return err.Err })},

	// The end of calls.
	{"Call does not look at its context", ruleCallEnds, calls(func(b *broken, ctx context.Context, pid int, msg any) (*cluster.Envelope, error) {
		return b.Node.Call(context.WithoutCancel(ctx), pid, msg)
	})},
	{"who calls a server that closes waits on", ruleCallEnds, calls(func(b *broken, ctx context.Context, pid int, msg any) (*cluster.Envelope, error) {
		e, err := b.Node.Call(ctx, pid, msg)
		if errors.Is(err, cluster.ErrUnreachable) || errors.Is(err, cluster.ErrRestarted) {
			<-b.Node.Done()
		}
		return e, err
	})},
	{"what a server that closes had was not seen", ruleCallEnds, fails(func(err *cluster.CallError) error {
		if errors.Is(err, cluster.ErrUnreachable) || errors.Is(err, cluster.ErrRestarted) {
			err.MaybeSeen = false
		}
		return err
	})},
	{"Call keeps its own server from closing", ruleCallEnds, calls(func(b *broken, ctx context.Context, pid int, msg any) (*cluster.Envelope, error) {
		e, err := b.Node.Call(ctx, pid, msg)
		if errors.Is(err, cluster.ErrClosed) {
			time.Sleep(time.Hour)
		}
		return e, err
	})},

	// Late replies.
	{"a late reply goes into Inbox", ruleLate, func(b *broken) {
		b.mix()
		b.call = func(ctx context.Context, pid int, msg any) (*cluster.Envelope, error) {
			late := make(chan *cluster.Envelope, 1)
			go func() { // ends as the node closes
				e, _ := b.Node.Call(context.WithoutCancel(ctx), pid, msg)
				late <- e
			}()
			select {
			case e := <-late:
				return e, nil
			case <-ctx.Done():
			}
			go func() { // likewise
				if e := <-late; e != nil {
					b.slip(e)
				}
			}()
			return nil, ctx.Err()
		}
	}},
	{"a late reply is the next call's", ruleLate, func(b *broken) {
		late := make(chan *cluster.Envelope, 100)
		b.call = func(ctx context.Context, pid int, msg any) (*cluster.Envelope, error) {
			go func() { // ends as the node closes
				e, err := b.Node.Call(context.WithoutCancel(ctx), pid, msg)
				if err == nil {
					late <- e
				}
			}()
			select {
			case e := <-late:
				return e, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}},
	{"a late reply is not counted", ruleLate, statistics(func(s *cluster.Stats) {
		for i := range s.Peers {
			delete(s.Peers[i].Received.Refused, cluster.RefusedLate)
		}
	})},

	// Calls to several.
	{"CallAll says nothing of who is not there", ruleCallAll, callsAll(func(_ *broken, all iter.Seq2[*cluster.Envelope, error], yield func(*cluster.Envelope, error) bool) {
		for e, err := range all {
			if !errors.Is(err, cluster.ErrUnreachable) && !yield(e, err) {
				return
			}
		}
	})},
	{"CallAll waits for all", ruleCallAll, callsAll(func(_ *broken, all iter.Seq2[*cluster.Envelope, error], yield func(*cluster.Envelope, error) bool) {
		var results []func() bool
		for e, err := range all {
			results = append(results, func() bool { return yield(e, err) })
		}
		for _, tell := range results {
			if !tell() {
				return
			}
		}
	})},
	{"CallAll yields what it has twice", ruleCallAll, callsAll(func(_ *broken, all iter.Seq2[*cluster.Envelope, error], yield func(*cluster.Envelope, error) bool) {
		for e, err := range all {
			for range 2 {
				if !yield(e, err) {
					return
				}
			}
		}
	})},
	{"CallAll ends with the first error", ruleCallAll, callsAll(func(_ *broken, all iter.Seq2[*cluster.Envelope, error], yield func(*cluster.Envelope, error) bool) {
		for e, err := range all {
			if !yield(e, err) || err != nil {
				return
			}
		}
	})},
	{"CallAll ends late when it is broken off", ruleCallAll, callsAll(func(b *broken, all iter.Seq2[*cluster.Envelope, error], yield func(*cluster.Envelope, error) bool) {
		for e, err := range all {
			if !yield(e, err) {
				<-b.Node.Done()
				return
			}
		}
	})},
}
