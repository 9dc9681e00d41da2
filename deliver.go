package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/abhishekg16/cluster/internal/outgoing"
	"github.com/abhishekg16/cluster/internal/stream"
)

// Deliver sends an envelope like Send, and waits until it is known what became of
// it: nil means that the peer has decoded it and put it into its Inbox. It says
// nothing of what the peer's program makes of it. If it has several destinations (BROADCAST or a
// group), nil means all of them, and the error joins a *PeerError for each server that it is not
// known to have reached: errors.As finds the first, and the example of PeerError lists them. An error without any is for an
// envelope that went nowhere. BROADCAST without any other server is nil. An observer
// is reached by its id alone, and oneself like any other server.
//
// An error tells that the message certainly was not delivered, unless it is
// ErrUnconfirmed. Then the message was handed over to be written, and nobody knows whether it arrives: the link
// went down or stalled, the peer began anew or said nothing for longer than SendTimeout, the node
// was closed, or ctx ended, whose error is wrapped as well. What was queued when ctx ends is not taken back.
// Otherwise the error is one of those of Send; a *RefusedError if the peer has refused
// the message; or ErrUnsupported if the peer, whose version is earlier, cannot tell
// what becomes of messages: then it is sent nothing.
//
// A broken connection alone is no reason for an error: what was on its way is sent again. While
// the peer's node runs and its program does not take what is in its Inbox, Deliver waits until
// ctx ends, also where that never does; or, if more is to be written than the peer's window holds, the link
// counts as stalled after SendTimeout: then it returns ErrUnconfirmed.
//
// Deliver may be called from any number of goroutines, and calls at a time share
// frames and acknowledgments. For many messages at a time StartDelivery is faster than a goroutine for each. Messages that one
// goroutine passes to Send and Deliver keep their order. The first call for a peer may have to ask it whether it confirms, and waits for the
// answer: for SendTimeout at most, or two seconds more if it acknowledges other things. What is sent there meanwhile comes first.
//
// In a program that never asks for Inbox a call that waits alone reads the network itself, as Receive does, and has its
// acknowledgment sooner.
func (n *Node) Deliver(ctx context.Context, env *Envelope) error {
	select {
	case <-n.closing:
		return n.drop(ReasonClosed, 1)
	default:
	}
	enc := n.encoder()
	var one delivering
	d, err := n.deliverBy(ctx, enc, env, &one, false)
	n.encoders.Put(enc) // unless a method of the program's has ended the goroutine
	switch {
	case err != nil:
		return err
	case d != nil:
		return n.outcomes(ctx, d)
	case one.link != nil:
		return n.outcome(ctx, &one)
	}
	return nil
}

// deliveries are what one call of Deliver, or a Delivery, waits for.
type deliveries struct {
	all    []delivering
	failed []error // a *PeerError for each server that it is not known to have reached
}

// A delivering is a message on its way to one server.
type delivering struct {
	link   *outgoing.Link
	ticket outgoing.Ticket
}

// deliverBy encodes the envelope, and puts it into the queues of its destinations, by an encoder that is nobody else's until it
// returns. Later tells that the caller has others to send before it waits. What is to be waited for is d, or if that is nil the message
// that one is set to, if it is. The error is for an envelope that goes nowhere.
//
// Where nothing goes wrong, it and what it calls have small frames: so a goroutine that is there for one call need not get more stack.
func (n *Node) deliverBy(ctx context.Context, enc *encoder, env *Envelope, one *delivering, later bool) (*deliveries, error) {
	defer n.dropUnfinished(enc) // if a method of the program's ends the goroutine
	if ctx.Err() != nil {
		return nil, n.deliverLate(ctx, enc, env)
	}
	w := outgoing.Waiting{ForRoom: true, Leave: true, Stop: ctx.Done(), Then: stream.TimedOut, Ticket: &enc.ticket, Later: later}
	defer enc.close(n)
	if err := n.add(enc, env, &w); err != nil || len(enc.open) == 0 {
		return nil, stopped(ctx, err)
	}
	out := enc.open[0]
	if len(out.to) != 1 {
		return n.deliverAll(ctx, enc, out, later), nil
	}
	l, _ := enc.link(n, out.to[0])
	if l == nil {
		return n.deliverAll(ctx, enc, out, later), nil
	}
	switch reason := l.Put(&out.Batch, &w); {
	case reason != 0:
		return notDelivered(l, reason), nil
	case out.Count() != 0:
		return n.deliverAll(ctx, enc, out, later), nil
	}
	*one = delivering{l, enc.ticket}
	enc.ticket = outgoing.Ticket{}
	return nil, nil
}

// deliverLate is Deliver for a context that has ended.
func (n *Node) deliverLate(ctx context.Context, enc *encoder, env *Envelope) error {
	return fmt.Errorf("%w: %w", ctx.Err(), n.sendLate(enc, env))
}

