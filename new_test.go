//go:build unix

package cluster_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

func TestNewReturnsTheRunningServerAndANewOneAfterItHasClosed(t *testing.T) {
	path := testcluster.WriteConfig(t, testcluster.Config(t, "tcp", 2))
	first, err := cluster.New(0, path)
	if err != nil {
		t.Fatal(err)
	}
	var server cluster.Server = first
	if again, err := cluster.New(0, path); err != nil || cluster.Server(again) != server {
		t.Errorf("New again: %p, %v; want %p", again, err, first)
	}
	link := filepath.Join(t.TempDir(), "link.json")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if again, err := cluster.New(0, link); err != nil || again != first {
		t.Errorf("New by another name of the file: %p, %v; want %p", again, err, first)
	}
	other, err := cluster.New(1, path)
	if err != nil || other == first {
		t.Fatalf("New for another id: %p, %v", other, err)
	}
	for _, n := range []*cluster.Node{first, other} {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	next, err := cluster.New(0, path)
	if err != nil || next == first {
		t.Fatalf("New after Close: %p, %v", next, err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
	if listed := cluster.Listed(); listed != 0 {
		t.Errorf("%d closed nodes are kept", listed)
	}
}

func TestTheOwnEntryOfARunningNodeCannotMove(t *testing.T) {
	cfg := testcluster.Config(t, "tcp", 3)
	n := testcluster.Join(t, 0, cfg)
	own, _ := n.Catalog().Get(0)
	moved := own
	moved.Address = testcluster.Addresses(t, "tcp", 1)[0]
	for _, removed := range []bool{false, true} {
		if removed {
			n.Catalog().Remove(0)
		}
		if err := n.Catalog().Put(moved); err == nil || !strings.Contains(err.Error(), own.Address) || !strings.Contains(err.Error(), "restart") {
			t.Errorf("removed: %v: got %v, want an error that says where the server listens, and what to do", removed, err)
		}
	}
	if err := n.Catalog().Put(own); err != nil {
		t.Errorf("the entry as it was: %v", err)
	}
	testcluster.Put(t, n, &cluster.Envelope{0, 0, "to myself"})
	if e := testcluster.Take(t, n); e.Msg != "to myself" {
		t.Errorf("received %v", e.Msg)
	}
	moved.ID = 1
	if err := n.Catalog().Put(moved); err != nil {
		t.Errorf("another's entry: %v", err)
	}
}

func TestNewAndCloseConcurrently(t *testing.T) {
	path := testcluster.WriteConfig(t, testcluster.Config(t, "tcp", 1))
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 10 {
				n, err := cluster.New(0, path)
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
	path := testcluster.WriteConfig(t, testcluster.Config(t, "tcp", 2))
	broken := filepath.Join(t.TempDir(), "broken.json")
	if err := os.WriteFile(broken, []byte(`{"peers": [{"id": 1, "address": "localhost"}, {"id": 1}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	before := testcluster.OpenFiles()
	for _, c := range []struct {
		name, path string
		pid        int
		want       error
		text       []string
	}{
		{"an id that is not in the file", path, 7, cluster.ErrUnknownPeer, []string{path, "7", "[0 1]"}},
		{"BROADCAST as the id", path, cluster.BROADCAST, cluster.ErrUnknownPeer, []string{path, "-1"}},
		{"no file", path + ".not", 0, fs.ErrNotExist, []string{path + ".not"}},
		{"a directory", filepath.Dir(path), 0, nil, []string{filepath.Dir(path), "directory"}},
		{"several faults", broken, 1, nil, []string{broken, "peers[0]", "localhost", "peers[1]", "address"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := cluster.New(c.pid, c.path)
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
	if left, ok := testcluster.Settle(testcluster.OpenFiles, before); !ok {
		t.Errorf("%d descriptors are open, %d were before", left, before)
	}
}

func TestEventsAreLoggedOnceAndErrorsNotAtAll(t *testing.T) {
	var log strings.Builder
	cfg := testcluster.Config(t, "mem", 3)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	cfg.SendTimeout = 1
	n := testcluster.Join(t, 0, cfg)
	for range 100 {
		testcluster.Put(t, n, &cluster.Envelope{1, 0, "x"})
		testcluster.Put(t, n, &cluster.Envelope{99, 0, "x"})
	}
	testcluster.Eventually(t, "all are dropped", func() bool { return n.Stats().Sent.DroppedTotal() == 200 })
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	for _, event := range []string{"link is down", "unknown peer", "closed"} {
		if got := strings.Count(log.String(), event); got != 1 {
			t.Errorf("%q was logged %d times:\n%s", event, got, log.String())
		}
	}
}

func TestShutdownDoesNotWaitForTheNewOfAnother(t *testing.T) {
	n, err := cluster.New(0, testcluster.WriteConfig(t, testcluster.Config(t, "tcp", 1)))
	if err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe.json")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	stuck := make(chan error, 1)
	go func() { // It ends when the pipe is written to, below.
		_, err := cluster.New(0, pipe)
		stuck <- err
	}()
	testcluster.Eventually(t, "New waits for the pipe", func() bool { return cluster.Listed() == 2 })
	closed := make(chan error, 1)
	go func() { closed <- n.Close() }() // The select below waits for it.
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testcluster.Limit):
		t.Error("Close waits for somebody else's New")
	}
	if err := os.WriteFile(pipe, []byte("{}"), 0); err != nil {
		t.Fatal(err)
	}
	if err := <-stuck; err == nil || !strings.Contains(err.Error(), "no peers") {
		t.Errorf("New with a pipe: %v, want what is wrong with what came from it", err)
	}
}

// What New keeps of a file is out of the reach of those who use the nodes.
func TestServersOfOneFileShareNothingThatCanBeChanged(t *testing.T) {
	cfg := testcluster.Config(t, "mem", 2)
	cfg.Peers[0].Extra = map[string]json.RawMessage{"role": json.RawMessage(`"voter"`)}
	path := testcluster.WriteConfig(t, cfg)
	for range 2 {
		n, err := cluster.New(1, path)
		if err != nil {
			t.Fatal(err)
		}
		p, _ := n.Catalog().Get(0)
		if got := string(p.Extra["role"]); got != `"voter"` {
			t.Errorf("peer 0 has the role %s", got)
		}
		p.Extra["role"][1] = 'V'
		p.Address, p.Extra["more"] = "mem://elsewhere", json.RawMessage("1")
		if err := n.Catalog().Put(p); err != nil {
			t.Error(err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
}
