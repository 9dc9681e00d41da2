package stream

import "time"

// A Policy says how long a message may wait for its peer.
type Policy struct {
	// Patience is how long a peer may take nothing, while something is to be written to it,
	// before it counts as down.
	Patience time.Duration
	// NeverWait drops what a full queue cannot hold instead of making its sender wait.
	NeverWait bool
	// Silence is how long nothing may show that a peer is reachable, while it owes an answer, before it counts as lost.
	// Zero means DefaultSilence.
	Silence time.Duration
	// Watch is how often a peer is asked whether it is there when nothing else is written to it; zero: it is not.
	Watch time.Duration
}

// PolicyOf is the policy that a SendTimeout means: its own length of patience, or, if it is negative,
// never to wait, and the default's patience for what is queued.
func PolicyOf(sendTimeout, byDefault time.Duration) Policy {
	if sendTimeout < 0 {
		return Policy{Patience: byDefault, NeverWait: true}
	}
	return Policy{Patience: sendTimeout}
}

// Admission is what is to be done with a message that somebody wants to queue.
type Admission uint8

// What Admit returns.
const (
	Accept Admission = iota // queue it
	Wait                    // its sender waits for room, and asks again
	Refuse                  // drop it, for the reason given
)

// Admit decides what becomes of a message that is to be queued. Fits tells whether the queue has room for
// it, and wait whether its sender would wait for that.
func (s *Sender) Admit(fits, wait bool) (Admission, Reason) {
	switch {
	case s.phase != Open:
		return Refuse, Closed
	case s.state.Peer == Idle:
		return Refuse, UnknownPeer
	case s.state.Peer == Down || s.state.Peer == Starved:
		return Refuse, Unreachable
	case fits:
		return Accept, 0
	case !wait || s.policy.NeverWait:
		return Refuse, TimedOut
	}
	return Wait, 0
}
