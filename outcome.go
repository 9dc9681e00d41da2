package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/abhishekg16/cluster/internal/incoming"
	"github.com/abhishekg16/cluster/internal/outgoing"
)

// outcome waits until it is known what became of all messages of a Deliver, or ctx ends.
func (n *Node) outcome(ctx context.Context, d *deliveries) error {
	var lease *incoming.Lease
	if len(d.all) > 0 && n.readsFor(d.all) {
		lease = n.in.Lease()
		lease.Want()
		defer n.leave(lease, d.all)
		if ctx.Done() != nil {
			defer context.AfterFunc(ctx, lease.Interrupt)()
		}
	}
	for _, one := range d.all {
		f, ended := n.fate(ctx, one, lease)
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
	return errors.Join(d.failed...)
}

// readsFor reports whether who waits for these messages had better read the network itself, as Receive does: to read an acknowledgment
// takes less time than to be woken by who has. Of those who wait for a peer only the first does, and wakes the others. Where the
// program takes from Inbox nobody does: messages for that would have to wait until the other goroutine reads again.
func (n *Node) readsFor(all []delivering) bool {
	return (len(all) > 1 || all[0].waiter.First()) && !n.inboxed.Load()
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

// fate waits until it is known what became of a message. With a lease it reads the network meanwhile, when nobody else does. If ctx ends
// before, it says so, and returns what is known.
func (n *Node) fate(ctx context.Context, one delivering, lease *incoming.Lease) (f outgoing.Fate, ended bool) {
	told, done := one.waiter.Told(), ctx.Done()
	if lease == nil && done == nil {
		<-told
		return one.waiter.Fate(), false
	}
	var free <-chan struct{}
	if lease != nil {
		free = lease.Free()
		one.waiter.Reads()
	}
	for {
		select {
		case <-told:
			return one.waiter.Fate(), false
		case <-done:
			return one.link.Leave(one.waiter), true
		case <-free:
		}
		for len(told) == 0 && ctx.Err() == nil && !n.in.Halted() {
			n.in.Read()
		}
		lease.GiveBack()
		if n.in.Halted() {
			free = nil
		}
	}
}
