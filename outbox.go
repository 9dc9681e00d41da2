package cluster

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/abhishekg16/cluster/internal/codec"
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
	send := func(env *Envelope, burst bool) {
		n.send(&enc, env, patient{wait: true, stop: n.cut, then: ReasonClosed, burst: burst})
	}
	for {
		env, ok := n.next()
		if !ok {
			break
		}
		send(env, len(n.outbox) > 0)
	}
	<-n.closing
	for range len(n.outbox) {
		select {
		case env, ok := <-n.outbox:
			if ok {
				send(env, true)
			}
		default: // the program has taken one back
		}
	}
}

// next takes an envelope from Outbox. It reports false when that is closed, or
// closing begins.
func (n *Node) next() (env *Envelope, ok bool) {
	// While traffic is dense, receiving from one channel costs a fraction of
	// choosing between two; and a goroutine that parks has to be woken, so others
	// are let run first, who may be about to send.
	for range gatherTurns {
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
		case env, ok := <-n.outbox:
			if !ok {
				return
			}
			n.unsent(env, ReasonClosed)
			continue
		case <-n.drained:
		}
		break
	}
	for end := time.Now().Add(letGoTime); time.Now().Before(end); {
		select {
		case env, ok := <-n.outbox:
			if !ok {
				return
			}
			n.unsent(env, ReasonClosed)
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
		return n.unsent(env, ReasonClosed)
	default:
	}
	if err := ctx.Err(); err != nil {
		n.unsent(env, ReasonTimedOut)
		return err
	}
	enc := encoders.Get().(*encoder)
	defer func() {
		enc.last = nil // a pool must not keep a closed node
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
	if env == nil {
		return n.unsent(nil, ReasonNotEncodable)
	}
	to, err := enc.destinations(n, env.Pid)
	if err != nil {
		n.unsent(env, ReasonUnknownPeer)
		return err
	}
	if len(to) == 0 {
		return nil
	}
	id := env.MsgId
	if id == 0 {
		id = n.ids.next(p.burst)
	}
	m, reason, err := enc.encode(id, env.Msg, n.cfg.MaxMessageBytes)
	if err != nil {
		n.unsent(env, reason)
		return err
	}
	p.wait = p.wait && n.cfg.SendTimeout >= 0
	var errs []error
	for _, pid := range to {
		l, reason := enc.link(n, pid)
		if l != nil {
			reason = l.put(m, p)
		} else {
			n.unsent(env, reason)
		}
		if reason != 0 {
			errs = append(errs, fmt.Errorf("peer %d: %w", pid, reason.err()))
		}
	}
	enc.release()
	return errors.Join(errs...)
}

// unsent counts an envelope that got as far as no link, and returns the error
// for it. Each reason is logged once.
func (n *Node) unsent(env *Envelope, r Reason) error {
	n.mu.Lock()
	n.unaddressed.refuse(r)
	first := n.unaddressed.dropped[r] == 1
	n.mu.Unlock()
	if first && r != ReasonClosed {
		attrs := []any{"reason", r.String()}
		if env != nil {
			attrs = append(attrs, "to", env.Pid, "type", fmt.Sprintf("%T", env.Msg))
		}
		n.log.Warn("cluster: dropped a message; more of the kind are only counted", attrs...)
	}
	return r.err()
}

// An encoder turns envelopes into records. It keeps its buffers from one to the
// next, and is used by one goroutine at a time.
type encoder struct {
	message encoded
	one     [1]int
	peers   []int // all other servers, as of version
	version uint64

	last        *link // the link used last, as of lastVersion
	lastVersion uint64
}

// link is n.link, but remembers its last result.
func (e *encoder) link(n *Node, pid int) (*link, Reason) {
	version := n.catalog.Version()
	if e.last != nil && e.last.id == pid && e.last.node == n && e.lastVersion == version {
		return e.last, 0
	}
	l, reason := n.link(pid)
	e.last, e.lastVersion = l, version
	return l, reason
}

// destinations resolves the Pid of an envelope to send. The result is valid
// until the next call.
func (e *encoder) destinations(n *Node, pid int) ([]int, error) {
	switch {
	case pid >= 0:
		e.one[0] = pid
		return e.one[:], nil
	case pid == BROADCAST:
		if v := n.catalog.Version(); e.peers == nil || e.version != v {
			e.peers, e.version = n.Peers(), v
		}
		return e.peers, nil
	}
	return n.groups.members(pid)
}

// encode makes the record of a message. The result is valid until release,
// except for a blob, which the links that have queued it share.
func (e *encoder) encode(id int64, msg any, limit int) (*encoded, Reason, error) {
	m := &e.message
	var kind codec.Kind
	blob, kind, ok := codec.Blob(msg)
	if ok && len(blob) >= blobBytes {
		m.blob = blob
	} else {
		if m.head == nil {
			m.head = make([]byte, wire.RecordSize, 512)
		}
		var err error
		if m.head, kind, err = codec.Append(m.head[:wire.RecordSize], msg); err != nil {
			m.head = m.head[:wire.RecordSize]
			return nil, ReasonNotEncodable, fmt.Errorf("%w: %w", ErrNotEncodable, err)
		}
		if len(m.head)-wire.RecordSize >= blobBytes {
			// The buffer goes with the message, and the next one gets another.
			buf := m.head
			m.head, m.blob = make([]byte, 0, 512), buf[wire.RecordSize:]
		}
	}
	size := len(m.blob)
	if m.blob == nil {
		size = len(m.head) - wire.RecordSize
	} else {
		m.head = append(m.head[:0], make([]byte, wire.RecordSize)...)
	}
	if size > limit {
		e.release()
		return nil, ReasonTooLarge, fmt.Errorf("%w: %d bytes encoded, and maxMessageBytes is %d", ErrTooLarge, size, limit)
	}
	wire.PutRecordHeader(m.head, id, uint8(kind), size)
	return m, 0, nil
}

// release lets go of what the next message has no use for.
func (e *encoder) release() { e.message.blob = nil }
