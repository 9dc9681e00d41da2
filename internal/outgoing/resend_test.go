package outgoing_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/wire"
)

// answers sends what a server that resends says of what it got from a.
func answers(p *testcluster.FakePeer, a *cluster.Node, cfg cluster.Config, taken, wanted, held wire.Position) {
	p.Send(a.Pid(), cfg, wire.Header{
		Flags: wire.FlagResend, AckIncarnation: a.Stats().Incarnation, Ack: taken, Window: 1 << 20,
		Resend: wire.Resend{Kept: wire.Position{Seq: 1}, Wanted: wanted, Held: held},
	}, nil)
	synctest.Wait()
}

// content is the next frame that has records.
func content(t *testing.T, p *testcluster.FakePeer) (wire.Header, []byte) {
	t.Helper()
	for range 10 {
		h, body, ok := p.Next(testcluster.Limit)
		if !ok {
			break
		}
		if !h.Bare() {
			return h, body
		}
	}
	t.Fatal("nothing comes")
	return wire.Header{}, nil
}

func TestWhatAPeerMissesIsSentAgainUntilItConfirms(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a, p := testcluster.Join(t, 0, cfg), testcluster.NewFakePeer(t, 1, cfg)
		at := func(seq uint64) wire.Position { return wire.Position{Seq: seq} }
		answers(p, a, cfg, at(1), at(1), at(1)) // it is heard before anything is written to it
		var heads []wire.Header
		var bodies [][]byte
		for _, msg := range []any{"a", make([]byte, 3*stream.PieceBytes), "c"} {
			testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: msg})
			synctest.Wait()
			if len(heads) == 0 {
				answers(p, a, cfg, at(1), at(1), at(1)) // it grants its window
			}
			for frames := 1; frames > 0; frames-- {
				h, body := content(t, p)
				if h.Flags&wire.FlagPiece != 0 && h.Start.Offset == 0 {
					frames = 3
				}
				heads, bodies = append(heads, h), append(bodies, body)
			}
		}
		if len(heads) != 5 || !heads[0].ShowsResending() || heads[4].Flags&wire.FlagResend == 0 {
			t.Fatalf("%d frames: %+v", len(heads), heads)
		}
		for round := range 3 {
			time.Sleep(time.Second / 2)
			answers(p, a, cfg, at(1), at(1), at(4))
			for i := range heads {
				h, body := content(t, p)
				if h.Start != heads[i].Start || h.Count != heads[i].Count || h.Kept != at(1) || !bytes.Equal(body, bodies[i]) {
					t.Errorf("round %d: frame %d is %+v, and was %+v", round, i, h, heads[i])
				}
			}
		}
		answers(p, a, cfg, at(2), at(4), at(4))
		if s := a.Stats().Sent; s.Sent != 3 || s.Confirmed != 1 || s.Unconfirmed != 0 || s.Resent != 15 {
			t.Errorf("the books, when the first is taken: %+v", s)
		}
		answers(p, a, cfg, at(4), at(4), at(4))
		if s := a.Stats().Sent; s.Confirmed != 3 || s.FlightBytes != 0 {
			t.Errorf("the books, when all is taken: %+v", s)
		}
	})
}

func TestAPeerThatSaidNothingForLongIsToldThatNothingIsKept(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a, p := testcluster.Join(t, 0, cfg), testcluster.NewFakePeer(t, 1, cfg)
		at := func(seq uint64) wire.Position { return wire.Position{Seq: seq} }
		answers(p, a, cfg, at(1), at(1), at(1))
		testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: "lost"})
		content(t, p)
		time.Sleep(testcluster.SendTimeout + 3*time.Second)
		synctest.Wait()
		if s := testcluster.StatsOf(a, 1); s.Sent.Unconfirmed != 1 || s.Sent.Dropped != nil {
			t.Fatalf("after SendTimeout without a word: %v, %+v", s.State, s.Sent)
		}
		for h, _, ok := p.Next(0); ok; h, _, ok = p.Next(0) {
			if !h.Bare() {
				t.Errorf("it is sent again without having been missed: %+v", h)
			}
		}
		answers(p, a, cfg, at(1), at(1), at(2)) // too late
		h, _, ok := p.Next(testcluster.SendTimeout)
		for ; ok && h.Flags&wire.FlagResend == 0; h, _, ok = p.Next(testcluster.SendTimeout) {
		}
		if !ok || !h.Bare() || h.Kept != at(2) {
			t.Fatalf("it says %+v, want that it keeps nothing before number 2", h)
		}
		answers(p, a, cfg, at(2), at(2), at(2))
		testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: "after it"})
		if h, _ := content(t, p); h.Start != at(2) || h.Kept != at(2) {
			t.Errorf("the next message is in %+v", h)
		}
	})
}

