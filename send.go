package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/abhishekg16/cluster/internal/outgoing"
	"github.com/abhishekg16/cluster/internal/stream"
)

// Send sends an envelope like one that is put into Outbox, and tells the
// outcome: nil means that it was accepted for the wire, which it will be written
// to unless the peer is found to take nothing for SendTimeout. Otherwise the
// error says why it was dropped (ErrUnknownPeer, ErrUnreachable, ErrTimedOut,
// ErrTooLarge, ErrNotEncodable or ErrClosed, or that of ctx) and, if it had
// several destinations, for which of them.
//
// Send blocks while the queue of the peer is full, until ctx ends. It may be
// called from any number of goroutines. Messages that one goroutine passes to
// Send keep their order; between Send and Outbox there is none.
func (n *Node) Send(ctx context.Context, env *Envelope) error {
	return n.sendPart(ctx, env, nil)
}

// sendPart is Send for a part of a call, or for a message that is none: then p is nil.
func (n *Node) sendPart(ctx context.Context, env *Envelope, p *part) error {
	select {
	case <-n.closing:
		return n.drop(ReasonClosed, 1)
	default:
	}
	w := outgoing.Waiting{ForRoom: true, Stop: ctx.Done(), Then: stream.TimedOut}
	if p != nil {
		w.Leave, w.Call = p.leave, p.call
	}
	return n.send(ctx, env, &w, p)
}

