package stream

import (
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

const (
	// UrgentBytes is the most payload of an urgent message: one piece of a large message of the other stream.
	UrgentBytes = PieceBytes
	// UrgentWindow is what each peer is granted for its urgent stream.
	UrgentWindow = wire.InitialWindow
	// urgentAsks is how many times the pause doubles after which a peer is asked again that does not say what it knows, up to a minute: servers
	// of earlier versions do not answer. The answer of others may be lost with a connection.
	urgentAsks = 8
)

// twin is what connects the two senders to one peer: the ordinary one, which knows what there is to know of the peer and its
// connection, and the one of urgent messages, which follows it (Along). Each numbers its own records, and has its own window and
// what it keeps.
type twin struct {
	urgent bool       // this is the sender of urgent messages
	life   uint64     // of the peer, that has an urgent stream; 0: none is known to
	told   bool       // the peer has announced in its present life what it knows
	asked  int        // times that it was asked for that,
	askAt  time.Time  // and when it may be again
	beside int        // bytes that the peer may not have of the other stream, before or between what it may not have of this one
	about  uint64     // of the urgent sender: the life that its window is about
	reach  ReachState // of the urgent sender, when it was last looked at
	silent bool       // of the urgent sender: the peer has said nothing for so long that it may be of another version now

	left, begun int  // connections that were left, and begun
	again       bool // the last was another try
	lives       int  // of the peer that have begun, and to which nothing may be on its way
}

func (t *twin) dialed(again bool) {
	t.begun++
	t.again = again
}

// learn takes in what a life of the peer has announced, as far as both know it.
func (t *twin) learn(both wire.Capabilities, life uint64) {
	if t.life, t.told = 0, true; both.Has(wire.CapUrgent | wire.CapResend) {
		t.life = life
	}
}

// NewUrgent makes the sender of urgent messages beside another sender to the same peer. It writes nothing before Along.
func NewUrgent(of *Sender, now time.Time) *Sender {
	self := of.self
	self.Grant = UrgentWindow
	policy := of.policy
	policy.Watch = 0 // the other sender does
	s := NewSender(self, of.peer, policy, now)
	s.twin = twin{urgent: true, left: of.twin.left, begun: of.twin.begun, lives: of.twin.lives}
	s.progress, s.moved, s.wordAt, s.lookedAt = now, now, now, now
	return s
}

// Urgent is the life of the peer that has an urgent stream; 0 if it has none, or it is not known to.
func (s *Sender) Urgent() uint64 { return s.twin.life }

// AskUrgent makes the sender ask the peer what it knows, if that may have an urgent stream and has not said so. It reports whether there is
// something to write. One that does not answer is asked more and more seldom.
func (s *Sender) AskUrgent(now time.Time) bool {
	t := &s.twin
	if !s.self.Knows.Has(wire.CapUrgent) || t.life != 0 || t.told || s.query {
		return s.query
	}
	if !now.Before(t.askAt) && s.Query(now) {
		t.askAt = now.Add(QueryInterval << min(t.asked, urgentAsks))
		t.asked++
	}
	return s.query
}

// HasWord reports whether the peer is to be told what this sender knows, or asked for that, before it is sent anything urgent: as soon as
// the connection takes frames.
func (s *Sender) HasWord() bool {
	return (s.query || s.owesWord) && s.state.Path != NoPath && s.state.Path != Blocked
}

// Along makes a sender of urgent messages follow the other one to the same peer: in what is known of the connection, whether there is
// such a peer, and which life of it has an urgent stream. To one that has none it writes nothing, and keeps nothing for it.
func (s *Sender) Along(of *Sender, now time.Time) {
	t, o := &s.twin, &of.twin
	if t.left != o.left {
		s.Left(now)
		t.left = o.left
	}
	if t.begun != o.begun {
		s.Dialed(o.again, now)
		t.begun = o.begun
	}
	s.state.Path, s.blockedAt, s.refused = of.state.Path, of.blockedAt, of.refused
	switch gone := of.state.Peer == Idle; {
	case gone && s.state.Peer != Idle:
		s.Vanished(now)
	case !gone && s.state.Peer == Idle:
		s.Appeared(now)
	}
	if of.phase != s.phase {
		s.Finish(now)
		s.phase = of.phase
	}
	if t.lives != o.lives {
		s.forget()
		t.lives, t.about = o.lives, 0
	}
	if s.wordAt.Before(of.wordAt) {
		s.wordAt = of.wordAt
	}
	s.passes(of.reach.passed)
	s.live(of, now)
	if t.beside, o.beside = of.window.away, s.window.away; t.life == 0 {
		o.beside = 0 // nobody will say that it has that
	}
}

// live makes a sender of urgent messages follow the other one in which life of the peer has an urgent stream.
func (s *Sender) live(of *Sender, now time.Time) {
	t, o := &s.twin, &of.twin
	if o.life == t.life {
		return
	}
	if t.life = o.life; t.life == 0 {
		s.dropKept()
	} else {
		if t.about != t.life {
			s.forget()
			t.about = t.life
		}
		s.progress, s.moved, t.silent = now, now, false
		s.on(Began, now)
	}
	s.resends = t.life != 0
}

// Silent reports whether the peer has said nothing of urgent messages for so long that it may be of another version now. The
// other sender is then to Doubt it.
func (s *Sender) Silent() bool { return s.twin.silent }

// Doubt makes the peer not be known to have an urgent stream, since it has said nothing of that for long.
func (s *Sender) Doubt() {
	t := &s.twin
	t.life, t.told, t.asked, t.askAt = 0, false, 0, time.Time{}
}

// About reports whether the sender, one of urgent messages, has written to a life of the peer, whose acknowledgments then count.
func (s *Sender) About(life uint64) bool { return s.twin.about == life }

// Suspects has the peer asked whether it is there, when the sender of urgent messages to it finds that it owes that an answer.
func (s *Sender) Suspects(urgent *Sender, now time.Time) {
	t, state := &urgent.twin, urgent.reach.state
	if t.reach != state && (state == Unanswered || state == Lost) {
		s.reach.check(now)
	}
	t.reach = state
}

// Overhears notes that an urgent frame of the peer's present life has come: it is there.
func (s *Sender) Overhears(now time.Time) {
	s.wordAt = now
	s.reach.hear(now)
}

// Carried notes whether the connection has taken a frame of the other stream to the same peer.
func (s *Sender) Carried(took bool, now time.Time) {
	switch {
	case took:
		s.on(Took, now)
		s.refused = false
		return
	case !s.refused:
		s.blockedAt, s.refused = now, true
	}
	s.on(Full, now)
}

// Exhaust makes the peer count as down, since the connection has taken nothing of the other stream for as long as the policy allows.
func (s *Sender) Exhaust(now time.Time) {
	if !isDown(s.state.Peer) {
		s.on(Exhausted, now)
		s.takesNone(now)
		s.estrange()
		s.dropKept()
	}
}

// IsDown reports whether messages are dropped since the peer does not take them, or cannot be reached.
func (s *Sender) IsDown() bool { return isDown(s.state.Peer) }

// Starves reports whether the peer takes nothing, though its connection does.
func (s *Sender) Starves() bool { return s.state.Peer == Starved }
