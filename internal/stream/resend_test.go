package stream

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster/internal/fifo"
	"github.com/abhishekg16/cluster/internal/wire"
)

// newResender makes a sender that has a connection, to a peer that has announced that it resends.
func newResender(now time.Time) *Sender {
	s := NewSender(Self{ID: 1, Incarnation: 7, Grant: 1 << 20, Knows: wire.CapResend}, 2, Policy{Patience: testPatience}, now)
	s.Appeared(now)
	s.Dialed(false, now)
	s.PeerBegan(true, now)
	s.Acked(report(at(1), at(1), at(1)), now)
	return s
}

// report is a frame of the peer that tells what it has taken, what has come, and what is missing.
func report(taken, wanted, held wire.Position) *wire.Header {
	return &wire.Header{
		Flags: wire.FlagResend, Incarnation: 9, AckIncarnation: 7, Ack: taken, Window: 1 << 20,
		Resend: wire.Resend{Kept: at(1), Wanted: wanted, Held: held},
	}
}

// writes lets the sender write all that it has to, and returns the headers of the frames with records.
func (s *Sender) writes(now time.Time) (headers []wire.Header) {
	for step, _ := s.Next(now); step == Write; step, _ = s.Next(now) {
		if f := s.Pending(); !f.Bare {
			headers = append(headers, f.Header)
		}
		s.Took(now)
	}
	return headers
}

func small(records int) Load {
	return Load{Count: records, Small: wire.HeaderSize + records*wire.RecordSize}
}

func TestWhatIsMissingIsWrittenAgainAsItWas(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newResender(now)
	var first []wire.Header
	for _, l := range []Load{small(3), {Count: 1, Small: wire.HeaderSize + wire.RecordSize, Large: 2*PieceBytes + 1}, small(2)} {
		s.Load(l, now)
		first = append(first, s.writes(now)...)
	}
	if len(first) != 5 {
		t.Fatalf("%d frames are written, want 5", len(first))
	}
	for _, c := range []struct {
		name         string
		wanted, held wire.Position
		want         []wire.Header
	}{
		{"nothing", at(7), at(7), nil},
		{"a frame between two", at(4), at(4, PieceBytes), first[1:2]},
		{"all but the last", at(1), at(5), first[:4]},
		{"all", at(1), at(7), first},
		{"what was not written is not", at(7), at(9), nil},
		{"nor what a peer cannot want", at(8), at(9), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want = slices.Clone(c.want)
			s := *s
			s.window.frames, s.window.room = slices.Clone(s.window.frames), fifo.Memory[sentFrame]{}
			s.Acked(report(at(1), c.wanted, c.held), now)
			if diff := cmp.Diff(c.want, s.writes(now)); diff != "" {
				t.Errorf("written again (-want +got):\n%s", diff)
			}
			if onItsWay := s.OnItsWay(); s.Books.Resent != uint64(len(c.want)) || onItsWay > 3*wire.HeaderSize+2*PieceBytes+1000 {
				t.Errorf("%d frames are counted as written again, %d bytes as on their way", s.Books.Resent, onItsWay)
			}
		})
	}
}

func TestAFrameIsWrittenAgainOnceAtATimeAndLessAndLessOften(t *testing.T) {
	start := time.Unix(1000, 0)
	s := newResender(start)
	s.Load(small(1), start)
	s.writes(start)
	var at100 []int // when it is written again, in steps of 10 ms
	for i := range 200 {
		now := start.Add(time.Duration(i) * 10 * time.Millisecond)
		s.Acked(report(at(1), at(1), at(2)), now)
		if len(s.writes(now)) > 0 {
			at100 = append(at100, i)
		}
		s.moved = now // it is not to be given up here
	}
	if want := []int{0, 10, 30, 70, 150}; !slices.Equal(at100, want) {
		t.Errorf("it is written again after %d, want %d hundredths of a second", at100, want)
	}
}

