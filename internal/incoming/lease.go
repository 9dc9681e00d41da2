package incoming

import (
	"sync/atomic"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

// leaseTime is for how long, up to twice, nobody reads the listener after the last Receive: the
// next may soon be called, and to pass the lease on takes longer than to receive.
const leaseTime = time.Millisecond

// A Lease is the right to read the listener. It is Run's, which lends it to Receives while
// there are any.
type Lease struct {
	listener transport.Listener
	free     chan struct{} // holds a token while nobody has the lease
	back     chan struct{} // holds a token when Run should take it back
	byRun    atomic.Bool   // Run has it, or is about to look whether it may keep it
	inside   atomic.Int64  // Receives that want it, or have it

	left  atomic.Uint64 // Receives that wanted it, and have ended
	armed atomic.Bool   // timer is going to call watch
	timer *time.Timer   // used by who has set armed, and by stop
	seen  uint64        // of left, when watch last looked; used by watch, of which armed allows one
}

func newLease(l transport.Listener) *Lease {
	s := &Lease{listener: l, free: make(chan struct{}, 1), back: make(chan struct{}, 1)}
	s.timer = time.AfterFunc(time.Hour, s.watch)
	s.timer.Stop()
	s.byRun.Store(true)
	return s
}

// Want notes that a Receive wants the lease, and asks Run for it. The Receive calls Leave when it ends.
func (s *Lease) Want() {
	s.inside.Add(1)
	if s.byRun.Load() {
		s.listener.Interrupt()
	}
}

// Interrupt makes the Receive that has the lease look whether it is to end.
func (s *Lease) Interrupt() { s.listener.Interrupt() }

// Free is where a Receive that wants the lease gets it from, by taking a token.
func (s *Lease) Free() <-chan struct{} { return s.free }

// GiveBack passes the lease on to the next Receive, or to Run.
func (s *Lease) GiveBack() { s.free <- struct{}{} }

// Leave notes that a Receive ends, and sees to it that Run takes the lease back if none comes
// for a while.
func (s *Lease) Leave() {
	s.left.Add(1)
	s.inside.Add(-1)
	if s.armed.CompareAndSwap(false, true) {
		s.timer.Reset(leaseTime)
	}
}

// Wanting is how many Receives want the lease, or have it.
func (s *Lease) Wanting() int { return int(s.inside.Load()) }

// ByRun reports whether Run has the lease.
func (s *Lease) ByRun() bool { return s.byRun.Load() }

// Timed reports whether a timer runs that may take the lease back.
func (s *Lease) Timed() bool { return s.armed.Load() }

// wanted reports whether Receives want the lease, or have it.
func (s *Lease) wanted() bool { return s.inside.Load() > 0 }

// lend passes Run's lease on, of which it tells the listener, and returns when Run has it again.
func (s *Lease) lend() {
	s.byRun.Store(false)
	transport.Lent(s.listener, true)
	s.free <- struct{}{}
	<-s.back
	<-s.free
	transport.Lent(s.listener, false)
	s.byRun.Store(true)
}

// watch tells Run to take the lease back if no Receive has ended since it last looked, and none
// is there.
func (s *Lease) watch() {
	if left := s.left.Load(); left != s.seen {
		s.seen = left
		s.timer.Reset(leaseTime)
		return
	}
	s.armed.Store(false)
	if s.inside.Load() == 0 { // or else it calls Leave
		s.Recall()
	}
}

// Recall makes Run take the lease back as soon as it is free.
func (s *Lease) Recall() {
	select {
	case s.back <- struct{}{}:
	default:
	}
}

func (s *Lease) stop() { s.timer.Stop() }
