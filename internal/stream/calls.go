package stream

import (
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// Calling is whether a peer takes requests, and replies to them.
type Calling uint8

// What is known of it.
const (
	CallsUnknown Calling = iota // the peer has yet to be asked
	TakesCalls
	CallsNot
)

// callsOut is what a Sender knows of the calls to its peer.
type callsOut struct {
	calling Calling
	waits   bool      // somebody waits for a reply of the peer,
	since   time.Time // since then
	gone    bool      // it has said nothing in its time
}

// Calling is whether the peer has announced that it takes calls. If it is not known, the peer is to be asked: see Query.
func (s *Sender) Calling() Calling {
	if !s.self.Knows.Has(wire.CapCalls) {
		return CallsNot
	}
	return s.calls.calling
}

// learnCalling takes in what a frame of the peer shows of whether that takes calls.
func (s *Sender) learnCalling(h *wire.Header) {
	if !s.self.Knows.Has(wire.CapCalls) {
		return
	}
	c, announces := h.Announced()
	switch {
	case announces && c.Has(wire.CapCalls):
		s.calls.calling = TakesCalls
		s.owesWord = s.owesWord || h.Bare() && h.Flags&wire.FlagAckNow != 0
	case announces:
		s.calls.calling = CallsNot
	}
}

// CallsUnanswered is Unanswered for whether the peer takes calls.
func (s *Sender) CallsUnanswered(since time.Time) bool {
	if !s.ackedAt.After(since) {
		return false
	}
	s.calls.calling = CallsNot
	return true
}

// answers reports whether it is time to answer a peer that has asked what this sender knows. One that does not resend has the acknowledgment
// first that it has asked for as well: until that it does not know the window.
func (s *Sender) answers() bool {
	return s.owesWord && (s.resends || s.ack.Incarnation != 0 && s.ack.Due.IsZero())
}

// Expect notes whether somebody waits for a reply of the peer. As long as it does, the peer is asked whether it is still there,
// and the same life, when it has said nothing for a while.
func (s *Sender) Expect(waits bool, now time.Time) {
	if waits && !s.calls.waits {
		s.calls.since = now
	}
	s.calls.waits = waits
}

// forsake notes that the peer is not waited for any more, if anybody waits.
func (s *Sender) forsake() { s.calls.waits, s.calls.gone = false, s.calls.gone || s.calls.waits }

// Forsaken reports whether the peer has said nothing for too long while somebody waited for a reply, since it was last asked.
func (s *Sender) Forsaken() (gone bool) {
	gone, s.calls.gone = s.calls.gone, false
	return gone
}

// expectsSince is when the peer last spoke while somebody waits for a reply of it, or since when somebody does.
func (s *Sender) expectsSince() time.Time {
	if s.wordAt.After(s.calls.since) {
		return s.wordAt
	}
	return s.calls.since
}

// expectAsks is when a peer is to be asked of which somebody waits for a reply; zero: it is not.
func (s *Sender) expectAsks() time.Time {
	if !s.calls.waits {
		return time.Time{}
	}
	return s.asksAfter(s.expectsSince()).Add(offBeat)
}

// expectEnds is when nobody waits any more for a reply of a peer that says nothing at all; zero: nobody does. What it says may be
// behind a piece of a large message of its own.
func (s *Sender) expectEnds() time.Time {
	if !s.calls.waits {
		return time.Time{}
	}
	return s.expectsSince().Add(s.policy.Patience + PieceBytes*silencePerByte)
}

// Begun reports whether a part of the load was written, and not all.
func (s *Sender) Begun() bool { return s.offset > 0 }

// WhyOf is what the sender of a record is told of a refusal.
func WhyOf(r Refusal) wire.Why { return whyOf[r] }
