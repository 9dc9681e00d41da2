package cluster

import (
	"sync"

	"github.com/abhishekg16/cluster/internal/wire"
)

const (
	// batchBytes is where a batch of small messages is full. Larger ones do not
	// go faster.
	batchBytes = 64 << 10
	// blobBytes is the payload from which a message travels as a frame of its
	// own, and is not copied on its way to the connection.
	blobBytes = 32 << 10
	// pieceBytes is the most payload in one frame; a larger one is sent in
	// pieces, so that the peer can be seen to take it, and so that neither
	// ZeroMQ nor the window holds whole large messages.
	pieceBytes = 128 << 10
)

// encoded is a message on its way into the queues: a record whose payload is
// either part of head or, if it is large, in blob.
type encoded struct {
	head []byte
	blob []byte // shared by all links that send it, and never written to
}

func (m *encoded) size() int { return len(m.head) + len(m.blob) }

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
	b.blob = nil
	batches.Put(b)
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
	return q.bytes == 0 || q.bytes+size <= limit
}

func (q *queue) push(m *encoded) {
	q.bytes += m.size()
	q.messages++
	if last := len(q.batches) - 1; m.blob == nil && last >= 0 {
		if b := q.batches[last]; b.blob == nil && len(b.buf)+len(m.head) <= batchBytes {
			b.buf = append(b.buf, m.head...)
			b.count++
			return
		}
	}
	b := newBatch()
	b.buf = append(b.buf, m.head...)
	b.blob, b.count = m.blob, 1
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
