package cluster

import (
	"slices"
	"time"

	"github.com/abhishekg16/cluster/internal/flaw"
	"github.com/abhishekg16/cluster/internal/wire"
)

const (
	// holdTime is how long frames that came too early wait for those before
	// them, which may still be on their way through an older connection.
	holdTime = 150 * time.Millisecond
	// rememberedIncarnations is how many earlier lives of a peer are told apart
	// from a new one.
	rememberedIncarnations = 8
	// assemblyTimes is how many times its first piece is set aside for a large message;
	// the rest follows as its bytes come in.
	assemblyTimes = 8
)

// A source is one peer as seen by the receiver: which incarnation is heard, what
// comes next in its stream, and what came too early. It makes sure that records
// leave it in order and once, and counts those that never will.
//
// It knows nothing of sockets, and the time only as an argument. The inbox's
// mutex guards it.
type source struct {
	id          int
	incarnation uint64    // 0: nothing heard yet
	heard       time.Time // when a frame of it last came
	earlier     []uint64  // incarnations, the oldest first
	life        int       // counts incarnations, for chunks to tell them apart

	want wire.Position // where the next frame must begin
	part assembly      // of record want.Seq, while want.Offset > 0

	// held are frames that wait, for no longer than holdTime each: those of
	// this incarnation beyond want, in the order of the stream; and, in the
	// order in which they came, those of the next one, since what this one sent
	// last may still be on its way through another connection.
	held, next []arrival
	heldBytes  int // of both

	// What waits for room in the inbox, and what the peer is told of it.
	chunks  []chunk
	waiting int           // bytes of the frames that they came in
	present int           // of them, those of this incarnation
	backlog int           // envelopes in chunks of this incarnation
	taken   wire.Position // while backlog > 0: before the first that waits
	unacked int           // bytes taken since an acknowledgment was last due
	asked   bool          // the peer has asked for one, and is to have it

	logged time.Time // a restart was last logged

	books receivedBooks
}

// heldCost is what holding a frame costs beside its bytes.
const heldCost = 512

// An arrival is a frame of a known peer, with its header read and its content
// checked.
type arrival struct {
	wire.Header
	body, tail []byte // after the header; see transport.Listener
	buffer     []byte // that body is in
	came       time.Time
	key        string // the public key that its sender has proved to have, if there are keys
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

// waits reports whether something is there that was neither taken nor given up.
func (s *source) waits() bool { return s.backlog > 0 || len(s.held) > 0 }

// fits reports whether another size bytes are within what the peer was granted,
// with room for what a window may have been when it was used, and for some
// incarnations.
func (s *source) fits(size, window int) bool {
	most := 2*window + wire.MaxFrame
	return s.present+size <= most && s.waiting+size <= (rememberedIncarnations+1)*most
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
	s.life++
	s.want, s.part = wire.Position{}, assembly{}
	s.backlog, s.present, s.unacked, s.asked = 0, 0, 0, false
}

// holdNext keeps a frame of the next incarnation until its turn comes. It reports
// false if no more can be kept.
func (s *source) holdNext(a arrival, limit int) bool {
	s.next = append(s.next, a)
	s.heldBytes += a.size() + heldCost
	return s.heldBytes <= limit
}

// nextDue reports whether the next incarnation's turn has come: it has waited for
// holdTime.
func (s *source) nextDue(now time.Time) bool {
	return len(s.next) > 0 && now.Sub(s.next[0].came) >= holdTime
}

// takeNext returns what was held of the next incarnation.
func (s *source) takeNext() []arrival {
	frames := s.next
	s.next = nil
	for i := range frames {
		s.heldBytes -= frames[i].size() + heldCost
	}
	return frames
}

// deadline is when the first of the held frames has waited long enough; zero if
// there is none.
func (s *source) deadline() time.Time {
	var d time.Time
	if len(s.held) > 0 {
		d = s.held[0].came.Add(holdTime)
	}
	if len(s.next) > 0 {
		d = earliest(d, s.next[0].came.Add(holdTime))
	}
	return d
}

// arrive takes a frame of the present incarnation, and calls take for each frame
// that is now in order, this one or held ones. It returns why the frame is
// refused, or 0.
func (s *source) arrive(a arrival, limit int, take func(arrival)) Refusal {
	s.heard = a.came
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
		s.release(take)
	case flaw.On(flaw.Order) && !a.Bare(), flaw.On(flaw.Dedupe) && a.Start.Before(s.want):
		s.takeAnyway(a, take)
	case s.want.Before(a.Start):
		return s.hold(a, limit, take)
	case !a.Bare():
		return RefusedSequence
	}
	return 0
}

// takeAnyway takes a frame that is not the next, which only a flaw does.
func (s *source) takeAnyway(a arrival, take func(arrival)) {
	want := s.want
	s.want = a.Start
	s.accept(a, take)
	if s.want.Before(want) {
		s.want = want
	}
}

func (s *source) accept(a arrival, take func(arrival)) {
	if !a.Bare() {
		take(a)
	}
}

// hold keeps a frame that came too early, in its place. When more would be held
// than the limit, what is missing is given up.
func (s *source) hold(a arrival, limit int, take func(arrival)) Refusal {
	i := len(s.held)
	if a.Bare() && i > 0 {
		// It says only that something before it is missing, which is known, unless
		// it is beyond all others.
		last := s.held[i-1]
		if !last.Start.Before(a.Start) {
			return 0
		}
		if last.Bare() {
			s.held[i-1].Start = a.Start
			return 0
		}
	}
	for i > 0 && a.Start.Before(s.held[i-1].Start) {
		i--
	}
	if i > 0 && s.held[i-1].Start == a.Start && !s.held[i-1].Bare() {
		return RefusedSequence
	}
	s.held = slices.Insert(s.held, i, a)
	s.heldBytes += a.size() + heldCost
	for s.heldBytes > limit && len(s.held) > 0 {
		s.giveUp(take)
	}
	return 0
}

// release takes the held frames that are in order now, and drops those that have
// become useless.
func (s *source) release(take func(arrival)) {
	for len(s.held) > 0 && !s.want.Before(s.held[0].Start) {
		a := s.held[0]
		s.held[0] = arrival{}
		s.held = s.held[1:]
		s.heldBytes -= a.size() + heldCost
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
func (s *source) giveUp(take func(arrival)) {
	to := s.held[0].Start
	if to.Offset > 0 {
		to = wire.Position{Seq: to.Seq + 1} // its beginning is missing
	}
	if !flaw.On(flaw.Gap) {
		s.books.lost += to.Seq - s.want.Seq
	}
	s.want, s.part = to, assembly{}
	s.release(take)
}

// overdue gives up what has been missing for too long. It reports whether
// anything was.
func (s *source) overdue(now time.Time, take func(arrival)) bool {
	gaveUp := false
	for len(s.held) > 0 && now.Sub(s.held[0].came) >= holdTime {
		s.giveUp(take)
		gaveUp = true
	}
	return gaveUp
}

// flush gives up everything that is missing, since it cannot come any more.
func (s *source) flush(take func(arrival)) {
	for len(s.held) > 0 {
		s.giveUp(take)
	}
	if s.want.Offset > 0 {
		s.books.lost++
		s.want, s.part = wire.Position{Seq: s.want.Seq + 1}, assembly{}
	}
}
