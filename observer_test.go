package cluster_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

// observed is the configuration with these servers as observers.
func observed(cfg cluster.Config, ids ...int) cluster.Config {
	cfg.Peers = slices.Clone(cfg.Peers)
	for i := range cfg.Peers {
		cfg.Peers[i].Observer = slices.Contains(ids, cfg.Peers[i].ID)
	}
	return cfg
}

func TestAnObserverIsInNoListOfPeersAndGetsNoBROADCAST(t *testing.T) {
	testcluster.Bubble(t, 5, func(t *testing.T, cfg cluster.Config) {
		nodes := testcluster.StartAll(t, observed(cfg, 1, 4))
		for _, n := range nodes {
			want := slices.DeleteFunc([]int{0, 2, 3}, func(id int) bool { return id == n.Pid() })
			if got := n.Peers(); !slices.Equal(got, want) {
				t.Errorf("the peers of server %d are %v, want %v", n.Pid(), got, want)
			}
			if got := len(n.Stats().Peers); got != 4 {
				t.Errorf("Stats of server %d have %d peers, want observers too", n.Pid(), got)
			}
			// From observers, too, it goes to all that are none.
			testcluster.Put(t, n, &cluster.Envelope{cluster.BROADCAST, 0, "by Outbox"})
			if err := n.Send(context.Background(), &cluster.Envelope{cluster.BROADCAST, 0, "by Send"}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			for _, to := range nodes {
				count := 0
				if slices.Contains(want, to.Pid()) {
					count = 2
				}
				if got := len(to.Inbox()); got != count {
					t.Errorf("server %d received %d broadcasts of server %d, want %d", to.Pid(), got, n.Pid(), count)
				}
				for range len(to.Inbox()) {
					<-to.Inbox()
				}
			}
		}
	})
}

func TestAnObserverSendsAndIsSentToByItsId(t *testing.T) {
	for _, keys := range []bool{false, true} {
		t.Run(fmt.Sprintf("keys %v", keys), func(t *testing.T) {
			cfg := testcluster.Config(t, "tcp", 3)
			if keys {
				cfg = testcluster.Keyed(t, cfg)
			}
			nodes := testcluster.StartAll(t, observed(cfg, 2))
			observer := nodes[2]
			for _, n := range nodes[:2] {
				testcluster.Put(t, observer, &cluster.Envelope{n.Pid(), 0, "a question"})
				e := testcluster.Take(t, n)
				testcluster.Put(t, n, &cluster.Envelope{e.Pid, 0, n.Pid()})
				if e := testcluster.Take(t, observer); e.Pid != n.Pid() || e.Msg != n.Pid() {
					t.Errorf("the observer received %v from %d, want an answer of %d", e.Msg, e.Pid, n.Pid())
				}
			}
			// A group is made of ids, and so may have it.
			group, err := nodes[0].Group(1, 2)
			if err != nil {
				t.Fatal(err)
			}
			testcluster.Put(t, nodes[0], &cluster.Envelope{group, 0, "to a group"})
			for _, n := range nodes[1:] {
				if e := testcluster.Take(t, n); e.Msg != "to a group" {
					t.Errorf("server %d received %v", n.Pid(), e.Msg)
				}
			}
		})
	}
}

func TestWhoBecomesAnObserverGetsNoMoreBROADCAST(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		nodes := testcluster.StartAll(t, cfg)
		for _, observer := range []bool{true, false} {
			p, _ := nodes[0].Catalog().Get(2)
			p.Observer = observer
			if err := nodes[0].Catalog().Put(p); err != nil {
				t.Fatal(err)
			}
			testcluster.Put(t, nodes[0], &cluster.Envelope{cluster.BROADCAST, 0, "x"})
			testcluster.Put(t, nodes[0], &cluster.Envelope{2, 0, "y"})
			testcluster.Take(t, nodes[1])
			if e := testcluster.Take(t, nodes[2]); observer != (e.Msg == "y") {
				t.Errorf("observer %v: received %v first", observer, e.Msg)
			}
			if !observer {
				testcluster.Take(t, nodes[2])
			}
		}
	})
}
