package cluster

import (
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// turnMost is how many envelopes of one peer are delivered, at least, before it is
// the turn of the next that has a backlog. Where the program is slow it is one.
const turnMost = 64

// deliver decodes the next messages of the chunk and puts them into the inbox. If
// that is full it reports false and leaves what there was no room for. The caller
// holds mu, which is let go of meanwhile, and has set delivering: nobody else sends
// on c.
func (in *inbox) deliver(s *source, c *chunk) bool {
	if len(c.ready) == 0 {
		in.mu.Unlock()
		o := c.unpack(s.id, in.node.cfg.MaxMessageBytes) // may run code of the program
		in.mu.Lock()
		if o != nil {
			in.book(s, o)
		}
	}
	// Who takes a message finds it counted already.
	s.books.receive(c.ready)
	in.mu.Unlock()
	n := 0
	for n < len(c.ready) && in.tryPush(c.ready[n]) {
		n++
	}
	in.mu.Lock()
	clear(c.ready[:n])
	c.ready = c.ready[n:]
	s.books.unreceive(c.ready)
	return len(c.ready) == 0
}

// book counts what could not be taken from a chunk. The caller holds mu.
func (in *inbox) book(s *source, o *outcome) {
	for r, n := range o.faults {
		if n > 0 {
			in.refuseLocked(s, Refusal(r), o.causes[r])
			s.books.refused[r] += n - 1
		}
	}
}

// tryPush puts one envelope into the inbox if there is room for it.
func (in *inbox) tryPush(d decoded) bool {
	if !in.heavy.fits(len(in.c), d.bytes) {
		return false
	}
	select {
	case in.c <- d.Envelope:
		in.heavy.pushed(d.bytes)
		return true
	default:
		return false
	}
}

// push puts one envelope into the inbox, waiting as long as it takes. It reports
// false if stop came first.
func (in *inbox) push(d decoded) bool {
	for pause := 50 * time.Microsecond; !in.heavy.fits(len(in.c), d.bytes); pause = min(2*pause, 2*time.Millisecond) {
		// Only the program knows when it takes from a channel, so the bound on
		// bytes, which matters for larger messages alone, has to be polled.
		select {
		case <-time.After(pause):
		case <-in.stop:
			return false
		}
	}
	select {
	case in.c <- d.Envelope:
		in.heavy.pushed(d.bytes)
		return true
	case <-in.stop:
		return false
	}
}

// deliverBacklog is the goroutine that waits for room in the inbox while there is
// a backlog. The peers take turns.
func (in *inbox) deliverBacklog() {
	defer in.delivered.Done()
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.turns) > 0 {
		select {
		case <-in.stop:
			return // what is left is not taken any more
		default:
		}
		s := in.turns[0]
		in.turns = append(in.turns[:0], in.turns[1:]...)
		if !in.turn(s) {
			return
		}
		if len(s.chunks) > 0 {
			in.turns = append(in.turns, s)
		} else {
			s.chunks = nil
		}
		in.report()
	}
	in.turns = nil
	in.delivering = false
}

// turn delivers some envelopes of the first chunk of s. It reports false if stop
// came. The caller holds mu, which is let go of meanwhile; nobody else changes
// the first chunk.
func (in *inbox) turn(s *source) bool {
	c := s.chunks[0]
	before := c.left()
	slow, stopped := false, false
	for c.left() > 0 && before-c.left() < turnMost && !slow && !stopped {
		slow = !in.deliver(s, &c)
		in.nudge()
		if slow {
			stopped = !in.pushFirst(s, &c)
			in.nudge()
		}
	}
	s.chunks[0] = c
	if stopped {
		return false
	}
	present := c.life == s.life
	if present {
		s.backlog -= before - c.left()
	}
	if n := c.left(); n > 0 {
		if present {
			s.taken = wire.Position{Seq: c.end.Seq - uint64(n)}
		}
		return true
	}
	s.chunks[0] = chunk{}
	s.chunks = s.chunks[1:]
	s.waiting -= c.bytes
	if present {
		s.present -= c.bytes
		s.taken = c.end
	}
	in.taken(s, &c)
	return true
}

