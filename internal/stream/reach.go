package stream

import (
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

const (
	// brokenMost is how long an idle connection may have been broken, and no other one stand, before the peer counts as lost. With
	// how often a transport is looked at, a peer that was killed is known to be gone within a second.
	brokenMost = 600 * time.Millisecond
	// meetingTime is how much longer a peer may take that never answered: it may have to look this one's name up, and to try its keys.
	meetingTime = 2 * time.Second
)

// ReachState is whether the peer's node answers. It says nothing of whether its program takes what it is sent: for that
// there is PeerState.
type ReachState uint8

const (
	Unknown    ReachState = iota // it has not answered yet
	Reached                      // it answered last
	Unanswered                   // it owes an answer, for a third of its time
	Lost                         // it has not answered in its time, or there is no connection
)

// ReachEvent is what happens to that.
type ReachEvent uint8

const (
	Unsettled ReachEvent = iota // the peer is another one, or elsewhere
	Answered                    // it has acknowledged what was written, or answered when it was asked
	Doubted                     // a third of its time is over
	Silenced                    // all of it is
	Severed                     // no connection came about, or none took anything for as long as the policy allows, or an idle one broke
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
	StandsUnacknowledged                 // it has not answered for a third of its time
	StandsDown                           // it has not answered in its time, or is not connected
	Standings
)

// standing is what is shown of the two facts:
//
//	            Unknown         Reached  Unanswered      Lost
//	Idle        idle            idle     idle            idle
//	Connecting  connecting      up       unacknowledged  down
//	Up          connecting      up       unacknowledged  down
//	Down        connecting      up       unacknowledged  down
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
	case p == Starved:
		return StandsStalled
	}
	return StandsUp
}

// reach is what a sender knows of whether its peer's node answers.
type reach struct {
	state    ReachState
	owed     time.Time // since when an answer is; zero: none is
	heard    time.Time // anything last came from it
	word     time.Time // the peer last said something that does not show that it got what was written
	answered time.Time // it last answered
	met      bool      // it has, since it is where it is
	check    bool      // it is to be asked as soon as something can be written
	anew     bool      // nothing was written on the connection yet, whose other end may be another life of the peer
	instant  bool      // it has answered since the frame at hand was made: maybe that
	broken   time.Time // since when the connection, which was idle, has been broken; zero: it is not

	timed timed
	trip  time.Duration // a round trip; zero: none was measured
}

// timed is what a round trip is measured by: something that was written, and when.
type timed struct {
	end   wire.Position
	at    time.Time // zero: nothing is timed
	asked bool      // a frame of its own asks for it, which is answered at once
}

// Standing is what is shown of the way to the peer, and since when.
func (s *Sender) Standing() (Standing, time.Time) { return s.standing, s.since }

// Answers tell when the peer was last heard, when it last answered, and how long that took; zero: not yet.
func (s *Sender) Answers() (heard, answered time.Time, trip time.Duration) {
	return s.reach.heard, s.reach.answered, s.reach.trip
}

// Meets reports whether the peer has ever answered where it is, and whether its connection takes frames, as far as is known.
func (s *Sender) Meets() (met, takes bool) {
	return s.reach.met, s.state.Path == Clear || s.state.Path == Ready
}

// reached takes a reach event in.
func (s *Sender) reached(e ReachEvent, now time.Time) {
	r := &s.reach
	before := r.state
	r.state = follow(before, e)
	switch e {
	case Unsettled:
		*r = reach{trip: r.trip, heard: r.heard, answered: r.answered, check: r.check || before != Unknown}
	case Answered:
		r.answered, r.met, r.instant = now, true, true
	case Severed:
		r.owed, r.word, r.timed, r.check = time.Time{}, time.Time{}, timed{}, true
	}
	s.show(now)
}

// show notes what is shown now.
func (s *Sender) show(now time.Time) {
	if shown := standing(s.state.Peer, s.reach.state); shown != s.standing {
		s.standing, s.since = shown, now
	}
}

// hears takes in that a frame acknowledges something of this life. More tells that it shows that the peer got more than it had said
// before, and whole that it had got all. A frame of one that lacks something may have been written before it could have got
// that: it postpones the end of the peer's time once, and shows nothing once that is over.
func (s *Sender) hears(more, whole bool, now time.Time) {
	r := &s.reach
	if !more && !whole {
		r.word = now
		return
	}
	if !more && r.state == Lost && s.state.Path != Clear && s.state.Path != Ready {
		return // it is heard, and hears nothing
	}
	s.measure(now)
	if r.owed = (time.Time{}); s.resends && s.window.missing() {
		r.owed = now
	}
	r.word = time.Time{}
	s.reached(Answered, now)
}

// measure takes a round trip: from when the peer was asked to when it answered, smoothed, or less if it has acknowledged
// something sooner.
func (s *Sender) measure(now time.Time) {
	r := &s.reach
	if r.timed.at.IsZero() || s.window.wanted.Before(r.timed.end) {
		return
	}
	switch d := now.Sub(r.timed.at); {
	case r.trip == 0 && r.timed.asked, d < r.trip:
		r.trip = d
	case r.timed.asked:
		r.trip += (d - r.trip) / 8
	}
	r.timed = timed{}
}

