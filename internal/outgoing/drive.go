package outgoing

import (
	"time"

	"github.com/abhishekg16/cluster/internal/stream"
)

// promptMost is driveMost for who reads the network.
const promptMost = 2

// driveMost is how much drive does: others may go on queueing while it writes, and its caller has
// a message to send and no more.
const driveMost = 64

const (
	// To write a frame may take ten times as long as to queue a message. So when inARowMost messages have come one by one,
	// each within pressingTime of when the one before was written, the next are left to run, and gather while it writes.
	inARowMost   = 2
	pressingTime = 3 * time.Microsecond
)

// pressing reports whether messages come one by one, and faster than they can be written so. The caller holds io.
func (l *Link) pressing(now time.Time) bool {
	if now.Sub(l.wrote) >= pressingTime {
		l.inARow = 0
		return false
	}
	l.inARow++
	return l.inARow > inARowMost
}

// drive does run's work while run sleeps, as far as that needs no waiting. A lone message was put by itself. The
// caller holds io.
func (l *Link) drive(lone bool, most int) {
	now := time.Now()
	if lone && l.pressing(now) {
		l.wakeUp()
		return
	}
	for range most {
		step, deadline := l.plan(now, false)
		switch {
		case step == stepWrite:
			var rests bool
			if now, rests = l.write(true, now); rests {
				return
			}
		case step == stepSleep && !l.oversleeps(deadline):
			return
		default:
			l.wakeUp()
			return
		}
	}
	l.wakeUp()
}

// oversleeps reports whether run sleeps beyond the deadline.
func (l *Link) oversleeps(deadline time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sleepsBeyond(deadline)
}

// sleepsBeyond is oversleeps for callers that hold mu.
func (l *Link) sleepsBeyond(deadline time.Time) bool {
	return !deadline.IsZero() && (l.until.IsZero() || deadline.Before(l.until))
}

// mayRest reports whether a decision would find that there is nothing to do but to sleep, and that run does, for no longer than that. After a
// lone frame it mostly is so, and to decide would take as long as to write it has. The caller drives the link, and holds io and mu.
func (l *Link) mayRest(now time.Time) bool {
	if l.activity != working || l.current != nil || !l.queue.empty() || l.urgent != nil || l.spare != nil ||
		l.route.dialed != l.route.target() || l.calls.Waits() {
		return false
	}
	if l.until.IsZero() || l.sleepsBeyond(stream.Even(l.look(now))) || !l.sender.Rests(now, l.until) {
		return false
	}
	l.activity = sleeping
	return true
}
