package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
)

// A cast is servers that elect, and what each of them knows.
type cast struct {
	net *clustertest.Network

	mu     sync.Mutex // guards status
	status map[int]Status
}

// elected starts servers, and returns them with the leader that they have elected.
func elected(t *testing.T, seed uint64) (c *cast, leader int) {
	t.Helper()
	return electedAs(t, seed, func(n *cluster.Node) cluster.Server { return n })
}

// electedAs is elected with servers that an election sees as something else than nodes.
func electedAs(t *testing.T, seed uint64, of func(*cluster.Node) cluster.Server) (c *cast, leader int) {
	t.Helper()
	c = &cast{net: clustertest.NewNetwork(t, seed, servers), status: make(map[int]Status)}
	for _, node := range c.net.Start() {
		id := node.Pid()
		e, err := NewElection(of(node), &memory{ballot: Ballot{VotedFor: Nobody}}, rand.New(rand.NewPCG(seed, uint64(id))), func(s Status) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.status[id] = s
		})
		if err != nil {
			t.Fatal(err)
		}
		go e.Run(context.Background()) // ends as the network closes the node; synctest.Test waits
	}
	time.Sleep(5 * time.Second)
	if leader = c.of(0).Leader; leader == Nobody || c.of(leader).Role != Leader {
		t.Fatalf("seed %d: nobody leads after 5 s: %v", seed, c.status)
	}
	return c, leader
}

func (c *cast) of(id int) Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status[id]
}

// A leader that reaches no majority any more knows it from its links, and does not claim to lead.
func TestALeaderWhoseLinksToAMajorityAreDownStepsDown(t *testing.T) {
	// The heartbeat of the connection takes so long, at most, and then SendTimeout and a heartbeat of the election pass.
	const (
		silence = 4 * time.Second
		noticed = time.Second + 2*heartbeat
	)
	others := func(leader, count int) (ids []int) {
		for id := range servers {
			if id != leader && len(ids) < count {
				ids = append(ids, id)
			}
		}
		return ids
	}
	for _, tt := range []struct {
		name  string
		fault func(net *clustertest.Network, leader int)
		steps bool
		most  time.Duration
	}{
		{"it is alone", func(net *clustertest.Network, leader int) { net.Partition([]int{leader}) }, true, silence + noticed},
		{"nothing that it sends arrives", func(net *clustertest.Network, leader int) {
			net.Set(clustertest.Faults{Cut: true}, clustertest.Link{From: leader, To: clustertest.Any})
		}, true, silence + noticed},
		{"nothing reaches it", func(net *clustertest.Network, leader int) {
			net.Set(clustertest.Faults{Cut: true}, clustertest.Link{From: clustertest.Any, To: leader})
		}, true, silence + noticed},
		{"three others are stopped", func(net *clustertest.Network, leader int) {
			for _, id := range others(leader, 3) {
				net.Pause(id)
			}
		}, true, silence + noticed},
		{"three others have crashed", func(net *clustertest.Network, leader int) {
			for _, id := range others(leader, 3) {
				net.Crash(id)
			}
		}, true, noticed},
		{"two others have crashed", func(net *clustertest.Network, leader int) {
			for _, id := range others(leader, 2) {
				net.Crash(id)
			}
		}, false, 0},
		{"it is alone for a second", func(net *clustertest.Network, leader int) {
			net.Partition([]int{leader})
			net.At(6*time.Second, net.Heal)
		}, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range uint64(10) {
				synctest.Test(t, func(t *testing.T) {
					c, leader := elected(t, seed+1)
					term := c.of(leader).Term
					tt.fault(c.net, leader)
					began := time.Now()
					for c.of(leader).Role == Leader && time.Since(began) < 10*time.Second {
						time.Sleep(10 * time.Millisecond)
					}
					took := time.Since(began)
					switch now := c.of(leader); {
					case !tt.steps && now.Term == term && now.Role != Leader:
						t.Errorf("seed %d: after %v: %v, want it to lead on", seed+1, took, now)
					case tt.steps && (now.Role == Leader || took > tt.most):
						t.Errorf("seed %d: after %v: %v, want it to have stepped down within %v", seed+1, took, now, tt.most)
					}
				})
			}
		})
	}
}

// Without links to ask, a leader goes on: the program needs no more than the four methods.
func TestALeaderNeedsNoLinksToAsk(t *testing.T) {
	alone(t, &memory{ballot: Ballot{VotedFor: Nobody}}, 8, nil, func(t *testing.T, s lone) {
		time.Sleep(mostTimeout)
		synctest.Wait()
		for voter := 1; voter <= 2; voter++ {
			s.in <- &cluster.Envelope{Pid: voter, Msg: RequestPreVoteReply{1, true}}
		}
		for voter := 1; voter <= 2; voter++ {
			s.in <- &cluster.Envelope{Pid: voter, Msg: RequestVoteReply{1, true}}
		}
		time.Sleep(10 * heartbeat)
		var said []string
		for len(s.out) > 0 {
			said = append(said, fmt.Sprintf("%T", (<-s.out).Msg))
		}
		if !slices.Contains(said, "main.AppendEntries") {
			t.Errorf("it said %v, want heartbeats", said)
		}
	})
}

// mute hides from an election what its server tells of its peers.
type mute struct{ cluster.Server }

// succeeded crashes a leader, and returns how long it takes until another leads, in virtual time.
func succeeded(t *testing.T, seed uint64, of func(*cluster.Node) cluster.Server) (took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		c, leader := electedAs(t, seed, of)
		crashed := time.Now()
		c.net.Crash(leader)
		for took = 0; took < 10*mostTimeout; took = time.Since(crashed) {
			for id := range servers {
				if id != leader && c.of(id).Role == Leader {
					return
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("seed %d: nobody leads %v after the leader has crashed", seed, took)
	})
	return took
}

// The servers find that the leader's link is down before their election timeouts are over.
func TestALeaderWhoseLinkIsDownIsSucceededSoonerThanByTimeout(t *testing.T) {
	var told, untold time.Duration
	const seeds = 10
	for seed := range uint64(seeds) {
		told += succeeded(t, seed, func(n *cluster.Node) cluster.Server { return n })
		untold += succeeded(t, seed, func(n *cluster.Node) cluster.Server { return mute{n} })
	}
	t.Logf("another leads after %v where servers are told of it, and %v where they are not, on average", told/seeds, untold/seeds)
	if told >= untold {
		t.Error("that is no sooner")
	}
}

func TestAFollowerWhoseLinkToALeaderIsDownAloneElectsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, leader := elected(t, 1)
		follower := (leader + 1) % servers
		term := c.of(leader).Term
		c.net.Set(clustertest.Faults{Cut: true}, clustertest.Link{From: leader, To: follower}, clustertest.Link{From: follower, To: leader})
		time.Sleep(time.Minute)
		if s := c.of(leader); s.Role != Leader || s.Term != term {
			t.Errorf("the leader of term %d, which all others hear, is now %v in term %d", term, s.Role, s.Term)
		}
	})
}
