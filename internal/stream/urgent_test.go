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
			if u.Along(s, now); !writeUrgent(u, now) {
				t.Errorf("the peer has announced it again, and the sender writes %+v", u.Pending())
			}
		})
	}
}

// Servers of earlier versions do not answer.
func TestAPeerThatDoesNotSayWhatItKnowsIsAskedAFewTimes(t *testing.T) {
	now := time.Unix(1000, 0)
	s := NewSender(Self{Incarnation: 7, Knows: wire.CapResend | wire.CapConfirm | wire.CapUrgent}, 1, Policy{Patience: time.Minute}, now)
	s.Appeared(now)
	s.Dialed(false, now)
	asked := 0
	for end := now.Add(time.Minute); now.Before(end); now = now.Add(100 * time.Millisecond) {
		if !s.HasWord() && s.AskUrgent(now) {
			asked++
		}
		for step, _ := s.Next(now); step == Write; step, _ = s.Next(now) {
			s.Took(now)
		}
	}
	if asked != urgentAsks {
		t.Errorf("it was asked %d times, want %d", asked, urgentAsks)
	}
}
