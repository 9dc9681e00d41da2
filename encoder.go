package cluster

import (
	"fmt"
	"slices"
	"sync"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/flaw"
	"github.com/abhishekg16/cluster/internal/wire"
)

// turnBytes is how much is encoded at most before it is put into the queues, if none of the
// runs is full before.
const turnBytes = 1 << 20

// An encoder turns envelopes into runs, each for another Pid: so those that are sent to
// several servers in turn are handed over many at a time, like those to one. It belongs to
// one node, and is used by one goroutine at a time.
type encoder struct {
	open   []*outgoing // in the order in which they were begun
	byPid  map[int]*outgoing
	shared bool      // the one that is open has several destinations
	count  int       // of messages encoded since all were empty
	bytes  int       // of their records
	full   bool      // all should be flushed
	spare  *outgoing // for the next begin; nil if there is none

	reading, readings int64 // of the clock for message ids: the next, and how many are left

	// What is remembered of the node's catalogue, as of a version of it.
	version uint64
	peers   []int // all other servers
	last    *link // the link used last
}

// An outgoing run is one with its destinations.
type outgoing struct {
	run
	pid int
	to  []int // the same, as ids of servers
	one [1]int
}

var outgoings = sync.Pool{New: func() any { return new(outgoing) }}

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
func (e *encoder) link(n *Node, pid int) (*link, Reason) {
	e.follow(n)
	if e.last != nil && e.last.id == pid {
		return e.last, 0
	}
	l, reason := n.link(pid)
	e.last = l
	return l, reason
}

// toward is the open run to the Pid of an envelope; nil if there is none.
func (e *encoder) toward(pid int) *outgoing {
	if n := len(e.open); n > 0 && e.open[n-1].pid == pid {
		return e.open[n-1]
	}
	return e.byPid[pid]
}

// begin opens a run to the Pid of an envelope. One with several destinations has to be
// alone.
func (e *encoder) begin(n *Node, pid int) (*outgoing, error) {
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
		out = outgoings.Get().(*outgoing)
	}
	out.reset()
	out.pid, out.to = pid, to
	if e.shared = pid < 0; !e.shared {
		out.one[0] = pid
		out.to = out.one[:]
	}
	if e.open = append(e.open, out); len(e.open) > 1 {
		if e.byPid == nil {
			e.byPid = make(map[int]*outgoing)
		}
		for _, o := range e.open[max(0, len(e.open)-2):] {
			e.byPid[o.pid] = o
		}
	}
	return out, nil
}

// close lets go of all runs, and of the readings of the clock that nobody has used.
func (e *encoder) close(n *Node) {
	if e.readings > 0 {
		n.ids.giveBack(e.reading, int(e.readings))
		e.readings = 0
	}
	for i, out := range e.open {
		e.open[i] = nil
		out.blob, out.to = nil, nil
		if e.spare == nil && cap(out.buf) <= swapBytes {
			e.spare = out // one message at a time needs no more
		} else {
			outgoings.Put(out)
		}
	}
	e.open, e.shared, e.full, e.count, e.bytes = e.open[:0], false, false, 0, 0
	clear(e.byPid)
}

// nextID is the id for the next message of the run. Like the run, the readings of the
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

// encode adds the record of a message to the run.
func (e *encoder) encode(out *outgoing, id int64, msg any, limit int) (Reason, error) {
	before := len(out.buf)
	if reason, err := out.encode(id, msg, limit); err != nil {
		return reason, err
	}
	e.count++
	e.bytes += len(out.buf) - before
	e.full = e.bytes >= turnBytes || out.full()
	return 0, nil
}

func (r *run) encode(id int64, msg any, limit int) (Reason, error) {
	if blob, kind, ok := codec.Blob(msg); ok && len(blob) >= blobBytes {
		return r.encodeLarge(id, kind, blob, limit)
	}
	at, head := len(r.buf), wire.RecordSize
	if id == r.last+1 && at > r.at {
		head = wire.ShortSize
	}
	payload := at + head
	buf, kind, err := codec.Append(slices.Grow(r.buf, head)[:payload], msg)
	if err != nil {
		return ReasonNotEncodable, fmt.Errorf("%w: %w", ErrNotEncodable, err)
	}
	size := len(buf) - payload
	grown := &buf[0] != &r.buf[:1][0] // into another array
	switch {
	case size >= blobBytes:
		if !grown {
			// The buffer goes with the message, and the next one gets another.
			r.buf = slices.Clone(r.buf)
		}
		return r.encodeLarge(id, kind, buf[payload:], limit)
	case size > limit && !flaw.On(flaw.Size):
		return ReasonTooLarge, tooLarge(size, limit)
	case head == wire.ShortSize:
		wire.PutShortHeader(buf[at:], uint8(kind), size)
	default:
		wire.PutRecordHeader(buf[at:], id, uint8(kind), size)
	}
	if grown {
		r.buf = buf
	} else {
		r.buf = r.buf[:len(buf)] // spares writing the pointer
	}
	r.last, r.newest = id, len(buf)-at
	r.count++
	return 0, nil
}

// encodeLarge makes the payload the run's blob.
func (r *run) encodeLarge(id int64, kind codec.Kind, payload []byte, limit int) (Reason, error) {
	if len(payload) > limit && !flaw.On(flaw.Size) {
		return ReasonTooLarge, tooLarge(len(payload), limit)
	}
	r.blob = payload
	wire.PutRecordHeader(r.blobHead[:], id, uint8(kind), len(payload))
	r.count++
	return 0, nil
}

func tooLarge(size, limit int) error {
	return fmt.Errorf("%w: %d bytes encoded, and maxMessageBytes is %d", ErrTooLarge, size, limit)
}
