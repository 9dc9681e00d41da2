package transport

import (
	"sync"
	"unsafe"
)

// leastPooled is the size from which a frame gets a buffer that is used again.
const leastPooled = 2 << 10

// pools are of buffers that are used again, of these sizes. A frame may stay in its buffer for
// as long as its messages wait for room, and what waits is counted by its own size: so it fills
// about half of the buffer at least. The largest two are for a frame full of records, and for a
// piece of a large one.
//
// A buffer is known by its capacity, so these are no sizes that Go's allocator rounds up to.
var pools = [...]struct {
	size int
	sync.Pool
}{{size: 4000}, {size: 8000}, {size: 16000}, {size: 32000}, {size: 66 << 10}, {size: 130 << 10}}

// GetBuffer returns memory of that length, with anything in it. Who has it may give it
// back with PutBuffer, once nobody uses it any more, or leave it to the garbage
// collector.
func GetBuffer(size int) []byte {
	if size >= leastPooled {
		for i := range pools {
			if p := &pools[i]; size <= p.size {
				if b, ok := p.Get().(*byte); ok {
					return unsafe.Slice(b, p.size)[:size]
				}
				return make([]byte, size, p.size)
			}
		}
	}
	return make([]byte, size)
}

// OwnBuffer returns memory of that length that is of no pool, so that PutBuffer leaves it alone. It takes no more than that, which
// counts for what the program keeps.
func OwnBuffer(size int) []byte {
	for i := range pools {
		if size == pools[i].size {
			return make([]byte, size, size+1)
		}
	}
	return make([]byte, size)
}

// CopyBuffer returns a copy of b in memory as GetBuffer returns it. A small one costs less so: its memory need not be cleared before.
func CopyBuffer(b []byte) []byte {
	if len(b) < leastPooled {
		return append([]byte{}, b...)
	}
	c := GetBuffer(len(b))
	copy(c, b)
	return c
}

// PutBuffer gives memory back that GetBuffer may return next. What is no such memory
// is left alone.
func PutBuffer(b []byte) {
	for i := range pools {
		if p := &pools[i]; cap(b) == p.size {
			p.Put(unsafe.SliceData(b)) // a pointer, which the pool keeps without allocating
			return
		}
	}
}

// IsPooled reports whether b is memory to be given back, so that keeping a little of
// it keeps much.
func IsPooled(b []byte) bool {
	for i := range pools {
		if cap(b) == pools[i].size {
			return true
		}
	}
	return false
}