func TestWhatWasWrittenIsKeptOverConnectionsAndNotOverTheEndOfALink(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, c := range []struct {
		name string
		do   func(s *Sender, now time.Time)
		kept bool
	}{
		{"another connection", func(s *Sender, now time.Time) { s.Left(now); s.Dialed(true, now) }, true},
		{"the peer has moved", func(s *Sender, now time.Time) { s.Left(now); s.Dialed(false, now) }, true},
		{"the connection takes nothing for a moment", func(s *Sender, now time.Time) { s.Full(now) }, true},
		{"no connection can be made", func(s *Sender, now time.Time) { s.Failed(now) }, false},
		{"the peer is removed", func(s *Sender, now time.Time) { s.Vanished(now) }, false},
		{"the peer has begun anew", func(s *Sender, now time.Time) { s.PeerBegan(false, now) }, false},
		{"the peer does not say that it got it", func(s *Sender, now time.Time) { s.keepsFor(now) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newResender(start)
			s.Load(small(3), start)
			s.writes(start)
			c.do(s, start)
			want, unconfirmed := at(4), uint64(3)
			if c.kept {
				want, unconfirmed = at(1), 0
			}
			if got := s.KeptFrom(); got != want || s.Books.Unconfirmed != unconfirmed || s.Books.Confirmed != 0 {
				t.Errorf("it keeps what is from %v on, %+v; want %v, %d unconfirmed", got, s.Books, want, unconfirmed)
			}
			s.Acked(report(at(4), at(4), at(4)), start)
			if c.kept != (s.Books.Confirmed == 3) {
				t.Errorf("after an acknowledgment %+v", s.Books)
			}
		})
	}
}

func TestWhatAPeerDoesNotSayThatItGotIsKeptForItsPatience(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, c := range []struct {
		name  string
		large int
		want  time.Duration
	}{
		{"a small message", 0, testPatience + 2*time.Second},
		{"a large one, which takes its time", 64 << 10, testPatience + 3*time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newResender(start)
			s.Load(Load{Count: 1, Small: wire.HeaderSize + wire.RecordSize, Large: c.large}, start)
			s.writes(start)
			if got, asked := s.keepsFor(start); got < c.want || got > c.want+testPatience/100 || asked < 3 {
				t.Errorf("it is kept for %v, and asked for %d times; want %v", got, asked, c.want)
			}
			if s.Books.Unconfirmed != 1 || s.KeptFrom() != at(2) || s.state.Peer != Up || s.standing != StandsDown || s.resends {
				t.Errorf("%+v, %v, it still takes the peer for one that resends: %v", s.Books, s.state, s.resends)
			}
		})
	}
}

func TestWhatWasWrittenBeforeAPeerWasHeardIsConfirmedAndNotSentAgain(t *testing.T) {
	now := time.Unix(1000, 0)
	large := Load{Count: 1, Small: wire.HeaderSize + wire.RecordSize, Large: 3 * PieceBytes}
	for _, c := range []struct {
		name                   string
		loads                  []Load
		after                  []Load // written when it was heard
		wanted, held           wire.Position
		again                  int // frames
		confirmed, unconfirmed uint64
		kept                   wire.Position
	}{
		{"it has all", []Load{small(3)}, nil, at(4), at(4), 0, 3, 0, at(4)},
		{"it has nothing", []Load{small(3)}, nil, at(1), at(4), 0, 0, 3, at(4)},
		{"it has a part", []Load{small(3), small(2)}, nil, at(4), at(6), 0, 3, 2, at(6)},
		{"it lacks what came later, too", []Load{small(3)}, []Load{small(2)}, at(1), at(6), 1, 0, 3, at(4)},
		{"it lacks only what came later", []Load{small(3)}, []Load{small(2)}, at(4), at(6), 1, 3, 0, at(4)},
		{"it lacks a piece of a large message", []Load{large}, nil, at(1, PieceBytes), at(1, 2*PieceBytes), 0, 0, 1, at(2)},
		{"it has nothing of a message and what follows", []Load{large}, []Load{small(1)}, at(1), at(3), 1, 0, 1, at(2)},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewSender(Self{ID: 1, Incarnation: 7, Grant: 1 << 20, Knows: wire.CapResend}, 2, Policy{Patience: testPatience}, now)
			s.Appeared(now)
			s.Dialed(false, now)
			s.window.grant = 1 << 20 // as if it had been granted
			for _, l := range c.loads {
				s.Load(l, now)
				s.writes(now)
			}
			s.PeerBegan(true, now)
			for _, l := range c.after {
				s.Load(l, now)
				s.writes(now)
			}
			h := report(at(1), c.wanted, c.held)
			s.Acked(h, now)
			again := len(s.writes(now))
			done := report(c.wanted, c.wanted, c.wanted)
			s.Acked(done, now)
			if again != c.again || s.Books.Confirmed != c.confirmed || s.Books.Unconfirmed != c.unconfirmed || s.KeptFrom() != c.kept {
				t.Errorf("%d frames are written again, %+v, and it keeps what is from %v on; want %d, %d confirmed, %d unconfirmed, %v",
					again, s.Books, s.KeptFrom(), c.again, c.confirmed, c.unconfirmed, c.kept)
			}
		})
	}
}

