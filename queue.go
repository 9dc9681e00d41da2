package cluster

import (
	"sync"

	"github.com/abhishekg16/cluster/internal/flaw"
	"github.com/abhishekg16/cluster/internal/wire"
)

const (
	// batchBytes is where a batch of small messages is full. Batches twice as large go a twentieth
	// to a tenth faster, but a slow path takes twice as long for each, and twice as much is lost
	// with one.
	batchBytes = 64 << 10
	// runMessages is where a run ends that does not fill a batch before: very small messages had
	// better be on their way while more are encoded.
	runMessages = 1024
	// swapBytes is from where a run's buffer is taken instead of copied. A smaller one
	// would soon have to grow as that of a batch.
	swapBytes = 4 << 10
	// blobBytes is the payload from which a message travels as a frame of its
	// own, and is not copied on its way to the connection.
	blobBytes = 32 << 10
	// A record of less may have a short header: this does not compile otherwise.
	_ = uint(wire.MaxShort - (blobBytes - 1))
	// pieceBytes is the most payload in one frame; a larger one is sent in
	// pieces, so that the peer can be seen to take it, and so that neither
	// ZeroMQ nor the window holds whole large messages.
	pieceBytes = 128 << 10
)

// A run is messages on their way into the queues of their destinations: small
// records in a row, and last of all a large message, whose payload is apart.
type run struct {
	buf      []byte // room for the header of a frame, and somewhere behind it the records,
	at       int    // from here on,
	before   int64  // which come after one with this message id, if the first has a short header
	last     int64  // message id of the last of them
	newest   int    // bytes of the last of them
	blob     []byte // shared by all links that send it, and never written to
	blobHead [wire.RecordSize]byte
	count    int // of messages, the large one included
}

func (r *run) records() []byte { return r.buf[r.at:] }

// appendTo appends the records to others.
func (r *run) appendTo(b []byte) []byte {
	records := r.records()
	if wire.IsShort(records) {
		id, kind, payload, rest := wire.SplitRecord(records, r.before)
		b = append(wire.AppendRecordHeader(b, id, kind, len(payload)), payload...)
		records = rest
	}
	return append(b, records...)
}

func (r *run) size() int {
	n := len(r.buf) - r.at
	if wire.IsShort(r.records()) {
		n += wire.RecordSize - wire.ShortSize
	}
	if r.blob != nil {
		n += len(r.blobHead) + len(r.blob)
	}
	return n
}

// full reports whether no more may be added: the records of a run stay together in a batch,
// which has no room for another one like the newest. A larger one may still have been the last:
// so a batch may be larger than batchBytes, by little more than blobBytes at most.
func (r *run) full() bool {
	return len(r.buf)+r.newest > batchBytes || r.count >= runMessages || r.blob != nil
}

// first splits the first message off.
func (r *run) first() (one, rest run) {
	one, rest = *r, *r
	if len(r.records()) == 0 {
		return one, run{}
	}
	id, _, _, behind := wire.SplitRecord(r.records(), r.before)
	rest.at, rest.before = len(r.buf)-len(behind), id
	rest.count--
	one.buf, one.blob, one.count = r.buf[:rest.at], nil, 1
	return one, rest
}

// reset empties the run, and keeps its buffer.
func (r *run) reset() {
	if cap(r.buf) < wire.HeaderSize {
		r.buf = make([]byte, 0, 512)
	}
	r.buf, r.at, r.newest, r.blob, r.count = r.buf[:wire.HeaderSize], wire.HeaderSize, 0, nil, 0
}

// A batch is what one frame carries: many small records, or one large one. buf
// begins with room for the frame's header.
type batch struct {
	buf   []byte
	blob  []byte
	count int
}

func (b *batch) size() int { return len(b.buf) - wire.HeaderSize + len(b.blob) }

var batches = sync.Pool{New: func() any { return new(batch) }}

func newBatch() *batch {
	b := batches.Get().(*batch)
	if cap(b.buf) < wire.HeaderSize {
		b.buf = make([]byte, 0, 512)
	}
	b.buf, b.blob, b.count = b.buf[:wire.HeaderSize], nil, 0
	return b
}

// free gives the batch's buffer to the next. What it is full of is on its way.
func (b *batch) free() {
	if b.blob == nil {
		batches.Put(b)
	}
}

// A queue holds batches in the order of sending and knows its size. It is not
// safe for concurrent use.
type queue struct {
	batches  []*batch
	bytes    int // of records and payloads, including what the writer has taken
	messages int // likewise
}

func (q *queue) empty() bool { return len(q.batches) == 0 }

// fits reports whether a message of size bytes may be added. One that is larger
// than the limit fits when nothing else is there.
func (q *queue) fits(size, limit int) bool {
	return q.bytes == 0 || q.bytes+size <= limit || flaw.On(flaw.Queue)
}

// push adds the messages of a run. If the run gives its buffer it may get another one
// for it, with anything in it.
func (q *queue) push(r *run, give bool) {
	q.bytes += r.size()
	q.messages += r.count
	small := r.count
	if r.blob != nil {
		small--
	}
	if small > 0 {
		q.pushRecords(r, small, give)
	}
	if r.blob != nil {
		// Its buffer is only for the header: many may wait.
		b := &batch{buf: make([]byte, wire.HeaderSize, wire.HeaderSize+len(r.blobHead))}
		b.buf = append(b.buf, r.blobHead[:]...)
		b.blob, b.count = r.blob, 1
		q.batches = append(q.batches, b)
	}
}

func (q *queue) pushRecords(r *run, count int, give bool) {
	if i := len(q.batches) - 1; i >= 0 {
		if b := q.batches[i]; b.blob == nil && len(b.buf)+len(r.records()) <= batchBytes {
			b.buf = r.appendTo(b.buf)
			b.count += count
			return
		}
	}
	b := newBatch()
	if b.count = count; give && r.at == wire.HeaderSize && len(r.buf) >= swapBytes {
		b.buf, r.buf = r.buf, b.buf
	} else {
		b.buf = r.appendTo(b.buf)
	}
	q.batches = append(q.batches, b)
}

// pop takes the oldest batch out. Its bytes count until release.
func (q *queue) pop() *batch {
	b := q.batches[0]
	q.batches[0] = nil
	q.batches = q.batches[1:]
	return b
}

func (q *queue) release(bytes, messages int) {
	q.bytes -= bytes
	q.messages -= messages
}
