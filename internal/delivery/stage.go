// Package delivery turns the records that leave the streams of all senders into messages, and puts
// these into the channel from which the program takes them.
//
// Who reads the network hands each delivery to the Queue of its sender. What is quick to decode, and finds
// room, goes into the channel from there. The rest waits in the queue for a goroutine of that
// sender's own, which exists while there is something: it alone runs the program's methods and waits for
// room. So each sender's messages stay in order, and nobody waits for what another one has sent, but for
// room in the channel, which all take in turns.
package delivery

import (
	"sync"
	"time"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/stream"
)

// Config is what a Stage works with.
type Config[E any] struct {
	// Out is where the program takes envelopes from. The stage alone sends on it, and closes it.
	Out chan *E
	// Fill makes an envelope of its parts.
	Fill func(e *E, from int, id int64, msg any)
	// MaxMessage is the most bytes of a message's payload.
	MaxMessage int
	// MaxBytes bounds what the messages in Out take in memory; one message may be larger. As much again, and
	// twice the largest that one message may be, are what is being decoded or waits for room.
	MaxBytes int
	// Calls are those between this node and a sender; nil: there are none, and what is a part of one is refused.
	Calls func(from int) Calls
	// Woke is called after something was put into Out by another goroutine than the one that calls Put.
	Woke func()
}

// An Owner is told what becomes of one sender's messages. It is called without any lock of the stage's.
type Owner interface {
	// Taken tells that so many records of the delivery at a place were dealt with, and left more of it were not.
	Taken(p stream.Place, records, left int)
	// Refused counts messages that cannot be delivered, with the first's cause.
	Refused(r stream.Refusal, count uint64, cause error)
	// Undelivered tells, before Taken does, that one record of the delivery at a place is among those. Who has not asked to hear of it
	// need not be told.
	Undelivered(p stream.Place, number uint64, why stream.Refusal)
	// Taking tells that the program takes messages, if slowly, and will come to this sender's.
	Taking()
}

// A Stage is the way of all senders' messages to one program.
type Stage[E any] struct {
	cfg     Config[E]
	limits  codec.Limits // of each message
	budgets *budgets
	stop    chan struct{} // closed to end all queues' goroutines
	all     sync.WaitGroup

	// turn holds a token while somebody sends on Out and uses limit. Those who wait for it get it
	// in the order in which they came.
	turn  chan struct{}
	limit byteLimit

	mu       sync.Mutex // guards what follows
	waiting  map[*Queue[E]]struct{}
	reported time.Time   // waiting were last told that the program takes
	timer    *time.Timer // runs while there are any
}

// New makes a stage.
func New[E any](c Config[E]) *Stage[E] {
	stop := make(chan struct{})
	st := &Stage[E]{
		cfg:     c,
		limits:  codec.Limits{Bytes: c.MaxMessage, Cost: codec.CostLimit(c.MaxMessage), Stop: stop},
		budgets: newBudgets(c.MaxMessage, c.MaxBytes),
		stop:    stop,
		turn:    make(chan struct{}, 1),
		limit:   byteLimit{limit: c.MaxBytes},
		waiting: make(map[*Queue[E]]struct{}),
	}
	st.timer = time.AfterFunc(time.Hour, st.watch)
	st.timer.Stop()
	return st
}

// Halt makes all queues stop where they are, but for the program's own code, which they wait for.
func (st *Stage[E]) Halt() { close(st.stop) }

// halted reports whether Halt was called.
func (st *Stage[E]) halted() bool {
	select {
	case <-st.stop:
		return true
	default:
		return false
	}
}

// Close waits for the goroutines of all queues, and closes Out. Halt was called, and Put is called no more.
func (st *Stage[E]) Close() {
	st.all.Wait()
	close(st.cfg.Out)
}

// takeTurn waits until this goroutine may send on Out. It reports false if the stage was halted.
func (st *Stage[E]) takeTurn() bool {
	select {
	case st.turn <- struct{}{}:
		return true
	case <-st.stop:
		return false
	}
}