// keepsFor looks again and again, and returns how long the sender keeps something, and how often it asks meanwhile.
func (s *Sender) keepsFor(from time.Time) (d time.Duration, asked int) {
	for ; d < time.Minute && s.window.kept < len(s.window.frames); d += time.Millisecond {
		now := from.Add(d)
		s.Look(now)
		if step, _ := s.Next(now); step == Write {
			asked++
			s.Took(now)
		}
	}
	return d, asked
}

func TestNobodyIsSentWhatHeHasNotAnnounced(t *testing.T) {
	now := time.Unix(1000, 0)
	resend := wire.Header{Incarnation: 9}
	resend.Announce(wire.CapResend)
	for _, c := range []struct {
		name  string
		knows wire.Capabilities
		words []*wire.Header
		then  func(s *Sender)
		want  bool
	}{
		{"not heard yet", wire.CapResend, nil, nil, false},
		{"one of an earlier version", wire.CapResend, []*wire.Header{{Incarnation: 9}}, nil, false},
		{"it acknowledges something", wire.CapResend, []*wire.Header{{Incarnation: 9, AckIncarnation: 7, Ack: at(1)}}, nil, false},
		{"it has announced it", wire.CapResend, []*wire.Header{&resend}, nil, true},
		{"its frames show it", wire.CapResend, []*wire.Header{report(at(1), at(1), at(1))}, nil, true},
		{"who does not resend", 0, []*wire.Header{&resend, report(at(1), at(1), at(1))}, nil, false},
		{"it has begun anew", wire.CapResend, []*wire.Header{&resend}, func(s *Sender) { s.PeerBegan(false, now) }, false},
		{"it has said nothing for long", wire.CapResend, []*wire.Header{&resend}, func(s *Sender) {
			s.Load(small(1), now)
			s.writes(now)
			s.keepsFor(now)
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewSender(Self{ID: 1, Incarnation: 7, Knows: c.knows}, 2, Policy{Patience: testPatience}, now)
			s.Appeared(now)
			s.Dialed(false, now)
			s.Acknowledge(Ack{Incarnation: 9, UpTo: at(1)})
			for _, h := range c.words {
				s.Acked(h, now)
			}
			if c.then != nil {
				c.then(s)
			}
			s.bare(0, now)
			if h := s.Pending().Header; (h.Flags&wire.FlagResend != 0) != c.want || c.want && h.AckIncarnation != 9 {
				t.Errorf("it is sent %+v", h)
			}
		})
	}
}

func TestAnAnnouncementDoesNotPassForAnAcknowledgment(t *testing.T) {
	now := time.Unix(1000, 0)
	s := NewSender(Self{ID: 1, Incarnation: 7, Knows: wire.CapResend}, 2, Policy{Patience: testPatience}, now)
	s.Appeared(now)
	s.Dialed(false, now)
	s.Acknowledge(Ack{Incarnation: 9, UpTo: at(5), Taking: true, Due: now})
	var said []wire.Header
	for range 2 {
		for step, _ := s.Next(now); step == Write && len(said) < 5; step, _ = s.Next(now) {
			said = append(said, s.Pending().Header)
			s.Took(now)
		}
		now = now.Add(checkPause)
	}
	if len(said) != 3 || !said[0].ShowsResending() || said[2].Flags != wire.FlagAckNow ||
		said[1].AckIncarnation != 9 || said[1].Ack != at(5) || said[1].Flags&wire.FlagTaking == 0 {
		t.Errorf("it says %+v, want an announcement, what was due, and a question", said)
	}
}

func TestAConnectionIsInDoubtWhenNothingIsAcknowledgedForAThirdOfSendTimeout(t *testing.T) {
	start := time.Unix(1000, 0)
	const third = testPatience / 3
	for _, c := range []struct {
		name string
		do   func(s *Sender)
		want time.Duration // after start; 0: never
	}{
		{"nothing is written", func(*Sender) {}, 0},
		{"something is written", func(s *Sender) { s.write(start) }, third},
		{"more is", func(s *Sender) { s.write(start); s.write(start.Add(third / 2)) }, third},
		{"a part of it has come", func(s *Sender) {
			s.write(start)
			s.write(start)
			s.Acked(report(at(1), at(2), at(2)), start.Add(third/2))
		}, third + third/2},
		{"the peer says what it has said", func(s *Sender) {
			s.write(start)
			s.Acked(report(at(1), at(1), at(1)), start.Add(third/2))
		}, third},
		{"the connection takes nothing", func(s *Sender) { s.Load(small(1), start); s.Next(start); s.Full(start) }, third},
		{"and nothing is to be written", func(s *Sender) { s.Dialed(true, start) }, 0},
		{"all of it has come", func(s *Sender) { s.write(start); s.Acked(report(at(1), at(2), at(2)), start) }, 0},
		{"the peer counts as down", func(s *Sender) { s.write(start); s.Failed(start) }, 0},
		{"there is no connection", func(s *Sender) { s.write(start); s.Left(start) }, 0},
		{"the peer has begun anew", func(s *Sender) { s.write(start); s.PeerBegan(false, start) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newResender(start)
			c.do(s)
			want := time.Time{}
			if c.want > 0 {
				want = start.Add(c.want)
			}
			if got := s.DoubtsAt(); !got.Equal(want) {
				t.Errorf("it is in doubt at %v, want %v", got, want)
			}
		})
	}
}

