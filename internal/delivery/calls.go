package delivery

import (
	"errors"

	"github.com/abhishekg16/cluster/internal/calls"
	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/wire"
)

// RefuseLarge tells who has to know that a record was refused since it is too large: the sender if it is a request, and who waits for it if
// it is a reply. Of its payload the beginning is known.
func (q *Queue[E]) RefuseLarge(r wire.Record) {
	kind := codec.Kind(r.Kind)
	number, ok := codec.CallNumber(r.Payload)
	switch {
	case !ok || q.calls == nil || !kind.OfCall():
	case kind == codec.Request:
		q.calls.Refuse(r.MsgID, number, stream.RefusedTooLarge, stream.ErrTooLarge)
	case q.calls.Answer(number, calls.Answer{Err: stream.ErrTooLarge}):
		q.stage.cfg.Woke()
	}
}

// Calls are the calls between this node and one sender, in both directions. Its methods do not wait. They are called without any lock of the
// stage's.
type Calls interface {
	// Waits reports whether somebody waits for a reply of the sender.
	Waits() bool
	// Answer passes on what the sender replies, or that it was refused, to the call with a number. It reports false if nobody waits for it.
	Answer(number uint64, a calls.Answer) bool
	// Request is the message of the envelope that tells the program of a request: msg, which a call of the sender's with that number
	// has sent as the message with that id.
	Request(id int64, number uint64, msg any) any
	// Refuse tells the sender that a request of it is not delivered.
	Refuse(id int64, number uint64, why stream.Refusal, cause error)
}

// A refusedRequest is a request that could not be decoded.
type refusedRequest struct {
	id     int64
	number uint64
	why    stream.Refusal
	cause  error
}

// errLate is the cause of RefusedLate.
var errLate = errors.New("a reply, and no call waits for it any more")

// unwrap reads a request. If it is malformed, the kind is one that cannot be decoded, and numbered tells whether its number is known all
// the same.
func unwrap(payload []byte) (number uint64, numbered bool, kind codec.Kind, rest []byte) {
	number, kind, rest, err := codec.Unwrap(payload)
	if numbered = err == nil; err != nil {
		number, numbered = codec.CallNumber(payload)
	}
	return number, numbered, kind, rest
}

// pass passes the next record on, which is a reply, unless that was done before. Its payload may be kept if it is owned. With wake it tells those
// who wait beside the goroutine that reads the network.
func (c *chunk[E]) pass(q *Queue[E], kind codec.Kind, payload []byte, owned, wake bool) {
	if !c.answered {
		c.answer(q, c.number(), kind, payload, owned)
		if wake {
			q.stage.cfg.Woke()
		}
	}
}

// answer passes on what the record with a number in the stream replies.
func (c *chunk[E]) answer(q *Queue[E], record uint64, kind codec.Kind, payload []byte, owned bool) {
	a := calls.Answer{Kind: kind, Payload: payload, Types: q.types}
	size, head := len(payload), payload
	if c.Blocks != nil {
		a.Payload, a.Blocks, head, size = nil, c.Blocks, c.Blocks[0], 0
		for _, b := range c.Blocks {
			size += len(b)
		}
	} else if !owned {
		a.Payload = append([]byte(nil), payload...)
	}
	switch number, ok := codec.CallNumber(head); {
	case !ok:
		c.fault(record, stream.RefusedUndecodable, codec.ErrMalformed)
	case size-codec.WrapBytes > q.stage.limits.Bytes:
		q.calls.Answer(number, calls.Answer{Err: stream.ErrTooLarge})
		c.fault(record, stream.RefusedTooLarge, stream.ErrTooLarge)
	case q.calls.Answer(number, a):
		q.mu.Lock()
		q.books.Received++
		q.books.Bytes += uint64(size)
		q.mu.Unlock()
	default:
		c.fault(record, stream.RefusedLate, errLate)
	}
}

// overtake passes on the replies in a chunk that has to wait: who waits for them may be who is to make room for what comes before them.
// Nothing is done where nobody waits for a reply.
func (c *chunk[E]) overtake(q *Queue[E]) {
	if q.calls == nil || !q.calls.Waits() {
		return
	}
	c.answered = true
	record := c.number()
	if c.rest == nil {
		if kind := codec.Kind(c.Record.Kind); c.count > 0 && kind.OfCall() && kind != codec.Request {
			c.answer(q, record, kind, c.Record.Payload, true)
			c.Record.Payload, c.Blocks = nil, nil // it is somebody else's now
		}
		return
	}
	for body, last := c.rest[c.at:], c.last; len(body) > 0; record++ {
		id, k, payload, rest := wire.SplitRecord(body, last)
		if kind := codec.Kind(k); kind.OfCall() && kind != codec.Request {
			c.answer(q, record, kind, payload, false)
		}
		body, last = rest, id
	}
}