func TestAServerThatDoesNotResendIsSentNothingOfIt(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a, p := testcluster.Join(t, 0, cfg), testcluster.NewFakePeer(t, 1, cfg)
		for seq := uint64(1); seq <= 20; seq++ {
			testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: "x"})
			p.Send(0, cfg, wire.Header{Start: wire.Position{Seq: seq}, Count: 1}, testcluster.Records(t, "y"))
			testcluster.Take(t, a)
			time.Sleep(time.Second / 4)
			for h, _, ok := p.Next(0); ok; h, _, ok = p.Next(0) {
				if h.Flags&wire.FlagResend != 0 {
					t.Fatalf("it is sent %+v", h)
				}
			}
			p.Send(0, cfg, wire.Header{
				Start: wire.Position{Seq: seq + 1}, AckIncarnation: a.Stats().Incarnation, Ack: wire.Position{Seq: seq + 1},
			}, nil)
		}
		synctest.Wait()
		if s := a.Stats().Sent; s.Sent != 20 || s.Confirmed != 0 || s.Unconfirmed != 20 || s.FlightBytes != 0 {
			t.Errorf("the books: %+v", s)
		}
	})
}

func TestWhatIsKeptIsWithinTheWindowAndFreedWithTheLastWord(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		testcluster.Put(t, b, &cluster.Envelope{Pid: 0, Msg: "first"})
		testcluster.Take(t, a)
		for range 200 {
			testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: make([]byte, 1000)})
		}
		for range 200 {
			testcluster.Take(t, b)
		}
		time.Sleep(testcluster.SendTimeout)
		synctest.Wait()
		if s := testcluster.StatsOf(a, 1).Sent; s.Confirmed != 200 || s.Resent != 0 || s.FlightBytes != 0 || s.Unconfirmed != 0 {
			t.Errorf("the books: %+v", s)
		}
	})
}

// A peer goes on telling a server that has started anew what became of the records of its life before, until it hears of the new one.
func TestWhatIsNamedOfAnEarlierLifeIsOfNoAccount(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a, p := testcluster.Join(t, 0, cfg), testcluster.NewFakePeer(t, 1, cfg)
		at := func(seq uint64) wire.Position { return wire.Position{Seq: seq} }
		answers(p, a, cfg, at(1), at(1), at(1))
		for _, msg := range []any{"a", "b", "c"} {
			testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: msg})
			content(t, p)
		}
		names := func(life, upTo uint64, u wire.Undelivered) {
			p.Send(a.Pid(), cfg, wire.Header{
				Flags: wire.FlagResend | wire.FlagConfirm, AckIncarnation: life, Ack: at(upTo), Window: 1 << 20,
				Resend: wire.Resend{Kept: at(1), Wanted: at(upTo), Held: at(upTo)},
			}, wire.AppendUndelivered(nil, []wire.Undelivered{u}))
			synctest.Wait()
		}
		names(a.Stats().Incarnation+1, 100, wire.Undelivered{From: 1, Count: 99, Why: wire.WhyUnknown})
		names(a.Stats().Incarnation, 4, wire.Undelivered{From: 2, Count: 1, Why: wire.WhyUnknown})
		if s := testcluster.StatsOf(a, 1).Sent; s.Confirmed != 2 || s.Unconfirmed != 1 {
			t.Errorf("%d are confirmed and %d unconfirmed, want 2 and 1: %+v", s.Confirmed, s.Unconfirmed, s)
		}
	})
}
