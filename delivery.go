package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/abhishekg16/cluster/internal/outgoing"
)

// A Delivery is a message on its way, of which Wait tells what became. StartDelivery makes it. One goroutine at a time may call its method; who
// does not want to know any more forgets it.
type Delivery struct {
	node *Node
	one  delivering  // to the only server, until somebody has waited; without link: none
	all  *deliveries // to several, or what was learned since; nil: none, and nothing has failed
}

// StartDelivery is the first half of Deliver, and Wait of what it returns is the other: together they mean what Deliver does. So one
// goroutine can have many messages on their way, and know of each what became of it, without a goroutine for each. How many
// that are is for the program to bound, by waiting for the earliest before it sends more.
//
// It returns once the message is queued, or when it is known that it will not be: all errors come from Wait. Like
// Send it waits for room in the queue until ctx ends, and like the first Deliver for a peer for its answer. The order of messages is that
// of the calls.
//
// While it is not known what became of others that were started for a server, and a round trip there takes a millisecond or less, those
// that are started gather, and are written together: when there are 400 of them, 64 KiB or half of QueueBytes; when it is known what
// became of the others; when Wait waits for one of them, or for any while they are half of all of which it is not known; or when the peer
// is sent another message, but for an urgent one. If the peer does not say what becomes of the others, they are written all the same,
// within an eighth of SendTimeout.
func (n *Node) StartDelivery(ctx context.Context, env *Envelope) *Delivery {
	d := &Delivery{node: n}
	select {
	case <-n.closing:
		d.fail(n.drop(ReasonClosed, 1))
		return d
	default:
	}
	enc := n.encoder()
	all, err := n.deliverBy(ctx, enc, env, &d.one, true)
	n.encoders.Put(enc) // as in Deliver
	if d.all = all; err != nil {
		d.fail(err)
	}
	return d
}

// fail notes why the envelope went nowhere.
func (d *Delivery) fail(err error) { d.all = &deliveries{failed: []error{err}} }

// Wait waits until it is known what became of the message, and returns what Deliver would. If ctx ends before, that is
// ErrUnconfirmed for each server of which it is not known, with the error of ctx; then Wait may be called again. So with a context that has
// ended it only looks. Once all is known, each call returns the same, also if ctx has ended.
func (d *Delivery) Wait(ctx context.Context) error {
	if d.one.link != nil {
		if f, known := d.one.known(); known && f == (outgoing.Fate{}) {
			d.one = delivering{}
			return nil
		}
		d.all = &deliveries{all: []delivering{d.one}}
		d.one = delivering{}
	}
	if d.all == nil {
		return nil
	}
	return d.all.wait(ctx, d.node)
}

// wait is Wait for several servers.
func (d *deliveries) wait(ctx context.Context, n *Node) error {
	if d.learn(ctx); len(d.all) > 0 && ctx.Err() == nil {
		all := d.all
		for i := range all {
			all[i].link.Parks(&all[i].ticket)
		}
		n.awaitAll(ctx, d, false)
		for i := range all {
			all[i].link.Parked()
		}
		d.learn(ctx)
	}
	sofar := deliveries{failed: slices.Clip(d.failed)}
	for _, one := range d.all {
		sofar.fail(one.link.ID(), fmt.Errorf("%w: %w", ErrUnconfirmed, ctx.Err()))
	}
	return errors.Join(sofar.failed...)
}

// learn takes those out of which it is known what became.
func (d *deliveries) learn(ctx context.Context) {
	rest := d.all[:0]
	for _, one := range d.all {
		if f, known := one.known(); known {
			d.take(ctx, &one, f, false)
		} else {
			rest = append(rest, one)
		}
	}
	d.all = rest
}