// write lets the sender write a message.
func (s *Sender) write(now time.Time) {
	s.Load(small(1), now)
	s.writes(now)
}

func TestASenderThatEndsDoesNotWaitForAPeerThatHasClosedBefore(t *testing.T) {
	start := time.Unix(1000, 0)
	const patience = 10 * farewellTime
	for _, c := range []struct {
		name string
		do   func(s *Sender)
		want time.Duration
	}{
		{"the connection takes frames", func(s *Sender) {}, patience},
		{"the connection takes none", func(s *Sender) { s.Next(start); s.Full(start) }, farewellTime},
		{"it does again", func(s *Sender) {
			s.Next(start)
			s.Full(start)
			s.Writable(start)
			s.Next(start)
			s.Took(start)
		}, patience},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newResender(start)
			s.policy.Patience = patience
			s.write(start)
			s.Finish(start)
			c.do(s)
			if got, _ := s.keepsFor(start); got.Round(time.Second) != c.want || !s.Ended() || s.Books.Unconfirmed != 1 {
				t.Errorf("it keeps what was written for %v, and then has ended: %v, %+v; want %v, and that it is unconfirmed", got, s.Ended(), s.Books, c.want)
			}
		})
	}
}

// Such as one that has begun anew a moment ago: the connection that led to its life before is being made anew.
func TestASenderThatEndsWaitsForItsConnectionToTellWhatHasCome(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, c := range []struct {
		name  string
		owes  bool
		heard time.Duration // ago
		want  time.Duration
	}{
		{"the peer was not told yet", true, 0, farewellTime},
		{"it was heard a while ago", true, farewellTime / 4, farewellTime * 3 / 4},
		{"it was heard long ago", true, 2 * farewellTime, 0},
		{"it was told all", false, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newResender(start)
			now := start.Add(c.heard)
			s.lookedAt = now
			s.Load(small(1), now)
			s.Next(now)
			s.Full(now)
			s.Abandon()
			if c.owes {
				s.Acknowledge(Ack{Incarnation: 9, UpTo: at(5), Due: now})
			}
			s.Finish(now)
			end := now
			for !s.Ended() && end.Sub(now) < time.Minute {
				step, until := s.Next(end)
				if step != AwaitConn || !end.Before(until) {
					t.Fatalf("after %v it does %v until %v", end.Sub(now), step, until.Sub(now))
				}
				end = until
				s.Look(end)
			}
			if got := end.Sub(now); got != c.want {
				t.Errorf("it ends after %v, want %v", got, c.want)
			}
		})
	}
	s := newResender(start)
	s.Load(small(1), start)
	s.Next(start)
	s.Full(start)
	s.Abandon()
	s.Acknowledge(Ack{Incarnation: 9, UpTo: at(5), Due: start})
	s.Finish(start)
	s.Writable(start)
	if step, _ := s.Next(start); step != Write || s.Pending().Header.Ack != at(5) {
		t.Fatalf("when the connection is there again it does %v, and says %+v", step, s.Pending().Header)
	}
	if s.Took(start); !s.Ended() {
		t.Error("it has told all, and does not end")
	}
}

func TestASenderThatEndsWaitsUntilItsPeerHasAll(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newResender(now)
	s.Acknowledge(Ack{Incarnation: 9, UpTo: at(5)})
	s.Load(small(1), now)
	s.writes(now)
	s.Finish(now)
	told := false
	for step, _ := s.Next(now); step == Write; step, _ = s.Next(now) {
		told = told || s.Pending().Header.AckIncarnation == 9
		s.Took(now)
	}
	if s.Ended() || !told {
		t.Errorf("it has ended: %v; it has told what has come from the peer: %v", s.Ended(), told)
	}
	s.Acked(report(at(1), at(2), at(2)), now)
	if !s.Ended() {
		t.Error("it does not end")
	}
	other := newResender(now)
	other.Load(small(1), now)
	other.writes(now)
	other.Finish(now)
	if d, _ := other.keepsFor(now); d > testPatience+testPatience/100 || !other.Ended() {
		t.Errorf("it does not end when its peer says nothing for %v", d)
	}
}
