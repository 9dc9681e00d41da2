package delivery_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

func TestAMessageToOneselfThatIsGivenUpHalfwayDoesNotWedge(t *testing.T) {
	testcluster.Bubble(t, 1, func(t *testing.T, cfg cluster.Config) {
		cfg.InboxSize, cfg.OutboxSize, cfg.QueueBytes = 1, 1, testcluster.MinQueueBytes
		a := testcluster.Join(t, 0, cfg)
		for range 3 {
			testcluster.Put(t, a, &cluster.Envelope{Pid: 0, Msg: make([]byte, 4<<20)})
		}
		time.Sleep(5 * testcluster.SendTimeout) // nobody takes
		for len(a.Inbox()) > 0 {
			testcluster.Take(t, a)
			time.Sleep(time.Second)
		}
		if err := a.Send(context.Background(), &cluster.Envelope{Pid: 0, Msg: "hello"}); err != nil {
			t.Fatal(err)
		}
		for testcluster.Take(t, a).Msg != "hello" {
		}
	})
}

func TestPeersWithABacklogTakeTurns(t *testing.T) {
	testcluster.Bubble(t, 4, func(t *testing.T, cfg cluster.Config) {
		cfg.InboxSize, cfg.OutboxSize, cfg.QueueBytes = 1, 1, testcluster.MinQueueBytes
		nodes := testcluster.StartAll(t, cfg)
		stop := make(chan struct{})
		for _, n := range nodes[1:] {
			go func() {
				for {
					select {
					case n.Outbox() <- &cluster.Envelope{Pid: 0, Msg: "x"}:
					case <-stop:
						return
					}
				}
			}()
		}
		got := make(map[int]int)
		for range 3000 {
			got[testcluster.Take(t, nodes[0]).Pid]++
			time.Sleep(5 * time.Millisecond)
		}
		close(stop)
		for id := 1; id <= 3; id++ {
			if got[id] < 900 {
				t.Errorf("of 3000 messages %d are from %d: %v", got[id], id, got)
			}
			if s := nodes[id].Stats().Sent; s.DroppedTotal() != 0 {
				t.Errorf("server %d dropped %v", id, s.Dropped)
			}
		}
	})
}

// A confidant calls back while it is decoded.
type confidant struct{ X int }

var confide func()

func (confidant) MarshalBinary() ([]byte, error) { return []byte{1}, nil }

func (*confidant) UnmarshalBinary([]byte) error { confide(); return nil }

func TestDecodingMaySendToItsOwnNode(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cluster.Register("test.confidant", confidant{})
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		confide = func() {
			if err := a.Send(context.Background(), &cluster.Envelope{Pid: 0, Msg: "decoded"}); err != nil {
				t.Error(err)
			}
		}
		testcluster.Put(t, a, &cluster.Envelope{Pid: 0, Msg: "the link to itself is there"})
		testcluster.Take(t, a)
		synctest.Wait()
		testcluster.Put(t, b, &cluster.Envelope{Pid: 0, Msg: confidant{}})
		got := map[any]bool{testcluster.Take(t, a).Msg: true, testcluster.Take(t, a).Msg: true}
		if !got["decoded"] {
			t.Errorf("got %v", got)
		}
	})
}

func TestWhatIsReceivedIsCountedAsItGoesIntoInbox(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.InboxSize = 1
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		for i := range 10 {
			testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: fmt.Sprint(i)})
		}
		testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: strings.Repeat("x", 7000)})
		synctest.Wait()
		// One is in Inbox, and one waits for room.
		if r := b.Stats().Received; r.Received != 2 || r.Bytes != 2 {
			t.Errorf("while nobody reads: received %d messages of %d bytes, want 2 of 2", r.Received, r.Bytes)
		}
		b.Close()
		if r := b.Stats().Received; r.Received != 1 || r.Bytes != 1 || r.Refused[cluster.RefusedClosed] != 10 {
			t.Errorf("after Close: received %d messages of %d bytes, refused %v; want 1 of 1, and 10 as closed", r.Received, r.Bytes, r.Refused)
		}
	})
}
