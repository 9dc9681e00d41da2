package delivery

import (
	"errors"
	"time"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
)

const (
	// readyMost and readyBytes say how many messages are decoded at a time, and from which memory
	// on that they take together no more are.
	readyMost  = 16
	readyBytes = 8 << 10
	// slowTime is how long messages that are not quick may take together before those that are
	// ready go on.
	slowTime = time.Millisecond
)

// A chunk is what is left to deliver of one delivery. Its messages stay encoded until shortly
// before they are delivered: that is when they become large.
type chunk[E any] struct {
	stream.Delivery
	ready []decoded[E] // to be delivered next
	store []decoded[E] // empty: what ready is made of
	count int          // of messages that come after them,
	rest  []byte       // which are these records, if it is not nil, or else Record,
	at    int          // from here on,
	last  int64        // which come after one with this message id

	faults  *faults // of the messages that could not be decoded, until they are settled
	untold  int     // what was left when the owner was last told
	toldAll bool    // with nothing left

	answered bool // the replies in it were passed on
}

// A decoded message is one that waits for its place in the channel.
type decoded[E any] struct {
	envelope *E
	bytes    int     // of its payload
	cost     int     // that it takes in memory
	budget   *budget // that its cost is of, until it is in the channel; nil: of none
}

// init makes an empty chunk that of a delivery. It is large, and so made where it stays.
func (c *chunk[E]) init(d *stream.Delivery) {
	c.Delivery, c.count, c.untold = *d, d.Count, d.Count
	if c.Assembled || c.count == 0 {
		transport.PutBuffer(c.Buffer) // the bytes were copied
		c.Buffer = nil
	} else if r, ok := wire.ParseSplit(c.Body, c.Tail, uint32(c.count)); ok {
		c.Record = r
	} else if c.count == 1 && !transport.IsPooled(c.Buffer) {
		c.Record, _ = wire.NextRecord(c.Body, 0)
	} else {
		c.rest = c.Body
	}
	c.Body, c.Tail = nil, nil
}

// left is how many messages are to be delivered, as far as they can be decoded.
func (c *chunk[E]) left() int { return len(c.ready) + c.count }

// peek is the next record, which next steps over.
func (c *chunk[E]) peek() (msgID int64, kind uint8, payload, rest []byte) {
	if c.rest == nil {
		return c.Record.MsgID, c.Record.Kind, c.Record.Payload, nil
	}
	return wire.SplitRecord(c.rest[c.at:], c.last)
}

// quick reports whether what is to be delivered next is ready, or takes little time to decode and no code of the program's.
func (c *chunk[E]) quick() bool {
	if len(c.ready) > 0 || c.count == 0 {
		return true
	}
	if c.Blocks != nil {
		return false // until they are joined
	}
	_, kind, payload, _ := c.peek()
	return codec.Quick(codec.Kind(kind), payload)
}

// dealtWith reports whether nothing is left, and the owner knows.
func (c *chunk[E]) dealtWith() bool { return c.toldAll }

// faults are what became of the messages that unpack could not decode.
type faults struct {
	counts [stream.Refusals]uint64
	causes [stream.Refusals]error // the first of each kind
	named  []fault                // where the sender waits to hear of each

	requests []refusedRequest
}

// A fault is a record that could not be decoded.
type fault struct {
	number uint64
	why    stream.Refusal
}

// number is that of the next record.
func (c *chunk[E]) number() uint64 { return c.End.Seq - uint64(c.count) }

// fault notes what became of the record with a number.
func (c *chunk[E]) fault(number uint64, r stream.Refusal, err error) {
	if c.faults == nil {
		c.faults = new(faults)
	}
	if c.faults.counts[r]++; c.faults.counts[r] == 1 {
		c.faults.causes[r] = err
	}
	if c.Confirm {
		c.faults.named = append(c.faults.named, fault{number, r})
	}
}

