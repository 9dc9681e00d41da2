package clustertest

import (
	"errors"
	"slices"
	"time"
)

// An agenda is what At has scheduled. The network's mu guards it.
type agenda struct {
	tasks    []*task
	sleepers int           // calls of Sleep
	news     chan struct{} // closed when a task joins; nil if nobody waits for that
}

type task struct {
	at   time.Time // for which it was scheduled, or when, if that is later
	runs time.Time
	do   func()
}

// At calls f when so much time has passed since the network was made, at once if it has;
// not at all if the test has ended by then. It is called from the goroutine that is in
// Sleep then, and so may use what the test uses without a lock; if there is none, as in
// time.Sleep, from a goroutine of its own.
//
// In a bubble, f is called a nanosecond or two later: when what the program does at the
// time itself is over, and no message arrives. Of functions for the same time, what the
// first does is over before the second is called.
func (n *Network) At(d time.Duration, f func()) {
	n.t.Helper()
	if f == nil {
		n.wrong("At", errors.New("the function is nil"))
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	x := &task{at: latest(n.start.Add(d), time.Now()), do: f}
	x.runs = taskSlot.after(x.at)
	for slices.ContainsFunc(n.agenda.tasks, func(y *task) bool { return y.runs.Equal(x.runs) }) {
		x.runs = taskSlot.after(x.runs)
	}
	n.agenda.tasks = append(n.agenda.tasks, x)
	if n.agenda.news != nil {
		close(n.agenda.news)
		n.agenda.news = nil
	}
	time.AfterFunc(time.Until(x.runs), func() {
		n.mu.Lock()
		mine := n.agenda.sleepers == 0 && n.take(x)
		n.mu.Unlock()
		if mine {
			f()
		}
	})
}

// take removes a task from the agenda, and reports whether it was there and the test goes
// on. The caller holds mu.
func (n *Network) take(x *task) bool {
	i := slices.Index(n.agenda.tasks, x)
	if i < 0 {
		return false
	}
	n.agenda.tasks = slices.Delete(n.agenda.tasks, i, i+1)
	return !n.ended
}

// Sleep is time.Sleep, but that meanwhile it calls from this goroutine what At and Disturb
// have scheduled for a time up to its end. So such functions may use the variables of the
// test, and need no lock for them. It returns later than time.Sleep by what they take, and
// in a bubble by a few nanoseconds if one is scheduled for its very end.
func (n *Network) Sleep(d time.Duration) {
	end := time.Now().Add(d)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.agenda.sleepers++
	defer func() { n.agenda.sleepers-- }()
	for {
		next := n.nextTask(end)
		if next != nil && !next.runs.After(time.Now()) {
			if n.take(next) {
				n.unlocked(next.do)
			}
			continue
		}
		until := end
		if next != nil {
			until = next.runs
		} else if !time.Now().Before(end) {
			return
		}
		if n.agenda.news == nil {
			n.agenda.news = make(chan struct{})
		}
		news := n.agenda.news
		n.unlocked(func() {
			timer := time.NewTimer(time.Until(until))
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-news:
			}
		})
	}
}

// unlocked calls f without mu, which the caller holds; f may end the test.
func (n *Network) unlocked(f func()) {
	n.mu.Unlock()
	defer n.mu.Lock()
	f()
}

// nextTask is the first that is due by end, or by now if that is later since a task took
// its time; nil if there is none. The caller holds mu.
func (n *Network) nextTask(end time.Time) (first *task) {
	end = latest(end, time.Now())
	for _, x := range n.agenda.tasks {
		if !x.at.After(end) && (first == nil || x.runs.Before(first.runs)) {
			first = x
		}
	}
	return first
}
