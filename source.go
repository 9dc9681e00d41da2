package cluster

import (
	"slices"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

const (
	// holdTime is how long frames that came too early wait for those before
	// them, which may still be on their way through an older connection.
	holdTime = 150 * time.Millisecond
	// rememberedIncarnations is how many earlier lives of a peer are told apart
	// from a new one.
	rememberedIncarnations = 8
	// assemblyBytes is what is set aside for a large message at once; the rest
	// follows as its bytes come in.
	assemblyBytes = 1 << 20
)

// A source is one peer as seen by the receiver: which incarnation is heard, what
// comes next in its stream, and what came too early. It makes sure that records
// leave it in order and once, and counts those that never will.
//
// It knows nothing of sockets, and the time only as an argument. The inbox's
// mutex guards it.
type source struct {
	id          int
	incarnation uint64   // 0: nothing heard yet
	earlier     []uint64 // incarnations, the oldest first

	want wire.Position // where the next frame must begin
	part assembly      // of record want.Seq, while want.Offset > 0

	held      []arrival // frames beyond want, in order of the stream
	heldBytes int
	gapSince  time.Time // since when held[0] waits

	// For acknowledgments.
	backlog int           // envelopes of this incarnation that wait for room in the inbox
	taken   wire.Position // while backlog > 0: before the first that waits
	waiting int           // bytes of all frames, of any incarnation, whose envelopes wait
	unacked int           // bytes taken since an acknowledgment was last due
	asked   bool          // the peer has asked for one, and is to have it

	books receivedBooks
}

// An arrival is a frame of a known peer, with its header read and its content
// checked.
type arrival struct {
	wire.Header
	body, tail []byte // after the header; see transport.Listener
}

func (a *arrival) size() int { return wire.HeaderSize + len(a.body) + len(a.tail) }

// assembly is a large message of which pieces have come.
type assembly struct {
	msgID   int64
	kind    uint8
	total   int
	data    []byte
	discard bool // too large: counted already, to be skipped
}

// position is how far the peer's stream was taken or given up, as far as the
// peer may count on.
func (s *source) position() wire.Position {
	if s.backlog > 0 {
		return s.taken
	}
	return s.want
}

// isEarlier reports whether incarnation is one from before the present one.
func (s *source) isEarlier(incarnation uint64) bool {
	return slices.Contains(s.earlier, incarnation)
}

// begin makes incarnation the present one.
func (s *source) begin(incarnation uint64) {
	if s.incarnation != 0 {
		s.earlier = append(s.earlier, s.incarnation)
		if len(s.earlier) > rememberedIncarnations {
			s.earlier = slices.Delete(s.earlier, 0, 1)
		}
	}
	s.incarnation = incarnation
	s.want, s.part = wire.Position{}, assembly{}
	s.backlog, s.unacked, s.asked = 0, 0, false
}

// arrive takes a frame of the present incarnation, and calls take for each frame
// that is now in order, this one or held ones. It returns why the frame is
// refused, or 0.
func (s *source) arrive(a arrival, limit int, now time.Time, take func(arrival)) Refusal {
	if s.want.Seq == 0 {
		// What the peer wrote before was for an earlier life of this node, or was
		// lost: from here that cannot be told.
		s.want = wire.Position{Seq: a.Start.Seq}
		if a.Start.Offset > 0 {
			s.want.Seq++ // the rest of this record is of no use
		}
		s.books.missed += s.want.Seq - 1
	}
	switch {
	case a.Start == s.want:
		s.accept(a, take)
		s.release(now, take)
	case s.want.Before(a.Start):
		return s.hold(a, limit, now, take)
	case !a.Bare():
		return RefusedSequence
	}
	return 0
}

func (s *source) accept(a arrival, take func(arrival)) {
	if !a.Bare() {
		take(a)
	}
}

// hold keeps a frame that came too early, in its place. When more would be held
// than the limit, what is missing is given up.
func (s *source) hold(a arrival, limit int, now time.Time, take func(arrival)) Refusal {
	i := len(s.held)
	for i > 0 && a.Start.Before(s.held[i-1].Start) {
		i--
	}
	if i > 0 && s.held[i-1].Start == a.Start && s.held[i-1].Bare() == a.Bare() {
		if a.Bare() {
			return 0
		}
		return RefusedSequence
	}
	if len(s.held) == 0 {
		s.gapSince = now
	}
	s.held = slices.Insert(s.held, i, a)
	s.heldBytes += a.size()
	for s.heldBytes > limit {
		s.giveUp(now, take)
	}
	return 0
}

// release takes the held frames that are in order now, and drops those that have
// become useless.
func (s *source) release(now time.Time, take func(arrival)) {
	for len(s.held) > 0 && !s.want.Before(s.held[0].Start) {
		a := s.held[0]
		s.held[0] = arrival{}
		s.held = s.held[1:]
		s.heldBytes -= a.size()
		s.gapSince = now
		if a.Start == s.want {
			s.accept(a, take)
		}
	}
	if len(s.held) == 0 {
		s.held = nil
	}
}

// giveUp counts what is missing before the first held frame as lost, and goes
// on from there.
func (s *source) giveUp(now time.Time, take func(arrival)) {
	to := s.held[0].Start
	if to.Offset > 0 {
		to = wire.Position{Seq: to.Seq + 1} // its beginning is missing
	}
	s.books.lost += to.Seq - s.want.Seq
	s.want, s.part = to, assembly{}
	s.release(now, take)
}

// overdue gives up what has been missing for too long. It reports whether
// anything was.
func (s *source) overdue(now time.Time, take func(arrival)) bool {
	gaveUp := false
	for len(s.held) > 0 && now.Sub(s.gapSince) >= holdTime {
		s.giveUp(now, take)
		gaveUp = true
	}
	return gaveUp
}

// flush gives up everything that is missing, since it cannot come any more.
func (s *source) flush(now time.Time, take func(arrival)) {
	for len(s.held) > 0 {
		s.giveUp(now, take)
	}
	if s.want.Offset > 0 {
		s.books.lost++
		s.want, s.part = wire.Position{Seq: s.want.Seq + 1}, assembly{}
	}
}
