package cluster

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/flaw"
	"github.com/abhishekg16/cluster/internal/wire"
)

// pump is the goroutine that takes envelopes from Outbox, one after the other,
// so that their order is kept.
func (n *Node) pump() {
	n.pumpOpen()
	close(n.pumped)
	n.letGo()
	close(n.deserted)
}

// pumpOpen sends what is put into Outbox until closing begins, and then what the
// channel held at that moment: that had been accepted.
func (n *Node) pumpOpen() {
	var enc encoder
	p := patient{wait: true, stop: n.cut, then: ReasonClosed}
	for dense := false; ; {
		env, ok := n.next(dense)
		if !ok {
			break
		}
		dense = n.forward(&enc, env, p)
	}
	<-n.closing
	for left := len(n.outbox); left > 0 && !n.isCut(); left-- {
		select {
		case env, ok := <-n.outbox:
			if ok {
				n.add(&enc, env, p)
			}
		default: // the program has taken one back
		}
	}
	n.flush(&enc, p)
}

// isCut reports whether a Shutdown has waited long enough.
func (n *Node) isCut() bool {
	select {
	case <-n.cut:
		return true
	default:
		return false
	}
}

// forwardMost is how many envelopes forward takes, so that closing is noticed though
// senders never stop.
const forwardMost = 1024

// forward sends an envelope, and those behind it in Outbox, until a run is full. It
// reports whether there were any behind it.
func (n *Node) forward(enc *encoder, env *Envelope, p patient) (dense bool) {
	defer n.flush(enc, p)
	for range forwardMost {
		n.add(enc, env, p)
		if enc.full() {
			return true
		}
		select {
		case next, ok := <-n.outbox:
			if !ok {
				return false
			}
			env, dense = next, true
		default:
			return dense
		}
	}
	n.add(enc, env, p)
	return true
}

// next takes an envelope from Outbox. It reports false when that is closed, or
// closing begins.
func (n *Node) next(dense bool) (env *Envelope, ok bool) {
	// While traffic is dense, receiving from one channel costs a fraction of
	// choosing between two; and a goroutine that parks has to be woken, so others
	// are let run first, who may be about to send.
	for range gatherTurns {
		if !dense {
			break
		}
		select {
		case <-n.closing:
			return nil, false
		default:
		}
		select {
		case env, ok = <-n.outbox:
			return env, ok
		default:
			runtime.Gosched()
		}
	}
	select {
	case env, ok = <-n.outbox:
		return env, ok
	case <-n.closing:
		return nil, false
	}
}

// gatherTurns is how often pump lets others run before it waits for an envelope.
const gatherTurns = 2

// letGoTime is how long the last of closing may take for senders that never stop.
const letGoTime = 100 * time.Millisecond

// letGo takes from Outbox without sending, so that nobody who is blocked on it
// while the node closes stays so.
func (n *Node) letGo() {
	for {
		select {
		case _, ok := <-n.outbox:
			if !ok {
				return
			}
			n.unsent(ReasonClosed, 1)
			continue
		case <-n.drained:
		}
		break
	}
	count := 0
	defer func() { n.unsent(ReasonClosed, count) }()
	for end := time.Now().Add(letGoTime); count < cap(n.outbox) || time.Now().Before(end); {
		select {
		case _, ok := <-n.outbox:
			if !ok {
				return
			}
			count++
		default:
			return
		}
	}
}

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
	select {
	case <-n.closing:
		return n.unsent(ReasonClosed, 1)
	default:
	}
	if err := ctx.Err(); err != nil {
		n.unsent(ReasonTimedOut, 1)
		return err
	}
	enc := encoders.Get().(*encoder)
	defer func() {
		enc.forget()
		encoders.Put(enc)
	}()
	err := n.send(enc, env, patient{wait: true, stop: ctx.Done(), then: ReasonTimedOut})
	if errors.Is(err, ErrTimedOut) && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

var encoders = sync.Pool{New: func() any { return new(encoder) }}

// send gives one envelope to the links of all its destinations, which may wait
// for room as p says. It returns what went wrong.
func (n *Node) send(enc *encoder, env *Envelope, p patient) error {
	err := n.add(enc, env, p)
	return errors.Join(err, n.flush(enc, p))
}

// add encodes an envelope as the next of the run, which it flushes before if the
// envelope goes elsewhere or the run is full.
func (n *Node) add(enc *encoder, env *Envelope, p patient) error {
	if env == nil {
		return n.unsent(ReasonNotEncodable, 1)
	}
	if enc.count > 0 && (env.Pid != enc.pid || enc.full() || !enc.current(n)) {
		n.flush(enc, p)
	}
	if enc.count == 0 {
		if err := enc.address(n, env.Pid); err != nil {
			n.unsent(ReasonUnknownPeer, 1, "to", env.Pid)
			return err
		}
	}
	if len(enc.to) == 0 {
		return nil
	}
	id := env.MsgId
	if id == 0 {
		id = enc.nextID(n)
	}
	reason, err := enc.encode(id, env.Msg, n.cfg.MaxMessageBytes)
	if err != nil {
		n.unsendable(reason, env, err)
	}
	return err
}

