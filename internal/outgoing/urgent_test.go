package outgoing_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/wire"
)

// announces lets a, which has sent its first message, hear that its peer has an urgent stream, and take that message for acknowledged.
func announces(p *testcluster.FakePeer, a *cluster.Node, cfg cluster.Config) {
	h := wire.Header{Window: 1 << 20}
	h.Announce(wire.CapResend | wire.CapConfirm | wire.CapUrgent)
	p.Send(a.Pid(), cfg, h, nil)
	answers(p, a, cfg, wire.Position{Seq: 2}, wire.Position{Seq: 2}, wire.Position{Seq: 2})
}

// begin sends the first message of a to its peer, which then is known to have an urgent stream.
func begin(t *testing.T, cfg cluster.Config) (a *cluster.Node, p *testcluster.FakePeer) {
	t.Helper()
	a, p = testcluster.Join(t, 0, cfg), testcluster.NewFakePeer(t, 1, cfg)
	testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: "first"})
	content(t, p)
	announces(p, a, cfg)
	if !testcluster.StatsOf(a, 1).Urgent {
		t.Fatal("the peer is not known to have an urgent stream")
	}
	return a, p
}

func urge(t *testing.T, a *cluster.Node, msg any) {
	t.Helper()
	if err := a.SendUrgent(t.Context(), &cluster.Envelope{Pid: 1, Msg: msg}); err != nil {
		t.Fatal(err)
	}
}

// answersUrgently is answers for the urgent stream.
func answersUrgently(p *testcluster.FakePeer, a *cluster.Node, cfg cluster.Config, taken, wanted, held uint64) {
	at := func(seq uint64) wire.Position { return wire.Position{Seq: seq} }
	p.Send(a.Pid(), cfg, wire.Header{
		Flags: wire.FlagResend | wire.FlagUrgent, AckIncarnation: a.Stats().Incarnation, Ack: at(taken),
		Resend: wire.Resend{Kept: at(1), Wanted: at(wanted), Held: at(held)},
	}, nil)
	synctest.Wait()
}

func TestWhatAPeerMissesOfTheUrgentStreamIsSentAgain(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a, p := begin(t, cfg)
		for range 3 {
			urge(t, a, "x")
			if h, _ := content(t, p); h.Flags&wire.FlagUrgent == 0 {
				t.Fatalf("came %+v", h)
			}
		}
		answersUrgently(p, a, cfg, 1, 2, 3)
		if h, _ := content(t, p); h.Start.Seq != 2 || h.Flags&wire.FlagUrgent == 0 || h.Kept.Seq != 1 {
			t.Errorf("the second was missing, and again came %+v", h)
		}
		answersUrgently(p, a, cfg, 4, 4, 4)
		if s := testcluster.StatsOf(a, 1).Sent; s.Sent != 4 || s.Confirmed != 4 || s.Resent != 1 || s.FlightBytes != 0 {
			t.Errorf("the books say %+v", s)
		}
	})
}

// An acknowledgment of one stream says nothing of the other.
func TestAnAcknowledgmentIsOfOneStream(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a, p := begin(t, cfg)
		for range 2 {
			urge(t, a, "x")
			testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: "y"})
			synctest.Wait()
		}
		answersUrgently(p, a, cfg, 2, 3, 3)
		if s := testcluster.StatsOf(a, 1).Sent; s.Sent != 5 || s.Confirmed != 2 {
			t.Errorf("the books say %+v, want one urgent message confirmed, and the first", s)
		}
	})
}

// However much is urgent, the rest has its turns.
func TestUrgentMessagesLeaveTurnsToTheRest(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.SendTimeout, cfg.Linger = time.Hour, -1
		a, p := begin(t, cfg)
		queued := func() uint64 { return testcluster.StatsOf(a, 1).Sent.Queued }
		before := 0
		for ; queued() == 0; before++ { // until the connection takes no more
			testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: "x"})
			synctest.Wait()
		}
		testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: make([]byte, stream.PieceBytes)})
		for range 6 {
			urge(t, a, make([]byte, 40<<10))
		}
		synctest.Wait()
		var order []byte
		for len(order) < before+1+6 {
			h, _ := content(t, p)
			if h.Flags&wire.FlagUrgent != 0 {
				order = append(order, 'u')
			} else {
				order = append(order, '-')
			}
		}
		if got, want := string(order[before-1:]), "uuuu-uu-"; got != want {
			t.Errorf("they came in the order %q, want %q", got, want)
		}
	})
}

