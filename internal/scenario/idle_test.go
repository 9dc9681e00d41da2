//go:build unix

package scenario

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

func TestGoroutinesAndDescriptorsReturnToTheBaselineAfterClose(t *testing.T) {
	cfg := testcluster.ProcessConfig(t, 9)
	goroutines, files := runtime.NumGoroutine(), testcluster.OpenFiles()
	for range 3 {
		var nodes []*cluster.Node
		var readers []*testcluster.Reader
		for _, p := range cfg.Peers {
			n, err := cluster.NewFromConfig(p.ID, cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			nodes = append(nodes, n)
			readers = append(readers, testcluster.ReadAll(n))
		}
		for _, n := range nodes {
			testcluster.Put(t, n, &cluster.Envelope{Pid: cluster.BROADCAST, Msg: "hello"})
			testcluster.Put(t, n, &cluster.Envelope{Pid: n.Pid(), Msg: "note"})
		}
		for i, r := range readers {
			for id := range nodes {
				testcluster.Eventually(t, fmt.Sprintf("server %d has heard %d", i, id), func() bool { return r.Tally(id).Others == 1 })
			}
		}
		if used := testcluster.OpenFiles(); files > 0 && used < files+9*9 {
			t.Fatalf("%d descriptors are open while all servers run, and %d were before, so that the test tests nothing", used, files)
		}
		for _, n := range nodes {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
			testcluster.CheckBooks(t, n)
		}
		// Close has waited for all but the last steps of goroutines, and the end
		// of the sockets by which it watched the others end.
		checkBaseline(t, "after Close", goroutines, files)
	}
}

func TestAfterCloseNewOnTheSamePortWorksAtOnceAHundredTimes(t *testing.T) {
	cfg := testcluster.ProcessConfig(t, 2)
	path := testcluster.WriteConfig(t, cfg)
	other := testcluster.Join(t, 1, cfg)
	goroutines, files := 0, 0
	for i := range 100 {
		n, err := cluster.New(0, path)
		if err != nil {
			t.Fatalf("after %d times: %v", i, err)
		}
		// Both directions, so that the port has seen connections and is closed
		// from this side.
		testcluster.Put(t, n, &cluster.Envelope{Pid: 1, Msg: i})
		if e := testcluster.Take(t, other); e.Msg != i {
			t.Fatalf("server 1 got %v in round %d", e.Msg, i)
		}
		for heard := false; !heard; {
			testcluster.Put(t, other, &cluster.Envelope{Pid: 0, Msg: i})
			select {
			case e := <-n.Inbox():
				heard = e.Msg == i
			case <-time.After(100 * time.Millisecond): // what was written to the closed port is lost
			}
		}
		if err := n.Close(); err != nil {
			t.Fatalf("after %d times: %v", i, err)
		}
		testcluster.CheckBooks(t, n)
		if i == 0 {
			goroutines, files = runtime.NumGoroutine(), testcluster.OpenFiles()
		}
	}
	if got := testcluster.StatsOf(other, 0).Received; got.Restarts != 99 || got.Lost != 0 {
		t.Errorf("server 1 counts %d restarts and %d lost, want 99 and none", got.Restarts, got.Lost)
	}
	// One goroutine and one descriptor more are there while a connection rests (see zmq.Conn.Rest).
	checkBaseline(t, "after 100 times", goroutines+1, files+1)
}

// checkBaseline checks that no more goroutines and descriptors are there than
// these.
func checkBaseline(t testing.TB, when string, goroutines, files int) {
	t.Helper()
	if left, ok := testcluster.Settle(runtime.NumGoroutine, goroutines); !ok {
		t.Errorf("%d goroutines run %s, the baseline is %d", left, when, goroutines)
	}
	if left, ok := testcluster.Settle(testcluster.OpenFiles, files); !ok {
		t.Errorf("%d descriptors are open %s, the baseline is %d", left, when, files)
	}
}

// connected starts a child with server 0 and one with all the others, and makes
// each of the others exchange a message with server 0.
func connected(t *testing.T, servers int) (one, others *testcluster.Child) {
	t.Helper()
	cfg := testcluster.ProcessConfig(t, servers)
	var ids []int
	for _, p := range cfg.Peers[1:] {
		ids = append(ids, p.ID)
	}
	one, others = testcluster.Spawn(t, cfg, 0).Start(), testcluster.Spawn(t, cfg, ids...).Start()
	one.Send(ids, 1, 16, 0)
	others.Send([]int{0}, 1, 16, 0)
	one.Until("a message of each peer", func(r *testcluster.Report) bool {
		return len(r.From) == len(ids)
	})
	testcluster.Eventually(t, "a message at each peer", func() bool {
		for _, r := range others.Reports() {
			if r.Tally(0).Count == 0 {
				return false
			}
		}
		return true
	})
	return one, others
}

func TestAnIdleNodeUsesNoMeasurableProcessorTime(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	if testcluster.RaceEnabled {
		t.Skip("the race detector's own work would be measured")
	}
	const (
		window = 6 * time.Second // four heartbeats
		most   = 0.002
		tries  = 5
	)
	one, others := connected(t, 9)
	// What else the machine does (caches that others fill, cores that are two
	// threads of one) makes the same work take more processor time, never less:
	// the first window that is within the bound shows what the node needs.
	for try := 1; ; try++ {
		// The runtime winds down for a while after work: the scavenger of memory,
		// goroutines that are let go, threads that park.
		time.Sleep(time.Second)
		before, began := one.Usage(), time.Now()
		time.Sleep(window)
		after, took := one.Usage(), time.Since(began)
		part := float64(after.CPU-before.CPU) / float64(took)
		t.Logf("%v of processor time in %v: %.3f %% of a core; %d threads, %d goroutines, %d descriptors",
			after.CPU-before.CPU, took, 100*part, after.Threads, after.Goroutines, after.Files)
		if part <= most {
			break
		}
		if try == tries {
			t.Errorf("an idle node with 8 connected peers used %.3f %% of a core in the last of %d windows, want at most %.1f %% in one",
				100*part, tries, 100*most)
			break
		}
	}
	for _, p := range one.Report().Stats.Peers {
		if p.State != "up" {
			t.Errorf("the link to %d is %s, want up", p.ID, p.State)
		}
	}
	one.Close()
	others.Close()
}

func TestThreadsDoNotGrowWithTheNumberOfNodes(t *testing.T) {
	// On a machine that is busy with other things a call of C may be interrupted, and
	// Go then starts a thread, which it keeps. That does not happen each time; a thread
	// for each node would.
	for tries := 3; ; tries-- {
		one, others := connected(t, 51)
		few, many := one.Usage().Threads, others.Usage().Threads
		if few == 0 {
			t.Skip("threads cannot be counted here: there is no /proc/self/status")
		}
		t.Logf("%d threads with 1 node, %d with 50", few, many)
		one.Close()
		others.Close()
		if many <= few+12 {
			return
		}
		if tries == 1 {
			t.Fatalf("a process with 50 nodes has %d threads, one with 1 node has %d", many, few)
		}
	}
}
