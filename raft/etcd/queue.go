package etcd

import "sync"

const (
	// maxWaiting and maxWaitingBytes bound what waits of one sort, to or from one server. One message that is larger may wait alone.
	maxWaiting      = 4096
	maxWaitingBytes = 64 << 20
)

// A lane is messages that wait, in their order.
type lane struct {
	waiting []sized
	bytes   int
}

type sized struct {
	msg   any
	bytes int
}

// put adds a message, and reports whether there was room.
func (l *lane) put(msg any, bytes int) bool {
	if len(l.waiting) > 0 && (len(l.waiting) >= maxWaiting || l.bytes+bytes > maxWaitingBytes) {
		return false
	}
	l.waiting = append(l.waiting, sized{msg, bytes})
	l.bytes += bytes
	return true
}

// take removes the first message.
func (l *lane) take() (msg any, ok bool) {
	if len(l.waiting) == 0 {
		l.waiting = nil
		return nil, false
	}
	first := l.waiting[0]
	l.waiting[0] = sized{}
	l.waiting = l.waiting[1:]
	l.bytes -= first.bytes
	return first.msg, true
}

// A queue does one thing with each of its messages: with urgent ones first, and with those of a sort in their order. It has a
// goroutine as long as it has messages.
type queue struct {
	start func(func()) bool // of the transport
	work  func(msg any)
	full  func() // called by that goroutine after messages were not taken for want of room

	mu           sync.Mutex // guards what follows
	urgent, bulk lane
	overflowed   bool // full is to be called
	busy         bool // there is a goroutine
}

// put adds a message of a size. It never waits, and reports whether there was room.
func (q *queue) put(msg any, bytes int, urgent bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := &q.bulk
	if urgent {
		l = &q.urgent
	}
	if !l.put(msg, bytes) {
		q.overflowed = true
		return false
	}
	if !q.busy {
		q.busy = q.start(q.run)
	}
	return q.busy
}

func (q *queue) run() {
	for {
		msg, overflowed, ok := q.next()
		if overflowed && q.full != nil {
			q.full()
		}
		if !ok {
			return
		}
		q.work(msg)
	}
}

func (q *queue) next() (msg any, overflowed, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	overflowed, q.overflowed = q.overflowed, false
	if msg, ok = q.urgent.take(); !ok {
		msg, ok = q.bulk.take()
	}
	q.busy = ok
	return msg, overflowed, ok
}
