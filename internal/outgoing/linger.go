package outgoing

import "time"

const (
	// lingerMost is how many messages linger at most. Each frame, and its acknowledgment, cost some threads that are woken: 256 go a tenth
	// slower on libzmq. With 1,000, and no more on their way, either end waits for the other.
	lingerMost = 400
	// lingerTime is for how long they do, up to when run looks next.
	lingerTime = time.Millisecond
)

// lingers reports whether what is queued had better wait for more, instead of being written at once. It is of callers who have other messages to put
// before they wait for these, and of what they will wait for, others are on their way. What lingers is written when it is
// enough; when it is followed by something that is not of that kind; when the peer has told what became of what is on its way; when
// somebody waits for it (see Flush); and when run looks next whether the peer takes anything. The caller holds mu.
func (l *Link) lingers() bool {
	return l.linger && l.queue.messages < lingerMost && l.queue.messages < int(l.waiters.count.Load()) && l.queue.bytes < BatchBytes
}

// lingered reports whether what lingers has done so for long enough. The caller holds io and mu.
func (l *Link) lingered(now time.Time) bool { return now.Sub(l.wrote) >= lingerTime }

// Flush has the message of a ticket written if it lingers, since now somebody waits for it.
func (l *Link) Flush(t *Ticket) {
	switch {
	case !l.ends(t):
	case l.id != int(l.cfg.Self.ID) && l.io.TryLock():
		l.drive(false, driveMost)
		l.io.Unlock()
	default:
		l.wakeUp()
	}
}

// ends ends that the message of a ticket lingers. It reports whether the caller is to have it written.
func (l *Link) ends(t *Ticket) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.linger || l.queue.empty() || t.number < l.sender.NextNumber() {
		return false
	}
	l.linger = false
	idle := l.activity == sleeping
	if idle {
		l.activity = working
	}
	return idle
}
