package cluster

import (
	"errors"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
)

// A chunk is what is left to deliver of one frame. Its messages stay encoded
// until shortly before they are delivered: that is when they become large.
type chunk struct {
	life  int           // of the source
	bytes int           // of the frame
	end   wire.Position // after it in the stream

	ready  []decoded   // to be delivered next
	store  []decoded   // empty: what ready is made of
	count  int         // of messages that come after them,
	record wire.Record // which is this one if its payload belongs to nobody else,
	rest   []byte      // or else these records,
	at     int         // from here on,
	before int64       // which come after one with this message id,
	buffer []byte      // and are in this memory
}

// A decoded message is one that waits for its place in the inbox.
type decoded struct {
	*Envelope
	bytes int // of its payload
}

// left is how many messages are to be delivered, as far as they can be decoded.
func (c *chunk) left() int { return len(c.ready) + c.count }

// fill makes the chunk that of the frame.
func (c *chunk) fill(a arrival) {
	c.count = int(a.Count)
	if r, ok := wire.ParseSplit(a.body, a.tail, a.Count); ok {
		c.record = r
	} else if c.count == 1 && !transport.IsPooled(a.buffer) {
		c.record, _ = wire.NextRecord(a.body, 0)
	} else {
		c.rest, c.buffer = a.body, a.buffer
	}
}

const (
	// readyMost and readyBytes say how many messages are decoded at a time, and of
	// how many bytes together.
	readyMost  = 16
	readyBytes = 8 << 10
)

// An outcome is what became of the messages that unpack could not take.
type outcome struct {
	faults [refusals]uint64
	causes [refusals]error // the first of each kind
}

func (o *outcome) fault(r Refusal, err error) {
	if o.faults[r]++; o.faults[r] == 1 {
		o.causes[r] = err
	}
}

// unpack decodes the next messages of the chunk, each of limit bytes at most. Where
// none of them can be decoded, none is ready after it. The outcome is nil if all were.
func (c *chunk) unpack(from, limit int) (o *outcome) {
	most := min(c.count, readyMost)
	if cap(c.store) == 0 {
		c.store = make([]decoded, 0, most)
	}
	ready := c.store
	var m mold
	owned := c.rest == nil
	for n, bytes := 0, 0; n < most && bytes < readyBytes; n++ {
		id, kind, payload := c.next()
		e, err := m.envelope(codec.Kind(kind), payload, owned, most-n, limit)
		if err != nil {
			if o == nil {
				o = new(outcome)
			}
			o.fault(refusalOf(err), err)
			continue
		}
		e.Pid, e.MsgId = from, id
		ready = append(ready, decoded{e, len(payload)})
		bytes += len(payload)
	}
	c.ready = ready
	if c.count == 0 {
		transport.PutBuffer(c.buffer)
		c.rest, c.buffer = nil, nil
	}
	return o
}

// next takes the next record from the chunk.
func (c *chunk) next() (msgID int64, kind uint8, payload []byte) {
	c.count--
	if c.rest == nil {
		return c.record.MsgID, c.record.Kind, c.record.Payload
	}
	msgID, kind, payload, rest := wire.SplitRecord(c.rest[c.at:], c.before)
	c.at, c.before = len(c.rest)-len(rest), msgID
	return msgID, kind, payload
}

var errTooLargeHere = errors.New("larger than maxMessageBytes")

// refusalOf says how a message is counted that could not be made an envelope.
func refusalOf(err error) Refusal {
	switch {
	case err == errTooLargeHere:
		return RefusedTooLarge
	case errors.Is(err, codec.ErrUnregistered):
		return RefusedUnregistered
	}
	return RefusedUndecodable
}
