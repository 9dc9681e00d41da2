package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func TestNewReturnsTheRunningServerAndANewOneAfterItHasClosed(t *testing.T) {
	path := writeConfig(t, config(t, "tcp", 2))
	first, err := New(0, path)
	if err != nil {
		t.Fatal(err)
	}
	var server Server = first
	if again, err := New(0, path); err != nil || Server(again) != server {
		t.Errorf("New again: %p, %v; want %p", again, err, first)
	}
	link := filepath.Join(t.TempDir(), "link.json")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if again, err := New(0, link); err != nil || again != first {
		t.Errorf("New by another name of the file: %p, %v; want %p", again, err, first)
	}
	other, err := New(1, path)
	if err != nil || other == first {
		t.Fatalf("New for another id: %p, %v", other, err)
	}
	for _, n := range []*Node{first, other} {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	next, err := New(0, path)
	if err != nil || next == first {
		t.Fatalf("New after Close: %p, %v", next, err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
	if len(running.nodes) != 0 {
		t.Errorf("%d closed nodes are kept", len(running.nodes))
	}
}

func TestNewAndCloseConcurrently(t *testing.T) {
	path := writeConfig(t, config(t, "tcp", 1))
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 10 {
				n, err := New(0, path)
				if err != nil {
					t.Error(err)
					return
				}
				if err := n.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestNewErrorsNameWhatIsWrongAndLeaveNothingOpen(t *testing.T) {
	cfg := config(t, "tcp", 2)
	taken, err := net.Listen("tcp", cfg.Peers[1].Address)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	path := writeConfig(t, cfg)
	broken := filepath.Join(t.TempDir(), "broken.json")
	if err := os.WriteFile(broken, []byte(`{"peers": [{"id": 1, "address": "localhost"}, {"id": 1}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	before := openFiles()
	for _, c := range []struct {
		name, path string
		pid        int
		want       error
		text       []string
	}{
		{"a busy port", path, 1, syscall.EADDRINUSE, []string{path, "server 1", cfg.Peers[1].Address}},
		{"an id that is not in the file", path, 7, ErrUnknownPeer, []string{path, "7", "[0 1]"}},
		{"BROADCAST as the id", path, BROADCAST, ErrUnknownPeer, []string{path, "-1"}},
		{"no file", path + ".not", 0, fs.ErrNotExist, []string{path + ".not"}},
		{"a directory", filepath.Dir(path), 0, nil, []string{filepath.Dir(path), "directory"}},
		{"several faults", broken, 1, nil, []string{broken, "peers[0]", "localhost", "peers[1]", "address"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := New(c.pid, c.path)
			if err == nil {
				n.Close()
				t.Fatal("New returns no error")
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v, want one that wraps %v", err, c.want)
			}
			for _, text := range c.text {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not name %q", err, text)
				}
			}
		})
	}
	if left, ok := settle(openFiles, before); !ok {
		t.Errorf("%d descriptors are open, %d were before", left, before)
	}
}

func TestEventsAreLoggedOnceAndErrorsNotAtAll(t *testing.T) {
	var log strings.Builder
	cfg := config(t, "mem", 3)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	cfg.SendTimeout = 1
	n := join(t, 0, cfg)
	for range 100 {
		put(t, n, &Envelope{1, 0, "x"})
		put(t, n, &Envelope{99, 0, "x"})
	}
	eventually(t, "all are dropped", func() bool { return n.Stats().Sent.DroppedTotal() == 200 })
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	for _, event := range []string{"link is down", "unknown peer", "closed"} {
		if got := strings.Count(log.String(), event); got != 1 {
			t.Errorf("%q was logged %d times:\n%s", event, got, log.String())
		}
	}
}

func TestMessageIDsAreUniqueAcrossServersAndGrow(t *testing.T) {
	seen := make(map[int64]bool)
	for server := range 3 {
		ids := messageIDs{server: int64(server) * (1<<16 - 1) / 2}
		last := int64(0)
		for range 20_000 { // faster than the clock counts
			id := ids.next()
			if id <= last || seen[id] {
				t.Fatalf("server %d: id %d after %d", server, id, last)
			}
			seen[id], last = true, id
		}
	}
	var ids messageIDs
	var mu sync.Mutex
	var all sync.WaitGroup
	clear(seen)
	for range 8 {
		all.Go(func() {
			for range 1000 {
				id := ids.next()
				mu.Lock()
				if seen[id] {
					t.Errorf("id %d comes twice", id)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
}

func TestStatsPrintAsATableAndMarshalToJSON(t *testing.T) {
	cfg := config(t, "mem", 3)
	cfg.SendTimeout = 1
	a, b := join(t, 0, cfg), join(t, 1, cfg)
	put(t, b, &Envelope{0, 0, "x"})
	take(t, a)
	put(t, a, &Envelope{2, 0, "x"})
	put(t, a, &Envelope{99, 0, "x"})
	eventually(t, "the books of both drops", func() bool { return a.Stats().Sent.DroppedTotal() == 2 })
	s := a.Stats()
	table := s.String()
	for _, want := range []string{"server 0", "down", "total", "dropped for 2: timed out 1", "dropped for none: unknown peer 1"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	js, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Peers []struct {
			ID    int
			State string
			Sent  struct{ Dropped map[string]int }
		}
	}
	if err := json.Unmarshal(js, &back); err != nil {
		t.Fatal(err)
	}
	if p := back.Peers[1]; p.ID != 2 || p.State != "down" || p.Sent.Dropped["timed out"] != 1 {
		t.Errorf("got %+v from\n%s", p, js)
	}
	// A copy is a copy.
	s.Peers[0].Received.Received = 77
	s.Sent.Dropped[ReasonTimedOut] = 77
	if again := a.Stats(); again.Peers[0].Received.Received != 1 || again.Sent.Dropped[ReasonTimedOut] != 1 {
		t.Error("the node sees what was done to a copy of its stats")
	}
	for r := Reason(1); r < reasons; r++ {
		if r.err() == nil || reasonNames[r] == "" {
			t.Errorf("reason %d has no name or no error", r)
		}
	}
	if got := fmt.Sprint(Reason(99), Refusal(-1), LinkState(7)); got != "99 -1 7" {
		t.Errorf("unknown values print as %q", got)
	}
}