// pushFirst delivers the first envelope that is ready, waiting as long as it takes.
// It reports false if stop came. The caller holds mu, which is let go of meanwhile.
func (in *inbox) pushFirst(s *source, c *chunk) bool {
	first := c.ready[:1]
	s.books.receive(first)
	in.mu.Unlock()
	ok := in.push(first[0])
	in.mu.Lock()
	if !ok {
		s.books.unreceive(first)
		return false
	}
	clear(first)
	c.ready = c.ready[1:]
	return true
}

// report tells all who wait for room, now and then, that the program takes
// envelopes, if slowly. Whose they are does not matter: all will have their turn.
// The caller holds mu.
func (in *inbox) report() {
	now := time.Now()
	if now.Sub(in.reported) < ackInterval {
		return
	}
	in.reported = now
	for _, s := range in.turns {
		in.offer(s, true, now)
	}
}

// taken decides when the sender of a chunk that was taken is to be told. The
// caller holds mu.
func (in *inbox) taken(s *source, c *chunk) {
	if c.life != s.life {
		return
	}
	s.unacked += c.bytes
	switch {
	case s.unacked >= int(in.window)/4:
		in.acknowledge(s, time.Now())
	case s.asked:
		in.offer(s, false, time.Now().Add(ackDelay))
	default:
		if l := in.node.linkIfAny(s.id); l != nil {
			l.offer(s.incarnation, s.position(), false, time.Time{})
		}
	}
}

// acknowledge tells the peer at once how far it was taken. The caller holds mu.
func (in *inbox) acknowledge(s *source, now time.Time) {
	s.unacked = 0
	in.offer(s, false, now)
}

// offer sees to it that the peer is told by due how far it was taken, and whether the
// program is taking envelopes, if slowly. The caller holds mu.
func (in *inbox) offer(s *source, taking bool, due time.Time) {
	// What still waits is to be told of as well.
	s.asked = s.asked && s.waits()
	if l, _ := in.node.link(s.id); l != nil {
		l.offer(s.incarnation, s.position(), taking, due)
	}
}

// close ends delivery, gives up the backlog and closes the channel. What is in
// the channel can still be read.
func (in *inbox) close() {
	close(in.stop)
	in.seat.timer.Stop()
	in.delivered.Wait()
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	for _, s := range in.sources {
		for _, c := range s.chunks {
			s.books.refused[RefusedClosed] += uint64(c.left())
		}
		s.chunks, s.waiting, s.present, s.backlog = nil, 0, 0, 0
	}
	close(in.c)
}

// heavy bounds the bytes of the messages in a channel, whose capacity bounds only
// their number. It is exact to heavyStep.
type heavy struct {
	limit int
	count uint64 // envelopes put into the channel so far
	bytes int    // of those that may still be there
	light int    // of them, those since the last step
	steps []heavyMark
}

// A heavyMark says how many bytes were put into the channel up to an envelope.
type heavyMark struct {
	index uint64 // the value of count when it was put there
	bytes int    // since the mark before
}

const heavyStep = 32 << 10

// fits reports whether a message of size bytes may join the queued ones.
func (h *heavy) fits(queued, size int) bool {
	if h.bytes+size <= h.limit {
		return true
	}
	taken := h.count - uint64(queued)
	n := 0
	for n < len(h.steps) && h.steps[n].index < taken {
		h.bytes -= h.steps[n].bytes
		n++
	}
	h.steps = append(h.steps[:0], h.steps[n:]...)
	if queued == 0 {
		h.bytes, h.light = 0, 0
	}
	return h.bytes == 0 || h.bytes+size <= h.limit
}

func (h *heavy) pushed(size int) {
	h.bytes += size
	if h.light += size; h.light >= heavyStep {
		h.steps = append(h.steps, heavyMark{h.count, h.light})
		h.light = 0
	}
	h.count++
}
