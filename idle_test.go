//go:build unix

package cluster

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

func TestGoroutinesAndDescriptorsReturnToTheBaselineAfterClose(t *testing.T) {
	cfg := processConfig(t, 9)
	goroutines, files := runtime.NumGoroutine(), openFiles()
	for range 3 {
		var nodes []*Node
		var readers []*reader
		for _, p := range cfg.Peers {
			n, err := NewFromConfig(p.ID, cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			nodes = append(nodes, n)
			readers = append(readers, readAll(n))
		}
		for _, n := range nodes {
			put(t, n, &Envelope{Pid: BROADCAST, Msg: "hello"})
			put(t, n, &Envelope{Pid: n.Pid(), Msg: "note"})
		}
		for i, r := range readers {
			for id := range nodes {
				eventually(t, fmt.Sprintf("server %d has heard %d", i, id), func() bool { return r.from(id).Others == 1 })
			}
		}
		if used := openFiles(); files > 0 && used < files+9*9 {
			t.Fatalf("%d descriptors are open while all servers run, and %d were before, so that the test tests nothing", used, files)
		}
		for _, n := range nodes {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
			checkBooks(t, n)
		}
		// Close has waited for all but the last steps of goroutines, and the end
		// of the sockets by which it watched the others end.
		checkBaseline(t, "after Close", goroutines, files)
	}
}

func TestAfterCloseNewOnTheSamePortWorksAtOnceAHundredTimes(t *testing.T) {
	cfg := processConfig(t, 2)
	path := writeConfig(t, cfg)
	other := join(t, 1, cfg)
	goroutines, files := 0, 0
	for i := range 100 {
		n, err := New(0, path)
		if err != nil {
			t.Fatalf("after %d times: %v", i, err)
		}
		// Both directions, so that the port has seen connections and is closed
		// from this side.
		put(t, n, &Envelope{Pid: 1, Msg: i})
		if e := take(t, other); e.Msg != i {
			t.Fatalf("server 1 got %v in round %d", e.Msg, i)
		}
		for heard := false; !heard; {
			put(t, other, &Envelope{Pid: 0, Msg: i})
			select {
			case e := <-n.Inbox():
				heard = e.Msg == i
			case <-time.After(100 * time.Millisecond): // what was written to the closed port is lost
			}
		}
		if err := n.Close(); err != nil {
			t.Fatalf("after %d times: %v", i, err)
		}
		checkBooks(t, n)
		if i == 0 {
			goroutines, files = runtime.NumGoroutine(), openFiles()
		}
	}
	if got := statsOf(other, 0).Received; got.Restarts != 99 || got.Lost != 0 {
		t.Errorf("server 1 counts %d restarts and %d lost, want 99 and none", got.Restarts, got.Lost)
	}
	checkBaseline(t, "after 100 times", goroutines, files)
}

// checkBaseline checks that no more goroutines and descriptors are there than
// these.
func checkBaseline(t testing.TB, when string, goroutines, files int) {
	t.Helper()
	if left, ok := settle(runtime.NumGoroutine, goroutines); !ok {
		t.Errorf("%d goroutines run %s, the baseline is %d", left, when, goroutines)
	}
	if left, ok := settle(openFiles, files); !ok {
		t.Errorf("%d descriptors are open %s, the baseline is %d", left, when, files)
	}
}

func TestAReplyToThePeerThatHasRestartedArrives(t *testing.T) {
	cfg := processConfig(t, 2)
	other := join(t, 1, cfg)
	for i := range 100 {
		n, err := NewFromConfig(0, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		put(t, n, &Envelope{Pid: 1, Msg: i})
		// The connection to the life before was closed long before this comes.
		e := take(t, other)
		put(t, other, &Envelope{Pid: e.Pid, Msg: e.Msg})
		select {
		case e := <-n.Inbox():
			if e.Msg != i {
				t.Fatalf("server 0 got %v in round %d", e.Msg, i)
			}
		case <-time.After(2 * time.Second):
			t.Fatalf("in round %d server 1 heard the new life of server 0, and its reply has not come in 2 s:\n%v", i, other.Stats())
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// connected starts a child with server 0 and one with all the others, and makes
// each of the others exchange a message with server 0.
func connected(t *testing.T, servers int) (one, others *child) {
	t.Helper()
	cfg := processConfig(t, servers)
	var ids []int
	for _, p := range cfg.Peers[1:] {
		ids = append(ids, p.ID)
	}
	one, others = spawn(t, cfg, 0).start(), spawn(t, cfg, ids...).start()
	one.send(ids, 1, 16, 0)
	others.send([]int{0}, 1, 16, 0)
	one.until("a message of each peer", func(r *report) bool {
		return len(r.From) == len(ids)
	})
	eventually(t, "a message at each peer", func() bool {
		for _, r := range others.reports() {
			if r.from(0).Count == 0 {
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
	if raceEnabled {
		t.Skip("the race detector's own work would be measured")
	}
	const (
		window = 6 * time.Second // four heartbeats
		most   = 0.002
	)
	one, others := connected(t, 9)
	// The runtime winds down for a while after work: the scavenger of memory,
	// goroutines that are let go, threads that park.
	time.Sleep(time.Second)
	before, began := one.usage(), time.Now()
	time.Sleep(window)
	after, took := one.usage(), time.Since(began)
	part := float64(after.CPU-before.CPU) / float64(took)
	t.Logf("%v of processor time in %v: %.3f %% of a core; %d threads, %d goroutines, %d descriptors",
		after.CPU-before.CPU, took, 100*part, after.Threads, after.Goroutines, after.Files)
	if part > most {
		t.Errorf("an idle node with 8 connected peers used %.3f %% of a core, want at most %.1f %%", 100*part, 100*most)
	}
	for _, p := range one.report().Stats.Peers {
		if p.State != "up" {
			t.Errorf("the link to %d is %s, want up", p.ID, p.State)
		}
	}
	one.close()
	others.close()
}

func TestThreadsDoNotGrowWithTheNumberOfNodes(t *testing.T) {
	// On a machine that is busy with other things a call of C may be interrupted, and
	// Go then starts a thread, which it keeps. That does not happen each time; a thread
	// for each node would.
	for tries := 3; ; tries-- {
		one, others := connected(t, 51)
		few, many := one.usage().Threads, others.usage().Threads
		if few == 0 {
			t.Skip("threads cannot be counted here: there is no /proc/self/status")
		}
		t.Logf("%d threads with 1 node, %d with 50", few, many)
		one.close()
		others.close()
		if many <= few+12 {
			return
		}
		if tries == 1 {
			t.Fatalf("a process with 50 nodes has %d threads, one with 1 node has %d", many, few)
		}
	}
}
