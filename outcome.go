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
	f, ended := n.fate(ctx, one)
	if f == (outgoing.Fate{}) {
		return nil
	}
	return one.failed(ctx, f, ended)
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
	if len(d.all) > 0 && n.readsFor(d.all) {
		lease := n.in.Lease()
		lease.Want()
		defer n.leave(lease, d.all)
		if ctx.Done() != nil {
			defer context.AfterFunc(ctx, lease.Interrupt)()
		}
		for i := range d.all {
			f, ended := n.fateByReading(ctx, &d.all[i], lease)
			d.take(ctx, &d.all[i], f, ended)
		}
		return errors.Join(d.failed...)
	}
	for i := range d.all {
		f, ended := n.fate(ctx, &d.all[i])
		d.take(ctx, &d.all[i], f, ended)
	}
	return errors.Join(d.failed...)
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

// fate waits until it is known what became of a message. If ctx ends before, it says so, and returns what is known.
func (n *Node) fate(ctx context.Context, one *delivering) (f outgoing.Fate, ended bool) {
	for {
		if done := ctx.Done(); done == nil {
			<-one.ticket.Told()
		} else if !one.told(done) {
			return one.link.Leave(&one.ticket), true
		}
		if f, known := one.ticket.Fate(); known {
			return f, false
		}
	}
}

// told waits until something is known of a message. It reports false if done was closed before.
func (one *delivering) told(done <-chan struct{}) bool {
	select {
	case <-one.ticket.Told():
		return true
	case <-done:
		return false
	}
}

// fateByReading is fate, and reads the network meanwhile, when nobody else does.
func (n *Node) fateByReading(ctx context.Context, one *delivering, lease *incoming.Lease) (f outgoing.Fate, ended bool) {
	t, free := &one.ticket, lease.Free()
	for {
		t.Reads()
		select {
		case <-t.Told():
			if f, known := t.Fate(); known {
				return f, false
			}
			continue
		case <-ctx.Done():
			return one.link.Leave(t), true
		case <-free:
		}
		for !t.IsTold() && ctx.Err() == nil && !n.in.Halted() {
			n.in.Read()
		}
		lease.GiveBack()
		if n.in.Halted() {
			free = nil
		}
	}
}
