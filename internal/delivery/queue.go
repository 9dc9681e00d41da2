package delivery

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/stream"
)

// A Queue is the way of one sender's messages through a stage.
type Queue[E any] struct {
	stage *Stage[E]
	from  int
	owner Owner
	types *codec.Types // that its messages have named, in all of its incarnations
	calls Calls        // nil: there are none

	current  chunk[E] // used by the goroutine alone, while it runs
	budget   *budget  // of which this much is reserved for the message that is being decoded; likewise
	reserved int
	store    []decoded[E] // empty: for the next chunk; used by who calls Put
	decoding atomic.Int64 // when it began to decode a message that is not quick, in ns since 1970; 0 while it does not
	awaiting atomic.Bool  // it waits for a budget

	mu      sync.Mutex // guards what follows
	chunks  []chunk[E] // that come after current
	running bool       // the goroutine exists
	books   Books
}

// Books count one sender's messages that were put into Out.
type Books struct {
	Received uint64 // of these, the last may still be waiting for room
	Bytes    uint64 // of their payloads
}

// Queue makes the queue of the messages from a sender.
func (st *Stage[E]) Queue(from int, o Owner) *Queue[E] {
	q := &Queue[E]{stage: st, from: from, owner: o, types: codec.NewTypes(), current: chunk[E]{toldAll: true}}
	if st.cfg.Calls != nil {
		q.calls = st.cfg.Calls(from)
	}
	return q
}

// Books returns what was counted so far.
func (q *Queue[E]) Books() Books {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.books
}

// Put takes a delivery, of which it owns all. One goroutine at a time calls it. It does not wait, and runs no code of the
// program's. Before it decodes more than a few messages, it asks whether it is to go on; what is left then is
// delivered beside it.
func (q *Queue[E]) Put(d *stream.Delivery, goOn func() bool) {
	var c chunk[E]
	c.init(d)
	q.mu.Lock()
	idle := !q.running
	q.mu.Unlock()
	if idle {
		// Nobody else begins the goroutine meanwhile.
		c.store, q.store = q.store, nil
		q.direct(&c, goOn)
		if q.tell(&c); c.toldAll {
			q.store = c.store
			return
		}
	}
	c.overtake(q)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.chunks = append(q.chunks, c)
	if !q.running {
		q.running = true
		q.stage.enter(q)
		go q.run() // It ends when nothing is left, or when the stage is halted; Close waits for it.
	}
}

// direct delivers as much of the chunk as is quick and finds room.
func (q *Queue[E]) direct(c *chunk[E], goOn func() bool) {
	st := q.stage
	if !c.quick() || !st.tryTurn() {
		return
	}
	defer st.passTurn()
	for more := c.left() > 0; more && !st.halted(); more = c.left() > 0 && c.quick() {
		if !q.deliverQuick(c) || !goOn() {
			return
		}
	}
}

// deliverQuick decodes what is next and quick, and puts it into Out. Nothing is ready. If Out is full it reports false, as pushReady does.
// The caller has the turn.
func (q *Queue[E]) deliverQuick(c *chunk[E]) bool {
	c.unpack(q, true)
	q.settle(c)
	return q.pushReady(c)
}

// settle tells the owner of what could not be decoded.
func (q *Queue[E]) settle(c *chunk[E]) {
	o := c.faults
	if o == nil {
		return
	}
	c.faults = nil
	for r, n := range o.counts {
		if n > 0 {
			q.owner.Refused(stream.Refusal(r), n, o.causes[r])
		}
	}
	for _, f := range o.named {
		q.owner.Undelivered(c.Place, f.number, f.why)
	}
	for _, r := range o.requests {
		q.calls.Refuse(r.id, r.number, r.why, r.cause)
	}
}

// pushReady puts what is ready into Out. If that is full it reports false, and leaves what
// there was no room for. The caller has the turn.
func (q *Queue[E]) pushReady(c *chunk[E]) bool {
	q.count(c.ready, 1) // before the program can see them
	n := 0
	for n < len(c.ready) && q.stage.tryPush(&c.ready[n]) {
		n++
	}
	clear(c.ready[:n])
	if c.ready = c.ready[n:]; len(c.ready) > 0 {
		q.count(c.ready, -1)
	}
	return len(c.ready) == 0
}