// flush puts the run into the queues of its destinations.
func (n *Node) flush(enc *encoder, p patient) error {
	if enc.count == 0 {
		return nil
	}
	p.wait = p.wait && n.cfg.SendTimeout >= 0
	var errs []error
	for _, pid := range enc.to {
		l, reason := enc.link(n, pid)
		if l != nil {
			reason = l.put(&enc.run, p)
		} else {
			n.unsent(reason, enc.count, "to", pid)
		}
		if reason != 0 {
			errs = append(errs, fmt.Errorf("peer %d: %w", pid, reason.err()))
		}
	}
	enc.run.reset()
	return errors.Join(errs...)
}

// unsent counts messages that got as far as no link, and returns the error for
// them. Each reason is logged once, with attrs.
func (n *Node) unsent(r Reason, count int, attrs ...any) error {
	n.mu.Lock()
	first := n.unaddressed.dropped[r] == 0
	n.unaddressed.refuse(r, count)
	n.mu.Unlock()
	if first && r != ReasonClosed {
		n.log.Warn("cluster: dropped a message; more of the kind are only counted", append([]any{"reason", r.String()}, attrs...)...)
	}
	return r.err()
}

// unsendable counts a message that cannot be encoded, or is too large. Each type is
// logged once, up to unsendableMost of them.
func (n *Node) unsendable(r Reason, env *Envelope, err error) {
	n.mu.Lock()
	n.unaddressed.refuse(r, 1)
	typ := unsendable{r, reflect.TypeOf(env.Msg)}
	first := !n.unsendables[typ] && len(n.unsendables) < unsendableMost
	if first {
		n.unsendables[typ] = true
	}
	n.mu.Unlock()
	if first {
		n.log.Warn("cluster: dropped a message; more of this type are only counted", "reason", r.String(), "to", env.Pid, "error", err)
	}
}

type unsendable struct {
	reason Reason
	typ    reflect.Type
}

const unsendableMost = 64

// An encoder turns envelopes into runs. It keeps its buffers from one to the
// next, and is used by one goroutine at a time.
type encoder struct {
	run
	pid int   // where the run goes
	to  []int // the same, as ids of servers

	reading, readings int64 // of the clock for message ids: the next, and how many are left

	one [1]int

	// What is remembered of a node, as of a version of its catalogue.
	node    *Node
	version uint64
	peers   []int // all other servers
	last    *link // the link used last
}

// forget lets go of the node: a pool must not keep one that has closed, nor give
// what belongs to one to another.
func (e *encoder) forget() { e.node, e.peers, e.last = nil, nil, nil }

// current reports whether what e remembers is of this node and of today.
func (e *encoder) current(n *Node) bool { return e.node == n && e.version == n.catalog.Version() }

// follow forgets what is not current.
func (e *encoder) follow(n *Node) {
	if !e.current(n) {
		e.forget()
		e.node, e.version = n, n.catalog.Version()
	}
}

// link is n.link, but remembers its last result.
func (e *encoder) link(n *Node, pid int) (*link, Reason) {
	e.follow(n)
	if e.last != nil && e.last.id == pid {
		return e.last, 0
	}
	l, reason := n.link(pid)
	e.last = l
	return l, reason
}

// address begins a run to the Pid of an envelope to send.
func (e *encoder) address(n *Node, pid int) (err error) {
	e.follow(n)
	e.pid = pid
	switch {
	case pid >= 0:
		e.one[0] = pid
		e.to = e.one[:]
	case pid == BROADCAST:
		if e.peers == nil {
			e.peers = n.Peers()
		}
		e.to = e.peers
	default:
		e.to, err = n.groups.members(pid)
	}
	return err
}

// nextID is the id for the next message of the run. Like the run, the readings of the
// clock that it takes in advance grow with the traffic.
func (e *encoder) nextID(n *Node) int64 {
	if e.count == 0 || e.readings == 0 {
		e.readings = int64(min(max(1, e.count), 64))
		e.reading = n.ids.reserve(int(e.readings))
	}
	id := n.ids.id(e.reading)
	e.reading++
	e.readings--
	return id
}

// encode adds the record of a message to the run.
func (e *encoder) encode(id int64, msg any, limit int) (Reason, error) {
	blob, kind, ok := codec.Blob(msg)
	if large := ok && len(blob) >= blobBytes; !large {
		at := len(e.records)
		payload := at + wire.RecordSize
		var err error
		if e.records, kind, err = codec.Append(slices.Grow(e.records, wire.RecordSize)[:payload], msg); err != nil {
			e.records = e.records[:at]
			return ReasonNotEncodable, fmt.Errorf("%w: %w", ErrNotEncodable, err)
		}
		size := len(e.records) - payload
		if size < blobBytes {
			if size > limit && !flaw.On(flaw.Size) {
				e.records = e.records[:at]
				return ReasonTooLarge, tooLarge(size, limit)
			}
			wire.PutRecordHeader(e.records[at:], id, uint8(kind), size)
			e.count++
			return 0, nil
		}
		// It goes with the message, and the next one gets another buffer.
		blob = e.records[payload:]
		e.records = slices.Clone(e.records[:at])
	}
	if len(blob) > limit && !flaw.On(flaw.Size) {
		return ReasonTooLarge, tooLarge(len(blob), limit)
	}
	e.blob = blob
	wire.PutRecordHeader(e.blobHead[:], id, uint8(kind), len(blob))
	e.count++
	return 0, nil
}

func tooLarge(size, limit int) error {
	return fmt.Errorf("%w: %d bytes encoded, and maxMessageBytes is %d", ErrTooLarge, size, limit)
}
