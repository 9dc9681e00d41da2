package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/abhishekg16/cluster/internal/calls"
	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/outgoing"
	"github.com/abhishekg16/cluster/internal/stream"
)

// A Request is the Msg of an envelope that another server's Call or CallAll has sent, as a pointer. It is received like any other
// message, in its place among those of its sender, and answered with Reply or Fail, once: now or later, on any goroutine, or never.
// It is the message, and not a field of the envelope, that tells a request from what is only sent: so a copy of the
// envelope is as good as itself, and a program that does not know of calls takes a request for a message of a type that it does not know.
type Request struct {
	// Msg is what was passed to Call.
	Msg any

	node   *Node
	from   int
	id     int64
	number uint64
	state  atomic.Uint32 // replyOpen, replyTaken or replyDone
}

const (
	replyOpen  = iota // there is no answer yet
	replyTaken        // one is being sent
	replyDone         // there was one
)

// ErrAnswered is the error of Reply and Fail for a request that was answered before.
var ErrAnswered = errors.New("cluster: the request was answered before")

// Reply answers the request with a message, which the call returns. It may be anything that can be sent.
//
// It sends like Node.Send: it blocks while the queue of the peer is full, until ctx ends, and nil means that the reply
// was accepted for the wire: it is dropped, and nobody told, if the peer takes nothing for SendTimeout. After another error than
// ErrAnswered the request is still to be answered, for example by Fail.
// The reply to a call that has ended meanwhile is dropped by the node that called, which counts it (RefusedLate).
func (r *Request) Reply(ctx context.Context, msg any) error {
	return r.answer(ctx, msg, outgoing.Part{Kind: codec.Reply, Number: r.number})
}

// Fail answers the request with an error: the call returns a *RemoteError with its text, of which 4 KiB travel at most. It sends as Reply does.
func (r *Request) Fail(ctx context.Context, err error) error {
	text := "no error"
	if err != nil {
		text = err.Error()
	}
	return r.answer(ctx, text, outgoing.Part{Kind: codec.Failure, Number: r.number})
}

func (r *Request) answer(ctx context.Context, msg any, p outgoing.Part) error {
	if r.node == nil {
		return errors.New("cluster: a request is made by Call, and not by the program")
	}
	if !r.state.CompareAndSwap(replyOpen, replyTaken) {
		return ErrAnswered
	}
	after := uint32(replyOpen) // also if a method of the program's ends the goroutine
	defer func() { r.state.Store(after) }()
	err := r.node.sendPart(ctx, &Envelope{Pid: r.from, MsgId: r.id, Msg: msg}, &part{Part: p})
	if err == nil {
		after = replyDone
	}
	return err
}

// String shows the message of the request.
func (r *Request) String() string { return fmt.Sprintf("request %v", r.Msg) }

// A part is what a message is of a call; the zero value is that it is of none.
type part struct {
	outgoing.Part
	call  *calls.Call // whose request it is; nil: it is none. It is left, and the call not placed, if the peer may not take calls
	leave bool        // likewise where it would have to wait
}

// callsWith are the calls between a node and a peer, for the receiving half. It implements delivery.Calls.
type callsWith struct {
	*calls.Peer
	node *Node
	from int
}

func (c callsWith) Request(id int64, number uint64, msg any) any {
	return &Request{Msg: msg, node: c.node, from: c.from, id: id, number: number}
}

func (c callsWith) Refuse(id int64, number uint64, why stream.Refusal, cause error) {
	l, _ := c.node.link(c.from)
	if l == nil {
		return
	}
	var b outgoing.Batch
	b.Reset()
	part := outgoing.Part{Kind: codec.Failure, Number: number, Why: stream.WhyOf(why)}
	if b.AppendPart(id, part, text(cause), &c.node.limits) == nil {
		l.Put(&b, &outgoing.Waiting{Then: stream.TimedOut, Give: true, Aside: true})
	}
}