// count adds messages to the books, or with -1 takes them back.
func (q *Queue[E]) count(ready []decoded[E], sign int) {
	bytes := 0
	for i := range ready {
		bytes += ready[i].bytes
	}
	q.mu.Lock()
	q.books.Received += uint64(sign * len(ready))
	q.books.Bytes += uint64(sign * bytes)
	q.mu.Unlock()
}

// pushFirst puts the first message that is ready into Out, waiting as long as it takes. It
// reports false if the stage was halted before. The caller has the turn.
func (q *Queue[E]) pushFirst(c *chunk[E]) bool {
	first := c.ready[:1]
	q.count(first, 1)
	if !q.stage.push(&first[0]) {
		q.count(first, -1)
		return false
	}
	clear(first)
	c.ready = c.ready[1:]
	return true
}

// run is the goroutine of a queue that has something to deliver.
func (q *Queue[E]) run() {
	ended := false
	defer func() {
		if ended {
			q.stage.leave(q)
			return
		}
		// A method of the program's has ended the goroutine. Its message is gone, and the rest goes on.
		q.decoding.Store(0)
		if q.budget != nil {
			q.settleReserve(0)
		}
		id, kind, payload, rest := q.current.peek()
		number := q.current.number()
		if call, ok := codec.CallNumber(payload); ok && q.calls != nil && codec.Kind(kind) == codec.Request {
			q.calls.Refuse(id, call, stream.RefusedUndecodable, errEnded)
		}
		q.current.skip(id, rest)
		q.owner.Refused(stream.RefusedUndecodable, 1, errEnded)
		q.owner.Undelivered(q.current.Place, number, stream.RefusedUndecodable)
		go q.run() // As the one before it.
	}()
	for q.more() {
		for !q.current.dealtWith() {
			if !q.turn(&q.current) {
				break // halted
			}
		}
	}
	ended = true
}

var errEnded = errors.New("the program's own method for decoding it has ended the goroutine")

// more makes the next chunk the current one, unless that is not dealt with yet. It reports false if there is none, or
// the stage is halted: then the goroutine has to end.
func (q *Queue[E]) more() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.stage.halted(), q.current.dealtWith() && len(q.chunks) == 0:
		if q.running = false; q.current.dealtWith() {
			q.current = chunk[E]{toldAll: true} // or else it would keep the last one's memory
		}
		return false
	case q.current.dealtWith():
		q.current = q.chunks[0]
		q.chunks[0] = chunk[E]{}
		if q.chunks = q.chunks[1:]; len(q.chunks) == 0 {
			q.chunks = nil
		}
	}
	return true
}

// turnBatches is how many times what is quick is decoded and delivered in one turn, before another sender has its turn.
const turnBatches = 4

// turn decodes and delivers the next messages of the chunk, and tells the owner. It reports false if the
// stage was halted.
func (q *Queue[E]) turn(c *chunk[E]) bool {
	if len(c.ready) == 0 && c.count > 0 {
		c.Join()
		c.unpack(q, false)
	}
	q.settle(c)
	if len(c.ready) > 0 {
		if !q.stage.takeTurn() {
			return false
		}
		room := q.pushReady(c)
		q.stage.cfg.Woke() // before waiting for whoever it wakes
		for n := 1; n < turnBatches && room && c.count > 0 && c.quick(); n++ {
			room = q.deliverQuick(c)
			q.stage.cfg.Woke()
		}
		if !room {
			room = q.pushFirst(c)
			q.stage.cfg.Woke()
		}
		q.stage.passTurn()
		if !room {
			return false
		}
		q.stage.report()
	} else if q.stage.halted() {
		return false // it may have waited for a budget
	}
	q.tell(c)
	return true
}

// tell tells the owner what was dealt with since it was last told.
func (q *Queue[E]) tell(c *chunk[E]) {
	left := c.left()
	records := c.untold - left
	c.untold = left
	c.toldAll = left == 0
	q.owner.Taken(c.Place, records, left)
}

// Left is how many messages a closed stage has left in the queue.
func (q *Queue[E]) Left() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.current.left()
	for i := range q.chunks {
		n += q.chunks[i].left()
	}
	return n
}
