package outgoing

import (
	"sync"
	"sync/atomic"
)

// shareBytes is from where the records of a batch for several links are not copied into a parcel of each. What one link has to write
// should be few frames: so a batch of which two would go into one frame is copied behind what waits already.
const shareBytes = BatchBytes / 2

// A block is the buffer of a batch, which the batch and the parcels of several links have together. Nobody writes to it then. It is
// used again when all have let go of it.
type block struct {
	buf   []byte // as that of a Batch
	users atomic.Int32
}

var blocks = sync.Pool{New: func() any { return new(block) }}

// Share prepares a batch that is to be put into the queues of several links. Nothing is added to it any more. It reports whether
// they will have its buffer together, which the batch must not give away then.
func (b *Batch) Share() bool {
	if b.at != headRoom || len(b.records()) < shareBytes {
		return false
	}
	s := blocks.Get().(*block)
	s.buf, b.next = b.buf, s.buf
	s.users.Store(1)
	b.block = s
	return true
}

// unshare ends what Share has begun. The batch has another buffer.
func (b *Batch) unshare() {
	if b.block != nil {
		b.buf, b.next = b.next, nil
		b.block.letGo()
		b.block = nil
	}
}

func (s *block) letGo() {
	if s.users.Add(-1) == 0 {
		blocks.Put(s)
	}
}

// sharers are parcels that have no buffer but for a header.
var sharers = sync.Pool{New: func() any { return &parcel{buf: make([]byte, headRoom)} }}

// sharing makes a parcel of a block.
func sharing(s *block, count int) *parcel {
	s.users.Add(1)
	p := sharers.Get().(*parcel)
	p.block, p.count, p.confirm, p.done = s, count, false, false
	return p
}