// stopped adds that ctx has ended to an error that comes of that.
func stopped(ctx context.Context, err error) error {
	if errors.Is(err, ErrTimedOut) && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// notDelivered is of a message that did not reach its only server. It would add to the frame of deliverBy.
//
//go:noinline
func notDelivered(l *outgoing.Link, why stream.Reason) *deliveries {
	d := new(deliveries)
	d.fail(l.ID(), reasonOf[why].err())
	return d
}

// deliverAll puts a batch of one message into the queues of its destinations: first where that need not wait, so that a peer that is
// behind, or has to be asked whether it confirms, keeps nothing from the others.
func (n *Node) deliverAll(ctx context.Context, enc *encoder, out *address, later bool) *deliveries {
	d := new(deliveries)
	w := outgoing.Waiting{ForRoom: true, Stop: ctx.Done(), Then: stream.TimedOut, Later: later}
	try := w
	try.Leave = true
	var waiting []delivering
	for _, pid := range out.to {
		l, err := n.toward(enc, pid, 1)
		if l == nil {
			d.fail(pid, errors.Unwrap(err))
			continue
		}
		one := delivering{link: l}
		try.Ticket = &one.ticket
		rest := out.Batch
		reason := l.Put(&rest, &try)
		switch {
		case rest.Count() > 0:
			n.in.Meet(pid)
			l.Query() // all answer at a time
			waiting = append(waiting, one)
		case reason != 0:
			d.fail(pid, reasonOf[reason].err())
		default:
			d.all = append(d.all, one)
		}
	}
	if len(waiting) > 0 {
		n.deliverLater(ctx, out, waiting, w, d)
	}
	return d
}

// deliverLater is deliverAll for destinations that have to be waited for, at a time.
func (n *Node) deliverLater(ctx context.Context, out *address, waiting []delivering, w outgoing.Waiting, d *deliveries) {
	began := time.Now()
	errs := make([]error, len(waiting))
	wait := func(i int) {
		rest, w := out.Batch, w
		w.Ticket = &waiting[i].ticket
		errs[i] = n.deliverTo(ctx, waiting[i].link, &rest, &w, began)
	}
	var others sync.WaitGroup
	for i := range waiting[1:] {
		others.Go(func() { wait(i + 1) }) // They are waited for below, and end like Deliver.
	}
	wait(0)
	others.Wait()
	for i, one := range waiting {
		if errs[i] != nil {
			d.fail(one.link.ID(), errs[i])
		} else {
			d.all = append(d.all, one)
		}
	}
}

// deliverTo puts a batch of one message into the queue of a link, when there is room and the peer, which was asked when it began, has said that
// it tells what becomes of messages.
func (n *Node) deliverTo(ctx context.Context, l *outgoing.Link, b *outgoing.Batch, w *outgoing.Waiting, began time.Time) error {
	for {
		switch l.Knows(began, ctx.Done()) {
		case outgoing.TellsNot:
			return ErrUnsupported
		case outgoing.Silent:
			l.Drop(stream.TimedOut, 1)
			return fmt.Errorf("%w: it has not said for %v whether it confirms", ErrTimedOut, n.out.Policy.Patience)
		case outgoing.Stopped:
			l.Drop(stream.TimedOut, 1)
			return fmt.Errorf("%w: %w", ctx.Err(), ErrTimedOut)
		}
		switch reason := l.Put(b, w); {
		case reason == stream.TimedOut && ctx.Err() != nil:
			return fmt.Errorf("%w: %w", ctx.Err(), ErrTimedOut)
		case reason != 0:
			return reasonOf[reason].err()
		case b.Count() == 0:
			return nil
		}
	}
}

// fail notes why a message did not reach a server.
func (d *deliveries) fail(pid int, err error) {
	d.failed = append(d.failed, &PeerError{pid, err})
}

// A PeerError is why Deliver failed for one server.
type PeerError struct {
	Peer int   // its id
	Err  error // see Deliver
}

func (e *PeerError) Error() string { return fmt.Sprintf("peer %d: %v", e.Peer, e.Err) }

func (e *PeerError) Unwrap() error { return e.Err }

// A RefusedError is the error of Deliver, and in a *CallError that of Call, for a message that the peer has refused: RefusedTooLarge (which errors.Is finds as
// ErrTooLarge), RefusedUnregistered or RefusedUndecodable (as ErrNotEncodable), or another reason. The message was not delivered.
type RefusedError struct{ Refusal Refusal }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("cluster: the peer has refused the message: %v", e.Refusal)
}

// Is makes errors.Is find the error that Send returns where the sender itself finds such a message.
func (e *RefusedError) Is(target error) bool {
	switch e.Refusal {
	case RefusedTooLarge:
		return target == ErrTooLarge
	case RefusedUnregistered, RefusedUndecodable:
		return target == ErrNotEncodable
	}
	return false
}
