package clustertest

import (
	"errors"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/freeport"
	"github.com/abhishekg16/cluster/peercatalog"
)

// StartLocal starts n servers with the ids 0 to n-1 over TCP, on free ports of
// 127.0.0.1. Each of change may change the configuration before that. The servers
// are closed when the test ends. It ends the test if one cannot be started.
//
// ZeroMQ works outside of what testing/synctest can see, so StartLocal is not for
// use in a bubble.
func StartLocal(t testing.TB, n int, change ...func(*cluster.Config)) []*cluster.Node {
	t.Helper()
	if n < 1 {
		t.Fatalf("clustertest: StartLocal: %d servers: want at least 1", n)
	}
	for tries := 3; ; tries-- {
		nodes, err := startLocal(t, n, change)
		switch {
		case err == nil:
			t.Cleanup(func() {
				for _, node := range nodes {
					if err := node.Close(); err != nil {
						t.Errorf("clustertest: closing server %d: %v", node.Pid(), err)
					}
				}
			})
			return nodes
		case tries == 1 || !busy(err):
			t.Fatal(err)
		}
		// Another program has taken one of the ports in between.
	}
}

func startLocal(t testing.TB, n int, change []func(*cluster.Config)) (nodes []*cluster.Node, err error) {
	t.Helper()
	cfg := localConfig(t, n)
	for _, f := range change {
		f(&cfg)
	}
	for _, p := range cfg.Peers {
		node, err := cluster.NewFromConfig(p.ID, cfg)
		if err != nil {
			for _, node := range nodes {
				node.Close()
			}
			return nil, err
		}
		nodes = append(nodes, node)
	}
	return nodes, nil
}

// localConfig is the configuration of n servers over TCP on free ports.
func localConfig(t testing.TB, n int) (cfg cluster.Config) {
	t.Helper()
	for id := range n {
		// All are held until the last is known, so that they differ.
		l, err := freeport.Listen()
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: id, Address: l.Addr().String()})
	}
	return cfg
}

// busy reports whether an address was taken by somebody else.
func busy(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// CheckLeaks makes the test fail if goroutines that are started from here on are
// still there when all that is registered with Cleanup later has run. So it is
// called before StartLocal or NewNetwork. It is not for tests that run in parallel
// with others.
func CheckLeaks(t testing.TB) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if err := goleak.Find(before); err != nil {
			t.Errorf("clustertest: goroutines are left: %v", err)
		}
	})
}
