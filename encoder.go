package cluster

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/outgoing"
)

// turnBytes is how much is encoded at most before it is put into the queues, if none of the
// batches is full before.
const turnBytes = 1 << 20

// An encoder turns envelopes into batches, each for another Pid: so those that are sent to
// several servers in turn are handed over many at a time, like those to one. It belongs to
// one node, and is used by one goroutine at a time.
type encoder struct {
	open   []*address // in the order in which they were begun
	byPid  map[int]*address
	shared bool // the one that is open has several destinations
	count  int  // of messages encoded since all were empty
	bytes  int  // of their records
	full   bool // all should be flushed

	part part // what the next message is of a call

	ticket outgoing.Ticket // of the message of a Deliver, until that has it

	urgent   bool     // so is the message, which may be of urgentBytes
	encoding underWay // the message that is being encoded, which may run the program's code
	spare    *address // for the next begin; nil if there is none

	reading, readings int64 // of the clock for message ids: the next, and how many are left

	// What is remembered of the node's catalogue, as of a version of it.
	version uint64
	peers   []int          // all other servers
	last    *outgoing.Link // the link used last
}

// encoder is one that nobody uses. The caller puts it back into n.encoders.
func (n *Node) encoder() *encoder {
	if enc, ok := n.encoders.Get().(*encoder); ok {
		return enc
	}
	return new(encoder)
}

// underWay is a message that is being encoded; the zero value is none. It does not hold on to the envelope, which then need
// not be in memory of its own.
type underWay struct {
	is  bool
	to  int
	typ reflect.Type
}

// An address is where some messages go, and their batch.
type address struct {
	outgoing.Batch
	pid int
	to  []int // the same, as ids of servers
	one [1]int
}

var addressPool = sync.Pool{New: func() any { return new(address) }}

// current reports whether what e remembers is of today.
func (e *encoder) current(n *Node) bool { return e.version == n.catalog.Version() }

// follow forgets what is not current.
func (e *encoder) follow(n *Node) {
	if !e.current(n) {
		e.peers, e.last = nil, nil
		e.version = n.catalog.Version()
	}
}

// link is n.link, but remembers its last result.
func (e *encoder) link(n *Node, pid int) (*outgoing.Link, Reason) {
	e.follow(n)
	if e.last != nil && e.last.ID() == pid {
		return e.last, 0
	}
	l, reason := n.link(pid)
	e.last = l
	return l, reason
}

// toward is the open batch to the Pid of an envelope; nil if there is none.
func (e *encoder) toward(pid int) *address {
	if n := len(e.open); n > 0 && e.open[n-1].pid == pid {
		return e.open[n-1]
	}
	return e.byPid[pid]
}

// begin opens a batch to the Pid of an envelope. One with several destinations has to be
// alone.
func (e *encoder) begin(n *Node, pid int) (*address, error) {
	e.follow(n)
	var to []int
	switch {
	case pid >= 0:
	case pid == BROADCAST:
		if e.peers == nil {
			e.peers = n.Peers()
		}
		to = e.peers
	default:
		var err error
		if to, err = n.groups.members(pid); err != nil {
			return nil, err
		}
	}
	out := e.spare
	if e.spare = nil; out == nil {
		out = addressPool.Get().(*address)
	}
	out.Reset()
	out.pid, out.to = pid, to
	if e.shared = pid < 0; !e.shared {
		out.one[0] = pid
		out.to = out.one[:]
	}
	if e.open = append(e.open, out); len(e.open) > 1 {
		if e.byPid == nil {
			e.byPid = make(map[int]*address)
		}
		for _, o := range e.open[max(0, len(e.open)-2):] {
			e.byPid[o.pid] = o
		}
	}
	return out, nil
}

// close lets go of all batches, and of the readings of the clock that nobody has used.
func (e *encoder) close(n *Node) {
	if e.readings > 0 {
		n.ids.giveBack(e.reading, int(e.readings))
		e.readings = 0
	}
	for i, out := range e.open {
		e.open[i] = nil
		out.Drop()
		out.to = nil
		if e.spare == nil && out.Cap() <= outgoing.SwapBytes {
			e.spare = out // one message at a time needs no more
		} else {
			addressPool.Put(out)
		}
	}
	e.open, e.shared, e.full, e.count, e.bytes = e.open[:0], false, false, 0, 0
	clear(e.byPid)
}

// nextID is the id for the next message. Like the batches, the readings of the
// clock that it takes in advance grow with the traffic.
func (e *encoder) nextID(n *Node) int64 {
	if e.readings == 0 {
		e.readings = int64(min(max(1, e.count), 64))
		e.reading = n.ids.reserve(int(e.readings))
	}
	id := n.ids.id(e.reading)
	e.reading++
	e.readings--
	return id
}

// encode adds the record of a message to the batch.
func (e *encoder) encode(out *address, id int64, msg any, lim *codec.Limits) (Reason, error) {
	before := out.Len()
	var err error
	if e.part.Kind == codec.Invalid {
		err = out.Append(id, msg, lim)
	} else {
		err = out.AppendPart(id, e.part.Part, msg, lim)
	}
	if err != nil {
		return e.reasonFor(err, lim)
	}
	if len(out.to) != 1 {
		out.Keep()
	}
	e.count++
	e.bytes += out.Len() - before
	e.full = e.bytes >= turnBytes || out.Full()
	return 0, nil
}

// reasonFor says why a message was not encoded. An encoding that was stopped is left to the caller to explain.
func (e *encoder) reasonFor(err error, lim *codec.Limits) (Reason, error) {
	bound := "maxMessageBytes"
	if e.urgent {
		bound = "the most for an urgent message"
	}
	if large, ok := err.(*outgoing.TooLarge); ok {
		return ReasonTooLarge, fmt.Errorf("%w: %d bytes encoded, and %s is %d", ErrTooLarge, large.Bytes, bound, lim.Bytes)
	}
	switch codec.Class(err) {
	case codec.ErrTooLarge:
		return ReasonTooLarge, fmt.Errorf("%w: %w, and %s is %d", ErrTooLarge, err, bound, lim.Bytes)
	case codec.ErrStopped:
		return 0, err
	}
	return ReasonNotEncodable, fmt.Errorf("%w: %w", ErrNotEncodable, err)
}
