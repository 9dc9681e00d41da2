package etcd_test

import (
	"testing"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/raft/etcd"
)

// What holds in virtual time holds over TCP, on both transports: nothing that was committed is lost with the leader.
func TestServersOverTCPSurviveTheirLeader(t *testing.T) {
	for _, transport := range []string{"libzmq", "go"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel() // It mostly waits.
			nodes := clustertest.StartLocal(t, 3, func(cfg *cluster.Config) { cfg.Transport, cfg.Linger = transport, -1 })
			g := &group{t: t, asked: make(map[uint64]bool)}
			var peers []raft.Peer
			for pid := range nodes {
				g.servers = append(g.servers, &member{store: raft.NewMemoryStorage()})
				peers = append(peers, raft.Peer{ID: etcd.ID(pid)})
			}
			for _, node := range nodes {
				g.start(node, peers)
			}
			leader := g.lead()
			stop, done := make(chan struct{}), make(chan struct{})
			go g.write(stop, done) // ends with stop; done says so
			g.reaches(50)
			g.servers[leader].end()
			nodes[leader].Close()
			defer func() {
				for _, pid := range without(3, leader) {
					g.servers[pid].end()
				}
			}()
			before := len(g.applied())
			if second := g.lead(); second == leader {
				t.Errorf("server %d leads, though it is closed", second)
			}
			g.reaches(before + 50)
			close(stop)
			<-done
			g.check(g.applied(), without(3, leader)...)
		})
	}
}

// reaches waits until that many numbers are committed.
func (g *group) reaches(count int) {
	g.t.Helper()
	for end := time.Now().Add(2 * time.Minute); len(g.applied()) < count; time.Sleep(tick) {
		if time.Now().After(end) {
			g.t.Fatalf("only %d numbers are committed, want %d", len(g.applied()), count)
		}
	}
}
