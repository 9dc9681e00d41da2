package clustertest

import (
	"container/heap"
	"time"
)

// In a bubble time goes on only when everybody waits. So what happens at one nanosecond,
// on whichever goroutines, is over at the next, and what must have an order gets
// nanoseconds of its own: each message arrives, and each connection stands or breaks, at an odd one after the time at which it
// is due, words (see say) at each second of these, and each function of At is called at an even one. What a timer of the program's
// own leads to at that time itself comes before all. Which of the messages that are due
// at the same time is the first is drawn from the seed.
var (
	taskSlot    = slot{2, 0}
	arrivalSlot = slot{4, 1}
	wordSlot    = slot{4, 3}
)

// A slot is the nanoseconds since 1970 that leave this rest. Nodes have their timers run out at even ones (see stream.Even).
type slot struct{ by, rest int64 }

// after is the next of these nanoseconds after t.
func (s slot) after(t time.Time) time.Time {
	after := t.UnixNano() + 1
	return t.Add(time.Duration(1 + ((s.rest-after)%s.by+s.by)%s.by))
}

// A pathQueue is a heap of the paths on which something is due, a message or a step of the
// connection, the first to be due first.
type pathQueue []*path

func (q pathQueue) Len() int { return len(q) }

func (q pathQueue) Less(i, j int) bool {
	a, b := q[i], q[j]
	switch {
	case !a.head.Equal(b.head):
		return a.head.Before(b.head)
	case a.order != b.order:
		return a.order < b.order
	}
	return a.link.compare(b.link) < 0
}

func (q pathQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

func (q *pathQueue) Push(x any) {
	p := x.(*path)
	p.place = len(*q)
	*q = append(*q, p)
}

func (q *pathQueue) Pop() any {
	last := len(*q) - 1
	p := (*q)[last]
	p.place = -1
	(*q)[last] = nil
	*q = (*q)[:last]
	return p
}

// queue puts a path where it belongs among those on which something is due, after a
// change to what is first on it. The caller holds mu.
func (n *Network) queue(p *path) {
	happens := p.plan(n)
	switch {
	case happens && p.place < 0:
		heap.Push(&n.arrivals, p)
	case happens:
		heap.Fix(&n.arrivals, p.place)
	case p.place >= 0:
		heap.Remove(&n.arrivals, p.place)
	}
	n.rearm()
}

// plan works out what happens next on a path, and reports whether anything does.
func (p *path) plan(n *Network) bool {
	p.steps = p.step != noStep
	if p.steps {
		p.head, p.order = p.due, p.turn
	}
	if len(p.parcels) > 0 && !n.paused[p.link.To] {
		if x := p.parcels[0]; !p.steps || x.due.Before(p.head) {
			p.head, p.order, p.steps = x.due, x.turn, false
		}
		return true
	}
	return p.steps
}

// rearm sets the timer to what is due next. The caller holds mu.
func (n *Network) rearm() {
	var next time.Time
	if len(n.arrivals) > 0 && !n.ended {
		next = arrivalSlot.after(latest(n.arrivals[0].head, n.arrived))
	}
	if word := n.nextWord(); !word.IsZero() && !n.ended && (next.IsZero() || word.Before(next)) {
		next = word
	}
	if next.Equal(n.armed) {
		return
	}
	if n.timer != nil {
		n.timer.Stop()
		n.timer = nil
	}
	if n.armed = next; !next.IsZero() {
		n.timer = time.AfterFunc(time.Until(next), n.dispatch)
	}
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// dispatch delivers what has been due.
func (n *Network) dispatch() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.armed = time.Time{}
	n.hear()
	for len(n.arrivals) > 0 {
		p := n.arrivals[0]
		now := time.Now()
		alone := p.steps || p.parcels[0].bare == 0
		at := p.head
		if alone {
			at = latest(at, n.arrived)
		}
		if arrivalSlot.after(at).After(now) {
			break // this may be the moment of a word
		}
		if alone {
			n.arrived = now
		}
		if p.steps {
			p.take(n)
		} else {
			p.arrive(n)
		}
		n.queue(p)
	}
	n.rearm()
}
