package cluster

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/abhishekg16/cluster/internal/calls"
	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/outgoing"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/wire"
)

// Call sends a message to the server pid, where it is received as a *Request, and waits for the answer of the program there. It returns
// the reply, which goes to nobody else and into no Inbox. The reply's Pid is that server's, and its MsgId that of the
// request, which arrived with it there.
//
// An error is a *CallError, which tells whether the request may have been seen. It wraps
//   - a *RemoteError if the other program has answered with Fail,
//   - a *RefusedError if the other node has refused the request, for example as of a type that is not registered there,
//   - the error of ctx if that ended before: without a deadline, Call waits for as long as the peer is there and does not answer,
//   - ErrUnreachable as soon as the link to the peer goes down, or if it does not say whether it takes calls, and ErrRestarted as soon as the peer has begun anew,
//   - ErrUnknownPeer if there is no such server, or it is removed meanwhile,
//   - ErrNoCalls if the peer is of a version that does not take calls: then it is sent nothing,
//   - ErrTooLarge, ErrNotEncodable, ErrTimedOut or ErrClosed, as Send does,
//   - ErrTooLarge or ErrNotEncodable if the reply is too large for this node, or cannot be read here: then MaybeSeen is true.
//
// Requests are ordinary messages: they keep their order among what the goroutine sends, and wait in the other server's Inbox behind
// others. A reply that has come does not wait until the program takes what came before it. The first call to a peer may have to ask it whether
// it takes calls, and waits for the answer: for SendTimeout at most, or two seconds more if it acknowledges other things.
//
// The other program is not told when ctx ends. Give ctx a deadline: a reply is dropped like any message when this node takes nothing for the other's
// SendTimeout, and a request or a reply may be lost on a simulated network, as of package clustertest; nobody here hears of that.
//
// Call may be called from any number of goroutines. One that takes from Inbox had better not call: while it waits, it takes
// nothing, and a call to the node itself, or to a server whose program does the same, waits until its context ends.
func (n *Node) Call(ctx context.Context, pid int, msg any) (*Envelope, error) {
	id := n.nextID()
	l, err := n.callee(pid)
	if err != nil {
		return nil, callError(pid, id, false, err)
	}
	out := make(chan calls.Outcome, 1)
	c := n.calls.Peer(pid).Begin(out)
	defer c.Cancel() // also if a method of the program's ends the goroutine
	if err := n.request(ctx, l, c, id, msg, true); err != nil {
		return nil, callError(pid, id, false, err)
	}
	o, ok := n.await(ctx, out)
	if ok {
		return n.settle(o, id)
	}
	if placed, ok := c.Cancel(); ok {
		return nil, callError(pid, id, placed, ctx.Err())
	}
	return n.settle(<-out, id)
}

// CallAll is Call to each server of an address: BROADCAST, one of Group, or the id of one. Ranging over the result sends the
// requests, which have one MsgId and are encoded once, and yields one result for each server as it comes: a reply, whose Pid says whose it is, or a *CallError, whose
// Pid does. Who has seen enough, such as the replies of a majority, breaks off: the other calls end then, and requests
// that are not queued yet are not sent. When ctx ends, the servers that have not answered yield its error.
//
// To an address that is none, or has no servers, there is one result, or none.
func (n *Node) CallAll(ctx context.Context, address int, msg any) iter.Seq2[*Envelope, error] {
	return func(yield func(*Envelope, error) bool) {
		to, err := n.destinations(address)
		if err != nil {
			n.dropUnknown(address, 1)
			yield(nil, callError(address, 0, false, err))
			return
		}
		a := &callingAll{Node: n, id: n.nextID(), out: make(chan calls.Outcome, len(to))}
		ctx, cancel := context.WithCancel(ctx)
		defer a.end(cancel)
		if failed := a.begin(ctx, address, to, msg); a.yields(failed, yield) {
			a.results(ctx, yield)
		}
	}
}

// callingAll is one CallAll.
type callingAll struct {
	*Node
	id     int64
	out    chan calls.Outcome
	open   []*calls.Call  // without a result, in the order of the servers
	behind sync.WaitGroup // the goroutines of those whose requests have to wait
}

