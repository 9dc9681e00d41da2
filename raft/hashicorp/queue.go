package hashicorp

import "sync"

// A queue does one thing with each of its items, in their order. It has a goroutine as long as it has items.
type queue[T any] struct {
	start    func(func()) bool // of the transport
	work     func(T)
	items    int // how many may wait
	maxBytes int // and how large they may be together; one that is larger may be alone

	mu      sync.Mutex // guards what follows
	waiting []sized[T]
	bytes   int
	busy    bool // there is a goroutine
}

type sized[T any] struct {
	item  T
	bytes int
}

// put adds an item of a size. It never waits, and reports whether there was room.
func (q *queue[T]) put(item T, bytes int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) > 0 && (len(q.waiting) >= q.items || q.bytes+bytes > q.maxBytes) {
		return false
	}
	if !q.busy && !q.start(q.run) {
		return false
	}
	q.busy = true
	q.waiting = append(q.waiting, sized[T]{item, bytes})
	q.bytes += bytes
	return true
}

// idle reports whether nothing waits, and nothing is being done.
func (q *queue[T]) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.busy
}

func (q *queue[T]) run() {
	for {
		item, ok := q.next()
		if !ok {
			return
		}
		q.work(item)
	}
}

func (q *queue[T]) next() (item T, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		q.busy, q.waiting = false, nil
		return item, false
	}
	first := q.waiting[0]
	q.waiting[0] = sized[T]{}
	q.waiting = q.waiting[1:]
	q.bytes -= first.bytes
	return first.item, true
}