// unpack decodes the next messages of the chunk, of which no more may be ready. With quickOnly it stops before one that is not
// quick, and else after those that together took longer than slowTime. Where none can be decoded, none is ready after it. If a
// method of the program's ends the goroutine, the message whose method it was is still the next.
func (c *chunk[E]) unpack(q *Queue[E], quickOnly bool) {
	most := min(c.count, readyMost)
	if cap(c.store) < most {
		c.store = make([]decoded[E], 0, most)
	}
	var s slab[E]
	cost := c.unpackPlain(q, &s, most)
	owned := c.rest == nil
	slow := time.Duration(0)
	for n := len(c.ready); n < most && cost < readyBytes && slow < slowTime; n++ {
		id, k, payload, rest := c.peek()
		kind, call, numbered := codec.Kind(k), uint64(0), false
		if kind.OfCall() && q.calls != nil {
			if kind != codec.Request {
				c.pass(q, kind, payload, owned, !quickOnly)
				c.skip(id, rest)
				continue
			}
			call, numbered, kind, payload = unwrap(payload)
		}
		quick := codec.Quick(kind, payload)
		if !quick && (quickOnly || !q.reserve(len(payload), n == 0)) {
			break
		}
		d := decoded[E]{bytes: len(payload)}
		var msg any
		var err error
		if quick {
			d.envelope, msg, d.cost, err = s.message(kind, payload, owned, most-n, &q.stage.limits, q.types)
		} else {
			began := time.Now()
			if d.envelope, msg, d.cost, err = q.decode(&s, kind, payload, owned, most-n, n == 0); err == errNoBudget {
				break
			}
			slow += time.Since(began)
			d.budget = q.settleReserve(d.cost)
		}
		number := c.number()
		c.skip(id, rest)
		if err != nil {
			c.fault(number, refusalOf(err), err)
			if numbered {
				c.faults.requests = append(c.faults.requests, refusedRequest{id, call, refusalOf(err), err})
			}
			continue
		}
		if codec.Kind(k) == codec.Request {
			msg = q.calls.Request(id, call, msg)
		}
		q.stage.cfg.Fill(d.envelope, q.from, id, msg)
		c.ready = append(c.ready, d)
		cost += max(d.cost, len(payload))
	}
}

// unpackPlain makes ready what comes next that is bytes or text, which most messages are: for these each step counts. It returns
// what they take in memory.
func (c *chunk[E]) unpackPlain(q *Queue[E], s *slab[E], most int) (cost int) {
	c.ready = c.store
	if c.rest == nil {
		return 0
	}
	longest := q.stage.limits.Bytes
	fill, from := q.stage.cfg.Fill, q.from
	ready := c.store[:most]
	n := 0
	for body, last := c.rest[c.at:], c.last; n < most && cost < readyBytes; n++ {
		id, k, payload, rest := wire.SplitRecord(body, last)
		kind, like := codec.Kind(k), someBytes
		if kind != codec.Bytes {
			like = someText
		}
		if kind != codec.Bytes && kind != codec.String || len(payload) > longest {
			break
		}
		cell := s.cell(payload, false, most-n)
		fill(&cell.envelope, from, id, boxed(like, &cell.data))
		d := &ready[n]
		d.envelope, d.bytes, d.cost = &cell.envelope, len(payload), kind.Cost(len(payload))
		cost += d.cost
		body, last = rest, id
		c.at, c.last = len(c.rest)-len(rest), id
	}
	c.ready = ready[:n]
	if c.count -= n; n > 0 && c.count == 0 {
		c.done()
	}
	return cost
}

// skip steps over the next record, which has this message id, and behind which the rest comes. With the last, the memory
// of the records is let go of.
func (c *chunk[E]) skip(id int64, rest []byte) {
	if c.rest != nil {
		c.at, c.last = len(c.rest)-len(rest), id
	}
	if c.count--; c.count == 0 {
		c.done()
	}
}

// done lets go of the memory of the records: all are decoded.
func (c *chunk[E]) done() {
	transport.PutBuffer(c.Buffer)
	c.Record, c.Blocks, c.rest, c.Buffer = wire.Record{}, nil, nil, nil
}

// refusalOf says how a message is counted that could not be decoded.
func refusalOf(err error) stream.Refusal {
	switch {
	case err == stream.ErrTooLarge, errors.Is(err, codec.ErrTooLarge):
		return stream.RefusedTooLarge
	case errors.Is(err, codec.ErrUnregistered):
		return stream.RefusedUnregistered
	case errors.Is(err, codec.ErrStopped):
		return stream.RefusedClosed
	}
	return stream.RefusedUndecodable
}
