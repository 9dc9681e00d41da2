//go:build unix

package cluster

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

func TestNodesWithKeysOfTwoClustersAndWithoutLiveInOneProcess(t *testing.T) {
	// The clusters have the same name and the same ids, and so tell one another apart by
	// nothing but their keys.
	configs := []Config{keyed(t, processConfig(t, 3)), keyed(t, processConfig(t, 3)), processConfig(t, 3)}
	var clusters [][]*Node
	for _, cfg := range configs {
		clusters = append(clusters, startAll(t, cfg))
	}
	const rounds = 20
	for i := range rounds {
		for c, nodes := range clusters {
			for _, n := range nodes {
				put(t, n, &Envelope{BROADCAST, 0, fmt.Sprint("cluster ", c, " round ", i)})
			}
		}
	}
	for c, nodes := range clusters {
		for _, n := range nodes {
			next := make(map[int]int)
			for range rounds * (len(nodes) - 1) {
				e := take(t, n)
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
		dropped := statsOf(stray, 1).Sent.DroppedTotal()
		put(t, stray, &Envelope{1, 0, "astray"})
		eventually(t, "a message for another cluster is dropped", func() bool { return statsOf(stray, 1).Sent.DroppedTotal() > dropped })
		select {
		case e := <-clusters[c][1].Inbox():
			t.Errorf("cluster %d received %v", c, e.Msg)
		default:
		}
	}
}

func TestAHundredNodesWithKeysComeAndGo(t *testing.T) {
	cfg := keyed(t, config(t, "tcp", 100))
	goroutines, files := runtime.NumGoroutine(), openFiles()
	for range 2 {
		var nodes []*Node
		for _, p := range cfg.Peers {
			n, err := NewFromConfig(p.ID, cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			nodes = append(nodes, n)
		}
		for i, n := range nodes {
			put(t, n, &Envelope{(i + 1) % len(nodes), 0, i})
			put(t, n, &Envelope{(i + 7) % len(nodes), 0, i})
		}
		for _, n := range nodes {
			take(t, n)
			take(t, n)
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
	cfg := keyed(t, processConfig(t, 2))
	cfg.Linger = -1
	goroutines, files := runtime.NumGoroutine(), openFiles()
	for range 20 {
		server, err := NewFromConfig(0, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		server.Catalog().Remove(1)
		other, err := NewFromConfig(1, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		put(t, other, &Envelope{0, 0, "x"})
		eventually(t, "the server is asked", func() bool { return server.Stats().Refused[RefusedKey] > 0 })
		start := time.Now()
		server.Close()
		if took := time.Since(start); took > time.Second {
			t.Errorf("the server took %v to close", took)
		}
		other.Close()
	}
	checkBaseline(t, "after Close", goroutines, files)
}

func TestKeysCostOneGoroutinePerProcessAndNoThread(t *testing.T) {
	const servers, heard = 24, 6
	plain, secured := usageOf(t, processConfig(t, servers), heard), usageOf(t, keyed(t, processConfig(t, servers)), heard)
	t.Logf("%d nodes and %d connections without keys: %d goroutines, %d threads, %d descriptors; with keys: %d, %d, %d",
		servers, heard*(servers-1), plain.Goroutines, plain.Threads, plain.Files, secured.Goroutines, secured.Threads, secured.Files)
	if secured.Goroutines != plain.Goroutines+1 {
		t.Errorf("%d goroutines with keys, %d without, want one more: the one that answers ZAP", secured.Goroutines, plain.Goroutines)
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
		threads = min(threads, usageOf(t, keyed(t, processConfig(t, servers)), heard).Threads)
	}
	t.Errorf("a process with %d nodes with keys has %d threads", servers, threads)
}

// usageOf is what a process uses that plays all servers of the configuration, when those
// to be heard, so many of the first, have had a message of each of the others.
func usageOf(t *testing.T, cfg Config, heard int) usage {
	t.Helper()
	cfg.SendTimeout = limit
	var ids []int
	for _, p := range cfg.Peers {
		ids = append(ids, p.ID)
	}
	c := spawn(t, cfg, ids...).start()
	c.send(ids[:heard], 1, 16, 0)
	eventually(t, "the first servers have heard all others", func() bool {
		for _, r := range c.reports()[:heard] {
			if len(r.From) < len(ids)-1 {
				return false
			}
		}
		return true
	})
	// What ends by itself has ended when two looks in a row say the same.
	u, last := c.usage(), usage{}
	for deadline := time.Now().Add(limit); u.Goroutines != last.Goroutines && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
		u, last = c.usage(), u
	}
	c.close()
	return u
}
