package incoming

import (
	"time"

	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/wire"
)

// ackDelay is how long an acknowledgment that is not urgent waits for a frame to travel with.
const ackDelay = 50 * time.Millisecond

// A source is one peer as its receiver sees it: its stream, and the queue that this leads to. The
// mutex of in guards all but in, id and queue.
type source struct {
	in    *In
	id    int
	queue Queue

	stream  *stream.Receiver
	refused [stream.Refusals]uint64
	urgent  bool      // it is that of the peer's urgent messages
	logged  time.Time // a restart was last logged
	closed  bool
	putting bool // what has come is being put into queue, by who reads the listener
	// announced is the last frame of the present life that announced what the peer knows, when there was no link to tell of it.
	announced *wire.Header
	out       Link // the link to the peer, once there is one: it stays
	owed      bool // it is among the prompts of in
}

// urgentSource is added to the id of a peer for the source of its urgent messages: these have a stream and a queue of their own.
const urgentSource = 1 << 16

// sourceOf is the key of the source that a frame is for.
func sourceOf(h *wire.Header) int {
	if h.Flags&wire.FlagUrgent != 0 {
		return int(h.From) + urgentSource
	}
	return int(h.From)
}

// source returns the source with that key. The caller holds mu.
func (in *In) source(key int) *source {
	s := in.sources[key]
	if s == nil {
		s = &source{in: in, id: key % urgentSource, stream: stream.NewReceiver(&in.cfg.Limits), urgent: key >= urgentSource}
		if s.urgent {
			limits := in.cfg.Limits
			limits.Window = stream.UrgentWindow
			s.stream = stream.NewReceiver(&limits)
		}
		s.queue = in.cfg.Queue(s.id, s)
		in.sources[key] = s
	}
	return s
}

// Release lets go of what the streams of servers hold that the catalogue does not have any more. What had
// left the streams is delivered all the same.
func (in *In) Release() {
	in.rx.Lock()
	defer in.rx.Unlock()
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range in.sources {
		if !in.closed && !in.cfg.Catalog.Has(s.id) {
			in.carryOut(s, s.stream.Release(), time.Now())
		}
	}
	in.Wake() // what was delivered did not come by the listener
}

// carryOut does what the stream of s has decided now. The caller holds rx and mu, of which mu is let
// go of while messages are delivered.
func (in *In) carryOut(s *source, effects []stream.Effect, now time.Time) {
	for i := range effects {
		e := &effects[i]
		switch e.Do {
		case stream.Deliver:
			s.putting = s.id != in.cfg.Pid
			in.mu.Unlock()
			s.queue.Put(&e.Delivery, in.goOn)
			if s.id == in.cfg.Pid {
				in.Wake() // it did not come by the listener
			}
			in.mu.Lock()
			s.putting = false
		case stream.Refused:
			in.refuse(s, refusal{e.Refusal, 1, e.Cause, false})
			if r := e.Delivery.Record; r.Kind != 0 {
				in.mu.Unlock()
				s.queue.RefuseLarge(r)
				in.mu.Lock()
			}
		case stream.Present:
			s.present(&e.Header, e.Names, now)
		case stream.NewLife:
			in.began(s, e)
		case stream.AckNow:
			s.tell(false, time.Now())
		}
	}
	s.stream.Forget()
	if !s.stream.Deadline().IsZero() && !in.holding {
		in.holding = true
		if s.id == in.cfg.Pid {
			in.listener.Interrupt() // who reads it has to look at its deadline
		}
	}
}

// mayGoOn reports whether whoever delivers may go on to decode more.
func (in *In) mayGoOn() bool {
	// A Receive that reads has something to return: the rest is delivered beside it.
	return in.lease.byRun.Load() && !in.halted.Load()
}

// began takes in that a new life of the peer is heard. The caller holds mu.
func (in *In) began(s *source, e *stream.Effect) {
	if s.urgent {
		return // the other stream tells of it
	}
	if now := time.Now(); !e.First && now.Sub(s.logged) >= time.Second {
		s.logged = now
		text := "cluster: peer has restarted"
		if e.Returned {
			text = "cluster: peer has not restarted after all: an earlier incarnation alone is heard"
		}
		in.cfg.Log.Info(text, "peer", s.id)
	}
	if in.cfg.Began != nil {
		in.cfg.Began(s.id, s.stream.Incarnation(), e.First)
	}
	s.announced = nil
	if l := s.link(false); l != nil {
		l.PeerBegan(e.Key, e.First)
	}
}

