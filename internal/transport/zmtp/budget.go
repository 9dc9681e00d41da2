package zmtp

import (
	"sync"
	"time"
)

// unfinishedMost is how much memory the messages may take of which a part has come, all those of
// a listener together. A frame has wire.MaxFrame bytes at most.
const unfinishedMost = 64 << 20

// A budget bounds what unfinished messages take. If they take more, the connection is ended that
// has longest added nothing to its own.
type budget struct {
	most int

	mu    sync.Mutex // guards what follows
	total int
	held  map[*stream]struct{} // whose share is not 0
}

// A share is what a stream takes of a budget.
type share struct {
	told int // by who reads the stream, who alone uses it

	// Guarded by the budget's mu.
	size  int
	since time.Time // when it last changed
	ended bool      // the stream was ended for others, and counts no more
}

func newBudget(most int) *budget { return &budget{most: most, held: make(map[*stream]struct{})} }

// settle notes what a stream holds now, after something has come.
func (b *budget) settle(s *stream) { b.change(s, s.unfinished()) }

// release notes that a stream has ended.
func (b *budget) release(s *stream) { b.change(s, 0) }

func (b *budget) change(s *stream, size int) {
	if size == s.share.told {
		return // as it is most times; and who adds nothing is not fresher for it
	}
	s.share.told = size
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.share.ended {
		return
	}
	b.set(s, size)
	for b.total > b.most {
		stalest := b.stalest()
		b.set(stalest, 0)
		stalest.share.ended = true
		stalest.end()
	}
}

// set gives a stream its share. The caller holds mu.
func (b *budget) set(s *stream, size int) {
	b.total += size - s.share.size
	s.share.size, s.share.since = size, time.Now()
	if size > 0 {
		b.held[s] = struct{}{}
	} else {
		delete(b.held, s)
	}
}

// stalest is the stream whose share has not changed for longest. The caller holds mu.
func (b *budget) stalest() (s *stream) {
	for other := range b.held {
		if s == nil || other.share.since.Before(s.share.since) {
			s = other
		}
	}
	return s
}