// send sends an envelope, which is a part of a call unless p is nil, as w says, while the node is open.
func (n *Node) send(ctx context.Context, env *Envelope, w *outgoing.Waiting, p *part) error {
	enc := n.encoder()
	if p != nil {
		enc.part = *p
	}
	err := n.sendBy(ctx, enc, env, w)
	if p != nil {
		enc.part = part{}
	}
	n.encoders.Put(enc) // unless a method of the program's has ended the goroutine
	if err != nil && errors.Is(err, ErrTimedOut) && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// sendBy is send by an encoder, which is nobody else's until it returns.
func (n *Node) sendBy(ctx context.Context, enc *encoder, env *Envelope, w *outgoing.Waiting) error {
	defer n.dropUnfinished(enc) // if a method of the program's ends the goroutine
	if ctx.Err() != nil {
		return n.sendLate(enc, env)
	}
	err := n.add(enc, env, w)
	return errors.Join(err, n.flush(enc, w))
}

// sendLate is Send for a context that has ended: it counts the envelope as timed out for each of its
// destinations.
func (n *Node) sendLate(enc *encoder, env *Envelope) error {
	if env == nil {
		return n.drop(ReasonNotEncodable, 1)
	}
	out, err := enc.begin(n, env.Pid)
	if err != nil {
		n.dropUnknown(env.Pid, 1)
		return err
	}
	defer enc.close(n)
	var failed error
	for _, pid := range out.to {
		l, err := n.toward(enc, pid, 1)
		if l != nil {
			l.Drop(stream.TimedOut, 1)
			err = failure(pid, ReasonTimedOut)
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// dropUnfinished counts the envelope that the encoder did not come to the end of, if there is one.
func (n *Node) dropUnfinished(enc *encoder) {
	if enc.encoding.is {
		enc.encoding.is = false
		n.dropUnsendable(ReasonNotEncodable, enc.encoding.to, enc.encoding.typ, errEncodingEnded)
	}
}

var errEncodingEnded = fmt.Errorf("%w: the program's own method for encoding it has ended the goroutine", ErrNotEncodable)

// add encodes an envelope into the batch that goes where it goes. Batches that may not wait
// for that are flushed before.
func (n *Node) add(enc *encoder, env *Envelope, w *outgoing.Waiting) error {
	if env == nil {
		return n.drop(ReasonNotEncodable, 1)
	}
	if enc.full || !enc.current(n) {
		n.flush(enc, w)
	}
	out := enc.toward(env.Pid)
	if out == nil {
		// Of two batches that reach the same server, the first must be put first.
		if enc.shared || env.Pid < 0 {
			n.flush(enc, w)
		}
		var err error
		if out, err = enc.begin(n, env.Pid); err != nil {
			n.dropUnknown(env.Pid, 1)
			return err
		}
	}
	if len(out.to) == 0 {
		return nil
	}
	id := env.MsgId
	if id == 0 {
		id = enc.nextID(n)
	}
	enc.encoding = underWay{true, env.Pid, reflect.TypeOf(env.Msg)}
	lim := n.limits
	if enc.urgent = w.Urgent && urgentBytes < lim.Bytes; enc.urgent {
		lim.Bytes = urgentBytes
	}
	lim.Stop = w.Stop
	reason, err := enc.encode(out, id, env.Msg, &lim)
	enc.encoding.is = false
	switch {
	case err == nil:
	case reason == 0: // stopped
		return n.drop(reasonOf[w.Then], 1)
	default:
		n.dropUnsendable(reason, env.Pid, reflect.TypeOf(env.Msg), err)
	}
	return err
}

// flush puts the batches into the queues of their destinations: first where there is room,
// so that a peer that is behind keeps nothing from the others. It leaves them empty, and
// returns what went wrong.
func (n *Node) flush(enc *encoder, w *outgoing.Waiting) error {
	if len(enc.open) == 0 {
		return nil
	}
	defer enc.close(n)
	if len(enc.open) == 1 && len(enc.open[0].to) == 1 {
		return n.flushOne(enc, enc.open[0], w)
	}
	return n.flushAll(enc, w)
}

// flushOne puts a batch into the queue of its only destination.
func (n *Node) flushOne(enc *encoder, out *address, w *outgoing.Waiting) error {
	if out.Count() == 0 {
		return nil
	}
	l, err := n.toward(enc, out.to[0], out.Count())
	if l != nil {
		giving := *w
		giving.Give = true
		err = failure(l.ID(), reasonOf[l.Put(&out.Batch, &giving)])
	}
	return err
}

// toward is the link to a server. Where there is none, it counts the messages for it, and
// returns why.
func (n *Node) toward(enc *encoder, pid, messages int) (*outgoing.Link, error) {
	l, reason := enc.link(n, pid)
	switch {
	case l != nil:
		return l, nil
	case reason == ReasonUnknownPeer:
		n.dropUnknown(pid, messages)
	default:
		n.drop(reason, messages)
	}
	return nil, failure(pid, reason)
}

// failure is the error for messages to a server that were dropped for a reason; nil for 0.
func failure(pid int, reason Reason) error {
	if reason == 0 {
		return nil
	}
	return fmt.Errorf("peer %d: %w", pid, reason.err())
}

// flushAll puts batches of several destinations into their queues. Where one is full the others
// come first.
func (n *Node) flushAll(enc *encoder, w *outgoing.Waiting) error {
	try := *w
	try.Leave = true
	var failed error
	var waiting []*outgoing.Link
	var rests []outgoing.Batch
	for _, out := range enc.open {
		shared := len(out.to) > 1 && out.Share()
		before := len(waiting)
		for i, pid := range out.to {
			if out.Count() == 0 {
				break
			}
			l, err := n.toward(enc, pid, out.Count())
			if l == nil {
				failed = errors.Join(failed, err)
				continue
			}
			try.Give = !shared && i == len(out.to)-1 && len(waiting) == before // nobody else needs it
			rest := out.Batch
			failed = errors.Join(failed, failure(l.ID(), reasonOf[l.Put(&rest, &try)]))
			if rest.Count() > 0 {
				waiting, rests = append(waiting, l), append(rests, rest)
			} else if try.Give {
				out.Batch = rest // with another buffer, perhaps
			}
		}
	}
	for i, l := range waiting {
		failed = errors.Join(failed, failure(l.ID(), reasonOf[l.Put(&rests[i], w)]))
	}
	return failed
}

// drop counts messages that got as far as no link, and returns the error for them.
func (n *Node) drop(r Reason, count int) error {
	n.mu.Lock()
	n.unaddressed.drop(r, count)
	n.mu.Unlock()
	return r.err()
}

// dropUnknown counts messages to an id that nobody has. Each id is told of once.
func (n *Node) dropUnknown(pid, count int) {
	n.drop(ReasonUnknownPeer, count)
	if n.logs.once(unknownPeer(pid)) {
		n.logs.mistakes.Warn("cluster: dropped a message: no server or group has the id that it is for; more of the kind are only counted", "reason", ReasonUnknownPeer.String(), "to", pid)
	}
}

// dropUnsendable counts a message that cannot be encoded, or is too large. Each type is
// told of once.
func (n *Node) dropUnsendable(r Reason, to int, typ reflect.Type, err error) {
	n.drop(r, 1)
	if n.logs.once(unsendable{r, typ}) {
		n.logs.mistakes.Warn("cluster: dropped a message; more of this type are only counted", "reason", r.String(), "to", to, "error", text(err))
	}
}

const (
	// firstGroup is the address of a node's first group; the following ones go
	// downwards.
	firstGroup = -2
	// maxGroups is how many groups a node has at most: an address stays good for the node's
	// life, so none is ever given back.
	maxGroups = 1 << 16
)

// groups are the multicast addresses of one node.
type groups struct {
	mu        sync.RWMutex
	lists     [][]int        // the members of firstGroup, firstGroup-1, ...
	addresses map[string]int // by members, as key writes them
}

// Group returns a multicast address, to be used as Envelope.Pid: what is sent
// there goes to each of pids once, and so to this node itself if it is among
// them. The same set of ids has the same address, whatever their order. It means
// something on this node only, and as long as this lives: a node has 65,536 groups at most. One more
// is an error, and so is an id that is not in the catalogue, or no ids at all.
func (n *Node) Group(pids ...int) (int, error) {
	members := slices.Clone(pids)
	slices.Sort(members)
	members = slices.Compact(members)
	if len(members) == 0 {
		return 0, fmt.Errorf("cluster: a group needs members")
	}
	for _, id := range members {
		if !n.catalog.Has(id) {
			return 0, fmt.Errorf("cluster: group: peer %d: %w", id, ErrUnknownPeer)
		}
	}
	return n.groups.address(members)
}

// address is the address of the group with these members, which are sorted.
func (g *groups) address(members []int) (int, error) {
	key := make([]byte, 0, 4*len(members))
	for _, id := range members {
		key = binary.AppendUvarint(key, uint64(id))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if a, ok := g.addresses[string(key)]; ok {
		return a, nil
	}
	if len(g.lists) == maxGroups {
		return 0, fmt.Errorf("cluster: this node has %d groups already, and keeps each: send to the ids one by one, or use the groups that there are", maxGroups)
	}
	if g.addresses == nil {
		g.addresses = make(map[string]int)
	}
	a := firstGroup - len(g.lists)
	g.lists = append(g.lists, members)
	g.addresses[string(key)] = a
	return a, nil
}

func (g *groups) members(address int) ([]int, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if i := firstGroup - address; i < len(g.lists) {
		return g.lists[i], nil
	}
	return nil, fmt.Errorf("cluster: %d is no group of this node: %w", address, ErrUnknownPeer)
}
