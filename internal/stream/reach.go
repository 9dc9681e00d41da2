package stream

import (
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// ReachState is whether the peer's node answers. It says nothing of whether its program takes what it is sent: for that
// there is PeerState.
type ReachState uint8

const (
	Unknown    ReachState = iota // it has not answered yet
	Reached                      // it answered last
	Unanswered                   // it owes an answer, and for a third of its time nothing has moved towards it
	Lost                         // for all of its time nothing has shown that it is reachable, or there is no connection
)

// ReachEvent is what happens to that.
type ReachEvent uint8

const (
	Unsettled ReachEvent = iota // the peer is another one, or elsewhere
	Answered                    // it has acknowledged what was written, or answered when it was asked
	Doubted                     // a third of its time is over
	Silenced                    // all of it is
	Severed                     // no connection came about, or one broke and no other stands
	reachEvents
)

// follow is the state after an event:
//
//	event      reach
//	Unsettled  → Unknown
//	Answered   → Reached
//	Doubted    Unknown, Reached → Unanswered
//	Silenced   → Lost
//	Severed    → Lost
func follow(s ReachState, e ReachEvent) ReachState {
	switch e {
	case Unsettled:
		return Unknown
	case Answered:
		return Reached
	case Doubted:
		if s == Unknown || s == Reached {
			return Unanswered
		}
		return s
	}
	return Lost
}

// Standing is what both facts make of the way to a peer: it is what a program is shown.
type Standing uint8

const (
	StandsIdle           Standing = iota // there is no such peer
	StandsConnecting                     // it has not answered yet
	StandsUp                             // it answers, and takes what it is sent as far as is known
	StandsStalled                        // it answers, and takes nothing: messages for it are dropped
	StandsUnacknowledged                 // it has not answered for a third of its time, and nothing moves towards it
	StandsDown                           // nothing has shown in its time that it is reachable, or it is not connected
	Standings
)

// standing is what is shown of the two facts:
//
//	            Unknown         Reached  Unanswered      Lost
//	Idle        idle            idle     idle            idle
//	Connecting  connecting      up       unacknowledged  down
//	Up          connecting      up       unacknowledged  down
//	Down        connecting      stalled  unacknowledged  down
//	Starved     unacknowledged  stalled  unacknowledged  down
func standing(p PeerState, r ReachState) Standing {
	switch {
	case p == Idle:
		return StandsIdle
	case r == Lost:
		return StandsDown
	case r == Unanswered, r == Unknown && p == Starved:
		return StandsUnacknowledged
	case r == Unknown:
		return StandsConnecting
	case isDown(p):
		return StandsStalled
	}
	return StandsUp
}

// reach is what a sender knows of whether its peer's node answers.
type reach struct {
	state    ReachState
	owed     time.Time // since when an answer is; zero: none is
	silent   time.Time // while one is: since when nothing has shown that the peer is reachable
	moved    time.Time // while one is: bytes were last seen to move towards it,
	passed   time.Time // which they did after this
	lookedAt time.Time // it was last looked whether they do,
	looked   bool      // for the first time, too, since an answer is owed
	came     uint64    // then so many had
	waiting  bool      // and enough waited to show whether they move
	target   uint64    // when so many have, what waited at first has come
	sees     bool      // the transport can tell that
	takes    time.Time // while one is: since when its connection has taken every frame, and nothing came; zero: it has not taken the last
	heard    time.Time // anything last came from it,
	before   time.Time // and before that
	answered time.Time // it last answered
	met      bool      // it has, since it is where it is
	tried    time.Time // since when it is tried where it is, by however many connections
	checkAt  time.Time // it is to be asked then, or as soon after it as something can be written; zero: it is not
	instant  bool      // it has answered since the frame at hand was made: maybe that
	broken   time.Time // since when the connection has been broken; zero: it is not

	timed timed
	late  bool          // what comes next may be the answer to what was asked on a connection before
	trip  time.Duration // a round trip; zero: none was measured
	last  time.Duration // the latest that was
}

// timed is what a round trip is measured by: something that was written, and when.
type timed struct {
	end    wire.Position
	at     time.Time // zero: nothing is timed
	asked  bool      // a frame of its own asks for it, which is answered at once
	unsure bool      // something has come that may have been the answer, or not
}

// Standing is what is shown of the way to the peer, and since when.
func (s *Sender) Standing() (Standing, time.Time) { return s.standing, s.since }

// Near reports whether a round trip is known to take no more than that, and the latest did not either.
func (s *Sender) Near(most time.Duration) bool {
	return s.reach.trip > 0 && max(s.reach.trip, s.reach.last) <= most
}

// Answers tell when the peer was last heard, when it last answered, and how long that took; zero: not yet.
func (s *Sender) Answers() (heard, answered time.Time, trip time.Duration) {
	return s.reach.heard, s.reach.answered, s.reach.trip
}

// Meets reports whether the peer has ever answered where it is, and whether its connection takes frames, as far as is known.
func (s *Sender) Meets() (met, takes bool) {
	return s.reach.met, s.state.Path == Clear || s.state.Path == Ready
}

// Unheard reports whether the peer is lost though it runs: its connection has taken all for longer than that of a process that does not run could
// stand, and nothing has come from it.
func (s *Sender) Unheard(now time.Time) bool {
	r := &s.reach
	return r.state == Lost && !r.takes.IsZero() && !now.Before(r.takes.Add(runsTime))
}

// Elsewhere reports whether the peer goes on to be heard, while no connection to where it is said to be takes anything.
func (s *Sender) Elsewhere(now time.Time) bool {
	_, takes := s.Meets()
	return s.standing == StandsDown && !takes && s.reach.heard.After(s.since.Add(elsewhereTime)) && now.Sub(s.reach.heard) < s.policy.Silence
}

// reached takes a reach event in.
func (s *Sender) reached(e ReachEvent, now time.Time) {
	r := &s.reach
	before := r.state
	r.state = follow(before, e)
	switch e {
	case Unsettled:
		*r = reach{trip: r.trip, heard: r.heard, before: r.before, answered: r.answered, checkAt: r.checkAt, tried: now, late: r.late || r.timed.asked}
		if before != Unknown {
			r.check(now)
		}
	case Answered:
		r.answered, r.met, r.instant = now, true, true
	case Severed:
		r.settle(now)
	}
	s.show(now)
}

// show notes what is shown now.
func (s *Sender) show(now time.Time) {
	if shown := standing(s.state.Peer, s.reach.state); shown != s.standing {
		s.standing, s.since = shown, now
	}
}

// check has the peer asked whether it is there, unless something that is written soon asks that too.
func (r *reach) check(now time.Time) {
	if r.checkAt.IsZero() {
		r.checkAt = now.Add(checkPause)
	}
}

// mayCheck reports whether the peer is to be asked at checkAt whether it is there.
func (s *Sender) mayCheck() bool {
	return !s.reach.checkAt.IsZero() && s.reach.owed.IsZero() && s.state.Peer != Idle
}

// asksFirst reports whether that comes before what is to be written: the answer to what is written may take longer.
func (s *Sender) asksFirst() bool { return s.reach.state == Lost && s.mayCheck() }
