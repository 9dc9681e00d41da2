package outgoing

import (
	"sync/atomic"

	"github.com/abhishekg16/cluster/internal/stream"
)

// A Fate is what became of a message. The zero value is that it was delivered.
type Fate struct {
	Dropped stream.Reason  // it was never written, for this reason,
	Refused stream.Refusal // or the peer has refused it,
	Unknown bool           // or nobody knows whether it arrived,
}

// A Ticket is for who waits to hear what becomes of one message. Put makes it out.
type Ticket struct {
	round  *round
	number uint64 // of the record
	first  bool   // nobody waited for the peer when the message was put
}

// A round is those who wait to hear what becomes of messages in one parcel, so that it takes one look to know that, and one channel to tell it. The
// parcel is written, or dropped, as a whole.
type round struct {
	told  chan struct{} // closed when something is known, and over is set
	over  atomic.Bool   // costs a fraction of what it does to look at told
	reads atomic.Bool   // one of those who wait reads the network meanwhile, or may be about to

	// The link's mu guards what follows, until told is closed. It is not changed after that.
	numbers []uint64        // of the records of those who wait, in order
	next    *round          // of the link's, or that is told as well
	settled bool            // told is closed, or about to be
	known   uint64          // of the records before this one it is known what became of them:
	fates   map[uint64]Fate // this, or else they were delivered;
	rest    *round          // who waits for the others waits on in this one, if there is one,
	dropped stream.Reason   // or they were dropped for this reason
}

func newRound(numbers []uint64) *round { return &round{told: make(chan struct{}), numbers: numbers} }

// fate is what became of a record; false if that is not known, and to be heard from rest. The round is settled.
func (r *round) fate(number uint64) (Fate, bool) {
	switch {
	case number < r.known:
		return r.fates[number], true
	case r.rest == nil:
		return Fate{Dropped: r.dropped}, true
	}
	return Fate{}, false
}

// Told is closed when Fate is to be called.
func (t *Ticket) Told() <-chan struct{} { return t.round.told }

// IsTold reports whether Told is closed.
func (t *Ticket) IsTold() bool { return t.round.over.Load() }

// First reports whether nobody else waited for the peer when the message was put.
func (t *Ticket) First() bool { return t.first }

// Reads notes that who waits will read the network. It looks whether it is told after that.
func (t *Ticket) Reads() { t.round.reads.Store(true) }

// Fate is what became of the message, after Told was closed. It reports false if that concerned others: then Told is another channel.
func (t *Ticket) Fate() (f Fate, known bool) {
	if f, known = t.round.fate(t.number); !known {
		t.round = t.round.rest
	}
	return f, known
}

// settle takes in what became of the records before a number, for so many of which somebody waits in this round.
func (r *round) settle(before uint64, n int, fate func(number uint64) Fate) {
	r.known, r.settled = before, true
	for _, number := range r.numbers[:n] {
		if fate == nil {
			break
		}
		if f := fate(number); f != (Fate{}) {
			if r.fates == nil {
				r.fates = make(map[uint64]Fate)
			}
			r.fates[number] = f
		}
	}
	if n < len(r.numbers) {
		r.rest = newRound(r.numbers[n:])
	}
}