// present tells the link of a frame of the present life. The caller holds mu.
func (s *source) present(h *wire.Header, names []byte, now time.Time) {
	if l := s.link(false); l != nil {
		l.Acked(h, names, now)
	} else if _, ok := h.Announced(); ok {
		announced := *h
		s.announced = &announced
	}
}

// link is the link to the peer; nil if there is none. With create it is made if it can be. It is told what the peer had announced before
// there was one. The caller holds mu.
func (s *source) link(create bool) Link {
	if s.out == nil || create { // it may have to learn where the peer is now
		of := s.in.cfg.Link
		if s.urgent {
			of = s.in.cfg.Urgent
		}
		if l := of(s.id, create); l != nil {
			s.out = l
		}
	}
	l := s.out
	if h := s.announced; l != nil && h != nil {
		s.announced = nil
		l.Acked(h, nil, time.Now())
	}
	return l
}

// Meet tells a new link to a server what that had announced before there was one.
func (in *In) Meet(id int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if s := in.sources[id]; s != nil {
		s.link(false)
	}
}

// Taken implements delivery.Owner: it decides when the sender is to be told.
func (s *source) Taken(p stream.Place, records, left int) {
	in := s.in
	in.mu.Lock()
	defer in.mu.Unlock()
	switch s.stream.Taken(p, records, left) {
	case stream.AckAtOnce:
		s.tell(false, time.Now())
	case stream.AckSoon:
		s.tell(false, time.Now().Add(ackDelay))
	case stream.AckPrompt:
		if s.putting {
			in.owe(s, records == 1)
			return
		}
		s.tell(false, time.Now())
	case stream.AckAlong:
		if l := s.link(false); l != nil {
			l.Acknowledge(s.stream.Ack(false, time.Time{}))
		}
	}
}

// Taking implements delivery.Owner.
func (s *source) Taking() {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	s.tell(true, time.Now())
}

// Undelivered implements delivery.Owner.
func (s *source) Undelivered(p stream.Place, number uint64, why stream.Refusal) {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	s.stream.Undelivered(p, number, why)
}

// Refused implements delivery.Owner.
func (s *source) Refused(r stream.Refusal, count uint64, cause error) {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	s.in.refuse(s, refusal{r, count, cause, false})
}

// tell sees to it that the peer is told by due how far it was taken, and whether the program
// is taking envelopes, if slowly. The caller holds mu.
func (s *source) tell(taking bool, due time.Time) {
	ack := s.stream.Ack(taking, due)
	if l := s.link(true); l != nil {
		l.Acknowledge(ack)
	}
}

// Stats are the books of one sender.
type Stats struct {
	Received, Bytes        uint64
	Lost, Missed, Restarts uint64
	Repeated               uint64
	Refused                [stream.Refusals]uint64
	Backlog, Held          int // bytes of frames
}

// Each calls f with the books of each sender that was heard, once for each of its streams, and returns what was refused of no known
// peer.
func (in *In) Each(f func(id int, s Stats)) [stream.Refusals]uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range in.sources {
		b, q := s.stream.Books, s.queue.Books()
		st := Stats{
			Received: q.Received, Bytes: q.Bytes,
			Lost: b.Lost, Missed: b.Missed, Restarts: b.Restarts, Repeated: b.Repeated,
			Refused: s.refused,
			Held:    s.stream.Held(),
		}
		if !s.closed {
			st.Backlog = s.stream.Backlog() + s.stream.Assembling()
		}
		if s.urgent {
			st.Restarts = 0 // the other stream has counted it
		}
		f(s.id, st)
	}
	return in.refused
}

// Wake makes a Receive that has the lease look at the channel, where somebody else has put
// something.
func (in *In) Wake() {
	if in.lease.wanted() {
		in.listener.Interrupt()
	}
}

// Loopback is the connection of the node to itself: frames come straight in. All above it is the same as
// for any peer, windows included.
func (in *In) Loopback() Loopback { return Loopback{in} }

// A Loopback implements transport.Conn.
type Loopback struct{ in *In }

// TrySend implements transport.Conn.
func (l Loopback) TrySend(head, tail []byte) (bool, error) {
	own := append(make([]byte, 0, len(head)), head...)
	l.in.frame(own, append([]byte(nil), tail...), "", true)
	return true, nil
}

// Wait implements transport.Conn.
func (Loopback) Wait(time.Time) error { return nil }

// Interrupt implements transport.Conn.
func (Loopback) Interrupt() {}

// Close implements transport.Conn.
func (Loopback) Close(time.Duration) error { return nil }