// tryTurn is takeTurn without waiting.
func (st *Stage[E]) tryTurn() bool {
	select {
	case st.turn <- struct{}{}:
		return true
	default:
		return false
	}
}

func (st *Stage[E]) passTurn() { <-st.turn }

// tryPush puts one envelope into Out if there is room for it. The caller has the turn.
func (st *Stage[E]) tryPush(d *decoded[E]) bool {
	if !st.limit.fits(len(st.cfg.Out), d.cost) {
		return false
	}
	select {
	case st.cfg.Out <- d.envelope:
		st.pushed(d)
		return true
	default:
		return false
	}
}

// push puts one envelope into Out, waiting as long as it takes. It reports false if the stage
// was halted before. The caller has the turn.
func (st *Stage[E]) push(d *decoded[E]) bool {
	for pause := 50 * time.Microsecond; !st.limit.fits(len(st.cfg.Out), d.cost); pause = min(2*pause, 2*time.Millisecond) {
		// Only the program knows when it takes from a channel, so the bound on bytes, which
		// matters for larger messages alone, has to be polled.
		select {
		case <-time.After(pause):
		case <-st.stop:
			return false
		}
	}
	select {
	case st.cfg.Out <- d.envelope:
		st.pushed(d)
		return true
	case <-st.stop:
		return false
	}
}

// pushed notes that an envelope is in Out. The caller has the turn.
func (st *Stage[E]) pushed(d *decoded[E]) {
	st.limit.push(d.cost)
	if d.budget != nil {
		d.budget.give(d.cost)
	}
}

// reportInterval is how often a sender is told about a channel that is full and still being read.
const reportInterval = 100 * time.Millisecond

// report tells all who wait for room, now and then, that the program takes messages, if
// slowly. Whose they are does not matter: all will have their turn.
func (st *Stage[E]) report() {
	now := time.Now()
	st.mu.Lock()
	if now.Sub(st.reported) < reportInterval {
		st.mu.Unlock()
		return
	}
	st.reported = now
	owners := make([]Owner, 0, len(st.waiting))
	for q := range st.waiting {
		owners = append(owners, q.owner)
	}
	st.mu.Unlock()
	for _, o := range owners {
		o.Taking()
	}
}

// enter notes that the goroutine of a queue begins.
func (st *Stage[E]) enter(q *Queue[E]) {
	st.all.Add(1)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.waiting[q] = struct{}{}
	if len(st.waiting) == 1 {
		st.timer.Reset(reportInterval)
	}
}

// leave notes that it ends.
func (st *Stage[E]) leave(q *Queue[E]) {
	st.mu.Lock()
	if delete(st.waiting, q); len(st.waiting) == 0 {
		st.timer.Stop()
	}
	st.mu.Unlock()
	st.all.Done()
}

// decodingMost is for how long a sender is told that the program takes while one of its messages is decoded.
const decodingMost = 30 * time.Second

// watch runs each reportInterval while a queue's goroutine does. It tells the senders of messages that are
// being decoded that the program takes: it is at work for them; and so it is for those whose messages wait for memory that
// this work has.
func (st *Stage[E]) watch() {
	now := time.Now()
	st.mu.Lock()
	if len(st.waiting) == 0 {
		st.mu.Unlock()
		return
	}
	st.timer.Reset(reportInterval)
	var atWork, behind []Owner
	for q := range st.waiting {
		if since := q.decoding.Load(); since != 0 && now.Sub(time.Unix(0, since)) < decodingMost {
			atWork = append(atWork, q.owner)
		} else if q.awaiting.Load() {
			behind = append(behind, q.owner)
		}
	}
	st.mu.Unlock()
	if len(atWork) > 0 {
		atWork = append(atWork, behind...)
	}
	for _, o := range atWork {
		o.Taking()
	}
}
