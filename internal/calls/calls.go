// Package calls is the table of the requests of one node for whose replies somebody waits.
//
// A call has a number that no other call of any life of the node has: so a reply that was meant for an earlier life of it finds
// nothing. Each call ends once, in one of the ways that End lists, and whoever waits for it is then told.
//
// The package is pure: it has no goroutine, clock or socket. It passes what comes of a call to a channel, and never waits.
package calls

import (
	"sync"
	"sync/atomic"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/stream"
)

// End says how a call has ended.
type End uint8

const (
	Answered  End = iota // the peer has sent a reply, or why there is none
	Dropped              // the request was dropped before it was written, for the reason that Outcome has
	Down                 // the link to the peer is down
	Removed              // the catalogue has no such peer any more
	Restarted            // the peer has begun anew
	Closed               // the node closes
	Failed               // the request could not be sent, as Outcome.Err says
)

// An Outcome is what came of a call.
type Outcome struct {
	Call    *Call
	End     End
	Answer  Answer        // with Answered
	Dropped stream.Reason // with Dropped
	Err     error         // with Failed
}

// An Answer is what the peer has sent, still encoded: whoever waits for it decodes it.
type Answer struct {
	Err     error // why it was not taken; nil: it was
	Kind    codec.Kind
	Payload []byte   // nobody else's; or it is
	Blocks  [][]byte // in these, which are to be joined
	Types   *codec.Types
}

// A Table has the calls of one node.
type Table struct {
	last atomic.Uint64 // the number handed out last

	mu    sync.Mutex
	peers map[int]*Peer
}

// NewTable makes a table whose numbers follow after one that is drawn by chance, anew for each life of the node.
func NewTable(after uint64) *Table {
	t := &Table{peers: make(map[int]*Peer)}
	t.last.Store(after)
	return t
}

// Peer has the calls to a server; it is made at first use, and stays the same.
func (t *Table) Peer(id int) *Peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[id]
	if p == nil {
		p = &Peer{table: t, id: id, calls: make(map[uint64]*Call)}
		t.peers[id] = p
	}
	return p
}

// A Peer has the calls to one server.
type Peer struct {
	table *Table
	id    int
	waits atomic.Int64 // how many calls are placed

	mu    sync.Mutex
	calls map[uint64]*Call // that have not ended
}

// A Call is a request for whose reply somebody waits.
type Call struct {
	peer   *Peer
	number uint64
	out    chan<- Outcome
	place  uint64 // among the messages of the link, counted from 1; 0: it is not there. The peer's mu guards it
}

// Begin makes a call, which is to be placed. There has to be room in out for the outcomes of all calls that use it.
func (p *Peer) Begin(out chan<- Outcome) *Call {
	c := &Call{peer: p, number: p.table.last.Add(1), out: out}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[c.number] = c
	return c
}

// Number is the call's number.
func (c *Call) Number() uint64 { return c.number }

// To is the id of the peer.
func (c *Call) To() int { return c.peer.id }

// Place notes which of all messages that are queued for the peer the request is. It reports false if the call has ended: then the
// request must not be queued any more, since it was told that it is not.
func (c *Call) Place(place uint64) bool {
	p := c.peer
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls[c.number] == nil {
		return false
	}
	if c.place == 0 {
		p.waits.Add(1)
	}
	c.place = place
	return true
}

// Pending reports whether the request is still to be queued.
func (c *Call) Pending() bool {
	c.peer.mu.Lock()
	defer c.peer.mu.Unlock()
	return c.place == 0 && c.peer.calls[c.number] != nil
}

// Cancel ends the call without an outcome, and reports whether its request was queued: if not, it never is. If the call has ended before,
// ok is false, and the outcome is in its channel.
func (c *Call) Cancel() (placed, ok bool) {
	p := c.peer
	p.mu.Lock()
	defer p.mu.Unlock()
	return c.place > 0, p.take(c.number) != nil
}

// Fail ends a call whose request could not be sent.
func (c *Call) Fail(err error) {
	if _, ok := c.Cancel(); ok {
		c.out <- Outcome{Call: c, End: Failed, Err: err}
	}
}

// Waits reports whether somebody waits for a reply of the peer to a request that was queued.
func (p *Peer) Waits() bool { return p != nil && p.waits.Load() > 0 }

// Open is how many calls have not ended.
func (p *Peer) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.calls)
}

// Answer ends the call with a number, and reports false if there is none: it has ended before, or was never made. One whose request is
// not queued yet nobody can answer.
func (p *Peer) Answer(number uint64, a Answer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.calls[number]
	if c == nil || c.place == 0 {
		return false
	}
	p.remove(c)
	c.out <- Outcome{Call: c, Answer: a}
	return true
}

// take takes out the call with a number; nil if there is none. The caller holds mu.
func (p *Peer) take(number uint64) *Call {
	c := p.calls[number]
	if c != nil {
		p.remove(c)
	}
	return c
}

// remove takes a call out. The caller holds mu.
func (p *Peer) remove(c *Call) {
	delete(p.calls, c.number)
	if c.place > 0 {
		p.waits.Add(-1)
	}
}

// End ends all calls whose requests were written: those up to a place. It reports whether there were any.
func (p *Peer) End(e End, written uint64) (any bool) {
	return p.end(func(c *Call) bool { return 0 < c.place && c.place <= written }, Outcome{End: e})
}

// Drop ends all calls whose requests were queued, and were dropped before they were written: those beyond a place. It reports
// whether there were any.
func (p *Peer) Drop(r stream.Reason, written uint64) (any bool) {
	return p.end(func(c *Call) bool { return c.place > written }, Outcome{End: Dropped, Dropped: r})
}

// Tear ends the call whose request is at a place: a part of it was written, and the rest is dropped. It reports whether there was one.
func (p *Peer) Tear(r stream.Reason, place uint64) (any bool) {
	return p.end(func(c *Call) bool { return c.place == place }, Outcome{End: Dropped, Dropped: r})
}

func (p *Peer) end(which func(*Call) bool, o Outcome) (any bool) {
	if !p.Waits() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		if which(c) {
			p.remove(c)
			any, o.Call = true, c
			c.out <- o
		}
	}
	return any
}
