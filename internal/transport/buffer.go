package transport

import "sync"

// The sizes of buffers that are used again: what a frame of many records takes, and
// what a frame with a piece of a large one takes. A buffer is known by its capacity, so
// these are sizes that Go's allocator gives to nothing else: it rounds up to multiples
// of 8 KiB.
const (
	batchBuffer = 66 << 10
	pieceBuffer = 130 << 10
	// leastPooled is the size from which a frame gets such a buffer. It may stay in it for
	// as long as its messages wait for room, and what waits is counted by its own size: so
	// it has to fill about half of the buffer.
	leastPooled = 32 << 10
)

var pools = [...]struct {
	size int
	sync.Pool
}{{size: batchBuffer}, {size: pieceBuffer}}

// GetBuffer returns memory of that length, with anything in it. Who has it may give it
// back with PutBuffer, once nobody uses it any more, or leave it to the garbage
// collector.
func GetBuffer(size int) []byte {
	if size >= leastPooled {
		for i := range pools {
			if p := &pools[i]; size <= p.size {
				if b, ok := p.Get().(*[]byte); ok {
					return (*b)[:size]
				}
				return make([]byte, size, p.size)
			}
		}
	}
	return make([]byte, size)
}

// PutBuffer gives memory back that GetBuffer may return next. What is no such memory
// is left alone.
func PutBuffer(b []byte) {
	for i := range pools {
		if p := &pools[i]; cap(b) == p.size {
			p.Put(&b)
			return
		}
	}
}

// IsPooled reports whether b is memory to be given back, so that keeping a little of
// it keeps much.
func IsPooled(b []byte) bool {
	return cap(b) == batchBuffer || cap(b) == pieceBuffer
}
