// Package testcluster has what tests of clusters share: it starts servers, here and in
// processes of their own, sends and tallies messages, plays servers frame by frame, and
// checks that books close and that nothing is left open. It uses the public face of
// package cluster alone, and fails the test when something does not happen in time.
package testcluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/freeport"
	"github.com/abhishekg16/cluster/peercatalog"
)

// What Config says of fields that are zero, and of the least that it takes.
const (
	SendTimeout   = time.Second
	OutboxSize    = 1024
	MinQueueBytes = 64 << 10
)

// Limit is how long a test waits for what must happen.
const Limit = time.Minute

// Addresses returns n addresses of the scheme that nobody uses.
func Addresses(t testing.TB, scheme string, n int) []string {
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
			l, err := freeport.Listen()
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

// Config is that of n servers with the ids 0 to n-1.
func Config(t testing.TB, scheme string, n int) cluster.Config {
	t.Helper()
	return configOf(Addresses(t, scheme, n))
}

func configOf(addresses []string) (cfg cluster.Config) {
	for i, a := range addresses {
		cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: i, Address: a})
	}
	return cfg
}

// Join starts one server of the configuration. It is closed when the test ends,
// and its books must close then.
func Join(t testing.TB, pid int, cfg cluster.Config) *cluster.Node {
	t.Helper()
	n, err := cluster.NewFromConfig(pid, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("closing server %d: %v", pid, err)
		}
		CheckBooks(t, n)
	})
	return n
}

// StartAll starts all servers of the configuration.
func StartAll(t testing.TB, cfg cluster.Config) []*cluster.Node {
	t.Helper()
	var nodes []*cluster.Node
	for _, p := range cfg.Peers {
		nodes = append(nodes, Join(t, p.ID, cfg))
	}
	return nodes
}

// CheckBooks checks the law of conservation: every message that a node accepted
// for a peer was sent, is queued, or was dropped for a reason.
func CheckBooks(t testing.TB, n *cluster.Node) {
	t.Helper()
	s := n.Stats()
	check := func(who string, b cluster.SentStats) {
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

// Take takes one envelope from the inbox of n.
func Take(t testing.TB, n *cluster.Node) *cluster.Envelope {
	t.Helper()
	select {
	case e, ok := <-n.Inbox():
		if !ok {
			t.Fatalf("the inbox of server %d is closed", n.Pid())
		}
		return e
	case <-time.After(Limit):
		t.Fatalf("server %d received nothing in %v:\n%v", n.Pid(), Limit, n.Stats())
	}
	panic("not reached")
}

// Put puts one envelope into the outbox of n.
func Put(t testing.TB, n *cluster.Node, e *cluster.Envelope) {
	t.Helper()
	select {
	case n.Outbox() <- e:
	case <-time.After(Limit):
		t.Fatalf("server %d took nothing from its outbox in %v:\n%v", n.Pid(), Limit, n.Stats())
	}
}

// Eventually waits until cond holds; what says what was missing otherwise.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(Limit)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", Limit, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Bubble runs the test in virtual time, with a configuration of n servers.
func Bubble(t *testing.T, n int, test func(t *testing.T, cfg cluster.Config)) {
	cfg := Config(t, "mem", n)
	synctest.Test(t, func(t *testing.T) { test(t, cfg) })
}

// AlreadyDone is a context that has ended.
func AlreadyDone() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// WriterFunc is an io.Writer that calls itself.
type WriterFunc func([]byte) (int, error)

func (f WriterFunc) Write(b []byte) (int, error) { return f(b) }

// Receive takes one envelope by the Receive of n.
func Receive(t testing.TB, n *cluster.Node) *cluster.Envelope {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	defer cancel()
	e, err := n.Receive(ctx)
	if err != nil {
		t.Fatalf("server %d: %v:\n%v", n.Pid(), err, n.Stats())
	}
	return e
}

// WriteConfig writes a Config.json and returns its path.
func WriteConfig(t testing.TB, cfg cluster.Config) string {
	t.Helper()
	data, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "Config.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Quiet waits until a node has written all that it was given. A message may come
// before its sender has counted it.
func Quiet(t testing.TB, n *cluster.Node) {
	t.Helper()
	Eventually(t, "all is written", func() bool {
		s := n.Stats()
		return s.OutboxLen == 0 && s.Sent.Queued == 0
	})
}

// StatsOf is the part of a node's Stats about one peer.
func StatsOf(n *cluster.Node, id int) cluster.PeerStats {
	for _, p := range n.Stats().Peers {
		if p.ID == id {
			return p
		}
	}
	return cluster.PeerStats{ID: id}
}

// LineLog is a place for a logger to write to.
type LineLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *LineLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// String is all that was written.
func (l *LineLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Count is how often text was written.
func (l *LineLog) Count(text string) int { return strings.Count(l.String(), text) }
