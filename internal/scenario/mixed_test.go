//go:build unix && cgo && !nozmq

package scenario

import (
	"fmt"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/transport/sockets"
)

// A cluster has servers of both transports: 0 here, 1 and 2 in processes of their own. Server 1 is killed
// again and again, and comes back with the other transport each time. All of its lives hear the others and
// are heard by them, and between the other two nothing is lost.
func TestServersOfBothTransportsHearOneAnotherThroughKillsAndRestarts(t *testing.T) {
	t.Setenv(sockets.Variable, "") // Each server has the transport that its Config names.
	for _, keyed := range []bool{false, true} {
		for _, first := range []string{sockets.Libzmq, sockets.Go} {
			t.Run(fmt.Sprintf("keys %v, server 0 on %s", keyed, first), func(t *testing.T) {
				cfg := testcluster.ProcessConfig(t, 3)
				if keyed {
					cfg = testcluster.Keyed(t, cfg)
				}
				killMixed(t, cfg, first)
			})
		}
	}
}

// killMixed runs the cluster, of which servers 0 and 2 have the transports first and the other.
func killMixed(t *testing.T, cfg cluster.Config, first string) {
	const lives = 4
	other := map[string]string{sockets.Go: sockets.Libzmq, sockets.Libzmq: sockets.Go}
	on := func(name string) cluster.Config {
		c := cfg
		c.Transport = name
		return c
	}
	n := testcluster.Join(t, 0, on(first))
	r, s := testcluster.ReadAll(n), testcluster.NewTraffic(n)
	far := testcluster.Spawn(t, on(other[first]), 2).Start()
	far.Send([]int{0, 1}, 0, 200, time.Millisecond)
	s.Send([]int{1, 2}, 0, 200, time.Millisecond)
	defer s.Halt()
	name := first
	for life := 1; life <= lives; life++ {
		name = other[name]
		c := testcluster.Spawn(t, on(name), 1).Start()
		c.Send([]int{0, 2}, 0, 200, time.Millisecond)
		c.Until(fmt.Sprintf("life %d, on %s, hears both", life, name), func(r *testcluster.Report) bool {
			return r.Tally(0).Count > 100 && r.Tally(2).Count > 100
		})
		testcluster.Eventually(t, fmt.Sprintf("server 0, on %s, hears life %d, on %s", first, life, name), func() bool {
			tally := r.Tally(1)
			return tally.Lives() == life && tally.Last() > 100
		})
		rep := far.Until(fmt.Sprintf("server 2 hears life %d", life), func(r *testcluster.Report) bool {
			return r.Tally(1).Lives() == life && r.Tally(1).Last() > 100
		})
		rep.Tally(1).CheckOrder(t, "server 2")
		rep = c.Report()
		for _, from := range []int{0, 2} {
			rep.Tally(from).CheckOrder(t, fmt.Sprintf("life %d", life))
			if lost := rep.Stats.Peer(from).Received.Lost; lost != 0 {
				t.Errorf("life %d, on %s, counts %d messages of server %d as lost", life, name, lost, from)
			}
		}
		c.Kill()
	}
	s.Halt()
	far.Do("halt", nil)
	testcluster.Quiet(t, n)
	rep := far.Until("all of server 0", func(r *testcluster.Report) bool { return r.Tally(0).Last() == s.Number(2)-1 })
	rep.Tally(0).CheckAll(t, "server 2", s.Number(2)-1)
	testcluster.Eventually(t, "all of server 2", func() bool { return r.Tally(2).Last() == rep.Next[0]-1 })
	r.Tally(2).CheckAll(t, "server 0", rep.Next[0]-1)
	r.Tally(1).CheckOrder(t, "server 0")
	for _, id := range []int{1, 2} {
		got := testcluster.StatsOf(n, id).Received
		if got.Lost != 0 || len(framesRefused(got.Refused)) != 0 {
			t.Errorf("server 0 counts %d messages of server %d as lost, and refused %v", got.Lost, id, got.Refused)
		}
	}
	if got := testcluster.StatsOf(n, 1).Received.Restarts; got != lives-1 {
		t.Errorf("server 0 saw %d restarts of server 1, want %d", got, lives-1)
	}
	far.Close()
}
