//go:build unix

package scenario

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

func TestAProcessThatExitsRightAfterShutdownHasLostNothing(t *testing.T) {
	t.Parallel() // it waits more than it works
	const count = 10_000
	for _, c := range []struct {
		name  string
		size  int
		pause time.Duration
	}{
		{"16 bytes", 16, 0},
		{"1 KiB", 1 << 10, 0},
		{"16 bytes to a slow reader", 16, 50 * time.Microsecond},
		{"1 KiB to a slow reader", 1 << 10, 50 * time.Microsecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testcluster.ProcessConfig(t, 2)
			cfg.SendTimeout = testcluster.Limit
			from, to := testcluster.Spawn(t, cfg, 0), testcluster.Spawn(t, cfg, 1).Start()
			to.Pace(c.pause)
			from.Start()
			from.Send([]int{1}, count, c.size, 0)
			from.Leave()
			r := to.Until("all messages", func(r *testcluster.Report) bool { return r.Tally(0).Count >= count })
			r.Tally(0).CheckAll(t, "server 1", count)
			if got := r.Stats.Peer(0).Received; got.Lost != 0 || got.Missed != 0 {
				t.Errorf("server 1 counts %d messages lost and %d missed, want none", got.Lost, got.Missed)
			}
			to.Close()
		})
	}
}

func TestServersMayStartInAnyOrderWithinSendTimeoutAndLoseNothing(t *testing.T) {
	for _, order := range [][2]int{{0, 1}, {1, 0}} {
		t.Run(fmt.Sprintf("%d before %d", order[0], order[1]), func(t *testing.T) {
			t.Parallel() // mostly waiting
			cfg := testcluster.ProcessConfig(t, 2)
			cfg.SendTimeout = 20 * time.Second
			first, second := testcluster.Spawn(t, cfg, order[0]), testcluster.Spawn(t, cfg, order[1])
			first.Start()
			first.Send(order[1:], 1000, 16, 0)
			first.Send(order[1:], 500, 16, time.Millisecond)
			time.Sleep(time.Second)
			second.Start()
			second.Send(order[:1], 1500, 16, 0)
			for c, from := range map[*testcluster.Child]int{second: order[0], first: order[1]} {
				r := c.Until("all messages", func(r *testcluster.Report) bool { return r.Tally(from).Count >= 1500 })
				r.Tally(from).CheckAll(t, c.Name, 1500)
				if d := r.Stats.Peer(from).Sent.Dropped; len(d) > 0 {
					t.Errorf("%s dropped %v, want nothing", c.Name, d)
				}
			}
			first.Close()
			second.Close()
		})
	}
}

func TestNewReturnsAnErrorForABusyPortAndLeavesNothingOpen(t *testing.T) {
	cfg := testcluster.ProcessConfig(t, 2)
	path := testcluster.WriteConfig(t, cfg)
	holder := testcluster.Spawn(t, cfg, 0).Start()
	// The binding has finalizers that close forgotten sockets. That does not count.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	files, goroutines := testcluster.OpenFiles(), runtime.NumGoroutine()
	n, err := cluster.New(0, path)
	if err == nil {
		n.Close()
		t.Fatal("New returned no error for a port that another process listens on")
	}
	t.Log(err)
	for _, part := range []string{path, "server 0", cfg.Peers[0].Address} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error %q does not name %q", err, part)
		}
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the error %q is not EADDRINUSE", err)
	}
	if left, ok := testcluster.Settle(testcluster.OpenFiles, files); !ok {
		t.Errorf("%d descriptors are open, %d were before", left, files)
	}
	if left, ok := testcluster.Settle(runtime.NumGoroutine, goroutines); !ok {
		t.Errorf("%d goroutines run, %d did before", left, goroutines)
	}
	holder.Kill()
	if n, err = cluster.New(0, path); err != nil {
		t.Fatalf("once the port is free: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}
