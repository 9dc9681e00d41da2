package stream

import (
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

func TestOnlyAnAnnouncementShowsThatAPeerTakesCalls(t *testing.T) {
	announces := func(c wire.Capabilities) *wire.Header {
		h := &wire.Header{Incarnation: 9, Start: beginning}
		h.Announce(c)
		return h
	}
	acks := &wire.Header{Incarnation: 9, Start: beginning, AckIncarnation: 7, Ack: beginning}
	others := &wire.Header{Incarnation: 9, Start: beginning, AckIncarnation: 8, Ack: beginning}
	now := time.Unix(1e6, 0)
	overdue := func(s *Sender) { s.CallsUnanswered(now) }
	for _, c := range []struct {
		name  string
		knows wire.Capabilities
		heard []*wire.Header
		then  func(*Sender)
		want  Calling
	}{
		{"not heard yet", wire.CapCalls, nil, nil, CallsUnknown},
		{"it has announced it", wire.CapCalls, []*wire.Header{announces(wire.CapCalls)}, nil, TakesCalls},
		{"it has announced other things", wire.CapCalls, []*wire.Header{announces(^wire.CapCalls)}, nil, CallsNot},
		{"what it acknowledges takes nothing back", wire.CapCalls, []*wire.Header{announces(wire.CapCalls), acks}, nil, TakesCalls},
		{"it has not answered yet", wire.CapCalls, []*wire.Header{acks}, nil, CallsUnknown},
		{"it has said other things until its time was over", wire.CapCalls, []*wire.Header{acks}, overdue, CallsNot},
		{"it has said them of an earlier life", wire.CapCalls, []*wire.Header{others}, overdue, CallsUnknown},
		{"this node does not call", 0, []*wire.Header{announces(wire.CapCalls)}, nil, CallsNot},
		{"it has begun anew", wire.CapCalls, []*wire.Header{announces(wire.CapCalls)}, func(s *Sender) { s.PeerBegan(false, now) }, CallsUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewSender(Self{ID: 1, Incarnation: 7, Knows: c.knows}, 2, Policy{Patience: testPatience}, now)
			s.Appeared(now)
			s.Dialed(false, now)
			asks := s.Query(now)
			if asks != (c.knows != 0) {
				t.Errorf("it asks the peer: %v", asks)
			}
			if step, _ := s.Next(now); asks {
				h := s.Pending().Header
				if got, ok := h.Announced(); step != Write || !h.Bare() || h.Flags&wire.FlagAckNow == 0 || !ok || got != c.knows {
					t.Errorf("it writes %+v", h)
				}
				s.Took(now)
			}
			for _, h := range c.heard {
				s.Acked(h, now.Add(1))
			}
			if c.then != nil {
				c.then(s)
			}
			if got := s.Calling(); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestWhoIsAskedWhatItKnowsAnswersWithAnAnnouncement(t *testing.T) {
	now := time.Unix(1e6, 0)
	s := NewSender(Self{ID: 1, Incarnation: 7, Knows: wire.CapCalls}, 2, Policy{Patience: testPatience}, now)
	s.Appeared(now)
	s.Dialed(false, now)
	s.Acknowledge(Ack{Incarnation: 9, UpTo: beginning})
	ask := &wire.Header{Incarnation: 9, Start: beginning, Flags: wire.FlagAckNow}
	ask.Announce(wire.CapCalls)
	if !s.Acked(ask, now) {
		t.Error("it has nothing to write")
	}
	step, _ := s.Next(now)
	h := s.Pending().Header
	if got, ok := h.Announced(); step != Write || !ok || got != wire.CapCalls || h.Flags&wire.FlagAckNow != 0 {
		t.Errorf("it writes %+v", h)
	}
	s.Took(now)
	if step, _ := s.Next(now); step == Write {
		if h := s.Pending().Header; h.AckIncarnation == 0 {
			t.Errorf("it goes on with %+v", h)
		}
	}
}

// While somebody waits for a reply the peer is asked now and then, and given up when it says nothing.
func TestAPeerOfWhichAReplyIsAwaitedIsAskedWhetherItIsThere(t *testing.T) {
	now := time.Unix(1e6, 0)
	s := NewSender(Self{ID: 1, Incarnation: 7, Knows: wire.CapCalls}, 2, Policy{Patience: testPatience}, now)
	s.Appeared(now)
	s.Dialed(false, now)
	word := &wire.Header{Incarnation: 9, Start: beginning}
	word.Announce(wire.CapCalls)
	s.Acked(word, now)
	run := func(until time.Time, answers bool) (asked int) {
		for now.Before(until) {
			s.Look(now)
			step, deadline := s.Next(now)
			if step == Write {
				if h := s.Pending().Header; !h.Bare() || h.Flags&wire.FlagAckNow == 0 {
					t.Fatalf("it writes %+v", h)
				}
				asked++
				s.Took(now)
				if answers {
					s.Acked(&wire.Header{Incarnation: 9, Start: beginning, AckIncarnation: 7, Ack: beginning}, now)
				}
				continue
			}
			if deadline.IsZero() || deadline.After(until) {
				deadline = until
			}
			if !deadline.After(now) {
				t.Fatalf("it spins")
			}
			now = deadline
		}
		return asked
	}
	if n := run(now.Add(10*testPatience), true); n != 0 {
		t.Errorf("asked %d times though nobody waits", n)
	}
	s.Expect(true, now)
	interval := min(probeInterval, testPatience/4)
	if n := run(now.Add(10*testPatience), true); n < int(8*testPatience/interval) || n > int(11*testPatience/interval) {
		t.Errorf("asked %d times in %v, want every %v", n, 10*testPatience, interval)
	}
	if s.Calling() != TakesCalls {
		t.Fatal("a peer that answers was given up")
	}
	silent := testPatience + PieceBytes*silencePerByte
	if run(now.Add(silent-interval), false); s.Calling() != TakesCalls {
		t.Error("it was given up too soon")
	}
	if run(now.Add(2*interval), false); s.Calling() != CallsUnknown {
		t.Error("it was not given up")
	}
}
