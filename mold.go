package cluster

import (
	"unsafe"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/flaw"
)

// smallBytes is the largest payload whose message is allocated together with others:
// who keeps one of them keeps all, up to readyMost.
const smallBytes = 64

// A mold makes envelopes of payloads, with few allocations where those are small. It
// counts what it has used instead of slicing it off: a pointer that is written while the
// collector marks costs several times as much.
type mold struct {
	cells  []cell     // for small messages that are bytes or text,
	cast   int        // of which so many are used,
	data   []byte     // with their contents,
	filled int        // of so many bytes
	plain  []Envelope // for other small messages,
	taken  int        // of which so many are used
}

// A cell is an envelope and the content of its message, if that is bytes or text. The
// message as an interface points to data, whose first two words are also those of a
// string: so one allocation serves both, and several cells at a time.
type cell struct {
	Envelope
	data []byte
}

// Interfaces of the types that a message in a cell can have.
var (
	someBytes any = []byte(nil)
	someText  any = ""
)

// envelope makes an envelope with the message of a payload of limit bytes at most. If
// the message owns the payload it may be made of it, or else it is copied. As many as
// left small ones may be made together, this one included.
func (m *mold) envelope(kind codec.Kind, payload []byte, owned bool, left, limit int) (*Envelope, error) {
	switch {
	case len(payload) > limit && !flaw.On(flaw.Size):
		return nil, errTooLargeHere
	case kind == codec.Bytes:
		c := m.cell(payload, owned, left)
		c.Msg = boxed(someBytes, &c.data)
		return &c.Envelope, nil
	case kind == codec.String:
		c := m.cell(payload, owned, left)
		c.Msg = boxed(someText, &c.data)
		return &c.Envelope, nil
	}
	msg, err := codec.Decode(kind, payload, owned)
	if err != nil {
		return nil, err
	}
	if len(payload) > smallBytes {
		return &Envelope{Msg: msg}, nil
	}
	if m.taken == len(m.plain) {
		m.plain, m.taken = make([]Envelope, left), 0
	}
	e := &m.plain[m.taken]
	m.taken++
	e.Msg = msg
	return e, nil
}

// cell makes a cell with the payload, which is not nil even if it is empty.
func (m *mold) cell(payload []byte, owned bool, left int) *cell {
	switch {
	case owned && payload != nil:
		return &cell{data: payload[:len(payload):len(payload)]}
	case len(payload) > smallBytes:
		return &cell{data: append([]byte{}, payload...)}
	}
	if m.cast == len(m.cells) {
		m.cells, m.cast = make([]cell, left), 0
	}
	if len(m.data)-m.filled < len(payload) || m.data == nil {
		m.data, m.filled = make([]byte, max(1, left*len(payload))), 0
	}
	c := &m.cells[m.cast]
	m.cast++
	end := m.filled + len(payload)
	c.data = m.data[m.filled:end:end]
	m.filled = end
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
