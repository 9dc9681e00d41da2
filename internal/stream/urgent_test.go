package stream

import (
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// twins are the two senders to a peer that has announced what it knows.
func twins(t *testing.T, c wire.Capabilities) (s, u *Sender, now time.Time) {
	t.Helper()
	now = time.Unix(1000, 0)
	self := Self{Incarnation: 7, Grant: 1 << 20, Knows: wire.CapResend | wire.CapConfirm | wire.CapUrgent}
	s = NewSender(self, 1, Policy{Patience: time.Second}, now)
	u = NewUrgent(s, now)
	s.Appeared(now)
	s.Dialed(false, now)
	s.PeerBegan(true, now)
	h := wire.Header{Incarnation: 9, Start: beginning}
	h.Announce(c)
	s.Acked(&h, now)
	u.Along(s, now)
	return s, u, now
}

// writeUrgent makes the urgent sender write a message, if it does.
func writeUrgent(u *Sender, now time.Time) bool {
	u.Load(Load{Count: 1, Small: wire.HeaderSize + wire.RecordSize}, now)
	step, _ := u.Next(now)
	return step == Write && u.Pending().Header.Flags == wire.FlagUrgent|wire.FlagResend && u.Took(now)
}

func TestAnUrgentStreamIsOfAPeerThatHasAnnouncedIt(t *testing.T) {
	for _, c := range []struct {
		knows wire.Capabilities
		want  uint64
	}{{wire.CapResend | wire.CapUrgent, 9}, {wire.CapUrgent, 0}, {wire.CapResend | wire.CapConfirm, 0}, {0, 0}} {
		if s, _, _ := twins(t, c.knows); s.Urgent() != c.want {
			t.Errorf("a peer that announces %b: life %d has an urgent stream, want %d", c.knows, s.Urgent(), c.want)
		}
	}
}

// What a peer has announced holds until it counts as down, begins anew, or says nothing for long: then it may be of another version.
// Nothing is kept for it from then on.
func TestTheUrgentStreamEndsWithWhatIsKnownOfThePeer(t *testing.T) {
	for name, end := range map[string]func(s, u *Sender, now time.Time) time.Time{
		"it counts as down": func(s, _ *Sender, now time.Time) time.Time { s.Exhaust(now); return now },
		"it begins anew":    func(s, _ *Sender, now time.Time) time.Time { s.PeerBegan(false, now); return now },
		"its connection fails for good": func(s, _ *Sender, now time.Time) time.Time {
			if s.Failed(now); s.resends {
				t.Error("it is still known to resend")
			}
			s.Dialed(false, now)
			return now
		},
		"it says nothing for long": func(s, u *Sender, now time.Time) time.Time {
			for end := now.Add(10 * time.Second); now.Before(end); now = now.Add(50 * time.Millisecond) {
				u.Look(now)
				u.Next(now)
			}
			if u.Silent() {
				s.Doubt()
			}
			return now
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, u, now := twins(t, wire.CapResend|wire.CapUrgent)
			if !writeUrgent(u, now) || u.KeptFrom() != beginning {
				t.Fatalf("it does not write, or keeps nothing: %+v", u.Pending())
			}
			now = end(s, u, now)
			u.Along(s, now)
			if s.Urgent() != 0 || u.KeptFrom() == beginning || u.Books.Unconfirmed != 1 {
				t.Errorf("life %d has an urgent stream, from %v on it is kept, the books say %+v", s.Urgent(), u.KeptFrom(), u.Books)
			}
			h := wire.Header{Incarnation: 9, Start: beginning}
			h.Announce(wire.CapResend | wire.CapUrgent)
			s.Acked(&h, now)
			if u.Along(s, now); !writeUrgent(u, now) || u.Silent() {
				t.Errorf("the peer has announced it again, and the sender writes %+v; silent: %v", u.Pending(), u.Silent())
			}
		})
	}
}

// Servers of earlier versions do not answer; of others the answer may have been lost.
func TestAPeerThatDoesNotSayWhatItKnowsIsAskedMoreAndMoreSeldom(t *testing.T) {
	now := time.Unix(1000, 0)
	s := NewSender(Self{Incarnation: 7, Knows: wire.CapResend | wire.CapConfirm | wire.CapUrgent}, 1, Policy{Patience: time.Minute}, now)
	s.Appeared(now)
	s.Dialed(false, now)
	asked := make(map[int]int) // by minute
	const minutes = 10
	for start, end := now, now.Add(minutes*time.Minute); now.Before(end); now = now.Add(100 * time.Millisecond) {
		if !s.HasWord() && s.AskUrgent(now) {
			asked[int(now.Sub(start)/time.Minute)]++
		}
		for step, _ := s.Next(now); step == Write; step, _ = s.Next(now) {
			s.Took(now)
		}
	}
	for m := range minutes {
		if n := asked[m]; m == 0 && (n < 5 || n > 10) || m == 1 && n != 1 || n > 1 && m > 0 || m > 0 && m < minutes-1 && n+asked[m+1] == 0 {
			t.Errorf("in each minute it was asked so often: %v", asked)
			break
		}
	}
}