// wrote notes that the frame at hand was written, which may ask for an answer.
func (s *Sender) wrote(now time.Time) {
	r, f := &s.reach, &s.pending
	asks := f.Header.Flags&wire.FlagAckNow != 0
	if f.Bare && !asks {
		r.check = r.check || r.state == Unknown && r.owed.IsZero()
		return
	}
	r.check = false
	r.anew = r.anew && f.Bare
	if r.instant && !(s.resends && s.window.missing()) {
		return
	}
	if r.owed.IsZero() {
		r.owed = now
	}
	switch {
	case f.Again:
		r.timed = timed{} // nobody knows which of the two is acknowledged
	case f.Bare:
		end := r.timed.end
		if r.timed.at.IsZero() {
			end = f.Header.Start
		}
		r.timed = timed{end, now, true}
	case r.timed.at.IsZero():
		r.timed = timed{f.upTo, now, false}
	}
}

// early reports whether a frame that only asks whether the peer is there must not say where the stream stands. To one who does not resend that would say
// that what it has not got yet is lost; on a network for tests it may be delayed, and the frame not.
func (s *Sender) early(open bool, now time.Time) bool {
	last := !s.window.asked && !now.Before(s.wroteAt.Add(quietTime)) // whether the last was lost is asked once
	return open && !last && !s.reach.anew && !s.self.Knows.Has(wire.CapResend)
}

// mayCheck reports whether the peer is to be asked at once whether it is there.
func (s *Sender) mayCheck() bool {
	return s.reach.check && s.reach.owed.IsZero() && s.state.Peer != Idle
}

// asksFirst reports whether that comes before what is to be written: the answer to what is written may take longer.
func (s *Sender) asksFirst() bool { return s.reach.state == Lost && s.mayCheck() }

// lostAt is when the peer has had its time to answer; zero: it owes nothing.
func (s *Sender) lostAt() time.Time {
	r := &s.reach
	if r.owed.IsZero() {
		return time.Time{}
	}
	since := r.owed
	if r.word.After(since) {
		since = earlierOf(r.word, since.Add(s.policy.Patience))
	}
	limit := s.policy.Patience + s.passage()
	if !r.met {
		limit += meetingTime
	}
	return since.Add(limit)
}

func earlierOf(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// brokenEnds is when a peer is lost whose connection has broken while it was idle, unless it says something meanwhile; zero: it has not.
func (s *Sender) brokenEnds() time.Time {
	r := &s.reach
	if r.broken.IsZero() || r.state == Lost {
		return time.Time{}
	}
	since := r.broken
	if s.wordAt.After(since) {
		since = earlierOf(s.wordAt, since.Add(s.policy.Patience))
	}
	return since.Add(brokenMost)
}

// silence takes in that a time is over in which the peer was to answer.
func (s *Sender) silence(now time.Time) {
	r := &s.reach
	if end := s.brokenEnds(); !end.IsZero() && !now.Before(end) {
		s.reached(Severed, now)
	}
	switch end := s.lostAt(); {
	case end.IsZero() || r.state == Lost:
	case !now.Before(end):
		s.reached(Silenced, now)
	case !now.Before(r.owed.Add(s.policy.Patience / 3)):
		s.reached(Doubted, now)
	}
}

// reachDeadline is when to look again whether the peer has had its time; zero: not for that.
func (s *Sender) reachDeadline(now time.Time) time.Time {
	at := s.brokenEnds()
	if s.reach.state != Lost {
		at = Earlier(at, s.lostAt())
	}
	if !at.IsZero() {
		at = Earlier(at, now.Add(s.lookInterval()))
	}
	return at
}

// Quiet reports whether the connection is to stand though nothing is on its way: that it does not would go unnoticed.
func (s *Sender) Quiet() bool {
	return !s.loaded && !s.window.missing() && (s.state.Path == Clear || s.state.Path == Ready) && s.reach.state != Lost && s.state.Peer != Connecting
}

// Broke notes that the connection, which was quiet, does not stand any more. It is made anew by itself.
func (s *Sender) Broke(now time.Time) {
	if s.reach.broken.IsZero() {
		s.reach.broken = now
	}
	s.reach.owed, s.reach.check, s.reach.timed = time.Time{}, true, timed{}
	s.blockedAt, s.refused = now, true
	s.on(Full, now)
}

// overslept makes time in which this end did not look count against the peer for no more than one look.
func (r *reach) overslept(lookedAt, now time.Time, look time.Duration) {
	for _, at := range []*time.Time{&r.owed, &r.broken} {
		since := lookedAt
		if since.Before(*at) {
			since = *at
		}
		if asleep := now.Sub(since) - look; asleep > 0 && !at.IsZero() {
			*at = at.Add(asleep)
		}
	}
}
