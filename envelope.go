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
	// that were assigned are positive; those of one sender grow, but for the turn
	// of their clock every 4.4 years.
	MsgId int64
	// Msg is the message: nil, a bool, an integer, a float, a string, a []byte,
	// a value of a type given to Register, time.Time, or pointers, slices,
	// arrays and maps of these. It arrives with the type it was sent as; a
	// pointer arrives as the value it points to.
	Msg interface{}
}

// Register makes the type of value sendable, under a name that stands for it on
// the wire. Each program that sends or receives the type must register it under
// the same name. It may be called at any time, also after New, and from several
// goroutines; the same pair again is no error.
//
// Values travel as CBOR, by their exported fields, or in their own format if the
// type has AppendBinary or MarshalBinary and UnmarshalBinary. Slices, arrays,
// maps and pointers of registered types need no registration of their own.
//
// Register panics if the name or the type is already taken by another, and for
// a type that cannot be sent.
func Register(name string, value any) { codec.Register(name, value) }

// messageIDs hands out ids of 16 bits of server id and 47 bits of a microsecond
// clock that only moves forward. They are unique among the servers of a cluster,
// and across restarts unless the clock was set back in between, or the server had
// sent more than a million a second for so long that its ids ran ahead of it.
type messageIDs struct {
	server int64
	last   atomic.Int64
}

const (
	clockBits  = 47
	clockEvery = 16
)

// next is the id for the next message. In a burst, most ids follow the one before
// without a look at the clock.
func (m *messageIDs) next(burst bool) int64 {
	for {
		last := m.last.Load()
		id := last + 1
		if !burst || last%clockEvery == 0 {
			id = max(time.Now().UnixMicro(), id)
		}
		if m.last.CompareAndSwap(last, id) {
			return m.server<<clockBits | id&(1<<clockBits-1)
		}
	}
}
