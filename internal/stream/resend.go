package stream

import (
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

const (
	// announceInterval is how often a sender announces what it knows to a peer that it acknowledges something to, and that
	// has not announced the same.
	announceInterval = time.Second
	// resendInterval is how soon a frame is sent again that was sent again before, for the first time; it doubles while
	// that is of no use.
	resendInterval = 100 * time.Millisecond
	// silencePerByte is how much longer a peer may take to say that it has what was written, for each byte of that: a
	// path that carries 64 KiB a second is not given up.
	silencePerByte = time.Second / (64 << 10)
	// silenceMost is how many times its patience a peer has at most that does not say that it got what was written, and says
	// something: what it says may be behind much that it has written itself, on a path that is slow.
	silenceMost = 20
	// farewellTime is how long a sender that ends waits for a connection that takes nothing, to hear that all that was
	// written has come. A peer that has closed before will not say so: servers that close one after another would
	// wait for their linger each.
	farewellTime = time.Second
)

// SenderBooks count what became of the records that were written, but for those that are kept.
type SenderBooks struct {
	Confirmed   uint64 // the peer is done with them, and gave up none
	Unconfirmed uint64 // nobody knows whether they arrived
	Resent      uint64 // frames that were written again
}

// estrange makes nothing be known of what the peer knows: it may be of another version now.
func (s *Sender) estrange() {
	if s.twin.urgent {
		s.twin.silent = !isDown(s.state.Peer)
		return // the other sender has what is known
	}
	if t := &s.twin; s.resends || s.spoke || s.confirming != ConfirmsUnknown || s.calls.calling != CallsUnknown || s.owesWord || t.life != 0 || t.told {
		s.unlearn() // else nothing is, and it is asked no sooner again
	}
}

// unlearn makes nothing be known of what the peer knows, and it may be asked at once.
func (s *Sender) unlearn() {
	s.Doubt()
	s.resends, s.spoke, s.announceAt = false, false, time.Time{}
	s.confirming, s.queriedAt, s.owesWord = ConfirmsUnknown, time.Time{}, false
	s.calls.calling = CallsUnknown
}

// learn takes in what a frame of the peer shows of what that knows.
func (s *Sender) learn(h *wire.Header) {
	if !s.self.Knows.Has(wire.CapResend) || s.twin.urgent {
		return
	}
	if c, ok := h.Announced(); ok {
		s.resends = c.Has(wire.CapResend)
		s.twin.learn(s.self.Knows&c, h.Incarnation)
	}
	// Who sends this has heard what is announced here.
	s.resends = s.resends || h.Flags&wire.FlagResend != 0
}

// confirm books records that were kept until the peer was done with them. One that does not resend may have given
// them up.
func (s *Sender) confirm(records int) {
	if s.resends {
		s.Books.Confirmed += uint64(records)
	} else {
		s.Books.Unconfirmed += uint64(records)
	}
}

// Unknown takes in that a peer which is done with so many records from one on does not know what became of them. It comes before the acknowledgment
// that covers them.
func (s *Sender) Unknown(from, count uint64) {
	s.Books.Unconfirmed += uint64(s.window.unknown(from, from+count))
}

// dropKept keeps nothing more of what was written: it will not be sent again, and what became of it is not known.
func (s *Sender) dropKept() {
	s.Books.Unconfirmed += uint64(s.window.drop())
	s.torn = s.offset > 0
}

// dropEarly is dropKept for what was written before the peer was first heard.
func (s *Sender) dropEarly() {
	s.Books.Unconfirmed += uint64(s.window.dropEarly())
	if from := s.KeptFrom(); from.Seq == s.next && from.Offset > 0 {
		s.torn = true
	}
}

// forget is dropKept where nobody will acknowledge what was written, either.
func (s *Sender) forget() {
	s.dropKept()
	s.window.reset()
}

// KeptFrom is where what was written and is kept begins; if nothing is, where the next frame will.
func (s *Sender) KeptFrom() wire.Position {
	if !s.self.Knows.Has(wire.CapResend) {
		return s.position()
	}
	return s.window.keptFrom(s.position())
}

// NextNumber is that of the first record of the next load.
func (s *Sender) NextNumber() uint64 { return s.next }

// Leave keeps nothing more, since the sender has ended.
func (s *Sender) Leave() { s.forget() }

// position is where the next frame begins.
func (s *Sender) position() wire.Position {
	return wire.Position{Seq: s.next, Offset: uint32(s.offset)}
}

// written takes in that a frame of the load was handed over for the first time.
func (s *Sender) written(now time.Time) {
	f := &s.pending
	sent := sentFrame{start: f.Header.Start, end: f.upTo, bytes: f.bytes, payload: f.End, confirm: f.Confirm}
	if f.whole {
		sent.count = f.Header.Count
	}
	if !f.Header.ShowsResending() || f.whole && s.torn {
		s.Books.Unconfirmed += uint64(sent.count)
		sent.count = 0
	}
	if !s.window.missing() {
		s.moved = now
	}
	if !s.window.add(sent) {
		s.confirm(int(sent.count))
	}
}

// tells reports whether the peer can be expected to say soon what it got: it resends, or may be one that does. One that is
// known not to says so when it has taken it.
func (s *Sender) tells() bool {
	return s.resends || !s.spoke && s.self.Knows.Has(wire.CapResend)
}

// keeps reports whether something is kept of which the peer is yet to say that it got it, or what became of it.
func (s *Sender) keeps() bool {
	return s.self.Knows.Has(wire.CapResend) && s.window.kept < len(s.window.frames) && (s.window.missing() || s.awaits())
}

// silenceEnds is when nothing is kept any more for a peer that does not say that it got what was written; zero: never, since
// all is well, or nothing is kept.
func (s *Sender) silenceEnds() time.Time {
	if !s.keeps() {
		return time.Time{}
	}
	since := s.moved
	if s.wordAt.After(since) && s.phase == Open {
		since = s.wordAt
		if !s.window.missing() {
			// It has all, and its program takes its time.
		} else if most := s.moved.Add((silenceMost - 1) * s.policy.Patience); most.Before(since) {
			since = most
		}
	}
	if s.phase == Open {
		since = since.Add(PieceBytes * silencePerByte) // what it says may be behind a piece of its own
	}
	end := since.Add(s.policy.Patience + s.passage())
	if s.phase != Open && s.refused {
		end = Earlier(end, s.blockedAt.Add(farewellTime)) // a peer that has ended, too, says no more
	}
	return end
}

// overdue reports whether a time is over in which the peer was to say something.
func (s *Sender) overdue(now time.Time) bool {
	if s.phase == Open && !s.calls.waits && now.Sub(s.moved) < s.policy.Patience {
		return false // silenceEnds is no earlier, and costs more
	}
	end := Earlier(s.silenceEnds(), s.expectEnds())
	return !end.IsZero() && !now.Before(end)
}

// DoubtsAt is when it is to be asked whether the connection is stalled: nothing that was written was acknowledged for a
// third of the peer's patience, or it has taken nothing for as long though there is something to write. Zero: it is in no doubt. One
// that is stalled is replaced, and what is missing is sent again on the next.
func (s *Sender) DoubtsAt() (at time.Time) {
	if s.state.Path == NoPath || isDown(s.state.Peer) {
		return at
	}
	if s.resends && s.window.missing() && s.window.kept < len(s.window.frames) {
		at = s.moved.Add(s.DoubtTime())
	}
	if s.loaded && s.state.Path == Blocked {
		at = Earlier(at, s.blockedAt.Add(s.DoubtTime()))
	}
	return at
}

// DoubtTime is a third of the peer's patience.
func (s *Sender) DoubtTime() time.Duration { return s.policy.Patience / 3 }

// GotAt is when the peer last showed that it got more than it had said before; zero: it never has.
func (s *Sender) GotAt() time.Time { return s.gotAt }

// passage is how long what the peer may not have yet, of both streams, may take beside. A sender that ends does not wait for that.
func (s *Sender) passage() time.Duration {
	if s.phase != Open {
		return 0
	}
	return time.Duration(s.away()) * silencePerByte
}

// away is how many bytes the peer may not have yet, of both streams: they have one connection.
func (s *Sender) away() int { return s.window.away + s.twin.beside }

// asks is when a frame of its own should ask for an acknowledgment (zero: none): because the window is closed, because the
// peer has not said for a while that it got what was written, or because it has not acknowledged it for longer.
func (s *Sender) asks(open bool, now time.Time) (at time.Time) {
	if !open {
		probe, probeAt := s.window.probe(now)
		if probe {
			return now
		}
		at = probeAt
	}
	switch {
	case s.window.missing() && s.tells() && s.ask, s.loaded && s.asksFirst():
		return now
	case s.mayCheck():
		at = Earlier(at, s.reach.checkAt)
	case s.window.missing() && s.resends:
		at = Earlier(at, s.asksAfter(s.moved))
	case s.awaits():
		at = Earlier(at, s.asksAfter(s.wroteAt).Add(offBeat))
	case !s.reach.owed.IsZero():
		at = Earlier(at, s.asksAfter(s.reach.owed))
	case s.window.bytes > 0 && !s.window.asked:
		at = Earlier(at, s.wroteAt.Add(quietTime+offBeat))
	}
	return Earlier(Earlier(at, s.watchAt()), s.expectAsks())
}

// asksAfter is when to ask, or to ask again, for what the peer has owed since then.
func (s *Sender) asksAfter(since time.Time) time.Time {
	if s.askedAt.After(since) {
		since = s.askedAt
	}
	return since.Add(s.askTime())
}

// askTime is how long the peer may owe something before it is asked, and before it is asked again.
func (s *Sender) askTime() time.Duration {
	return min(probeInterval, s.policy.Patience/4, s.policy.Silence/4)
}

// repeat makes the first frame that is to be sent again the pending one.
func (s *Sender) repeat(now time.Time) {
	sent := s.window.nextDue()
	var flags uint8
	count := int(sent.end.Seq - sent.start.Seq)
	if sent.start.Offset > 0 || sent.end.Offset > 0 {
		flags, count = wire.FlagPiece, 1
	}
	if sent.confirm && s.confirming == Confirms && s.resends {
		flags |= wire.FlagConfirm | wire.FlagAckNow
	}
	f := &s.pending
	f.Confirm = flags&wire.FlagConfirm != 0
	f.Bare, f.Again, f.bytes, f.whole, f.upTo = false, true, sent.bytes, false, sent.end
	f.Offset, f.End = int(sent.start.Offset), sent.payload
	s.head(flags, sent.start, count, now)
}