// begin sends the requests: those that need not wait at once, and each of the others beside. It returns why some are not sent. The message is encoded
// once: the program's methods that do that do not run at a time.
func (a *callingAll) begin(ctx context.Context, address int, to []int, msg any) (failed []error) {
	msg, err := a.wrap(ctx, address, msg)
	for _, pid := range to {
		if err != nil {
			failed = append(failed, callError(pid, a.id, false, err))
			continue
		}
		l, err := a.callee(pid)
		if err != nil {
			failed = append(failed, callError(pid, a.id, false, err))
			continue
		}
		c := a.calls.Peer(pid).Begin(a.out)
		if err := a.request(ctx, l, c, a.id, msg, false); err != nil {
			c.Cancel()
			failed = append(failed, callError(pid, a.id, false, err))
			continue
		}
		if a.open = append(a.open, c); c.Pending() {
			a.behind.Go(func() { // It ends when ctx does; end cancels that, and waits for it.
				if err := a.request(ctx, l, c, a.id, msg, true); err != nil {
					c.Fail(err)
					a.in.Wake()
				}
			})
		}
	}
	return failed
}

// wrap encodes the message of requests to an address.
func (n *Node) wrap(ctx context.Context, address int, msg any) (outgoing.Wrapped, error) {
	var enc encoder
	defer n.dropUnfinished(&enc) // if a method of the program's ends the goroutine
	enc.encoding = underWay{true, address, reflect.TypeOf(msg)}
	lim := n.limits
	lim.Stop = ctx.Done()
	w, err := outgoing.Wrap(msg, &lim)
	if enc.encoding.is = false; err == nil {
		return w, nil
	}
	reason, err := enc.reasonFor(err, &lim)
	if reason == 0 { // stopped
		return nil, fmt.Errorf("%w: %w", ctx.Err(), n.drop(ReasonTimedOut, 1))
	}
	n.dropUnsendable(reason, address, reflect.TypeOf(msg), err)
	return nil, err
}

// yields yields the errors, and reports whether all were taken.
func (a *callingAll) yields(failed []error, yield func(*Envelope, error) bool) bool {
	for _, err := range failed {
		if !yield(nil, err) {
			return false
		}
	}
	return true
}

// results yields what comes of the calls.
func (a *callingAll) results(ctx context.Context, yield func(*Envelope, error) bool) {
	for len(a.open) > 0 {
		o, ok := a.await(ctx, a.out)
		if !ok {
			break
		}
		a.open = slices.DeleteFunc(a.open, func(c *calls.Call) bool { return c == o.Call })
		if !yield(a.settle(o, a.id)) {
			return
		}
	}
	ended := 0 // of those that are left, with their outcomes in out
	for _, c := range a.open {
		if placed, ok := c.Cancel(); !ok {
			ended++
		} else if !yield(nil, callError(c.To(), a.id, placed, ctx.Err())) {
			return
		}
	}
	for range ended {
		if !yield(a.settle(<-a.out, a.id)) {
			return
		}
	}
}

// end ends what is left of the calls.
func (a *callingAll) end(cancel func()) {
	cancel()
	for _, c := range a.open {
		c.Cancel()
	}
	a.behind.Wait()
}

// nextID is a new message id.
func (n *Node) nextID() int64 { return n.ids.id(n.ids.reserve(1)) }

// destinations are the servers of an address.
func (n *Node) destinations(address int) ([]int, error) {
	switch {
	case address >= 0:
		return []int{address}, nil
	case address == BROADCAST:
		return n.Peers(), nil
	}
	return n.groups.members(address)
}

// callee is the link to the server that is to be called.
func (n *Node) callee(pid int) (*outgoing.Link, error) {
	select {
	case <-n.closing:
		return nil, n.drop(ReasonClosed, 1)
	default:
	}
	l, reason := n.link(pid)
	switch {
	case l != nil:
		return l, nil
	case reason == ReasonUnknownPeer:
		n.dropUnknown(pid, 1)
		return nil, reason.err()
	}
	return nil, n.drop(reason, 1)
}

// request sends the request of a call. Where it would have to wait it does so if wait is true, and otherwise leaves the
// call where it is: not placed.
func (n *Node) request(ctx context.Context, l *outgoing.Link, c *calls.Call, id int64, msg any, wait bool) error {
	for {
		began := time.Now() // the peer may have begun anew while the request waited for room
		if !l.KnowsCalls() {
			n.in.Meet(l.ID())
		}
		switch l.TakesCalls(began, ctx.Done(), wait) {
		case outgoing.TellsNot:
			return ErrNoCalls
		case outgoing.Silent:
			return fmt.Errorf("%w: it has not said for %v whether it takes calls", ErrUnreachable, n.out.Policy.Patience)
		case outgoing.Stopped:
			return ctx.Err() // nil if it was not to wait
		}
		p := &part{Part: outgoing.Part{Kind: codec.Request, Number: c.Number()}, call: c, leave: !wait}
		if err := n.sendPart(ctx, &Envelope{Pid: l.ID(), MsgId: id, Msg: msg}, p); err != nil || !wait || !c.Pending() {
			return err
		}
	}
}

