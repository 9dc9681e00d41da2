//go:build unix

package scenario

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// What docs/membership.md says of a cluster that is changed, in its order and otherwise.

// says sends a message to a server and returns what Send does.
func says(n *cluster.Node, to int, text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Limit)
	defer cancel()
	return n.Send(ctx, &cluster.Envelope{Pid: to, Msg: text})
}

// hears sends a message from one server to another and checks that it arrives.
func hears(t *testing.T, to, from *cluster.Node, text string) {
	t.Helper()
	if err := says(from, to.Pid(), text); err != nil {
		t.Errorf("%s: from %d to %d: %v", text, from.Pid(), to.Pid(), err)
	}
	if e := testcluster.Take(t, to); e.Msg != text || e.Pid != from.Pid() {
		t.Errorf("server %d received %v from %d, want %q", to.Pid(), e.Msg, e.Pid, text)
	}
}

// put makes nodes list a server.
func put(t *testing.T, p peercatalog.Peer, nodes ...*cluster.Node) {
	t.Helper()
	for _, n := range nodes {
		if err := n.Catalog().Put(p); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAServerThatTheOthersListFirstIsHeardAsSoonAsItStarts(t *testing.T) {
	cfg := testcluster.Config(t, "tcp", 4)
	old := cfg
	old.Peers = cfg.Peers[:3]
	var nodes []*cluster.Node
	for id := range 3 {
		nodes = append(nodes, testcluster.Join(t, id, old))
	}
	put(t, cfg.Peers[3], nodes...)
	added := testcluster.Join(t, 3, cfg)
	for _, n := range nodes {
		hears(t, n, added, "I am new")
		hears(t, added, n, "welcome")
	}
}

func TestAServerThatTheOthersDoNotListIsRefusedAndIsNotTold(t *testing.T) {
	cfg := testcluster.Config(t, "tcp", 4)
	old := cfg
	old.Peers = cfg.Peers[:3]
	n, added := testcluster.Join(t, 0, old), testcluster.Join(t, 3, cfg)
	if err := says(added, 0, "too early"); err != nil {
		t.Errorf("Send says %v", err)
	}
	testcluster.Eventually(t, "it is refused", func() bool { return n.Stats().Refused[cluster.RefusedSender] > 0 })
	put(t, cfg.Peers[3], n)
	hears(t, n, added, "listed") // and what it sent too early does not come
	if got := testcluster.StatsOf(n, 3).Received.Missed; got != 1 {
		t.Errorf("%d messages count as missed, want the one that came too early", got)
	}
}

func TestAServerThatIsClosedBeforeTheOthersAreToldMoves(t *testing.T) {
	cfg := testcluster.Config(t, "tcp", 3)
	nodes := testcluster.StartAll(t, cfg)
	hears(t, nodes[0], nodes[2], "from the old place")
	hears(t, nodes[2], nodes[0], "to the old place")
	if err := nodes[2].Close(); err != nil {
		t.Fatal(err)
	}
	moved := peercatalog.Peer{ID: 2, Address: testcluster.Addresses(t, "tcp", 1)[0]}
	put(t, moved, nodes[:2]...)
	cfg.Peers = append(slices.Clone(cfg.Peers[:2]), moved)
	there := testcluster.Join(t, 2, cfg)
	for _, n := range nodes[:2] {
		hears(t, n, there, "from the new place")
		hears(t, there, n, "to the new place")
	}
}

func TestAServerThatIsMovedWhileItRunsIsHeardAndHearsNothing(t *testing.T) {
	cfg := testcluster.Config(t, "tcp", 3)
	nodes := testcluster.StartAll(t, cfg)
	for _, n := range nodes[:2] {
		hears(t, n, nodes[2], "at first")
		hears(t, nodes[2], n, "at first")
	}
	put(t, peercatalog.Peer{ID: 2, Address: testcluster.Addresses(t, "tcp", 1)[0]}, nodes[:2]...)
	for i := range 100 {
		hears(t, nodes[0], nodes[2], fmt.Sprint("I am still here ", i))
	}
	if err := says(nodes[0], 2, "to the new place"); err != nil {
		t.Errorf("Send says %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("server 0: %+v", nodes[0].Stats())
		}
	})
	testcluster.Eventually(t, "what is for the new place is dropped", func() bool {
		return testcluster.StatsOf(nodes[0], 2).Sent.Dropped[cluster.ReasonTimedOut] == 1
	})
	if got := len(nodes[2].Inbox()); got != 0 {
		t.Errorf("%d messages came to the old place", got)
	}
}

func TestAServerThatIsRemovedWhileItRunsIsRefusedAndIsNotTold(t *testing.T) {
	nodes := testcluster.StartAll(t, testcluster.Config(t, "tcp", 3))
	hears(t, nodes[0], nodes[2], "at first")
	nodes[0].Catalog().Remove(2)
	if err := says(nodes[2], 0, "am I one of you?"); err != nil {
		t.Errorf("Send says %v", err)
	}
	testcluster.Eventually(t, "it is refused", func() bool { return nodes[0].Stats().Refused[cluster.RefusedSender] > 0 })
	if got := len(nodes[0].Inbox()); got != 0 {
		t.Errorf("%d messages came of a server that was removed", got)
	}
}

// notices waits until a server, which goes on sending to another one, finds that this does not answer any more, and knows what may be the cause.
func notices(t *testing.T, n *cluster.Node, other int, cause string) {
	t.Helper()
	var seen []cluster.LinkState
	testcluster.Eventually(t, fmt.Sprintf("server %d notices that server %d does not hear it", n.Pid(), other), func() bool {
		testcluster.Put(t, n, &cluster.Envelope{Pid: other, Msg: "hello?"})
		p := testcluster.StatsOf(n, other)
		if !slices.Contains(seen, p.State) {
			seen = append(seen, p.State)
		}
		return strings.Contains(p.Trouble, "it runs, and acknowledges nothing") && strings.Contains(p.Trouble, cause)
	})
	if want := []cluster.LinkState{cluster.LinkUp, cluster.LinkUnacknowledged, cluster.LinkDown}; !slices.Equal(seen, want[len(want)-len(seen):]) {
		t.Errorf("the link from %d to %d was %v, want %v", n.Pid(), other, seen, want)
	}
}

// The others are told that a server has moved, or is removed, while it runs. None of them says anything to it.
func TestAServerThatIsMovedOrRemovedWhileItRunsNoticesThatItIsNotHeard(t *testing.T) {
	t.Parallel() // it waits more than it works
	cfg := testcluster.Config(t, "tcp", 3)
	nodes := testcluster.StartAll(t, cfg)
	for _, n := range nodes[:2] {
		hears(t, n, nodes[2], "at first")
		testcluster.ReadAll(n)
		testcluster.Eventually(t, "the link is up", func() bool { return testcluster.StatsOf(nodes[2], n.Pid()).State == cluster.LinkUp })
	}
	put(t, peercatalog.Peer{ID: 2, Address: testcluster.Addresses(t, "tcp", 1)[0]}, nodes[0])
	nodes[1].Catalog().Remove(2)
	stop := make(chan struct{})
	var sends sync.WaitGroup
	sends.Go(func() { // It ends with stop, and is waited for below.
		for {
			select {
			case nodes[2].Outbox() <- &cluster.Envelope{Pid: 1, Msg: "hello?"}:
				time.Sleep(5 * time.Millisecond)
			case <-stop:
				return
			}
		}
	})
	notices(t, nodes[2], 0, "another address for this server")
	close(stop)
	sends.Wait()
	notices(t, nodes[2], 1, "not list it")
}

// The majorities before and after a step of one server have one in common; those of a step of two may not.
func TestMajoritiesOverlapWhereOneServerComesOrGoes(t *testing.T) {
	majority := func(n int) int { return n/2 + 1 }
	for n := 1; n < 20; n++ {
		if majority(n)+majority(n+1) <= n+1 {
			t.Errorf("from %d to %d servers, a majority of each may have nobody in common", n, n+1)
		}
	}
	if majority(3)+majority(5) > 5 {
		t.Error("from 3 to 5, any two majorities have somebody in common")
	}
}