// What has to be written of the other stream beside messages has its turns, too: the peer waits for acknowledgments.
func TestUrgentMessagesLeaveTurnsToAcknowledgments(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.SendTimeout, cfg.Linger = time.Hour, -1
		a, p := begin(t, cfg)
		before := 0
		for ; testcluster.StatsOf(a, 1).Sent.Queued == 0; before++ { // until the connection takes no more
			urge(t, a, "x")
			synctest.Wait()
		}
		two := wire.Position{Seq: 2}
		p.Send(a.Pid(), cfg, wire.Header{
			Flags: wire.FlagResend | wire.FlagAckNow, AckIncarnation: a.Stats().Incarnation, Ack: two,
			Resend: wire.Resend{Kept: wire.Position{Seq: 1}, Wanted: two, Held: two},
		}, nil)
		for range 6 {
			urge(t, a, make([]byte, 40<<10)) // no two of them have room in one frame
		}
		synctest.Wait()
		urgent := 0
		for {
			h, _, ok := p.Next(testcluster.Limit)
			switch {
			case !ok:
				t.Fatalf("%d urgent frames came, and no acknowledgment", urgent)
			case h.Flags&wire.FlagUrgent == 0 && h.AckIncarnation == p.Incarnation:
				if urgent -= before - 1; urgent > 4 {
					t.Errorf("the acknowledgment came behind %d urgent frames", urgent)
				}
				return
			case h.Count > 0:
				urgent++
			}
		}
	})
}

// A peer that was silent for long may have become an earlier version. When it announces the urgent stream again, it has it again.
func TestAPeerThatWasSilentForLongHasItsUrgentStreamAgain(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a, p := begin(t, cfg)
		urge(t, a, "x")
		for end := time.Now().Add(time.Minute); testcluster.StatsOf(a, 1).Urgent; p.Next(testcluster.SendTimeout) {
			if time.Now().After(end) {
				t.Fatal("the peer is silent, and still known to have an urgent stream")
			}
		}
		for _, _, ok := p.Next(time.Millisecond); ok; _, _, ok = p.Next(time.Millisecond) { // what it asks meanwhile
		}
		announces(p, a, cfg)
		for i := range 5 {
			urge(t, a, "y")
			if h, _ := content(t, p); h.Flags&wire.FlagUrgent == 0 {
				t.Fatalf("message %d came in %+v", i, h)
			}
		}
	})
}

// A node that closes while its peer is gone waits no longer for what is urgent than for the rest.
func TestANodeClosesThoughNobodyAcknowledgesWhatIsUrgent(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a, p := begin(t, cfg)
		urge(t, a, "x")
		content(t, p)
		p.Listener.Close()
		h := wire.Header{Flags: wire.FlagAckNow} // it has asked what this node knows, and is told no more
		h.Announce(wire.CapResend | wire.CapConfirm | wire.CapUrgent)
		p.Send(a.Pid(), cfg, h, nil)
		synctest.Wait()
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), testcluster.Limit)
		defer cancel()
		if err := a.Shutdown(ctx); err != nil || time.Since(began) > 5*testcluster.SendTimeout {
			t.Errorf("it takes %v to close: %v", time.Since(began), err)
		}
	})
}

// A program that sends nothing but what is urgent hears of a peer that does not answer any more.
func TestAPeerThatAnswersNothingUrgentIsDown(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a, p := begin(t, cfg)
		if s := testcluster.StatsOf(a, 1); s.State != cluster.LinkUp {
			t.Fatalf("at first the link is %v", s.State)
		}
		const beat = testcluster.SendTimeout / 10
		for began := time.Now(); testcluster.StatsOf(a, 1).State != cluster.LinkDown; {
			if time.Since(began) > 5*testcluster.SendTimeout {
				t.Fatalf("after %v the link is %v", time.Since(began), testcluster.StatsOf(a, 1).State)
			}
			a.SendUrgent(t.Context(), &cluster.Envelope{Pid: 1, Msg: "x"})
			for _, _, ok := p.Next(beat); ok; _, _, ok = p.Next(beat) {
			}
		}
	})
}
