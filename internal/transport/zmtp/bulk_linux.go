//go:build !zmtpqueue

package zmtp

import (
	"sync/atomic"

	"github.com/abhishekg16/cluster/internal/transport"
)

// bulkLeast is how large the frames are that are read by a goroutine of its stream's own: those of
// pieces of large messages, and not those that are full of records. With those to be copied
// and decoded meanwhile, handing on costs more than it gains.
const bulkLeast = 66 << 10

// manyLeast is how large those are that others follow, since a message is cut into pieces of stream.PieceBytes.
const manyLeast = 120 << 10

// A bulk is what the streams have found that goroutines of their own read. One is given a goroutine when
// more of it has come than who receives has read, and a large frame goes on that others follow, or that follows another one: it is read while
// the frames before are taken in. One at a time, such as a request, whose sender then waits, had better be read where it is received. It is handed back when nothing more has come.
type bulk struct {
	c       chan queued   // nil until there is such a stream; set by who receives
	over    chan struct{} // closed by close
	waiting atomic.Bool   // who receives waits, and is to be woken
	due     int           // what is in c that comes before what ready streams have; used by who receives
	pauses  uint64        // how often who receives has found nothing; used by who receives
}

func newBulk() bulk { return bulk{over: make(chan struct{})} }

// isBulk reports whether the stream is to be read by a goroutine of its own.
func (r *receiver) isBulk(s *stream) bool {
	in := s.input.(*fdInput)
	follows := in.large && in.largeAt == r.pauses
	return in.full && s.inFrame && s.size >= bulkLeast && (follows || s.size >= manyLeast) && s.size-s.done >= directLeast
}

// took notes that a frame of the stream has come whole.
func (r *receiver) took(s *stream) {
	if s.size >= bulkLeast {
		in := s.input.(*fdInput)
		in.large, in.largeAt = true, r.pauses
	}
}

// handOff lets a goroutine read a stream.
func (r *receiver) handOff(l *Listener, s *stream) {
	in := s.input.(*fdInput)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.remove(in.fd) != nil {
		return // then it is read as before
	}
	in.apart = true
	if r.c == nil {
		r.c = make(chan queued, framesMost)
	}
	l.all.Go(func() { // It ends when nothing more has come; Close ends it, and waits for it.
		r.readApart(l, s, in)
		r.takeBack(l, s, in)
	})
}

// readApart reads a stream until nothing more has come.
func (r *receiver) readApart(l *Listener, s *stream, in *fdInput) {
	scratch := transport.GetBuffer(scratchSize)
	defer transport.PutBuffer(scratch)
	o := outlet{r.c, r.over, &in.handing, r.woken}
	for !in.ended.Load() {
		room := s.room()
		ahead := s.space(room, scratch)
		n, err := readNow(in.fd, room, ahead)
		if err != nil || n <= 0 {
			return // that it has ended is seen again by who receives
		}
		s.idleTimeout.came()
		direct := min(n, len(room))
		s.took(direct)
		if !s.handOn(l, ahead[:n-direct], o) {
			in.end()
			return
		}
		l.budget.settle(s)
	}
}

// woken wakes who receives, if he waits.
func (r *receiver) woken() {
	if r.waiting.Load() && r.waiting.CompareAndSwap(true, false) {
		r.wake()
	}
}

// takeBack has who receives read the stream again.
func (r *receiver) takeBack(l *Listener, s *stream, in *fdInput) {
	if !r.readd(in) {
		s.close(l)
	}
}

// readd makes the poller wait for a connection again. If that cannot be, nobody reads it any more, and
// it is closed.
func (r *receiver) readd(in *fdInput) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	in.apart = false
	if !r.closed && r.add(in.fd) == nil {
		return true
	}
	delete(r.streams, int32(in.fd))
	in.close()
	return false
}
