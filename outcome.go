package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/abhishekg16/cluster/internal/incoming"
	"github.com/abhishekg16/cluster/internal/outgoing"
)

// outcome waits until it is known what became of the message of a Deliver, or ctx ends.
func (n *Node) outcome(ctx context.Context, one *delivering) error {
	if one.ticket.First() && !n.inboxed.Load() {
		return n.outcomeByReading(ctx, one)
	}
	f, known := n.fate(ctx, one)
	switch {
	case !known:
		f = one.link.Leave(&one.ticket)
	case f == outgoing.Fate{}:
		return nil
	}
	return one.failed(ctx, f, !known)
}

// outcomeByReading is outcome for who had better read the network itself.
func (n *Node) outcomeByReading(ctx context.Context, one *delivering) error {
	return n.outcomes(ctx, &deliveries{all: []delivering{*one}})
}

// failed is the error for what became of a message.
func (one *delivering) failed(ctx context.Context, f outgoing.Fate, ended bool) error {
	d := new(deliveries)
	d.take(ctx, one, f, ended)
	return errors.Join(d.failed...)
}

// outcomes is outcome for several messages, or for one for which it reads the network itself.
func (n *Node) outcomes(ctx context.Context, d *deliveries) error {
	n.awaitAll(ctx, d, true)
	return errors.Join(d.failed...)
}

// awaitAll waits for one message after another until it is known what became of it, and takes it out. What is left when ctx has ended
// is not known, and stays, or if it leaves is taken out, too.
func (n *Node) awaitAll(ctx context.Context, d *deliveries, leaves bool) {
	if len(d.all) == 0 || !n.readsFor(d.all) {
		d.follow(ctx, leaves, func(one *delivering) (outgoing.Fate, bool) { return n.fate(ctx, one) })
		return
	}
	lease := n.in.Lease()
	lease.Want()
	defer n.leave(lease, d.all)
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, lease.Interrupt)()
	}
	d.follow(ctx, leaves, func(one *delivering) (outgoing.Fate, bool) { return n.fateByReading(ctx, one, lease) })
}

// follow is awaitAll by a function that waits for one.
func (d *deliveries) follow(ctx context.Context, leaves bool, wait func(*delivering) (outgoing.Fate, bool)) {
	for ; len(d.all) > 0; d.all = d.all[1:] {
		one := &d.all[0]
		f, known := wait(one)
		if !known && !leaves {
			return
		}
		if !known {
			f = one.link.Leave(&one.ticket)
		}
		d.take(ctx, one, f, !known)
	}
}

// take notes what became of a message, as far as was known when ctx ended, if it has.
func (d *deliveries) take(ctx context.Context, one *delivering, f outgoing.Fate, ended bool) {
	switch pid := one.link.ID(); {
	case f == outgoing.Fate{}:
	case f.Unknown && ended:
		d.fail(pid, fmt.Errorf("%w: %w", ErrUnconfirmed, ctx.Err()))
	case f.Unknown:
		d.fail(pid, ErrUnconfirmed)
	case f.Refused != 0:
		d.fail(pid, &RefusedError{refusalOf[f.Refused]})
	default:
		d.fail(pid, reasonOf[f.Dropped].err())
	}
}

// readsFor reports whether who waits for these messages had better read the network itself, as Receive does: to read an acknowledgment
// takes less time than to be woken by who has. Of those who wait for a peer only the first does, and wakes the others. Where the
// program takes from Inbox nobody does: messages for that would have to wait until the other goroutine reads again.
func (n *Node) readsFor(all []delivering) bool {
	return (len(all) > 1 || all[0].ticket.First()) && !n.inboxed.Load()
}

// leave ends that. Who waits beside it is told of acknowledgments by the other goroutine.
func (n *Node) leave(lease *incoming.Lease, all []delivering) {
	lease.Leave()
	others := n.inboxed.Load()
	for _, one := range all {
		others = others || one.link.Awaited()
	}
	if others {
		lease.Recall()
	}
}

// fate waits until it is known what became of a message. It reports false if ctx ends before.
func (n *Node) fate(ctx context.Context, one *delivering) (f outgoing.Fate, known bool) {
	for {
		if f, known = one.known(); known {
			return f, true
		}
		if done := ctx.Done(); done == nil {
			<-one.ticket.Told()
		} else if !one.told(done) {
			return f, false
		}
	}
}

// known is what became of a message, if that is known already.
func (one *delivering) known() (f outgoing.Fate, known bool) {
	for !known && one.ticket.IsTold() {
		f, known = one.ticket.Fate()
	}
	return f, known
}

// told waits until something is known of a message. It reports false if done was closed before.
func (one *delivering) told(done <-chan struct{}) bool {
	select {
	case <-one.ticket.Told():
		return true
	case <-done:
		return one.ticket.IsTold()
	}
}

// fateByReading is fate, and reads the network meanwhile, when nobody else does.
func (n *Node) fateByReading(ctx context.Context, one *delivering, lease *incoming.Lease) (f outgoing.Fate, known bool) {
	t, free, done := &one.ticket, lease.Free(), ctx.Done()
	for {
		t.Reads()
		if !t.IsTold() {
			select {
			case <-t.Told():
			case <-done:
				if !t.IsTold() {
					return f, false
				}
			case <-free:
				for !t.IsTold() && ctx.Err() == nil && !n.in.Halted() {
					n.in.Read()
				}
				lease.GiveBack()
				if n.in.Halted() {
					free = nil
				}
				continue
			}
		}
		if f, known = t.Fate(); known {
			return f, true
		}
	}
}
