//go:build unix

package scenario

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

// Whatever happens to connections, nothing of either stream is lost, comes twice or out of its order, and the books of both close: as long as
// the links are up. On a machine that is busy they may be longer without a connection than that allows: then there is another try.
func TestBothStreamsSurviveBrokenConnections(t *testing.T) {
	for _, keyed := range []bool{false, true} {
		t.Run(map[bool]string{false: "in plaintext", true: "with keys"}[keyed], func(t *testing.T) {
			t.Parallel()
			for up, tries := false, 0; !up; tries++ {
				if tries == 5 {
					t.Fatalf("a link went down each of %d times", tries)
				}
				if !t.Run(fmt.Sprint(tries), func(t *testing.T) { up = bothStreamsSurvive(t, keyed) }) {
					return
				}
			}
		})
	}
}

// bothStreamsSurvive reports whether the links were up all the time. If they were not, nothing is said.
func bothStreamsSurvive(t *testing.T, keyed bool) (up bool) {
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
	for _, n := range []*cluster.Node{a, b} {
		for stream, send := range []func(context.Context, *cluster.Envelope) error{n.Send, n.SendUrgent} {
			go sendStream(t, send, 1-n.Pid(), stream, count) // It ends with its last message, or the node.
		}
	}
	wentDown := func() bool { return testcluster.StatsOf(a, 1).Flaps+testcluster.StatsOf(b, 0).Flaps > 0 }
	came := make(map[int]*[2]int)
	stop := time.After(2 * testcluster.Limit)
	for got := 0; got < 2*2*count; {
		var e *cluster.Envelope
		select {
		case e = <-a.Inbox():
		case e = <-b.Inbox():
		case <-time.After(100 * time.Millisecond):
			if wentDown() {
				return false
			}
			continue
		case <-stop:
			t.Fatalf("%d messages have come: %+v, %+v", got, a.Stats(), b.Stats())
		}
		if came[e.Pid] == nil {
			came[e.Pid] = new([2]int)
		}
		stream, i := int(e.MsgId-1)%2, int(e.MsgId-1)/2
		if i != came[e.Pid][stream] {
			if wentDown() {
				return false
			}
			t.Fatalf("message %d of stream %d of server %d comes after %d", i, stream, e.Pid, came[e.Pid][stream]-1)
		}
		came[e.Pid][stream]++
		if got++; got%(4*count/breaks) == 2*count/breaks {
			p.hangUp()
			q.hangUp()
		}
	}
	for _, n := range []*cluster.Node{a, b} {
		testcluster.Eventually(t, "all is confirmed", func() bool { s := n.Stats().Sent; return wentDown() || s.Confirmed == s.Accepted })
		if wentDown() {
			return false
		}
		testcluster.CheckBooks(t, n)
		p := n.Stats().Peers[0]
		if s, r := p.Sent, p.Received; s.DroppedTotal()+s.Unconfirmed+r.Lost+r.Missed+r.RefusedTotal() != 0 || !p.Urgent {
			t.Errorf("the books: %+v", p)
		}
	}
	return true
}

// sendStream sends messages whose ids tell the stream and their number in it, some of them large.
func sendStream(t *testing.T, send func(context.Context, *cluster.Envelope) error, to, stream, count int) {
	for i := range count {
		size := i % 1000
		if i%100 == 0 {
			size = []int{400_000, 100_000}[stream]
		}
		if send(t.Context(), &cluster.Envelope{Pid: to, MsgId: int64(1 + 2*i + stream), Msg: make([]byte, size)}) != nil {
			return
		}
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
