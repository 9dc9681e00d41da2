package outgoing

import (
	"sync"

	"github.com/abhishekg16/cluster/internal/fifo"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
)

// headRoom is the size of the largest header.
const headRoom = wire.HeaderSize + wire.ResendSize

// A parcel is what a link writes at a time: many small records, which one frame carries, or one large
// one, which takes one frame or more. buf begins with room for the frame's header, which ends where that does. The small records
// are behind it, or in a block, behind the same room there.
type parcel struct {
	buf   []byte
	block *block
	large []byte
	count int
	// pooled tells that large is of transport's pools, and of this parcel alone.
	pooled bool
	seq    uint64 // of its first record, once it is the sender's load
	// confirm tells that somebody waits to hear what becomes of some of its messages.
	confirm bool
	round   *round // of those who do, while it is queued; nil if there are none
	done    bool   // it is kept no more, and freed as soon as it is not being written
}

func (p *parcel) size() int { return p.small() + len(p.large) }

// small is the size of the small records, or of the header of the large one.
func (p *parcel) small() int {
	if p.block != nil {
		return len(p.block.buf) - headRoom
	}
	return len(p.buf) - headRoom
}

func (p *parcel) load() stream.Load {
	return stream.Load{Count: p.count, Small: p.small() + wire.HeaderSize, Large: len(p.large), Confirm: p.confirm}
}

// frame is what the connection is handed for a frame of the parcel, in two parts, but for the header: there is room
// for that in the first.
func (p *parcel) frame(f *stream.Outbound) (head, tail []byte) {
	size := f.Header.Size()
	head = p.buf[headRoom-size:]
	if p.block != nil {
		return head, p.block.buf[headRoom:]
	}
	if f.Offset > 0 {
		head = head[:size]
	}
	return head, p.large[f.Offset:f.End]
}

var parcels = sync.Pool{New: func() any { return new(parcel) }}

func newParcel() *parcel {
	p := parcels.Get().(*parcel)
	if cap(p.buf) < headRoom {
		p.buf = make([]byte, 0, 512)
	}
	p.buf, p.large, p.count, p.confirm, p.done = p.buf[:headRoom], nil, 0, false, false
	return p
}

// free gives the parcel's buffer to the next. What it is full of is not needed any more.
func (p *parcel) free() {
	switch {
	case p.block != nil:
		p.block.letGo()
		p.block = nil
		sharers.Put(p)
	case p.large == nil:
		parcels.Put(p)
	case p.pooled:
		transport.PutBuffer(p.large)
		p.large = nil
	}
}

// A queue holds parcels in the order of sending and knows its size. It is not safe for
// concurrent use.
type queue struct {
	parcels  []*parcel
	room     fifo.Memory[*parcel]
	bytes    int    // of records and payloads, including the parcel that is being written
	messages int    // likewise
	pushed   uint64 // messages ever
	single   bool   // each message makes a parcel of its own
}

func (q *queue) empty() bool { return len(q.parcels) == 0 }

// fits reports whether a message of size bytes may be added. One that is larger than the limit
// fits when nothing else is there.
func (q *queue) fits(size, limit int) bool { return q.bytes == 0 || q.bytes+size <= limit }

// push adds the messages of a batch. If the batch gives its buffer it may get another one for
// it, with anything in it.
func (q *queue) push(b *Batch, give bool) {
	if q.single && b.count > 1 {
		q.pushSingly(b)
		return
	}
	q.bytes += b.size()
	q.messages += b.count
	q.pushed += uint64(b.count)
	small := b.count
	if b.large != nil {
		small--
	}
	if small > 0 {
		q.pushRecords(b, small, give)
	}
	if b.large != nil {
		q.pushLarge(b)
	}
}

// pushSingly is push for messages that are each to make a parcel of its own.
func (q *queue) pushSingly(b *Batch) {
	for b.count > 1 {
		one, rest := b.first()
		q.push(&one, false)
		b = &rest
	}
	q.push(b, false)
}

// pushLarge adds the large message of a batch.
func (q *queue) pushLarge(b *Batch) {
	// Its buffer is only for the header: many may wait.
	p := &parcel{buf: make([]byte, headRoom, headRoom+len(b.largeHead))}
	p.buf = append(p.buf, b.largeHead[:]...)
	p.large, p.pooled, p.count = b.large, b.pooled, 1
	q.parcels = q.room.Append(q.parcels, p)
}

func (q *queue) pushRecords(b *Batch, count int, give bool) {
	if i := len(q.parcels) - 1; i >= 0 && !q.single {
		if p := q.parcels[i]; p.large == nil && p.block == nil && len(p.buf)+len(b.records()) <= BatchBytes {
			p.buf = b.appendTo(p.buf)
			p.count += count
			return
		}
	}
	if b.block != nil {
		q.parcels = q.room.Append(q.parcels, sharing(b.block, count))
		return
	}
	p := newParcel()
	if p.count = count; give && b.at == headRoom && len(b.buf) >= SwapBytes {
		p.buf, b.buf = b.buf, p.buf
	} else {
		p.buf = b.appendTo(p.buf)
	}
	q.parcels = q.room.Append(q.parcels, p)
}

// newest is the parcel that was pushed last.
func (q *queue) newest() *parcel { return q.parcels[len(q.parcels)-1] }

// pop takes the oldest parcel out. Its bytes count until release.
func (q *queue) pop() *parcel {
	p := q.parcels[0]
	p.round = nil
	q.parcels = q.room.Drop(q.parcels, 1)
	return p
}

func (q *queue) release(bytes, messages int) {
	q.bytes -= bytes
	q.messages -= messages
}