// await waits for an outcome. It reports false if ctx ended before.
func (n *Node) await(ctx context.Context, out <-chan calls.Outcome) (o calls.Outcome, ok bool) {
	if n.inboxed.Load() {
		// Others wait for what the node's goroutine reads: it would have to be brought back after each call.
		select {
		case o = <-out:
			return o, true
		case <-ctx.Done():
			return o, false
		}
	}
	o, _, ok = take(ctx, n, out)
	return o, ok
}

// settle is what a call returns for its outcome.
func (n *Node) settle(o calls.Outcome, id int64) (*Envelope, error) {
	pid := o.Call.To()
	seen, err := true, error(nil)
	switch o.End {
	case calls.Answered:
		var msg any
		if msg, seen, err = n.answer(pid, o.Answer); err == nil {
			return &Envelope{Pid: pid, MsgId: id, Msg: msg}, nil
		}
	case calls.Dropped:
		seen, err = false, reasonOf[o.Dropped].err()
	case calls.Down:
		err = ErrUnreachable
	case calls.Removed:
		err = ErrUnknownPeer
	case calls.Restarted:
		err = ErrRestarted
	case calls.Closed:
		err = ErrClosed
	case calls.Failed:
		seen, err = false, o.Err
	}
	return nil, callError(pid, id, seen, err)
}

// answer reads what a peer has sent. If that is an error, seen tells whether its program may have seen the request.
func (n *Node) answer(pid int, a calls.Answer) (msg any, seen bool, err error) {
	payload := a.Payload
	if a.Blocks != nil {
		payload = slices.Concat(a.Blocks...)
	}
	if a.Err == nil && a.Kind == codec.Failure {
		why, text, err := codec.ParseFailure(payload)
		switch refusal, refused := stream.RefusalOf(wire.Why(why)); {
		case err != nil:
			return nil, true, unreadable(err)
		case refused:
			return nil, false, fmt.Errorf("%w: %s", &RefusedError{refusalOf[refusal]}, text)
		}
		return nil, true, &RemoteError{Pid: pid, Text: text}
	}
	if err = a.Err; err == nil {
		msg, err = n.replied(payload, a.Types)
	}
	if err != nil {
		return nil, true, unreadable(err)
	}
	return msg, true, nil
}

// unreadable is the error for a reply that cannot be read, as Send has it for a message that cannot be written.
func unreadable(err error) error {
	what := ErrNotEncodable
	if errors.Is(err, stream.ErrTooLarge) || errors.Is(err, codec.ErrTooLarge) {
		what = ErrTooLarge
	}
	return fmt.Errorf("the reply cannot be read: %w: %w", what, err)
}

// replied is the message in a reply.
func (n *Node) replied(payload []byte, types *codec.Types) (any, error) {
	_, kind, rest, err := codec.Unwrap(payload)
	if err != nil {
		return nil, err
	}
	msg, _, err := codec.Decode(kind, rest, true, n.limits, types)
	return msg, err
}

// A CallError is why a call has no reply.
type CallError struct {
	Pid   int   // the server that was called
	MsgId int64 // of the request; 0 if there is none
	// MaybeSeen tells that the program there may have received the request, or may receive it yet. If it is false, it certainly
	// does not.
	MaybeSeen bool
	Err       error // see Call
}

func callError(pid int, id int64, seen bool, err error) error {
	return &CallError{Pid: pid, MsgId: id, MaybeSeen: seen, Err: err}
}

func (e *CallError) Error() string {
	seen := "not seen there"
	if e.MaybeSeen {
		seen = "it may have been seen there"
	}
	return fmt.Sprintf("call to server %d (%s): %v", e.Pid, seen, e.Err)
}

func (e *CallError) Unwrap() error { return e.Err }

// A RemoteError is the error with which another server's program has answered a request.
type RemoteError struct {
	Pid  int    // that server
	Text string // of the error that was passed to Request.Fail
}

func (e *RemoteError) Error() string { return fmt.Sprintf("server %d: %s", e.Pid, e.Text) }
