package cluster

import (
	"errors"
	"reflect"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/flaw"
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
	buffer []byte      // which are in this memory
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
		c.record, _ = wire.NextRecord(a.body)
	} else {
		c.rest, c.buffer = a.body, a.buffer
	}
}

const (
	// readyMost and readyBytes say how many messages are decoded at a time, and of
	// how many bytes together.
	readyMost  = 16
	readyBytes = 8 << 10
	// smallBytes is the largest payload whose message is allocated together with
	// others: who keeps one of them keeps all.
	smallBytes = 64
)

// An outcome is what became of the messages that unpack took from a chunk.
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
// none of them can be decoded, none is ready after it.
func (c *chunk) unpack(from, limit int) (o outcome) {
	most := min(c.count, readyMost)
	if cap(c.store) == 0 {
		c.store = make([]decoded, 0, most)
	}
	c.ready = c.store
	var slab []Envelope
	var joint small
	bytes := 0
	owned := c.rest == nil
	for n := 0; n < most && bytes < readyBytes; n++ {
		r := c.next()
		size := len(r.Payload)
		if size > limit && !flaw.On(flaw.Size) {
			o.fault(RefusedTooLarge, errTooLargeHere)
			continue
		}
		var e *Envelope
		if size > smallBytes {
			e = new(Envelope)
		} else {
			if len(slab) == 0 {
				slab = make([]Envelope, most-n)
			}
			e = &slab[0]
		}
		if most > 1 && codec.Kind(r.Kind) == codec.Bytes && size <= smallBytes {
			joint.add(r.Payload, e, most-n)
		} else {
			msg, err := codec.Decode(codec.Kind(r.Kind), r.Payload, owned)
			if errors.Is(err, codec.ErrUnregistered) {
				o.fault(RefusedUnregistered, err)
				continue
			} else if err != nil {
				o.fault(RefusedUndecodable, err)
				continue
			}
			e.Msg = msg
		}
		e.Pid, e.MsgId = from, r.MsgID
		if size <= smallBytes {
			slab = slab[1:]
		}
		c.ready = append(c.ready, decoded{e, size})
		bytes += size
	}
	joint.box()
	if c.count == 0 {
		transport.PutBuffer(c.buffer)
		c.rest, c.buffer = nil, nil
	}
	return o
}

// next takes the next record from the chunk.
func (c *chunk) next() (r wire.Record) {
	c.count--
	if c.rest == nil {
		return c.record
	}
	r, c.rest = wire.NextRecord(c.rest)
	return r
}

// small is several small messages of type []byte, which are made with one
// allocation for their contents, and one for the slices that the interface values
// point to.
type small struct {
	data   []byte
	slices [readyMost][]byte
	of     [readyMost]*Envelope
	count  int
}

// add makes a copy of payload the message of e, once box is called, which is not nil
// even if it is empty. As many as left may be added, this one included.
func (s *small) add(payload []byte, e *Envelope, left int) {
	if s.data == nil || cap(s.data)-len(s.data) < len(payload) {
		s.data = make([]byte, 0, max(1, left*len(payload)))
	}
	at := len(s.data)
	s.data = append(s.data, payload...)
	s.slices[s.count], s.of[s.count] = s.data[at:len(s.data):len(s.data)], e
	s.count++
}

// box gives the messages to their envelopes. An element of an array in an interface
// is made an interface without a copy; the other way to that is package unsafe.
func (s *small) box() {
	if s.count < readyMost/2 {
		for i := range s.count {
			s.of[i].Msg = s.slices[i]
		}
		return
	}
	array := reflect.ValueOf(s.slices)
	for i := range s.count {
		s.of[i].Msg = array.Index(i).Interface()
	}
}

var errTooLargeHere = errors.New("larger than maxMessageBytes")
