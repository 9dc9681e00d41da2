package cluster

import (
	"sync/atomic"
	"time"

	"github.com/abhishekg16/cluster/internal/codec"
)

// BROADCAST, as the Pid of an envelope to send, addresses every other server.
const BROADCAST = -1

// Envelope carries one message. The fields are those of the specification, in
// its order, so that Envelope{BROADCAST, 0, "Hi"} compiles.
type Envelope struct {
	// Pid is, in an envelope to send, the id of the destination (the node's own
	// id delivers to its own inbox), BROADCAST, or an address from Node.Group.
	// In a received envelope it is the id of the sender.
	Pid int
	// MsgId identifies the message among all messages of all servers. Leave it
	// 0 to have one assigned as the envelope is sent; another value is kept. Ids
	// that were assigned are positive. They grow from one envelope of Outbox to the
	// next, and from one that a goroutine gives to Send to its next, but for the
	// turn of their clock every 4.4 years. They are of a clock that counts microseconds:
	// a server that sends more than a million a second runs ahead of it, and if it is
	// then restarted at once, or its clock is set back, it may assign some again.
	MsgId int64
	// Msg is the message: nil, a bool, an integer, a float, a string, a []byte,
	// a value of a type given to Register, time.Time, or pointers, slices,
	// arrays and maps of these. It arrives with the type it was sent as; a
	// pointer arrives as the value it points to. What Call sends arrives as a *Request
	// that has it.
	//
	// Small messages (64 bytes) that come together share memory: who keeps one for long,
	// and not the others, keeps up to 16 of them, and saves memory by keeping a copy.
	Msg interface{}
}

// Register makes the type of value sendable, under a name that stands for it on
// the wire. Each program that sends or receives the type must register it under
// the same name. It may be called at any time, also after New, and from several
// goroutines; the same pair again is no error.
//
// Values travel by their exported fields, or in their own format if the type has
// methods for that. What arrives is what was sent, or the sender is told:
// docs/values.md says what becomes of each kind of value, beside what
// encoding/gob makes of it. Slices, arrays, maps and pointers of registered types
// need no registration of their own.
//
// Register panics if the name or the type is already taken by another, and for a
// type that could not arrive whole. The text names the field, and the way out.
func Register(name string, value any) { codec.Register(name, value) }

// messageIDs hands out ids of 16 bits of server id and 47 bits of a microsecond
// clock that only moves forward. They are unique among the servers of a cluster,
// and across restarts unless the clock was set back in between, or the server had
// sent more than a million a second for so long that its ids ran ahead of it.
type messageIDs struct {
	server int64
	now    func() time.Time // the wall clock
	last   atomic.Int64
	unread atomic.Int64 // the clock is not read before last has come to this
}

const clockBits = 47

// unreadMost is how many readings of the clock are made up between two real ones: to read it takes
// longer than to encode a small message. So the ids of who sends seldom lag behind the clock by as
// many messages, which makes them no less unique.
const unreadMost = 16

// reserve takes count readings of the clock in a row, and returns the first.
func (m *messageIDs) reserve(count int) int64 {
	for {
		last := m.last.Load()
		first := last + 1
		if last >= m.unread.Load() {
			first = max(m.now().UnixMicro(), first)
			m.unread.Store(first + unreadMost)
		}
		if m.last.CompareAndSwap(last, first+int64(count-1)) {
			return first
		}
	}
}

// giveBack returns the last count readings that reserve gave, from first on, if nobody has
// had later ones.
func (m *messageIDs) giveBack(first int64, count int) {
	m.last.CompareAndSwap(first+int64(count-1), first-1)
}

// id is the id for a reading of the clock.
func (m *messageIDs) id(reading int64) int64 {
	return m.server<<clockBits | reading&(1<<clockBits-1)
}
