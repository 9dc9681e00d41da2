package clustertest_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

func TestAHistoryReportsWhatIsWrong(t *testing.T) {
	tests := []struct {
		name   string
		happen func(h *clustertest.History, sent []*cluster.Envelope)
		want   []string
	}{
		{"nothing", func(h *clustertest.History, sent []*cluster.Envelope) {
			for _, e := range sent {
				h.Received(1, &cluster.Envelope{Pid: 0, MsgId: e.MsgId, Msg: e.Msg})
			}
		}, nil},
		{"phantom", func(h *clustertest.History, sent []*cluster.Envelope) {
			for _, e := range sent {
				h.Received(1, &cluster.Envelope{Pid: 0, MsgId: e.MsgId, Msg: e.Msg})
			}
			h.Received(1, &cluster.Envelope{Pid: 0, MsgId: 99, Msg: "x"})
		}, []string{"message 99 from 0 to 1: phantom"}},
		{"phantom at another server", func(h *clustertest.History, sent []*cluster.Envelope) {
			for _, e := range sent {
				h.Received(1, &cluster.Envelope{Pid: 0, MsgId: e.MsgId, Msg: e.Msg})
			}
			h.Received(2, &cluster.Envelope{Pid: 0, MsgId: sent[0].MsgId, Msg: sent[0].Msg})
		}, []string{"from 0 to 2: phantom"}},
		{"duplicate", func(h *clustertest.History, sent []*cluster.Envelope) {
			for _, i := range []int{0, 1, 1, 2} {
				h.Received(1, &cluster.Envelope{Pid: 0, MsgId: sent[i].MsgId, Msg: sent[i].Msg})
			}
		}, []string{"message 2 from 0 to 1: duplicate"}},
		{"inversion", func(h *clustertest.History, sent []*cluster.Envelope) {
			for _, i := range []int{0, 2, 1} {
				h.Received(1, &cluster.Envelope{Pid: 0, MsgId: sent[i].MsgId, Msg: sent[i].Msg})
			}
		}, []string{"message 2 from 0 to 1: inversion"}},
		{"corruption", func(h *clustertest.History, sent []*cluster.Envelope) {
			for _, e := range sent {
				h.Received(1, &cluster.Envelope{Pid: 0, MsgId: e.MsgId, Msg: "a"})
			}
		}, []string{"message 2 from 0 to 1: corruption: got string \"a\", want string \"b\"", "message 3 from 0 to 1: corruption"}},
		{"loss", func(h *clustertest.History, sent []*cluster.Envelope) {
			h.Received(1, &cluster.Envelope{Pid: 0, MsgId: 1, Msg: "a"})
		}, []string{"unexplained loss: of 3 messages from 0 to 1, 2 did not arrive, the first of them message 2"}},
		{"loss that the books explain in part", func(h *clustertest.History, sent []*cluster.Envelope) {
			h.Received(1, &cluster.Envelope{Pid: 0, MsgId: 1, Msg: "a"})
			h.Explain(cluster.Stats{Pid: 1, Peers: []cluster.PeerStats{{ID: 0, Received: cluster.ReceivedStats{Lost: 1}}}})
		}, []string{"2 did not arrive, the first of them message 2; the books account for 1"}},
		{"loss that the books explain", func(h *clustertest.History, sent []*cluster.Envelope) {
			h.Received(1, &cluster.Envelope{Pid: 0, MsgId: 1, Msg: "a"})
			h.Explain(cluster.Stats{Pid: 1, Peers: []cluster.PeerStats{{ID: 0, Received: cluster.ReceivedStats{Missed: 1}}}})
			h.Explain(cluster.Stats{Pid: 0, Peers: []cluster.PeerStats{
				{ID: 1, Sent: cluster.SentStats{Accepted: 1, Dropped: map[cluster.Reason]uint64{cluster.ReasonTimedOut: 1}}}}})
		}, nil},
		{"loss of what is confirmed", func(h *clustertest.History, sent []*cluster.Envelope) { loses(h, sent, 3) },
			[]string{"unkept promise: of the messages from 0 to 1, 3 are confirmed, and 2 were put into Inbox or refused"}},
		{"loss of what is not confirmed", func(h *clustertest.History, sent []*cluster.Envelope) { loses(h, sent, 2) }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var h clustertest.History
			var sent []*cluster.Envelope
			for _, msg := range []string{"a", "b", "c"} {
				e := &cluster.Envelope{Pid: 1, Msg: msg}
				h.Sent(0, e)
				sent = append(sent, e)
			}
			tt.happen(&h, sent)
			err := h.Check()
			if len(tt.want) == 0 && err != nil {
				t.Fatalf("got %v, want no error", err)
			}
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
			if err != nil && len(tt.want) > 0 && strings.Count(err.Error(), "\n")+1 != len(tt.want) {
				t.Errorf("got more than wanted: %v", err)
			}
		})
	}
}

// loses lets the last of three messages be missed, of which the sender takes some for delivered.
func loses(h *clustertest.History, sent []*cluster.Envelope, confirmed uint64) {
	for _, e := range sent[:2] {
		h.Received(1, &cluster.Envelope{Pid: 0, MsgId: e.MsgId, Msg: e.Msg})
	}
	h.Explain(cluster.Stats{Pid: 1, Peers: []cluster.PeerStats{{ID: 0, Received: cluster.ReceivedStats{Received: 2, Lost: 1}}}})
	h.Explain(cluster.Stats{Pid: 0, Peers: []cluster.PeerStats{
		{ID: 1, Sent: cluster.SentStats{Accepted: 3, Sent: 3, Confirmed: confirmed, Unconfirmed: 3 - confirmed}}}})
}

