package outgoing

import (
	"slices"
	"unsafe"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
)

const (
	// BatchBytes is where a batch of small messages is full. Batches twice as large go a twentieth
	// to a tenth faster, but a slow path takes twice as long for each, and twice as much is lost
	// with one.
	BatchBytes = 64 << 10
	// batchMessages is where a batch ends that is not full before: very small messages had
	// better be on their way while more are encoded.
	batchMessages = 1024
	// SwapBytes is from where a batch's buffer is taken instead of copied. A smaller one would
	// soon have to grow as that of a parcel.
	SwapBytes = 4 << 10
	// LargeBytes is the payload from which a message travels as a frame of its own, and is not
	// copied on its way to the connection.
	LargeBytes = 32 << 10
	// A record of less may have a short header: this does not compile otherwise.
	_ = uint(wire.MaxShort - (LargeBytes - 1))
)

// A Batch is messages on their way into the queues of their destinations, while it is being built: small
// records in a row, and last of all a large message, whose payload is apart.
type Batch struct {
	buf       []byte // room for the header of a frame, and somewhere behind it the records,
	at        int    // from here on,
	before    int64  // which come after one with this message id, if the first has a short header
	last      int64  // message id of the last of them
	newest    int    // bytes of the last of them
	large     []byte // shared by all links that send it, and never written to
	pooled    bool   // large is of transport's pools, and for one link, which gives it back
	largeHead [wire.RecordSize]byte
	count     int // of messages, the large one included

	block *block // has buf, if the batch is shared; and then
	next  []byte // is what the batch has afterwards
}

// Count is how many messages the batch has.
func (b *Batch) Count() int { return b.count }

// Cap is the size of the buffer that the batch keeps from one use to the next.
func (b *Batch) Cap() int { return cap(b.buf) }

// Len is the size of what was built so far, but for a large message.
func (b *Batch) Len() int { return len(b.buf) }

func (b *Batch) records() []byte { return b.buf[b.at:] }

// appendTo appends the records to others.
func (b *Batch) appendTo(dst []byte) []byte {
	records := b.records()
	if wire.IsShort(records) {
		return b.appendWhole(dst)
	}
	return append(dst, records...)
}

// appendWhole is appendTo for records of which the first has a short header: it gets a whole one.
func (b *Batch) appendWhole(dst []byte) []byte {
	id, kind, payload, rest := wire.SplitRecord(b.records(), b.before)
	dst = append(wire.AppendRecordHeader(dst, id, kind, len(payload)), payload...)
	return append(dst, rest...)
}

func (b *Batch) size() int {
	n := len(b.buf) - b.at
	if wire.IsShort(b.records()) {
		n += wire.RecordSize - wire.ShortSize
	}
	if b.large != nil {
		n += len(b.largeHead) + len(b.large)
	}
	return n
}

// Full reports whether no more may be added: the records of a batch stay together in a frame, which
// has no room for another one like the newest. A larger one may still have been the last:
// so a frame may be larger than BatchBytes, by little more than LargeBytes at most.
func (b *Batch) Full() bool {
	return len(b.buf)+b.newest > BatchBytes || b.count >= batchMessages || b.large != nil
}

// first splits the first message off.
func (b *Batch) first() (one, rest Batch) {
	one, rest = *b, *b
	if len(b.records()) == 0 {
		return one, Batch{}
	}
	one.block, rest.block = nil, nil // neither is all of it
	id, _, _, behind := wire.SplitRecord(b.records(), b.before)
	rest.at, rest.before = len(b.buf)-len(behind), id
	rest.count--
	one.buf, one.large, one.count = b.buf[:rest.at], nil, 1
	return one, rest
}

// Reset empties the batch, and keeps its buffer.
func (b *Batch) Reset() {
	if cap(b.buf) < headRoom {
		b.buf = make([]byte, 0, 512)
	}
	b.buf, b.at, b.newest, b.large, b.pooled, b.count = b.buf[:headRoom], headRoom, 0, nil, false, 0
}

// Keep tells that the batch is for several links, of which none knows when the others are done with the large message.
func (b *Batch) Keep() { b.pooled = false }

// Drop lets go of a large message, and of what is shared, which are on their way.
func (b *Batch) Drop() {
	b.large, b.pooled = nil, false
	b.unshare()
}

// A TooLarge is the error for bytes or text that are larger than the largest message that may be sent. Of other messages the
// whole size is not known: package codec stops at the limit.
type TooLarge struct{ Bytes int }

func (e *TooLarge) Error() string { return "too large" }

// Append adds a message within the limits. The error is a *TooLarge, or that of package codec; the batch is
// as it was then.
func (b *Batch) Append(id int64, msg any, lim *codec.Limits) error {
	if w, ok := msg.(*codec.Written); ok {
		return b.appendWritten(id, w, lim)
	}
	blob, kind, isBlob := codec.Blob(msg)
	if len(blob) >= LargeBytes {
		return b.appendLarge(id, kind, blob, lim.Bytes)
	}
	at, head := len(b.buf), wire.RecordSize
	if id == b.last+1 && at > b.at {
		head = wire.ShortSize
	}
	payload := at + head
	buf := slices.Grow(b.buf, head)[:payload]
	if isBlob && len(blob) <= lim.Bytes && kind.Cost(len(blob)) <= lim.Cost {
		buf = append(buf, blob...)
	} else {
		var err error
		if buf, kind, err = codec.Append(buf, msg, *lim); err != nil {
			return err
		}
	}
	size := len(buf) - payload
	grown := &buf[0] != &b.buf[:1][0] // into another array
	switch {
	case size >= LargeBytes:
		if !grown {
			// The buffer goes with the message, and the next one gets another.
			b.buf = slices.Clone(b.buf)
		}
		return b.appendLarge(id, kind, buf[payload:], lim.Bytes)
	case head == wire.ShortSize:
		wire.PutShortHeader(buf[at:], uint8(kind), size)
	default:
		wire.PutRecordHeader(buf[at:], id, uint8(kind), size)
	}
	if grown {
		b.buf = buf
	} else {
		b.buf = b.buf[:len(buf)] // spares writing the pointer
	}
	b.last, b.newest = id, len(buf)-at
	b.count++
	return nil
}

// appendWritten is Append of what is still to be written.
func (b *Batch) appendWritten(id int64, w *codec.Written, lim *codec.Limits) error {
	buf := transport.GetBuffer(w.Size)
	payload := w.Append(buf[:0])
	if len(payload) < LargeBytes {
		err := b.Append(id, payload, lim)
		transport.PutBuffer(buf)
		return err
	}
	err := b.appendLarge(id, codec.Bytes, payload, lim.Bytes)
	if b.pooled = err == nil && &payload[0] == unsafe.SliceData(buf); !b.pooled {
		transport.PutBuffer(buf) // it was too small, or is not needed
	}
	return err
}

// appendLarge makes the payload the batch's large message.
func (b *Batch) appendLarge(id int64, kind codec.Kind, payload []byte, limit int) error {
	if n := len(payload) - kind.Around(); n > limit {
		return &TooLarge{n}
	}
	b.large = payload
	wire.PutRecordHeader(b.largeHead[:], id, uint8(kind), len(payload))
	b.count++
	return nil
}
