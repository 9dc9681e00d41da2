package stream

import (
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

const testPatience = time.Second

// newTestSender makes one that has a connection.
func newTestSender(now time.Time) *Sender {
	s := NewSender(Self{ID: 1, Incarnation: 7, Grant: 1 << 20}, 2, Policy{Patience: testPatience}, now)
	s.Appeared(now)
	s.Dialed(false, now)
	return s
}

var stepNames = []string{Write: "Write", AwaitConn: "AwaitConn", Sleep: "Sleep", GiveUp: "GiveUp", End: "End"}

// givesUpAfter looks again and again, for so long at most, and returns when the sender gives up; -1 if it does not.
func (s *Sender) givesUpAfter(from time.Time, most time.Duration) time.Duration {
	for d := time.Duration(0); d <= most; d += time.Millisecond {
		now := from.Add(d)
		s.Look(now)
		if step, _ := s.Next(now); step == GiveUp {
			return d
		} else if step == Write {
			s.Full(now)
		}
	}
	return -1
}

func TestAMessageHasAllOfThePeersPatience(t *testing.T) {
	start := time.Unix(1000, 0)
	small := Load{Count: 1, Small: wire.HeaderSize + wire.RecordSize}

	t.Run("from when it is there to be written", func(t *testing.T) {
		s := newTestSender(start)
		s.Full(start)
		s.givesUpAfter(start, 5*time.Second) // with nothing to write
		later := start.Add(5*time.Second + testPatience/looksPerPatience/2)
		s.Load(small, later)
		if got := s.givesUpAfter(later, 2*testPatience); got != testPatience {
			t.Errorf("it is given up after %v", got)
		}
	})

	t.Run("from when the connection last took a frame", func(t *testing.T) {
		s := newTestSender(start)
		s.Load(Load{Count: 1, Small: wire.HeaderSize + wire.RecordSize, Large: 4 * PieceBytes}, start)
		s.Full(start)
		s.givesUpAfter(start, testPatience/2)
		s.Writable(start.Add(testPatience / 2))
		now := start.Add(testPatience / 2)
		s.Look(now)
		if step, _ := s.Next(now); step != Write {
			t.Fatalf("it does not write: %s", stepNames[step])
		}
		s.Took(now) // and the window is closed for the next piece
		if got := s.givesUpAfter(now, 2*testPatience); got != testPatience {
			t.Errorf("it is given up after %v", got)
		}
	})
}

func TestNothingIsWrittenWithoutAConnection(t *testing.T) {
	start := time.Unix(1000, 0)
	s := newTestSender(start)
	s.Load(Load{Count: 1, Small: wire.HeaderSize + wire.RecordSize}, start)
	s.Next(start)
	s.Took(start)
	s.Failed(start)
	s.Vanished(start)
	s.Acknowledge(Ack{Incarnation: 9, UpTo: at(1), Due: start})
	now := start.Add(2 * quietTime)
	if step, until := s.Next(now); step != Sleep || !until.IsZero() {
		t.Errorf("%s until %v", stepNames[step], until)
	}
}

func TestAQuestionThatWasNotTakenIsAskedAgain(t *testing.T) {
	start := time.Unix(1000, 0)
	s := newTestSender(start)
	s.Load(Load{Count: 1, Small: wire.HeaderSize + wire.RecordSize}, start)
	s.Next(start)
	s.Took(start)
	now := start.Add(probeInterval)
	for range 2 {
		step, _ := s.Next(now)
		if step != Write || !s.Pending().Bare || s.Pending().Header.Flags&wire.FlagAckNow == 0 {
			t.Fatalf("%s, %+v", stepNames[step], s.Pending())
		}
		s.Full(now)
		s.Writable(now)
		now = now.Add(probeInterval)
	}
}

func TestAConnectionIsSilentSinceItFirstTookNothingHoweverOftenItSaysThatItWould(t *testing.T) {
	start := time.Unix(1000, 0)
	s := newTestSender(start)
	for i := range 10 {
		now := start.Add(time.Duration(i+1) * testPatience)
		s.bare(wire.FlagAckNow, now)
		s.Full(now)
		if got := s.SilentSince(); !got.Equal(start.Add(testPatience)) {
			t.Fatalf("after %d frames that were not taken it is silent since %v", i+1, got.Sub(start))
		}
		s.Writable(now)
		s.state.Peer = Starved
		s.Next(now) // the path counts as clear
	}
	now := start.Add(time.Minute)
	s.bare(0, now)
	s.Took(now)
	s.bare(0, now)
	if s.Full(now); !s.SilentSince().Equal(now) {
		t.Errorf("after one that was taken it is silent since %v", s.SilentSince().Sub(start))
	}
}

func TestAnAcknowledgmentWakesALinkThatHasSomethingToWrite(t *testing.T) {
	start := time.Unix(1000, 0)
	ack := &wire.Header{AckIncarnation: 7, Ack: at(1), Window: 1 << 20}
	s := newTestSender(start)
	if s.Acked(ack, start) {
		t.Error("it has nothing")
	}
	s.Load(Load{Count: 1, Small: wire.HeaderSize + wire.RecordSize}, start)
	if !s.Acked(ack, start) {
		t.Error("it has something, and is not woken")
	}
	if s.Acked(&wire.Header{AckIncarnation: 6, Ack: at(1)}, start); s.window.grant != 1<<20 {
		t.Error("what was said of an earlier life counts")
	}
	s.state.Peer, s.loaded = Down, false
	if !s.Acked(ack, start) {
		t.Error("its peer was down, and it is not woken")
	}
}
