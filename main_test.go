package cluster

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/abhishekg16/cluster/peercatalog"
)

// childRole is the environment variable that makes the test binary play a server
// in a process of its own; see process_test.go.
const childRole = "CLUSTER_TEST_CHILD"

// children are the roles, by name.
var children = map[string]func(){}

// TestMain runs the tests, and then checks that no goroutine and no descriptor
// was left behind.
func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		children[role]()
		return
	}
	warm()
	before := openFiles()
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines are left:", err)
			code = 1
		}
		if left, ok := settle(openFiles, before); !ok {
			fmt.Fprintf(os.Stderr, "%d descriptors are open after the tests, %d were before\n", left, before)
			code = 1
		}
	}
	os.Exit(code)
}

// warm opens what the process keeps for good: the poller of the runtime and the
// context of ZeroMQ.
func warm() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	address := l.Addr().String()
	l.Close()
	n, err := NewFromConfig(0, Config{Peers: []peercatalog.Peer{{ID: 0, Address: address}}})
	if err != nil {
		panic(err)
	}
	if err := n.Close(); err != nil {
		panic(err)
	}
}

// openFiles counts the sockets and event descriptors of this process, or is 0
// where that cannot be told.
func openFiles() int {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	count := 0
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err == nil && (strings.HasPrefix(target, "socket:") || strings.HasPrefix(target, "anon_inode:")) {
			count++
		}
	}
	return count
}

// settle waits for count to come down to most, and returns where it stands.
func settle(count func() int, most int) (int, bool) {
	deadline := time.Now().Add(5 * time.Second)
	for {
		n := count()
		if n <= most || time.Now().After(deadline) {
			return n, n <= most
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// limit is how long a test waits for what must happen.
const limit = 20 * time.Second

// addresses returns n addresses of the scheme that nobody uses.
func addresses(t testing.TB, scheme string, n int) []string {
	t.Helper()
	dir := ""
	if scheme == "ipc" {
		var err error
		// t.TempDir can be too long for the path of a socket.
		if dir, err = os.MkdirTemp("", "ipc"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
	}
	out := make([]string, n)
	for i := range out {
		switch scheme {
		case "tcp":
			// All are held until the last is known, so that they differ.
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			out[i] = l.Addr().String()
		case "ipc":
			out[i] = "ipc://" + filepath.Join(dir, fmt.Sprint(i))
		case "mem":
			out[i] = fmt.Sprintf("mem://%s/%d", t.Name(), i)
		}
	}
	return out
}

// config is that of n servers with the ids 0 to n-1.
func config(t testing.TB, scheme string, n int) Config {
	t.Helper()
	var cfg Config
	for i, a := range addresses(t, scheme, n) {
		cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: i, Address: a})
	}
	return cfg
}

// join starts one server of the configuration. It is closed when the test ends,
// and its books must close then.
func join(t testing.TB, pid int, cfg Config) *Node {
	t.Helper()
	n, err := NewFromConfig(pid, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("closing server %d: %v", pid, err)
		}
		checkBooks(t, n)
	})
	return n
}

// startAll starts all servers of the configuration.
func startAll(t testing.TB, cfg Config) []*Node {
	t.Helper()
	var nodes []*Node
	for _, p := range cfg.Peers {
		nodes = append(nodes, join(t, p.ID, cfg))
	}
	return nodes
}

// checkBooks checks the law of conservation: every message that a node accepted
// for a peer was sent, is queued, or was dropped for a reason.
func checkBooks(t testing.TB, n *Node) {
	t.Helper()
	s := n.Stats()
	check := func(who string, b SentStats) {
		if b.Accepted != b.Sent+b.Queued+b.DroppedTotal() {
			t.Errorf("the books of server %d for %s do not close: accepted %d, sent %d, queued %d, dropped %v",
				n.Pid(), who, b.Accepted, b.Sent, b.Queued, b.Dropped)
		}
	}
	for _, p := range s.Peers {
		check(fmt.Sprint("peer ", p.ID), p.Sent)
	}
	check("no peer", s.Unaddressed)
	check("all", s.Sent)
}

// take takes one envelope from the inbox of n.
func take(t testing.TB, n *Node) *Envelope {
	t.Helper()
	select {
	case e, ok := <-n.Inbox():
		if !ok {
			t.Fatalf("the inbox of server %d is closed", n.Pid())
		}
		return e
	case <-time.After(limit):
		t.Fatalf("server %d received nothing in %v:\n%v", n.Pid(), limit, n.Stats())
	}
	panic("not reached")
}

// put puts one envelope into the outbox of n.
func put(t testing.TB, n *Node, e *Envelope) {
	t.Helper()
	select {
	case n.Outbox() <- e:
	case <-time.After(limit):
		t.Fatalf("server %d took nothing from its outbox in %v:\n%v", n.Pid(), limit, n.Stats())
	}
}

// eventually waits until cond holds; what says what was missing otherwise.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