// follows lets both senders write what they have to, each 50 ms for so long, while the peer does what each says.
func follows(s, u *Sender, from time.Time, d time.Duration, each func(now time.Time)) time.Time {
	end := from.Add(d)
	for now := from; now.Before(end); now = now.Add(50 * time.Millisecond) {
		each(now)
		s.Look(now)
		u.Along(s, now)
		u.Look(now)
		u.writes(now)
		s.writes(now)
		u.Along(s, now)
	}
	return end
}

// granting is what the peer of twins acknowledges of one of the streams.
func granting(flags uint8, taken wire.Position) *wire.Header {
	h := report(taken, taken, taken)
	h.Flags, h.Window = h.Flags|flags, 2<<20
	return h
}

// Both streams have one connection. So what is on its way in one may be before what is in the other, on a path that carries 64 KiB a second.
func TestWhatIsWrittenOfOneStreamGivesTheOtherItsTime(t *testing.T) {
	for name, c := range map[string]struct {
		large  int // bytes of the other stream
		urgent bool
	}{
		"a MiB before an urgent message":    {1 << 20, true},
		"urgent messages before a lone one": {UrgentBytes, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, u, now := twins(t, wire.CapResend|wire.CapUrgent)
			s.Acked(granting(0, beginning), now)
			u.Acked(granting(wire.FlagUrgent, beginning), now)
			before, behind := s, u
			if !c.urgent {
				before, behind = u, s
			}
			before.Load(Load{Count: 1, Small: wire.HeaderSize + wire.RecordSize, Large: c.large}, now)
			if n := len(before.writes(now)); n != (c.large+PieceBytes-1)/PieceBytes {
				t.Fatalf("%d frames are written", n)
			}
			behind.Load(small(1), now)
			behind.writes(now)
			passage := time.Duration(c.large) * silencePerByte
			now = follows(s, u, now, time.Second+2*time.Second+passage, func(time.Time) {})
			if got := behind.KeptFrom(); got != beginning || s.Urgent() == 0 {
				t.Errorf("while %d bytes may be on their way before it, from %v on it is kept, and life %d has an urgent stream", c.large, got, s.Urgent())
			}
			follows(s, u, now, passage, func(time.Time) {})
			if got := behind.KeptFrom(); got == beginning {
				t.Errorf("though the peer has said nothing for longer than they take, from %v on it is kept", got)
			}
		})
	}
}

// What a peer says of one stream may be behind what it writes in the other: a frame of either shows that it is there.
func TestAFrameOfOneStreamIsAWordOfThePeerForBoth(t *testing.T) {
	for _, urgent := range []bool{false, true} {
		s, u, now := twins(t, wire.CapResend|wire.CapUrgent)
		waits := u
		if urgent {
			waits = s
		}
		waits.Load(small(1), now)
		waits.writes(now)
		follows(s, u, now, 10*time.Second, func(now time.Time) {
			if urgent {
				s.Overhears(now)
			} else {
				s.Acked(granting(0, beginning), now)
			}
		})
		if got := waits.KeptFrom(); got != beginning || s.Urgent() == 0 {
			t.Errorf("urgent frames: %v; the peer speaks, and from %v on it is kept, and life %d has an urgent stream", urgent, got, s.Urgent())
		}
	}
}

// A connection that takes nothing of what is urgent, where the peer never answered, does not stand, as far as is known.
func TestAPeerThatTakesNothingUrgentWhereItIsIsDown(t *testing.T) {
	s, u, now := twins(t, wire.CapResend|wire.CapUrgent)
	s.Left(now)
	s.Dialed(false, now) // it is elsewhere
	u.Along(s, now)
	s.Exhaust(now)
	if got, _ := s.Standing(); got != StandsDown {
		t.Errorf("the link is %v", got)
	}
}

// Where the connection takes nothing, the urgent stream is looked after all the same: it may be time to give up.
func TestWhatThePeerIsToBeToldDoesNotHoldUpTheUrgentStreamWhereItCannotBeWritten(t *testing.T) {
	s, _, now := twins(t, wire.CapResend|wire.CapUrgent)
	if !s.Query(now) || !s.HasWord() {
		t.Error("it has a question, and writes it, but does not say so")
	}
	if s.Full(now); s.HasWord() {
		t.Error("the connection takes nothing, and the urgent stream waits")
	}
}

// A new life of the peer is asked at once what it knows, however seldom the one before was asked.
func TestANewLifeIsAskedAtOnce(t *testing.T) {
	now := time.Unix(1000, 0)
	s := NewSender(Self{ID: 1, Incarnation: 7, Grant: 1 << 20, Knows: wire.CapResend | wire.CapConfirm | wire.CapUrgent}, 2, Policy{Patience: testPatience}, now)
	s.Appeared(now)
	s.Dialed(false, now)
	s.Writable(now)
	s.PeerBegan(true, now)
	for i := range 5 { // in vain
		if now = now.Add(QueryInterval << i); s.AskUrgent(now) {
			s.writes(now)
		}
	}
	now = now.Add(time.Millisecond)
	if s.AskUrgent(now) {
		t.Fatal("it is asked again at once")
	}
	if s.PeerBegan(false, now); !s.AskUrgent(now) {
		t.Error("it has begun anew, and is not asked")
	}
}
