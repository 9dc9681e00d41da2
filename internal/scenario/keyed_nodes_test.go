//go:build unix

package scenario

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/transport/sockets"
)

func TestNodesWithKeysOfTwoClustersAndWithoutLiveInOneProcess(t *testing.T) {
	// The clusters have the same name and the same ids, and so tell one another apart by
	// nothing but their keys.
	configs := []cluster.Config{testcluster.Keyed(t, testcluster.ProcessConfig(t, 3)), testcluster.Keyed(t, testcluster.ProcessConfig(t, 3)), testcluster.ProcessConfig(t, 3)}
	var clusters [][]*cluster.Node
	for _, cfg := range configs {
		clusters = append(clusters, testcluster.StartAll(t, cfg))
	}
	const rounds = 20
	for i := range rounds {
		for c, nodes := range clusters {
			for _, n := range nodes {
				testcluster.Put(t, n, &cluster.Envelope{Pid: cluster.BROADCAST, Msg: fmt.Sprint("cluster ", c, " round ", i)})
			}
		}
	}
	for c, nodes := range clusters {
		for _, n := range nodes {
			next := make(map[int]int)
			for range rounds * (len(nodes) - 1) {
				e := testcluster.Take(t, n)
				if want := fmt.Sprint("cluster ", c, " round ", next[e.Pid]); e.Msg != want {
					t.Fatalf("server %d of cluster %d received %q from %d, want %q", n.Pid(), c, e.Msg, e.Pid, want)
				}
				next[e.Pid]++
			}
			s := n.Stats()
			if len(framesRefused(s.Received.Refused)) > 0 {
				t.Errorf("server %d of cluster %d refused %v, want nothing", n.Pid(), c, s.Received.Refused)
			}
			for _, p := range s.Peers {
				if want := c < 2; p.Encrypted != want {
					t.Errorf("server %d of cluster %d says of its link to %d that it is encrypted: %v, want %v", n.Pid(), c, p.ID, p.Encrypted, want)
				}
			}
		}
	}
	// A server that is sent to the address of another cluster is not heard there.
	stray := clusters[0][0]
	for _, c := range []int{1, 2} {
		p, _ := stray.Catalog().Get(1)
		p.Address = configs[c].Peers[1].Address
		if err := stray.Catalog().Put(p); err != nil {
			t.Fatal(err)
		}
		dropped := testcluster.StatsOf(stray, 1).Sent.DroppedTotal()
		testcluster.Put(t, stray, &cluster.Envelope{Pid: 1, Msg: "astray"})
		testcluster.Eventually(t, "a message for another cluster is dropped", func() bool { return testcluster.StatsOf(stray, 1).Sent.DroppedTotal() > dropped })
		select {
		case e := <-clusters[c][1].Inbox():
			t.Errorf("cluster %d received %v", c, e.Msg)
		default:
		}
	}
}

