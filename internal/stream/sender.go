package stream

import (
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

const (
	// quietTime is after how long without a word a sender asks what became of the last that it
	// sent: until then nobody could know that it was lost.
	quietTime = 3 * time.Second
	// looksPerPatience is how often a sender looks, within its patience, whether its peer has
	// taken something.
	looksPerPatience = 8
	// PieceBytes is the most payload in one frame; a larger one is sent in pieces, so that the peer
	// can be seen to take it, and so that neither the transport nor the window holds whole large messages.
	PieceBytes = 128 << 10
)

// Self is what each frame says of its sender, and of what that is ready to hold.
type Self struct {
	ID          uint16
	Cluster     uint64 // the hash of its name
	Incarnation uint64
	Grant       uint32 // the window that it grants to each peer
	Knows       wire.Capabilities
}

// A Load is what a Sender is to write next: some records in one frame, or one large record in as many
// as it takes.
type Load struct {
	Count int // of records
	Small int // bytes of the first frame but for the large payload, its header included
	Large int // bytes of the large payload
	// Confirm tells that somebody waits to hear what becomes of the records.
	Confirm bool
}

// A Sender is one direction as its sender sees it. It has one Load at a time, and numbers its
// records as they go out: so a gap in the numbers is a loss on the way and nothing else. What was written it keeps until
// the peer has acknowledged it, or is down, or has begun anew; and writes it again if the peer misses it.
type Sender struct {
	self   Self
	peer   uint16
	policy Policy
	state  State
	reach  reach
	phase  Phase
	window window
	ack    ack

	standing Standing // what state and reach make
	since    time.Time

	next    uint64 // number of the next record
	load    Load
	loaded  bool
	offset  int      // bytes of the large payload that earlier frames carried
	torn    bool     // some of which are kept no more, so that nobody can know whether the record arrives
	pending Outbound // that Next has told to write

	resends    bool      // the peer does, and knows that this sender does: each frame has a Resend
	spoke      bool      // the peer has acknowledged something, or nothing, of this life
	announceAt time.Time // when to announce to a peer that does not resend
	moved      time.Time // when the peer last said that it got more, or had got everything
	wordAt     time.Time // any frame of the peer's present life last came
	askedAt    time.Time // a frame of its own last asked
	ask        bool      // one is to ask at once what is missing
	waited     bool      // the peer may wait for what is not kept, and is to be told
	owed       bool      // when the sender was to end, the peer had not been told of all that has come from it
	refused    bool      // the connection did not take the last frame; the first of those in a row was at blockedAt
	Books      SenderBooks

	confirming Confirming
	query      bool          // the peer is to be asked what it knows
	queriedAt  time.Time     // when it last was
	ackedAt    time.Time     // when a frame of it last acknowledged something
	gotAt      time.Time     // when one last showed that it got more than it had said before
	owesWord   bool          // it has asked that
	awaited    uint64        // before it are records of which somebody waits to hear what becomes
	promptTo   wire.Position // where the last frame ends with which that was asked for
	more       bool          // something is to be written behind the load
	calls      callsOut

	twin twin

	progress  time.Time // when the peer last took something, or could have
	blockedAt time.Time // when the connection last stopped taking frames, or was made
	heardAt   time.Time // when the peer last said that it takes
	lookedAt  time.Time // when Next last ran
	wroteAt   time.Time // a frame with records was last written
	begunAt   time.Time // a new life of the peer was last heard
}

// An Outbound frame is what is to be handed to the connection: a header, and behind it the small part of the load, if
// Offset is 0, and the large payload from Offset to End. The load is the present one or, with Again, the one that began
// with or before the record where the frame starts: all are at hand that end behind KeptFrom.
type Outbound struct {
	Header      wire.Header
	Bare        bool // it carries no records: the header is all
	Again       bool // it was written before
	Offset, End int
	Confirm     bool               // it asks what becomes of its records
	Names       []wire.Undelivered // follow the header of a bare frame
	whole       bool               // it ends the load
	upTo        wire.Position      // where it ends in the stream
	bytes       int
}

// beginning is where each stream begins.
var beginning = wire.Position{Seq: 1}

// NewSender makes the sender to a peer that the catalogue does not have yet: Appeared tells that it has.
func NewSender(self Self, peer uint16, p Policy, now time.Time) *Sender {
	if p.Silence == 0 {
		p.Silence = DefaultSilence
	}
	if peer == self.ID {
		p.Watch = 0
	}
	return &Sender{
		self: self, peer: peer, policy: p,
		state:  State{Idle, NoPath},
		since:  now,
		window: window{grant: wire.InitialWindow, last: beginning, done: beginning, wanted: beginning},
		next:   beginning.Seq,
	}
}

// Phase is how far the sender is from its end.
func (s *Sender) Phase() Phase { return s.phase }

// OnItsWay is how many bytes were written and not yet acknowledged.
func (s *Sender) OnItsWay() int { return s.window.bytes }

// Patience is how long the peer may take nothing.
func (s *Sender) Patience() time.Duration { return s.policy.Patience }

// Loaded reports whether there is something to write.
func (s *Sender) Loaded() bool { return s.loaded }

// on takes an event in.
func (s *Sender) on(e Event, now time.Time) {
	before := s.state
	if s.state = decide(before, e); s.state == before {
		return
	}
	s.show(now)
	if isDown(before.Peer) && !isDown(s.state.Peer) {
		s.moved = now // it has its time again
	}
}

func isDown(p PeerState) bool { return p == Down || p == Starved }

// Finish makes the sender take no more, and end when all is written and, by a peer that resends, known to have come. It is
// Cut already, or Draining.
func (s *Sender) Finish(now time.Time) {
	s.owed = s.owed || s.phase == Open && !s.ack.Due.IsZero()
	s.phase = max(s.phase, Draining)
	s.ask = true
	if s.resends && s.ack.Incarnation != 0 {
		s.ack.Due = now // the peer may end, too, and wait for this
	}
}

// Cut makes the sender end at once.
func (s *Sender) Cut() { s.phase = Cut }

// Vanished notes that there is no such peer any more. What is queued is to be dropped as UnknownPeer.
func (s *Sender) Vanished(now time.Time) {
	s.on(Vanished, now)
	s.reached(Unsettled, now)
	s.dropKept()
}

// Appeared notes that there is one.
func (s *Sender) Appeared(now time.Time) {
	if s.policy.Watch > 0 {
		s.reach.check(now)
	}
	s.on(Appeared, now)
}

// Dialed notes that a connection was begun. Again tells that it leads where the one before it
// did: it is only another try, and the peer's time runs on.
func (s *Sender) Dialed(again bool, now time.Time) {
	s.twin.dialed(again)
	s.blockedAt, s.refused = now, again
	if again {
		s.reach.settle(now)
		s.on(Redialed, now)
	} else {
		s.on(Dialed, now)
		s.reached(Unsettled, now)
		s.progress, s.moved = now, now
	}
}

// Left notes that a connection was left. What was written to it is sent again on the next one, if the peer asks for that;
// one that does not resend, or was down, will acknowledge nothing of it.
func (s *Sender) Left(now time.Time) {
	s.twin.left++
	s.on(Left, now)
	if s.window.kept < len(s.window.frames) && s.tells() {
		s.ask = true
		return
	}
	s.forget()
}

// Failed notes that no connection could be begun, or that it failed for good. What is queued is
// to be dropped as Unreachable.
func (s *Sender) Failed(now time.Time) {
	s.on(Failed, now)
	s.reached(Severed, now)
	s.estrange()
	s.dropKept()
}

// Writable notes that the connection would take a frame now.
func (s *Sender) Writable(now time.Time) {
	s.reach.broken = time.Time{}
	s.on(Writable, now)
}

// SilentSince is when the connection last took a frame or the peer last spoke, while the
// connection takes none; zero if it does.
func (s *Sender) SilentSince() time.Time {
	switch {
	case s.state.Path != Blocked:
		return time.Time{}
	case s.heardAt.After(s.blockedAt):
		return s.heardAt // it stands, and is only slow
	}
	return s.blockedAt
}

// Acked takes in what a frame of the peer's present life says of itself, and of what it got. It reports whether there may be
// something to write now.
func (s *Sender) Acked(h *wire.Header, now time.Time) bool {
	s.learn(h)
	s.learnConfirming(h)
	s.learnCalling(h)
	s.wordAt = now
	s.reach.hear(now)
	s.waited = s.waited || s.resends && h.Flags&wire.FlagResend == 0 // it does not know that this one does
	if h.AckIncarnation != s.self.Incarnation {
		return s.waited || s.owesWord
	}
	s.window.grant, s.ackedAt = int(min(h.Window, maxGrant)), now
	whole := !s.window.missing()
	news, records := s.window.acked(h.Ack)
	s.confirm(records)
	more := news || !s.resends
	if h.Flags&wire.FlagResend != 0 {
		more = s.window.received(h.Wanted, h.Held, now) || more
		if s.window.missesEarly(h.Wanted, h.Held) {
			s.dropEarly()
		}
	}
	if h.Flags&wire.FlagResend != 0 && h.Wanted.Before(h.Held) && h.Wanted.Before(s.KeptFrom()) {
		s.waited = true
	}
	if more && (news || s.resends) {
		s.gotAt = now
	}
	if s.spoke = true; more || whole {
		s.moved = now
	}
	s.hears(h, more && (news || s.resends), whole || !s.resends, now)
	if news || h.Flags&wire.FlagTaking != 0 {
		s.progress, s.heardAt = now, now
		s.on(Heard, now)
	}
	return isDown(s.state.Peer) || s.loaded || s.window.due > 0 || s.waited || s.owesWord || s.mayCheck()
}

// PeerBegan notes that a life of the peer was heard that was not before. What is on its way to another one will not be
// acknowledged, and is not sent again; and since this one is there, messages for it wait for the connection as they
// would at the start. A peer that begins again and again gets that once in a while only. Of the first that is heard
// at all nobody knows whether there was another one before: what that may have got is acknowledged if this one has it,
// and is not sent again if it has not.
func (s *Sender) PeerBegan(first bool, now time.Time) {
	s.ack.Undelivered = nil // was for the life before
	if first && s.tells() {
		s.window.early = len(s.window.frames)
	} else {
		s.unlearn()
		s.forget()
		s.twin.lives++
	}
	s.reach.check(now)
	if now.Sub(s.begunAt) >= 2*s.policy.Patience {
		s.begunAt, s.progress, s.moved = now, now, now
		s.on(Began, now)
	}
}

// ResetSilence makes SilentSince count from now on.
func (s *Sender) ResetSilence(now time.Time) { s.blockedAt = now }

// Load gives the sender something to write. It has nothing: so nothing has kept the peer from taking until now.
func (s *Sender) Load(l Load, now time.Time) {
	s.load, s.loaded, s.offset, s.progress = l, true, 0, now
}

// frameSize is the size of the frame that the load makes next.
func (s *Sender) frameSize() int {
	switch {
	case !s.loaded:
		return 0
	case s.offset > 0:
		return wire.HeaderSize + min(s.load.Large-s.offset, PieceBytes)
	}
	return s.load.Small + min(s.load.Large, PieceBytes)
}

// Took notes that the frame of the last Next was handed over. It reports whether the load is
// written whole: then its records have used their numbers up, and it is gone.
func (s *Sender) Took(now time.Time) (whole bool) {
	whole = s.took(now)
	s.wrote(now)
	return whole
}

func (s *Sender) took(now time.Time) (whole bool) {
	s.on(Took, now)
	s.refused = false
	f := &s.pending
	s.ack.carried(s.resends)
	s.tookWord(&f.Header, now)
	s.waited = s.waited && f.Header.Flags&wire.FlagResend == 0
	if !f.Header.ShowsResending() {
		// The first that the peer gets may be this one. It gives up what it misses then.
		s.Books.Unconfirmed += uint64(s.window.doubt())
	}
	switch {
	case f.Bare:
		return false
	case f.Again:
		s.Books.Resent++
		s.window.sentAgain(f.Header.Start, now)
		return false
	}
	s.wroteAt, s.progress = now, now
	s.written(now)
	if f.whole {
		s.unload()
		return true
	}
	s.offset = f.End
	return false
}

// Full notes that the connection has not taken the frame of the last Next.
func (s *Sender) Full(now time.Time) {
	if !s.refused {
		s.blockedAt, s.refused = now, true
	}
	s.on(Full, now)
	if s.pending.Bare {
		s.window.asked, s.ask = false, s.window.missing() // it has not
	}
}

// unload lets go of a load whose numbers are used up.
func (s *Sender) unload() {
	s.next += uint64(s.load.Count)
	s.loaded, s.offset, s.torn = false, 0, false
}

// Abandon lets go of the load, which is not to be written any more. It reports whether a part of it
// has left: then it counts as sent, nothing more of it is kept, and its receiver counts it as lost.
func (s *Sender) Abandon() (partly bool) {
	if s.offset == 0 {
		s.loaded = false
		return false
	}
	s.dropKept()
	s.Books.Unconfirmed++
	s.unload()
	s.window.leaving(wire.Position{Seq: s.next})
	return true
}

// GivenUp lets go of a load that the peer has given up halfway, and reports whether it has: what is
// left of it would only be refused. The frame at hand may be on its way all the same.
func (s *Sender) GivenUp() bool {
	return s.loaded && s.offset > 0 && s.next < s.window.done.Seq && s.Abandon()
}
