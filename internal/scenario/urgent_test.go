//go:build unix

package scenario

import (
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

// Whatever happens to connections, nothing of either stream is lost, comes twice or out of its order, and the books of both close.
func TestBothStreamsSurviveBrokenConnections(t *testing.T) {
	for _, keyed := range []bool{false, true} {
		t.Run(map[bool]string{false: "in plaintext", true: "with keys"}[keyed], func(t *testing.T) {
			t.Parallel()
			cfg := testcluster.ProcessConfig(t, 2)
			if keyed {
				cfg = testcluster.Keyed(t, cfg)
			}
			cfg.SendTimeout = testcluster.Limit
			cfg, p := behind(t, cfg, 0)
			cfg, q := behind(t, cfg, 1)
			a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
			urgentlyKnown(t, a, b)
			urgentlyKnown(t, b, a)
			const count, breaks = 3_000, 10
			ways := []func(*cluster.Node, *cluster.Envelope) error{
				func(n *cluster.Node, e *cluster.Envelope) error { return n.Send(t.Context(), e) },
				func(n *cluster.Node, e *cluster.Envelope) error { return n.SendUrgent(t.Context(), e) },
			}
			for _, n := range []*cluster.Node{a, b} {
				for stream, send := range ways {
					go func() { // It ends with its last message, or the node.
						for i := range count {
							size := i % 1000
							if i%100 == 0 {
								size = []int{400_000, 100_000}[stream]
							}
							e := &cluster.Envelope{Pid: 1 - n.Pid(), MsgId: int64(1 + 2*i + stream), Msg: make([]byte, size)}
							if send(n, e) != nil {
								return
							}
						}
					}()
				}
			}
			came := make(map[int]*[2]int)
			stop := time.After(5 * testcluster.Limit)
			for got := range 2 * 2 * count {
				if got%(4*count/breaks) == 2*count/breaks {
					p.hangUp()
					q.hangUp()
				}
				var e *cluster.Envelope
				select {
				case e = <-a.Inbox():
				case e = <-b.Inbox():
				case <-stop:
					t.Fatalf("%d messages have come: %+v, %+v", got, a.Stats(), b.Stats())
				}
				if came[e.Pid] == nil {
					came[e.Pid] = new([2]int)
				}
				stream := int(e.MsgId-1) % 2
				if i := int(e.MsgId-1) / 2; i != came[e.Pid][stream] {
					t.Fatalf("message %d of stream %d of server %d comes after %d", i, stream, e.Pid, came[e.Pid][stream]-1)
				}
				came[e.Pid][stream]++
			}
			for _, n := range []*cluster.Node{a, b} {
				testcluster.Eventually(t, "all is confirmed", func() bool { s := n.Stats().Sent; return s.Confirmed == s.Accepted })
				testcluster.CheckBooks(t, n)
				p := n.Stats().Peers[0]
				if s, r := p.Sent, p.Received; s.DroppedTotal()+s.Unconfirmed+r.Lost+r.Missed+r.RefusedTotal() != 0 || !p.Urgent {
					t.Errorf("the books: %+v", p)
				}
			}
		})
	}
}

// urgentlyKnown sends messages to a server until it is known to have an urgent stream.
func urgentlyKnown(t *testing.T, from, to *cluster.Node) {
	t.Helper()
	testcluster.Eventually(t, "the peer is known to have an urgent stream", func() bool {
		if err := from.SendUrgent(t.Context(), &cluster.Envelope{Pid: to.Pid(), Msg: "hello"}); err != nil {
			t.Fatal(err)
		}
		testcluster.Take(t, to)
		return testcluster.StatsOf(from, to.Pid()).Urgent
	})
}

// After a partition, during which only urgent messages were sent, as of an idle Raft, they go by the urgent stream again.
func TestTheUrgentStreamComesBackAfterAPartition(t *testing.T) {
	t.Parallel()
	cfg := testcluster.ProcessConfig(t, 2)
	cfg.SendTimeout = 200 * time.Millisecond
	cfg, p := behind(t, cfg, 0)
	cfg, q := behind(t, cfg, 1)
	a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
	urgentlyKnown(t, a, b)
	drop := func(int, bool, int, []byte) ([]byte, bool) { return nil, false }
	p.tamper(drop)
	q.tamper(drop)
	beat := func() { a.SendUrgent(t.Context(), &cluster.Envelope{Pid: 1, Msg: "beat"}) }
	testcluster.Eventually(t, "the peer is not known to have an urgent stream any more", func() bool {
		beat()
		time.Sleep(20 * time.Millisecond)
		return !testcluster.StatsOf(a, 1).Urgent
	})
	p.tamper(nil)
	q.tamper(nil)
	known := 0
	testcluster.Eventually(t, "it is known to have one again, for a while", func() bool {
		for len(b.Inbox()) > 0 {
			<-b.Inbox()
		}
		beat()
		time.Sleep(20 * time.Millisecond)
		if known++; !testcluster.StatsOf(a, 1).Urgent {
			known = 0
		}
		return known > 50
	})
}