func TestAHundredNodesWithKeysComeAndGo(t *testing.T) {
	cfg := testcluster.Keyed(t, testcluster.Config(t, "tcp", 100))
	cfg.SendTimeout = testcluster.Limit // a busy machine needs seconds for 200 handshakes
	goroutines, files := runtime.NumGoroutine(), testcluster.OpenFiles()
	for range 2 {
		var nodes []*cluster.Node
		for _, p := range cfg.Peers {
			n, err := cluster.NewFromConfig(p.ID, cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			nodes = append(nodes, n)
		}
		for i, n := range nodes {
			testcluster.Put(t, n, &cluster.Envelope{Pid: (i + 1) % len(nodes), Msg: i})
			testcluster.Put(t, n, &cluster.Envelope{Pid: (i + 7) % len(nodes), Msg: i})
		}
		for _, n := range nodes {
			testcluster.Take(t, n)
			testcluster.Take(t, n)
		}
		// All at once, in the midst of whatever handshakes are under way.
		closed := make(chan error)
		for _, n := range nodes {
			go func() { closed <- n.Close() }() // The loop below waits for it.
		}
		for range nodes {
			if err := <-closed; err != nil {
				t.Error(err)
			}
		}
		checkBaseline(t, "after Close", goroutines, files)
	}
}

func TestNodesWithKeysCloseAmongHandshakesThatAreRefused(t *testing.T) {
	cfg := testcluster.Keyed(t, testcluster.ProcessConfig(t, 2))
	cfg.Linger = -1
	goroutines, files := runtime.NumGoroutine(), testcluster.OpenFiles()
	const times, limit = 20, 20 * time.Second
	var took []time.Duration
	for range times {
		server, err := cluster.NewFromConfig(0, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		server.Catalog().Remove(1)
		other, err := cluster.NewFromConfig(1, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		testcluster.Put(t, other, &cluster.Envelope{Pid: 0, Msg: "x"})
		testcluster.Eventually(t, "the server is asked", func() bool { return server.Stats().Refused[cluster.RefusedKey] > 0 })
		start := time.Now()
		server.Close()
		took = append(took, time.Since(start))
		other.Close()
	}
	// The machine may be too busy for some.
	if slices.Sort(took); took[times/2] > time.Second || took[times-1] > limit {
		t.Errorf("the server took %v to close, want most within a second, and all within %v", took, limit)
	}
	checkBaseline(t, "after Close", goroutines, files)
}

// The one goroutine answers ZAP, libzmq's question who is to be let in. The transport in Go has none.
func TestKeysCostOneGoroutinePerProcessAndNoThread(t *testing.T) {
	transport, err := sockets.Choose("", "the test")
	if err != nil {
		t.Fatal(err)
	}
	more := 0
	if transport.Name == sockets.Libzmq {
		more = 1
	}
	const servers, heard = 24, 6
	plain, secured := usageOf(t, testcluster.ProcessConfig(t, servers), heard), usageOf(t, testcluster.Keyed(t, testcluster.ProcessConfig(t, servers)), heard)
	t.Logf("%d nodes and %d connections without keys: %d goroutines, %d threads, %d descriptors; with keys: %d, %d, %d",
		servers, heard*(servers-1), plain.Goroutines, plain.Threads, plain.Files, secured.Goroutines, secured.Threads, secured.Files)
	if secured.Goroutines != plain.Goroutines+more {
		t.Errorf("%d goroutines with keys, %d without, want %d more", secured.Goroutines, plain.Goroutines, more)
	}
	// ZAP's socket, and what watches it.
	if secured.Files > plain.Files+4 {
		t.Errorf("%d descriptors with keys, %d without", secured.Files, plain.Files)
	}
	// The runtime keeps the threads that it had when the machine was busiest: what a
	// process needs is the least of several.
	threads := secured.Threads
	for range 5 {
		if threads < servers {
			return
		}
		threads = min(threads, usageOf(t, testcluster.Keyed(t, testcluster.ProcessConfig(t, servers)), heard).Threads)
	}
	t.Errorf("a process with %d nodes with keys has %d threads", servers, threads)
}

// usageOf is what a process uses that plays all servers of the configuration, when those
// to be heard, so many of the first, have had a message of each of the others.
func usageOf(t *testing.T, cfg cluster.Config, heard int) testcluster.Usage {
	t.Helper()
	cfg.SendTimeout = testcluster.Limit
	var ids []int
	for _, p := range cfg.Peers {
		ids = append(ids, p.ID)
	}
	c := testcluster.Spawn(t, cfg, ids...).Start()
	c.Send(ids[:heard], 1, 16, 0)
	testcluster.Eventually(t, "the first servers have heard all others", func() bool {
		for _, r := range c.Reports()[:heard] {
			if len(r.From) < len(ids)-1 {
				return false
			}
		}
		return true
	})
	// What ends by itself has ended, and connections rest, when nothing changes for a while.
	u, same := c.Usage(), 0
	for deadline := time.Now().Add(testcluster.Limit); same < 20 && time.Now().Before(deadline); same++ {
		time.Sleep(100 * time.Millisecond)
		last := u
		if u = c.Usage(); u.Goroutines != last.Goroutines {
			same = 0
		}
	}
	c.Close()
	return u
}
