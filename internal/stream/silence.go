package stream

import (
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

const (
	// brokenMost is how long a connection may have been broken, and no other one stand, before the peer counts as lost. With
	// how often a transport is looked at, a peer nearby that was killed is known to be gone within a second.
	brokenMost = 600 * time.Millisecond
	// brokenTrips is how many round trips that is at least: with keys it takes five to connect to a peer that is far away, after a pause.
	brokenTrips = 8
	// meetingTime is what a peer that never answered has at least: it may have to look this one's name up, and to try its keys.
	meetingTime = 3 * time.Second
	// DefaultSilence is how long a peer may show nothing that it is reachable, if the policy does not say.
	DefaultSilence = 3 * time.Second
	// looksPerSilence is how often it is looked, in that time, whether bytes move towards the peer.
	looksPerSilence = 8
	// hearsayMost is how long frames of the peer that answer nothing may postpone the end of its time. An answer may be behind what the
	// peer has written itself: a window of 1 MiB, at 64 KiB a second. But the path may also pass from there to here only.
	hearsayMost = 20 * time.Second
	// runsTime is after how long a peer that owes an answer, and whose connection has taken every frame meanwhile, is known to run: the connection of a
	// process that is stopped, or of a machine that is gone, is closed by then, for want of signs of life.
	runsTime = 6 * time.Second
	// elsewhereTime is how long a peer has to be down for what it says after that to come from somewhere else. One that has started anew may be heard
	// sooner than a connection to it stands.
	elsewhereTime = time.Second
	// checkPause is how long it is waited, before a frame of its own asks whether the peer is there, for something to be written that
	// asks that too: what has made it a question may also make the program write something.
	checkPause = time.Millisecond + offBeat
	// waitsLeast is how much has to wait for a path to be slow: less than a quarter of a second takes at 64 KiB a second is on its way on any. A
	// connection that takes nothing more says so by itself.
	waitsLeast = 16 << 10
)

// settle makes the peer owe nothing: it is to be asked afresh.
func (r *reach) settle(now time.Time) {
	r.late = r.late || r.timed.asked
	r.owed, r.timed = time.Time{}, timed{}
	r.check(now)
}

// owe makes it owe an answer from now on, if it does not.
func (r *reach) owe(now time.Time) {
	if r.owed.IsZero() {
		r.owed, r.silent, r.moved, r.lookedAt = now, now, now, now
		r.looked, r.came, r.target = false, 0, 0
	}
}

// hear takes in that a frame of the peer has come: its process runs.
func (r *reach) hear(now time.Time) {
	r.takes = time.Time{}
	if r.before, r.heard = r.heard, now; now.Sub(r.owed) < hearsayMost {
		r.silent = now
	}
}

// SeeAt is when to look what of what was written has come to the peer's machine, and tell Saw; zero: it need not be known.
func (s *Sender) SeeAt() time.Time {
	if r := &s.reach; !r.owed.IsZero() && r.state != Lost {
		return r.lookedAt.Add(s.silenceLook())
	}
	return time.Time{}
}

// Saw takes in what the transport tells of the connection, if it can tell that: how many bytes have come to the peer's machine, and how many
// wait to. It is of account only whether those come that waited when it was first looked: what is written later may come to the machine of a peer
// whose process is stopped. All that the peer lacks may be behind them, in a queue of the transport: but where nothing waited at the last look, they
// have come, and what has come since then is what the peer was asked.
func (s *Sender) Saw(can bool, came, waits uint64, now time.Time) {
	r := &s.reach
	waiting := waits >= waitsLeast || waits > 0 && s.state.Path == Blocked
	switch {
	case r.owed.IsZero():
	case !r.looked && waiting:
		r.target = came + max(waits, uint64(s.away()))
	case r.looked && can && r.waiting && came > r.came && r.came < r.target:
		r.silent, r.moved, r.passed = now, now, r.lookedAt
		s.passes(r.passed)
	}
	r.looked, r.lookedAt, r.sees, r.came, r.waiting = true, now, can, came, waiting
}

// passes takes in that something which waited came to the peer's machine after that time: what is behind it the peer could not have taken.
func (s *Sender) passes(at time.Time) {
	if s.progress.Before(at) {
		s.progress = at
	}
}

// silenceLook is how often it is looked whether the peer has had its time.
func (s *Sender) silenceLook() time.Duration {
	return min(s.lookInterval(), max(s.policy.Silence/looksPerSilence, time.Millisecond))
}

// hears takes in that a frame acknowledges something of this life. More tells that it shows that the peer got more than it had said
// before, and whole that it had got all. A frame of one that lacks something may have been written before it could have got
// that: it answers nothing.
func (s *Sender) hears(h *wire.Header, more, whole bool, now time.Time) {
	r := &s.reach
	if !more && !whole {
		return
	}
	if !more && r.state == Lost && s.state.Path != Clear && s.state.Path != Ready {
		return // it is heard, and hears nothing
	}
	s.measure(h, now)
	if r.owed = (time.Time{}); s.resends && s.window.missing() {
		r.owe(now)
	}
	s.reached(Answered, now)
}

// measure takes a round trip: from when the peer was asked to when it answered, smoothed, or less if it has acknowledged
// something sooner. A frame that carries something else may have been written before the peer was asked, and so may the first after the
// connection was made anew.
func (s *Sender) measure(h *wire.Header, now time.Time) {
	r := &s.reach
	t := r.timed
	switch {
	case t.at.IsZero() || s.window.wanted.Before(t.end):
		return
	case t.asked && (!h.Bare() || h.Flags&wire.FlagAckNow != 0):
		r.timed.unsure = true
		return
	}
	r.timed = timed{}
	d := max(now.Sub(t.at), 1) // it may have come before it was noted that the connection had taken what it answers
	r.last = d
	switch {
	case t.asked && r.late:
		r.late = false
	case t.unsure && (r.trip == 0 || d >= r.trip) && now.Sub(r.before) > d/2: // the answer may have been what came before, and this be long after it
	case r.trip == 0, d < r.trip && !t.asked:
		r.trip = d
	case d < r.trip:
		r.trip -= (r.trip - d) / 2
	case t.asked:
		r.trip += (d - r.trip) / 8
	}
}

// wrote notes that the frame at hand was written, which may ask for an answer.
func (s *Sender) wrote(now time.Time) {
	r, f := &s.reach, &s.pending
	asks := f.Header.Flags&wire.FlagAckNow != 0
	if f.Bare && !asks {
		if r.state == Unknown && r.owed.IsZero() {
			r.check(now)
		}
		return
	}
	r.checkAt = time.Time{}
	if r.instant && !(s.resends && s.window.missing()) {
		return
	}
	if r.owe(now); r.takes.IsZero() {
		r.takes = now
	}
	switch {
	case f.Again:
		r.timed = timed{} // nobody knows which of the two is acknowledged
	case f.Bare && r.timed.asked && !r.timed.unsure: // the answer to what was asked before comes first
	case f.Bare:
		end := r.timed.end
		if r.timed.at.IsZero() {
			end = f.Header.Start
		}
		r.timed = timed{end: end, at: now, asked: true}
	case r.timed.at.IsZero():
		r.timed = timed{end: f.upTo, at: now}
	}
}

// lostAt is when the peer has had its time to show that it is reachable; zero: it owes nothing. Where nobody can tell whether bytes move
// towards it, a slow path is taken to carry them.
func (s *Sender) lostAt() time.Time {
	r := &s.reach
	if r.owed.IsZero() {
		return time.Time{}
	}
	limit := s.policy.Silence
	if !r.met {
		limit = max(limit, meetingTime)
	}
	if !r.sees {
		limit += s.passage()
	}
	return r.silent.Add(limit)
}

func earlierOf(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// brokenEnds is when a peer is lost whose connection has broken, unless it says something meanwhile; zero: it has not.
func (s *Sender) brokenEnds() time.Time {
	r := &s.reach
	if r.broken.IsZero() || r.state == Lost {
		return time.Time{}
	}
	since := r.broken
	if s.wordAt.After(since) {
		since = earlierOf(s.wordAt, since.Add(s.policy.Silence))
	}
	return since.Add(s.brokenTime())
}

// brokenTime is how long a connection may have been broken. A peer that is far away has longer, but no longer than one that says nothing.
func (s *Sender) brokenTime() time.Duration {
	return max(brokenMost, min(brokenTrips*s.reach.trip, s.policy.Silence))
}

// unmetEnds is when a peer that is watched is lost, since no connection to it has come about since it was first tried; zero: it is not.
func (s *Sender) unmetEnds() time.Time {
	r := &s.reach
	if s.policy.Watch == 0 || r.state != Unknown || !r.owed.IsZero() || s.state.Path != Blocked {
		return time.Time{}
	}
	return r.tried.Add(max(s.policy.Silence, meetingTime))
}

// watchAt is when a peer that is watched is to be asked whether it is there; zero: not for that.
func (s *Sender) watchAt() time.Time {
	r := &s.reach
	if s.policy.Watch == 0 || r.state != Reached || !r.owed.IsZero() {
		return time.Time{}
	}
	if s.askedAt.After(r.answered) {
		return s.askedAt.Add(s.policy.Watch)
	}
	return r.answered.Add(s.policy.Watch)
}

// fresh reports whether something has shown that the peer is reachable, and bytes were seen to move towards it, no longer ago than that.
func (r *reach) fresh(now time.Time, most time.Duration) bool {
	return now.Sub(r.silent) < most && now.Sub(r.moved) < most
}

// silence takes in that a time is over in which the peer was to answer.
func (s *Sender) silence(now time.Time) {
	r := &s.reach
	if _, takes := s.Meets(); !takes || r.owed.IsZero() {
		r.takes = time.Time{}
	} else if r.takes.IsZero() {
		r.takes = now
	}
	if end := s.brokenEnds(); !end.IsZero() && !now.Before(end) {
		s.reached(Severed, now)
	}
	if end := s.unmetEnds(); !end.IsZero() && !now.Before(end) {
		s.reached(Severed, now)
	}
	third := s.policy.Silence / 3
	if r.owed.IsZero() || r.state == Lost || r.fresh(now, third) {
		return // for most frames: lostAt would cost as much as all else
	}
	if !now.Before(s.lostAt()) {
		s.reached(Silenced, now)
	} else if now.Sub(r.moved) >= third {
		s.reached(Doubted, now)
	}
}

// takesNone takes in that the connection has taken nothing for as long as the policy allows. One on which nothing was ever answered does not stand, as far
// as is known; on another the path may be slow, and it is for silence to see.
func (s *Sender) takesNone(now time.Time) {
	switch {
	case !s.reach.met:
		s.reached(Severed, now)
	case s.reach.state != Lost:
		s.reach.owe(now)
	}
}

// reachDeadline is when to look again whether the peer has had its time; zero: not for that.
func (s *Sender) reachDeadline(now time.Time) time.Time {
	at := Earlier(s.brokenEnds(), s.unmetEnds())
	if s.reach.state != Lost {
		at = Earlier(at, s.lostAt())
	} else if end := s.reach.takes.Add(runsTime); !s.reach.takes.IsZero() && now.Before(end) {
		at = Earlier(at, end)
	}
	if !at.IsZero() {
		at = Earlier(at, now.Add(s.silenceLook()))
	}
	return at
}

// Stands tells whether the connection is one that should stand: that it does not is to be told to Broke; and whether nothing is on its way
// on it, so that it would take a frame.
func (s *Sender) Stands() (should, idle bool) {
	should = s.state.Path != NoPath && s.reach.met && s.reach.state != Lost && s.reach.broken.IsZero() && s.state.Peer != Idle
	return should, !s.loaded && !s.window.missing() && s.state.Path != Blocked
}

// Broke notes that the connection does not stand any more. It is made anew by itself. A peer that has little of its time left has no more of it for that.
func (s *Sender) Broke(now time.Time) {
	s.reach.broken = now
	if end, most := s.lostAt(), s.brokenTime(); !end.IsZero() && end.Before(now.Add(most)) {
		s.reach.broken = end.Add(-most)
	}
	s.reach.settle(now)
	if s.state.Path != Blocked {
		s.blockedAt, s.refused = now, true
		s.on(Full, now)
	}
}

// overslept makes time in which this end did not look count against the peer for no more than one look.
func (r *reach) overslept(lookedAt, now time.Time, look time.Duration) {
	for _, at := range []*time.Time{&r.owed, &r.silent, &r.moved, &r.takes, &r.broken, &r.tried} {
		since := lookedAt
		if since.Before(*at) {
			since = *at
		}
		if asleep := now.Sub(since) - look; asleep > 0 && !at.IsZero() {
			*at = at.Add(asleep)
			if asleep > look {
				r.timed = timed{} // how long an answer took would tell of this end
			}
		}
	}
}
