package stream

import (
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// An Ack is what a peer is to be told of what it has sent.
type Ack struct {
	Incarnation uint64        // the life of the peer that it speaks of
	UpTo        wire.Position // all before this was taken, or given up
	Taking      bool          // the program takes envelopes, if slowly
	// All before Wanted has come, and what is between it and Held is missing. If Held is no later, nothing is known to be.
	Wanted, Held wire.Position
	// Undelivered are records before Done that were not delivered, and that the peer has asked about; it does not know yet. A frame
	// that does not name them may acknowledge no more than what comes before them, UpTo. Nobody changes what they are in.
	Undelivered []wire.Undelivered
	Done        wire.Position // as UpTo, with a frame that names them

	Due time.Time // when it has to be told at the latest; zero: with whatever is written next
}

// ack is the latest acknowledgment for the peer. It travels with each frame, and in one of
// its own when it is due.
type ack struct {
	Ack
	aboard struct {
		Ack        // what the frame at hand says
		Named bool // with Undelivered
	}
}

// carried is called when the frame at hand was handed over. Resends tells whether one could have named what was not delivered:
// else that is told when the peer asks again.
func (a *ack) carried(resends bool) {
	if b := &a.aboard; b.Incarnation == a.Incarnation && b.UpTo == a.UpTo && b.Taking == a.Taking &&
		b.Wanted == a.Wanted && b.Held == a.Held && (b.Named && b.Done == a.Done || len(a.Undelivered) == 0 || !resends) {
		a.Due = time.Time{}
	}
	if a.aboard.Taking {
		a.Taking = false
	}
}

// Acknowledge notes the latest acknowledgment for the peer. It reports whether it is due earlier
// than the one before.
func (s *Sender) Acknowledge(a Ack) bool {
	sooner := !a.Due.IsZero() && (s.ack.Due.IsZero() || a.Due.Before(s.ack.Due))
	if !sooner {
		a.Due = s.ack.Due
	}
	a.Taking = a.Taking || s.ack.Taking
	s.ack.Ack = a
	return sooner
}
