package outgoing

import (
	"time"

	"github.com/abhishekg16/cluster/internal/stream"
)

const (
	// corkMost is how many messages wait for others at most. Each frame, and its acknowledgment, wake some threads: with 256 it goes a tenth
	// slower on libzmq. With 1,000, and no more under way, either end waits for the other.
	corkMost = 400
	// corkTime is for how long they wait, up to when run looks next; and how long a round trip may be: on a longer way the peer would wait for
	// what waits here.
	corkTime = time.Millisecond
)

// corked reports whether what is queued waits for more instead of being written at once. It is of callers who have other messages to put before
// they wait for these, and some of theirs are on their way. It is written when there is enough; when something is put that is
// not of that kind; when the peer has told what became of what is on its way; when somebody waits (see Flush); and when run looks whether
// the peer takes anything, after corkTime. The caller holds mu.
func (l *Link) corked() bool {
	q := &l.queue
	if !l.cork || q.messages >= corkMost || q.messages >= int(l.waiters.count.Load()) || q.bytes >= min(BatchBytes, l.cfg.QueueBytes/2) {
		return false
	}
	return l.sender.Near(corkTime)
}

// putsMore takes in, before a message is queued, whether its caller has others to put before it waits for that. The caller holds mu.
func (l *Link) putsMore(later bool) {
	if later && l.queue.empty() {
		l.cork, l.corkedAt = true, time.Now()
	}
	l.cork = l.cork && later
}

// uncork ends that what is queued waits for more. It reports whether the caller is to have it written. The caller holds mu.
func (l *Link) uncork() bool {
	if !l.cork {
		return false
	}
	l.cork = false
	switch {
	case l.queue.empty():
	case l.activity == sleeping:
		l.activity = working
		return true
	case l.activity == awaitingRoom:
		l.activity = working
		l.conn.Interrupt()
	}
	return false
}

// Parks is for who is going to wait for what a ticket tells, and calls Parked afterwards. It has what waits for more written if the ticket's
// message is part of that, or if it is half of all that is waited for: the peer is not to wait for that, too. Where many wait, they gather.
func (l *Link) Parks(t *Ticket) {
	l.mu.Lock()
	many := l.waiters.parked.Add(1) >= gatherLeast
	write := (t.number >= l.sender.NextNumber() || 2*l.queue.messages >= int(l.waiters.count.Load())) && l.uncork()
	l.mu.Unlock()
	switch {
	case !write:
	case !many && l.id != int(l.cfg.Self.ID) && l.io.TryLock():
		l.drive(false, driveMost)
		l.io.Unlock()
	default:
		l.wakeUp()
	}
}

// Parked is the end of what Parks begins.
func (l *Link) Parked() { l.waiters.parked.Add(-1) }

// load makes the oldest parcel the load, unless it waits for more. What is queued behind it does not any longer. The caller holds io and mu.
func (l *Link) load(now time.Time) {
	if l.sender.GivenUp() {
		l.tearCall(stream.Unreachable)
		l.sent()
	}
	if l.current != nil || l.queue.empty() || l.corked() && now.Sub(l.corkedAt) < corkTime {
		return
	}
	l.cork = false
	l.current = l.queue.pop()
	l.current.seq = l.sender.NextNumber()
	l.sender.Load(l.current.load(), now)
}
