package delivery

import (
	"errors"
	"runtime"
	"time"

	"github.com/abhishekg16/cluster/internal/codec"
)

// What follows is the work of a queue's goroutine on messages that are not quick.

// errNoBudget is the error of decode for a message that stays where it is.
var errNoBudget = errors.New("no budget")

// reserve takes what decoding a payload needs of the budgets. It reports whether it has; wait is as in acquire.
func (q *Queue[E]) reserve(payload int, wait bool) bool {
	return q.acquire(q.stage.budgets.reservation(payload), wait)
}

// acquire reserves an amount for the message that is decoded next. With wait it waits until that is free, unless the
// stage is halted; who has messages ready must not, since these may have what it waits for. Meanwhile the sender is told that the
// program takes, as long as it is at work on another message. It reports whether the amount is reserved.
func (q *Queue[E]) acquire(amount int, wait bool) bool {
	b := q.stage.budgets.of(amount)
	if !b.tryTake(amount) {
		if !wait {
			return false
		}
		q.awaiting.Store(true)
		defer q.awaiting.Store(false)
		if !b.take(amount, q.stage.stop) {
			return false
		}
	}
	q.budget, q.reserved = b, amount
	return true
}

// settleReserve gives back what was reserved beyond the cost of the message, and returns the budget that this is of.
func (q *Queue[E]) settleReserve(cost int) *budget {
	b := q.budget
	b.give(q.reserved - cost)
	q.budget, q.reserved = nil, 0
	return b
}

// decode decodes a message for which there is a reservation. If it costs more, it is decoded once more with
// all that one may cost. If that cannot be had (wait is as in acquire), the error is errNoBudget, and nothing is reserved.
func (q *Queue[E]) decode(s *slab[E], kind codec.Kind, payload []byte, owned bool, left int, wait bool) (e *E, msg any, cost int, err error) {
	lim := q.stage.limits
	lim.Yield = lender()
	largest := q.stage.budgets.largest
	for spent := time.Duration(0); ; {
		lim.Cost = q.reserved
		began := time.Now().Add(-spent)
		q.decoding.Store(began.UnixNano())
		e, msg, cost, err = s.message(kind, payload, owned, left, &lim, q.types)
		q.decoding.Store(0)
		if !errors.Is(err, codec.ErrTooLarge) || q.reserved == largest {
			return e, msg, cost, err
		}
		spent = time.Since(began)
		q.settleReserve(0)
		if !q.acquire(largest, wait) {
			return nil, nil, 0, errNoBudget
		}
	}
}

const (
	// lendInterval is how often a decoding leaves a program's only processor to others,
	lendInterval = time.Millisecond
	// and lendTime for how long.
	lendTime = 20 * time.Microsecond
)

// lender returns what a decoding calls now and then. A program with one processor looks at the network only when
// nothing else is to be run, or every ten milliseconds, and whoever has slept goes before those who became ready
// meanwhile. So the decoding first sleeps, and then lets all of them run: a message passes several goroutines.
func lender() func() {
	if runtime.GOMAXPROCS(0) > 1 {
		return nil
	}
	last := time.Now()
	return func() {
		if time.Since(last) >= lendInterval {
			time.Sleep(lendTime)
			runtime.Gosched()
			last = time.Now()
		}
	}
}
