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

// A link may find out by itself, when it asks what became of the last that it wrote,
// that its peer is gone. What is sent after that has its time all the same.
func TestDroppedAfterSendTimeoutAlsoWhenThePeerWasGoneBefore(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		p := testcluster.NewFakePeer(t, 1, cfg)
		a := testcluster.Join(t, 0, cfg)
		testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: "x"})
		if _, _, ok := p.Next(time.Second); !ok {
			t.Fatal("nothing was sent")
		}
		p.Listener.Close()
		time.Sleep(time.Hour)
		testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: "y"})
		time.Sleep(testcluster.SendTimeout + time.Millisecond)
		synctest.Wait()
		if s := testcluster.StatsOf(a, 1); s.Sent.Dropped[cluster.ReasonTimedOut] != 1 || s.State != cluster.LinkDown {
			t.Errorf("after SendTimeout: the link is %v, dropped %v", s.State, s.Sent.Dropped)
		}
	})
}

func TestALargeMessageGivenUpHalfwayCountsAsSent(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		p := testcluster.NewFakePeer(t, 1, cfg)
		testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: make([]byte, 3*stream.PieceBytes)})
		testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: "behind it"})
		first, _, _ := p.Next(testcluster.Limit)
		if first.Flags&wire.FlagPiece == 0 || first.Start != (wire.Position{Seq: 1}) {
			t.Fatalf("the first frame is %+v", first)
		}
		time.Sleep(2 * testcluster.SendTimeout)
		synctest.Wait()
		if s := a.Stats().Sent; s.Sent != 1 || s.Dropped[cluster.ReasonTimedOut] != 1 || s.Queued != 0 || s.QueueBytes != 0 {
			t.Errorf("the books: %+v", s)
		}
		p.Send(0, cfg, wire.Header{AckIncarnation: a.Stats().Incarnation, Ack: wire.Position{Seq: 1, Offset: stream.PieceBytes}}, nil)
		synctest.Wait()
		testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: "next"})
		for {
			h, _, ok := p.Next(testcluster.Limit)
			if !ok {
				t.Fatal("the next message does not come")
			}
			if !h.Bare() {
				if h.Start != (wire.Position{Seq: 2}) {
					t.Errorf("the next message begins at %+v, and number 1 was used up", h.Start)
				}
				return
			}
		}
	})
}

func TestALargeMessageWhoseBeginningWasLostDoesNotWedge(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		p := testcluster.NewFakePeer(t, 1, cfg)
		p.Send(0, cfg, wire.Header{}, nil)
		testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: make([]byte, 3<<20)})
		p.Next(testcluster.Limit) // the first piece goes with its connection
		p.Listener.Close()
		b := testcluster.Join(t, 1, cfg)
		time.Sleep(testcluster.Limit)
		if err := a.Send(context.Background(), &cluster.Envelope{Pid: 1, Msg: "hello"}); err != nil {
			t.Fatal(err)
		}
		if e := testcluster.Take(t, b); e.Msg != "hello" {
			t.Errorf("got %v", e.Msg)
		}
	})
}
