package cluster

import (
	"context"
	"sync/atomic"
	"time"
)

// Receive takes the next envelope, as one that is taken from Inbox, and waits until there
// is one. The error is that of ctx if it ends before, and ErrClosed once the node has closed
// and all that it had received is taken.
//
// Who waits for one message at a time, such as a request or its reply, has it sooner than
// from Inbox: Receive reads from the network itself, where for Inbox another goroutine does
// and then has to wake who waits. The message, and up to 15 that came with it, may be decoded in
// the goroutine that calls Receive, which the program's own decoding must not end.
//
// It may be called from any number of goroutines, also while others take from Inbox: each
// envelope goes to one of them. After a Receive it may take two milliseconds until the other
// goroutine reads again, for those who take from Inbox: a program had better do the one or the
// other.
func (n *Node) Receive(ctx context.Context) (*Envelope, error) {
	in := n.inbox
	select {
	case env, ok := <-in.c:
		return received(env, ok)
	default:
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	in.seat.inside.Add(1)
	defer in.seat.leave()
	if in.seat.byRun.Load() {
		n.listener.Interrupt()
	}
	if ctx.Done() != nil {
		// Who has the seat is parked where nothing else wakes it.
		defer context.AfterFunc(ctx, n.listener.Interrupt)()
	}
	for {
		select {
		case env, ok := <-in.c:
			return received(env, ok)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-in.seat.free:
		}
		env, ok, taken := in.readUntil(ctx)
		in.seat.free <- struct{}{}
		if taken {
			return received(env, ok)
		}
	}
}

func received(env *Envelope, ok bool) (*Envelope, error) {
	if !ok {
		return nil, ErrClosed
	}
	return env, nil
}

// readUntil reads the listener until an envelope can be taken from the channel, or that is
// closed. taken is false if the node closes, or ctx ends. The caller has the seat.
func (in *inbox) readUntil(ctx context.Context) (env *Envelope, ok, taken bool) {
	for {
		select {
		case env, ok = <-in.c:
			return env, ok, true
		default:
		}
		if in.halted.Load() || ctx.Err() != nil {
			return nil, false, false
		}
		in.read()
	}
}

// seatTime is for how long, up to twice, nobody reads the listener after the last Receive:
// the next may soon be called, and to pass the seat on takes longer than to receive.
const seatTime = time.Millisecond

// A seat is the right to read the listener. It is run's, which passes it on to Receives
// while there are any.
type seat struct {
	free   chan struct{} // holds a token while nobody has the seat
	back   chan struct{} // holds a token when run should take it back
	byRun  atomic.Bool   // run has it, or is about to look whether it may keep it
	inside atomic.Int64  // Receives that want the seat, or have it

	left  atomic.Uint64 // Receives that wanted it, and have ended
	armed atomic.Bool   // timer is going to call watch
	timer *time.Timer   // used by who has set armed, and by close
	seen  uint64        // of left, when watch last looked; used by watch, of which armed allows one
}

func newSeat() *seat {
	s := &seat{free: make(chan struct{}, 1), back: make(chan struct{}, 1)}
	s.timer = time.AfterFunc(time.Hour, s.watch)
	s.timer.Stop()
	s.byRun.Store(true)
	return s
}

// lend passes run's seat on, and returns when run has it again.
func (s *seat) lend() {
	s.byRun.Store(false)
	s.free <- struct{}{}
	<-s.back
	<-s.free
	s.byRun.Store(true)
}

// leave notes that a Receive ends, and sees to it that run takes the seat back if none
// comes for a while.
func (s *seat) leave() {
	s.left.Add(1)
	s.inside.Add(-1)
	if s.armed.CompareAndSwap(false, true) {
		s.timer.Reset(seatTime)
	}
}

// watch tells run to take the seat back if no Receive has ended since it last looked, and
// none is there.
func (s *seat) watch() {
	if left := s.left.Load(); left != s.seen {
		s.seen = left
		s.timer.Reset(seatTime)
		return
	}
	s.armed.Store(false)
	if s.inside.Load() == 0 { // or else it calls leave
		s.recall()
	}
}

// recall makes run take the seat back as soon as it is free.
func (s *seat) recall() {
	select {
	case s.back <- struct{}{}:
	default:
	}
}

// nudge makes a Receive that has the seat look at the channel, where somebody else has put
// something.
func (in *inbox) nudge() {
	if in.seat.inside.Load() > 0 {
		in.node.listener.Interrupt()
	}
}
