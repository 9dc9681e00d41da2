package delivery

import (
	"unsafe"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/stream"
)

// smallBytes is the largest payload whose message is allocated together with others: who
// keeps one of them keeps all, up to readyMost.
const smallBytes = 64

// A slab makes envelopes of payloads, with few allocations where those are small. It counts
// what it has used instead of slicing it off: a pointer that is written while the collector
// marks costs several times as much.
type slab[E any] struct {
	cells     []cell[E] // for small messages that are bytes or text,
	cellsUsed int
	data      []byte // with their contents,
	dataUsed  int
	plain     []E // for other small messages
	plainUsed int
}

// A cell is an envelope and the content of its message, if that is bytes or text. The message
// as an interface points to data, whose first two words are also those of a string: so one
// allocation serves both, and several cells at a time.
type cell[E any] struct {
	envelope E
	data     []byte
}

// Interfaces of the types that a message in a cell can have.
var (
	someBytes any = []byte(nil)
	someText  any = ""
)

// message makes an envelope and the message of a payload, which is for the caller to put into it, and returns
// what the message costs in memory. If the message owns the payload it may be made of it, or else it is
// copied. As many as left small ones may be made together, this one included.
func (s *slab[E]) message(kind codec.Kind, payload []byte, owned bool, left int, lim *codec.Limits, types *codec.Types) (*E, any, int, error) {
	switch {
	case len(payload) > lim.Bytes:
		return nil, nil, 0, stream.ErrTooLarge
	case kind == codec.Bytes:
		c := s.cell(payload, owned, left)
		return &c.envelope, boxed(someBytes, &c.data), kind.Cost(len(payload)), nil
	case kind == codec.String:
		c := s.cell(payload, owned, left)
		return &c.envelope, boxed(someText, &c.data), kind.Cost(len(payload)), nil
	}
	msg, cost, err := codec.Decode(kind, payload, owned, *lim, types)
	if err != nil {
		return nil, nil, 0, err
	}
	if len(payload) > smallBytes {
		return new(E), msg, cost, nil
	}
	if s.plainUsed == len(s.plain) {
		s.plain, s.plainUsed = make([]E, left), 0
	}
	e := &s.plain[s.plainUsed]
	s.plainUsed++
	return e, msg, cost, nil
}

// cell makes a cell with the payload, which is not nil even if it is empty.
func (s *slab[E]) cell(payload []byte, owned bool, left int) *cell[E] {
	switch {
	case owned && payload != nil:
		return &cell[E]{data: payload[:len(payload):len(payload)]}
	case len(payload) > smallBytes:
		return &cell[E]{data: append([]byte{}, payload...)}
	}
	if s.cellsUsed == len(s.cells) {
		s.cells, s.cellsUsed = make([]cell[E], left), 0
	}
	if len(s.data)-s.dataUsed < len(payload) || s.data == nil {
		s.data, s.dataUsed = make([]byte, max(1, left*len(payload))), 0
	}
	c := &s.cells[s.cellsUsed]
	s.cellsUsed++
	end := s.dataUsed + len(payload)
	c.data = s.data[s.dataUsed:end:end]
	s.dataUsed = end
	copy(c.data, payload)
	return c
}

// boxed returns an interface with the type of like that holds the value at p, without
// allocating the copy that a conversion makes. Nobody else may change that value.
func boxed(like any, p *[]byte) any {
	// An interface of such a type is two pointers: to the type, and to the value.
	(*[2]unsafe.Pointer)(unsafe.Pointer(&like))[1] = unsafe.Pointer(p)
	return like
}
