package stream

import (
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// Step is what a Sender wants done next.
type Step uint8

const (
	Write     Step = iota // hand Pending to the connection, and call Took or Full
	AwaitConn             // wait until the connection takes frames again, and call Writable
	Sleep                 // wait until something is to be written
	GiveUp                // drop the load and all that is queued, as TimedOut; and ask again
	End                   // the sender has ended
)

// Next decides what is to be done next: what is to be written, now; and what is waited for, until when at most (zero: for
// ever). Where there is no connection, it is for the caller to dial, and nothing is written.
func (s *Sender) Next(now time.Time) (Step, time.Time) {
	open := s.window.open(s.frameSize())
	if !s.loaded || open && (s.state.Path == Clear) {
		s.progress = now // nothing is kept from going out
	}
	if s.overdue(now) {
		s.estrange()
		s.forsake()
		s.dropKept()
		if s.Ended() {
			return Sleep, now // to see that at once
		}
	}
	s.silence(now)
	if s.givesUp(open, now) {
		return GiveUp, time.Time{}
	}
	s.on(Looked, now)
	open = open && s.state.Peer != Starved

	switch s.state.Path {
	case NoPath:
		return Sleep, s.looksAt(now)
	case Blocked:
		return AwaitConn, s.looksAt(now)
	}
	if s.goesFirst(open, now) {
		return Write, time.Time{}
	}
	askAt := s.asks(open, now)
	switch {
	case !askAt.IsZero() && !now.Before(askAt):
		s.window.probed, s.window.asked, s.askedAt, s.ask = now, true, now, false
		s.bare(wire.FlagAckNow, now)
		return Write, time.Time{}
	case s.waited && s.resends, !s.ack.Due.IsZero() && !now.Before(s.ack.Due):
		s.bare(0, now)
		return Write, time.Time{}
	}
	return Sleep, Earlier(Earlier(s.looksAt(now), askAt), s.ack.Due)
}

// goesFirst makes what goes before frames that only ask or acknowledge the pending one, and reports whether there is something.
func (s *Sender) goesFirst(open bool, now time.Time) bool {
	switch {
	case s.query, s.answers():
		s.word(now)
	case len(s.ack.Undelivered) > 0 && !s.ack.Due.IsZero() && !now.Before(s.ack.Due) && s.resends:
		s.name(now)
	case s.window.due > 0:
		s.repeat(now)
	case s.loaded && open && !s.asksFirst():
		s.frame(now)
	default:
		return false
	}
	return true
}

// Rests reports whether Next would find nothing to do, and want to look again no sooner than until. It costs a fraction of that, changes nothing, and
// looks only for what is so after most frames: false tells nothing.
func (s *Sender) Rests(now, until time.Time) bool {
	r := &s.reach
	switch {
	case s.loaded, s.phase != Open, s.state != State{Up, Clear}, !s.window.open(0), s.window.due > 0,
		s.query, s.owesWord, s.waited, !s.ack.Due.IsZero(),
		r.state != Reached, r.owed.IsZero(), r.takes.IsZero(), !r.checkAt.IsZero(),
		!s.resends, !s.window.missing(), s.ask, s.calls.waits:
		return false
	case s.overdue(now), !r.fresh(now, s.policy.Silence/3):
		return false
	}
	most := until.Sub(now) - 1 // of which Even adds one
	since := s.moved
	if s.askedAt.After(since) {
		since = s.askedAt
	}
	if most > s.askTime()-now.Sub(since) {
		return false
	}
	wait, soon := s.looksIn(now)
	return soon && most <= wait
}

// looksAt is when to look again whether the peer has had its time; zero: it need not say or take anything.
func (s *Sender) looksAt(now time.Time) (at time.Time) {
	if wait, soon := s.looksIn(now); soon {
		return now.Add(wait)
	}
	return s.looksByAll(now)
}

// looksByAll is looksAt by all of its times.
func (s *Sender) looksByAll(now time.Time) (at time.Time) {
	if s.loaded {
		at = s.progress.Add(s.policy.Patience)
	}
	if until := s.tellsUntil(); now.Before(until) {
		at = Earlier(at, until)
	}
	if at = Earlier(at, Earlier(s.silenceEnds(), s.expectEnds())); !at.IsZero() {
		at = Earlier(at, now.Add(s.lookInterval()))
	}
	return Earlier(at, s.reachDeadline(now))
}

// looksIn is how long it is until looksAt where none of its times ends before that, as is so for most frames. It costs a fraction.
func (s *Sender) looksIn(now time.Time) (wait time.Duration, soon bool) {
	r, look := &s.reach, s.lookInterval()
	if s.loaded || s.calls.waits || !s.keeps() || s.phase != Open || now.Sub(s.moved) >= s.policy.Patience-look ||
		!r.broken.IsZero() || r.state != Reached {
		return 0, false
	}
	if r.owed.IsZero() {
		return look, true
	}
	if most := s.silenceLook(); now.Sub(r.silent) < s.policy.Silence-most {
		return most, true
	}
	return 0, false
}

// givesUp reports whether the peer has had its time, and takes in that it counts as down then.
func (s *Sender) givesUp(open bool, now time.Time) bool {
	if isDown(s.state.Peer) {
		return false
	}
	switch over := s.loaded && now.Sub(s.progress) >= s.policy.Patience; {
	case over && open:
		s.on(Exhausted, now)
		s.takesNone(now)
	case over:
		s.on(Throttled, now)
	default:
		return false
	}
	s.estrange()
	s.dropKept()
	return true
}

// Ended reports whether the sender has nothing more to do.
func (s *Sender) Ended() bool { return s.phase == Cut || s.phase == Draining && !s.loaded && !s.owes() }

// owes reports whether a peer that resends has not said that it got all, or has not been told what has come from it.
func (s *Sender) owes() bool {
	if !s.resends || isDown(s.state.Peer) {
		return false
	}
	return s.window.kept < len(s.window.frames) && s.window.missing() || !s.ack.Due.IsZero() && (s.state.Path == Clear || s.lookedAt.Before(s.tellsUntil()))
}

// tellsUntil is how long a sender that ends waits for its connection to tell the peer what has come from it; zero: not for that. The peer
// may have begun anew a moment ago, and waits to hear that its first message has come.
func (s *Sender) tellsUntil() time.Time {
	if s.phase != Draining || !s.owed || s.ack.Due.IsZero() || !s.resends || s.state.Path == NoPath || isDown(s.state.Peer) {
		return time.Time{}
	}
	return s.wordAt.Add(farewellTime)
}

// Look sees to it that the time since the last look counts against the peer for no more than
// lookInterval. It is longer if this process did not run: it was stopped, or its machine was.
// What the peer has said meanwhile is yet to be read then. It is called before each decision.
func (s *Sender) Look(now time.Time) {
	if now.Sub(s.lookedAt) <= s.silenceLook() {
		s.lookedAt = now // none of these times is longer
		return
	}
	since := s.lookedAt
	if since.Before(s.progress) {
		since = s.progress
	}
	if asleep := now.Sub(since) - s.lookInterval(); asleep > 0 {
		s.progress = s.progress.Add(asleep)
	}
	since = s.lookedAt
	if since.Before(s.moved) {
		since = s.moved
	}
	if asleep := now.Sub(since) - s.lookInterval(); asleep > 0 {
		s.moved = s.moved.Add(asleep)
		if s.calls.since = s.calls.since.Add(asleep); s.calls.since.After(now) {
			s.calls.since = now
		}
		if s.wordAt = s.wordAt.Add(asleep); s.wordAt.After(now) {
			s.wordAt = now
		}
	}
	s.reach.overslept(s.lookedAt, now, s.silenceLook())
	s.lookedAt = now
}

func (s *Sender) lookInterval() time.Duration {
	return max(s.policy.Patience/looksPerPatience, time.Millisecond)
}

// Pending is the frame that Next has told to write.
func (s *Sender) Pending() *Outbound { return &s.pending }

// frame makes the next frame of the load the pending one.
func (s *Sender) frame(now time.Time) {
	var flags uint8
	size := s.frameSize()
	if s.window.crowded(size) {
		flags |= wire.FlagAckNow
	}
	if s.load.Large > PieceBytes {
		flags |= wire.FlagPiece
	}
	f := &s.pending
	f.Bare, f.Again, f.bytes, f.Offset = false, false, size, s.offset
	f.End = min(s.load.Large, s.offset+PieceBytes)
	f.whole = f.End == s.load.Large
	f.upTo = wire.Position{Seq: s.next + uint64(s.load.Count)}
	if !f.whole {
		f.upTo = wire.Position{Seq: s.next, Offset: uint32(f.End)}
	}
	flags |= s.confirmFlags(f)
	s.head(flags, s.position(), s.load.Count, now)
	s.window.leaving(f.upTo)
}

// bare makes a frame without records the pending one, for an acknowledgment or to ask for one.
func (s *Sender) bare(flags uint8, now time.Time) {
	f := &s.pending
	f.Confirm = false
	f.Bare, f.Again, f.bytes, f.Offset, f.End, f.whole = true, false, wire.HeaderSize, 0, 0, false
	s.head(flags, s.position(), 0, now)
}

// head makes the header of the pending frame, which begins at start.
func (s *Sender) head(flags uint8, start wire.Position, count int, now time.Time) {
	s.reach.instant = false
	s.pending.Names = nil
	if s.twin.urgent {
		flags |= wire.FlagUrgent
	}
	h := &s.pending.Header
	*h = wire.Header{
		Flags:       flags,
		To:          s.peer,
		From:        s.self.ID,
		Cluster:     s.self.Cluster,
		Incarnation: s.self.Incarnation,
		Start:       start,
		Window:      s.self.Grant,
		Count:       uint32(count),
	}
	switch {
	case s.resends:
		h.Flags |= wire.FlagResend
		h.Resend = wire.Resend{Kept: s.KeptFrom(), Wanted: s.ack.Wanted, Held: s.ack.Held}
	case s.reach.state == Lost && flags&wire.FlagAckNow != 0 && count == 0:
		s.ack.aboard.Ack, s.ack.aboard.Named = Ack{}, false // who is not heard is told so
		s.announce(h)
		return
	case s.ack.Incarnation != 0 && s.self.Knows.Has(wire.CapResend) && (flags&wire.FlagAckNow != 0 && count == 0 || !now.Before(s.announceAt)):
		s.ack.aboard.Ack, s.ack.aboard.Named = Ack{}, false // this frame has no room for it
		s.announceAt = now.Add(announceInterval)
		s.announce(h)
		return
	}
	s.ack.aboard.Named = false
	if s.ack.aboard.Ack = s.ack.Ack; s.ack.Incarnation == 0 {
		s.announce(h)
		return
	}
	if s.ack.Taking {
		h.Flags |= wire.FlagTaking
	}
	h.AckIncarnation, h.Ack = s.ack.Incarnation, s.ack.UpTo
}

// announce makes a header tell what this sender knows.
func (s *Sender) announce(h *wire.Header) {
	if s.twin.urgent {
		return
	}
	if h.Announce(s.self.Knows); s.self.Knows.Has(wire.CapResend) {
		h.AnnounceKept(s.KeptFrom())
	}
}
