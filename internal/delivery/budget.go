package delivery

import (
	"sync"

	"github.com/abhishekg16/cluster/internal/codec"
)

// budgets bound what is being decoded, or is decoded and has no room in Out yet, by what that takes in memory: by the
// cost model of package codec. What is quick to decode needs none: of each sender no more of that is decoded ahead than
// takes readyBytes, and one message.
//
// There are three, so that a message which needs much, and may take long, holds up only those that need as much: what
// takes up to a quarter of what may wait in Out, what takes up to half of the largest that a message may cost, and the rest.
type budgets struct {
	classes [3]budget
	upTo    [2]int // the most that one of the first classes may be asked for
	largest int    // the most that one message may cost
}

// reservation is what decoding a payload takes at first. Few values take more, of which Decode says so: then it is
// tried again with the largest that a message may have.
func (b *budgets) reservation(payload int) int {
	return min(b.largest, 64*payload+64<<10)
}

func (b *budgets) of(cost int) *budget {
	for i, most := range b.upTo {
		if cost <= most {
			return &b.classes[i]
		}
	}
	return &b.classes[len(b.upTo)]
}

// newBudgets makes those of a stage whose messages are of maxMessage bytes at most, and of which maxBytes
// may wait in Out.
func newBudgets(maxMessage, maxBytes int) *budgets {
	b := &budgets{largest: codec.CostLimit(maxMessage)}
	b.upTo = [...]int{maxBytes / 4, b.largest / 2}
	for i, free := range [...]int{maxBytes, b.largest, b.largest} {
		b.classes[i].free = free
	}
	return b
}

// A budget is an amount of memory of which each takes a part, in the order in which they come.
type budget struct {
	mu      sync.Mutex // guards what follows
	free    int
	waiting []*claim
}

type claim struct {
	amount  int
	granted chan struct{} // closed when it is
}

// take waits until the amount is free, and takes it. It reports false if stop was closed before.
func (b *budget) take(amount int, stop <-chan struct{}) bool {
	c := &claim{amount, make(chan struct{})}
	b.mu.Lock()
	b.waiting = append(b.waiting, c)
	b.grant()
	b.mu.Unlock()
	select {
	case <-c.granted:
		return true
	case <-stop: // all who wait end with it, so that the place in waiting does not matter
		return false
	}
}

// tryTake is take without waiting.
func (b *budget) tryTake(amount int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) > 0 || amount > b.free {
		return false
	}
	b.free -= amount
	return true
}

// give gives an amount back.
func (b *budget) give(amount int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += amount
	b.grant()
}

// grant gives those who wait what they want, as far as it goes. The caller holds mu.
func (b *budget) grant() {
	for len(b.waiting) > 0 && b.waiting[0].amount <= b.free {
		c := b.waiting[0]
		b.free -= c.amount
		close(c.granted)
		b.waiting[0] = nil
		b.waiting = b.waiting[1:]
	}
}
