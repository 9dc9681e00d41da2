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
	one  delivering  // while it is to one server, and not known to have been looked at
	all  *deliveries // otherwise; nil if there is nothing to wait for, and nothing has failed
}

// StartDelivery is the first half of Deliver, and Wait of what it returns is the other: together they mean what Deliver does. So one
// goroutine can have many messages on their way, and know of each what became of it, without a goroutine for each. How many
// that are is for the program to bound, by waiting for the earliest before it sends more.
//
// It returns once the message is queued, or when it is known that it will not be: all errors come from Wait. Like
// Send it waits for room in the queue until ctx ends, and like the first Deliver for a peer for its answer. The order of messages is that
// of the calls.
//
// While earlier messages are on their way, those that are started gather, and are written together: when there are a few hundred of them or 64 KiB, when what
// became of the earlier ones is known, when Wait is called for one of them, when another message is sent to the peer, and after an eighth of SendTimeout at
// the latest.
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
// ErrUnconfirmed for each server of which it is not known, with the error of ctx; then Wait may be called again. Once it is known, each call returns
// the same, also if ctx has ended.
func (d *Delivery) Wait(ctx context.Context) error {
	if d.one.link != nil {
		if d.one.ticket.IsTold() {
			if f, known := d.one.ticket.Fate(); known && f == (outgoing.Fate{}) {
				d.one = delivering{}
				return nil
			}
		}
		d.all = &deliveries{all: []delivering{d.one}}
		d.one = delivering{}
	}
	if d.all == nil {
		return nil
	}
	return d.wait(ctx)
}

// wait is Wait where all is set.
func (d *Delivery) wait(ctx context.Context) error {
	for i := range d.all.all {
		if one := &d.all.all[i]; !one.ticket.IsTold() {
			one.link.Flush(&one.ticket)
		}
	}
	d.node.awaitAll(ctx, d.all)
	sofar := deliveries{failed: slices.Clip(d.all.failed)}
	for _, one := range d.all.all {
		sofar.fail(one.link.ID(), fmt.Errorf("%w: %w", ErrUnconfirmed, ctx.Err()))
	}
	return errors.Join(sofar.failed...)
}