// The history and the nodes' own books must tell the same story, whatever happens.
func TestTheBooksExplainWhatFaultsHaveCost(t *testing.T) {
	for seed := range uint64(20) {
		bubble(t, seed, 3, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
			var h clustertest.History
			net.Set(clustertest.Faults{Loss: 0.05, Duplicate: 0.05, Reorder: 0.05, Delay: clustertest.Between(0, 50*time.Millisecond)})
			net.At(500*time.Millisecond, func() { net.Partition([]int{0, 1}, []int{2}) })
			net.At(3500*time.Millisecond, net.Heal)
			done := make(chan struct{})
			for _, n := range nodes {
				go func() {
					for e := range n.Inbox() {
						h.Received(n.Pid(), e)
					}
					done <- struct{}{}
				}()
			}
			total := 0
			for i := range 500 {
				from := net.Rand().IntN(3)
				e := &cluster.Envelope{Pid: cluster.BROADCAST, Msg: i}
				h.Sent(from, e, nodes[from].Peers()...)
				nodes[from].Outbox() <- e
				total += 2
				time.Sleep(10 * time.Millisecond)
			}
			// What is lost at the very end is noticed with what follows.
			net.Set(clustertest.Faults{})
			time.Sleep(5 * time.Second)
			for _, n := range nodes {
				e := &cluster.Envelope{Pid: cluster.BROADCAST, Msg: "last"}
				h.Sent(n.Pid(), e, n.Peers()...)
				n.Outbox() <- e
			}
			time.Sleep(5 * time.Second)
			for _, n := range nodes {
				h.Explain(n.Stats())
			}
			if err := h.Check(); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
			for _, n := range nodes {
				n.Close()
				<-done
			}
		})
	}
}

// The same holds where servers crash: what a life has lost is in its books or in those of
// the next, or was the last that a life had sent, or was on its way to one that has ended.
func TestARightClusterRaisesNoFalseAlarm(t *testing.T) {
	count := 40
	switch {
	case long:
		count = 10_000
	case testcluster.RaceEnabled: // each takes ten times as long
		count = 5
	}
	seeds := []uint64{412, 2811, 3691} // which once raised one
	for seed := range uint64(count) {
		seeds = append(seeds, seed)
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { checkRightCluster(t, seed) })
	}
}

// checkRightCluster disturbs a cluster and crashes its servers, and checks its history.
func checkRightCluster(t *testing.T, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		var h clustertest.History
		net := clustertest.NewNetwork(t, seed, 3)
		last := make(map[int]*cluster.Node)
		end := time.Now().Add(troubled / 2)
		run := func(n *cluster.Node) {
			if before := last[n.Pid()]; before != nil {
				h.Explain(before.Stats())
			}
			last[n.Pid()] = n
			speak(&h, n, time.Duration(30+10*n.Pid())*time.Millisecond, end)
		}
		for _, n := range net.Start() {
			run(n)
		}
		net.Disturb(troubled/2, run)
		net.Sleep(troubled/2 + 5*time.Second)
		for _, n := range last { // what was lost last of all is noticed with what follows
			e := &cluster.Envelope{Pid: cluster.BROADCAST, Msg: "last"}
			h.Sent(n.Pid(), e, n.Peers()...)
			n.Outbox() <- e
		}
		net.Sleep(5 * time.Second)
		for _, n := range last {
			h.Explain(n.Stats())
		}
		if err := h.Check(); err != nil {
			t.Error(err)
		}
	})
}

// speak makes a server broadcast now and then until end, and take what it receives.
func speak(h *clustertest.History, n *cluster.Node, pause time.Duration, end time.Time) {
	go func() { // ends with the inbox, which the network closes; synctest.Test waits
		for e := range n.Inbox() {
			h.Received(n.Pid(), e)
		}
	}()
	go func() { // ends at its time, or when the node closes; synctest.Test waits
		over := time.NewTimer(time.Until(end))
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
			case <-over.C:
				return
			case <-n.Done():
				return
			}
			e := &cluster.Envelope{Pid: cluster.BROADCAST, Msg: i}
			h.Sent(n.Pid(), e, n.Peers()...)
			select {
			case n.Outbox() <- e:
			case <-n.Done():
				return
			}
		}
	}()
}

func TestStartLocalStartsServersThatHearEachOther(t *testing.T) {
	clustertest.CheckLeaks(t)
	nodes := clustertest.StartLocal(t, 3, func(c *cluster.Config) { c.InboxSize = 7 })
	if got := cap(nodes[2].Inbox()); got != 7 {
		t.Errorf("the inbox holds %d, want 7 as configured", got)
	}
	nodes[0].Outbox() <- &cluster.Envelope{Pid: cluster.BROADCAST, Msg: "hello"}
	for _, n := range nodes[1:] {
		select {
		case e := <-n.Inbox():
			if e.Pid != 0 || e.Msg != "hello" {
				t.Errorf("got %+v", e)
			}
		case <-time.After(time.Minute):
			t.Fatalf("server %d has received nothing", n.Pid())
		}
	}
}

// reporter notes errors instead of failing.
type reporter struct {
	testing.TB
	errors   int
	cleanups []func()
}

func (r *reporter) Helper()               {}
func (r *reporter) Cleanup(f func())      { r.cleanups = append(r.cleanups, f) }
func (r *reporter) Errorf(string, ...any) { r.errors++ }

func TestCheckLeaksFindsAGoroutineThatIsLeft(t *testing.T) {
	r := &reporter{TB: t}
	clustertest.CheckLeaks(r)
	stop := make(chan struct{})
	go func() { <-stop }()
	r.cleanups[0]()
	close(stop)
	if r.errors != 1 {
		t.Errorf("got %d errors, want 1", r.errors)
	}
}
