package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/internal/freeport"
	"github.com/abhishekg16/cluster/peercatalog"
)

func TestAServerAsksBeforeItBecomesACandidate(t *testing.T) {
	storage := &memory{ballot: Ballot{Term: 4, VotedFor: 3}}
	alone(t, storage, 1, nil, func(t *testing.T, s lone) {
		for range 100 {
			if got := (<-s.out).Msg; got != (RequestPreVote{5}) {
				t.Fatalf("after the election timeout, or a heartbeat later: %#v", got)
			}
		}
		if storage.ballot != (Ballot{4, 3}) {
			t.Errorf("what it has stored is %+v", storage.ballot)
		}
		for _, reply := range []struct {
			name  string
			voter int
			RequestPreVoteReply
		}{
			{"the first other", 1, RequestPreVoteReply{5, true}},
			{"the same again", 1, RequestPreVoteReply{5, true}},
			{"one who would not", 2, RequestPreVoteReply{4, false}},
			{"one who answers an earlier question", 3, RequestPreVoteReply{4, true}},
		} {
			if got := s.says(reply.voter, reply.RequestPreVoteReply); got != nil {
				t.Errorf("%s: it says %#v", reply.name, got)
			}
		}
		if got := s.says(3, RequestPreVoteReply{5, true}); got != (RequestVote{5}) {
			t.Errorf("a majority would vote for it: it says %#v", got)
		}
		if storage.ballot != (Ballot{5, 0}) {
			t.Errorf("as a candidate it has stored %+v", storage.ballot)
		}
	})
}

// The refusal of a server that knows a later term tells that, or who asks could not ever be elected.
func TestAServerThatIsToldOfALaterTermAsksForTheNext(t *testing.T) {
	alone(t, &memory{ballot: Ballot{Term: 4, VotedFor: 3}}, 1, nil, func(t *testing.T, s lone) {
		<-s.out
		s.says(1, RequestPreVoteReply{7, false})
		if got := (<-s.out).Msg; got != (RequestPreVote{8}) {
			t.Errorf("it asks with %#v", got)
		}
	})
}

func TestAServerWouldVoteForNobodyWhileItHearsALeader(t *testing.T) {
	yes := func(term int) any { return RequestPreVoteReply{term, true} }
	no := func(term int) any { return RequestPreVoteReply{term, false} }
	for _, tt := range []struct {
		name string
		then func(s lone) // after the start, in term 4 with a vote for server 3
		term int
		want any
	}{
		{"no leader was heard", func(lone) {}, 5, yes(5)},
		{"a later term than the next", func(lone) {}, 9, yes(9)},
		{"the vote of the term is given to another", func(lone) {}, 4, no(4)},
		{"an earlier term", func(lone) {}, 3, no(4)},
		{"a leader is heard", func(s lone) { s.says(3, AppendEntries{4}) }, 5, no(4)},
		{"a leader was heard not long ago", func(s lone) {
			s.says(3, AppendEntries{4})
			time.Sleep(leastTimeout - time.Millisecond)
		}, 5, no(4)},
		{"a leader has not been heard for the election timeout", func(s lone) {
			s.says(3, AppendEntries{4})
			time.Sleep(leastTimeout)
			for len(s.out) > 0 {
				<-s.out // It may ask itself by now.
			}
		}, 5, yes(5)},
		{"a leader of an earlier term is heard", func(s lone) { s.says(3, AppendEntries{3}) }, 5, yes(5)},
		{"there is a candidate in a later term than the leader's", func(s lone) {
			s.says(3, AppendEntries{4})
			s.says(2, RequestVote{5})
		}, 6, yes(6)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			storage := &memory{ballot: Ballot{Term: 4, VotedFor: 3}}
			alone(t, storage, 8, nil, func(t *testing.T, s lone) {
				tt.then(s)
				before := storage.ballot
				if got := s.says(1, RequestPreVote{tt.term}); got != tt.want {
					t.Errorf("got %#v, want %#v", got, tt.want)
				}
				if storage.ballot != before {
					t.Errorf("the question has changed %+v into %+v", before, storage.ballot)
				}
			})
		})
	}
}

func TestALeaderWouldVoteForNobody(t *testing.T) {
	alone(t, &memory{ballot: Ballot{VotedFor: Nobody}}, 1, nil, func(t *testing.T, s lone) {
		asked(t, s)
		s.says(1, RequestVoteReply{1, true})
		if got := s.says(2, RequestVoteReply{1, true}); got != (AppendEntries{1}) {
			t.Fatalf("with three votes of five: %#v", got)
		}
		if got := s.says(3, RequestPreVote{2}); got != (RequestPreVoteReply{1, false}) {
			t.Errorf("got %#v", got)
		}
	})
}

// asked makes the server, which has heard of no term, a candidate in the first.
func asked(t *testing.T, s lone) {
	t.Helper()
	if got := (<-s.out).Msg; got != (RequestPreVote{1}) {
		t.Fatalf("after the election timeout: %#v", got)
	}
	s.says(1, RequestPreVoteReply{1, true})
	if got := s.says(2, RequestPreVoteReply{1, true}); got != (RequestVote{1}) {
		t.Fatalf("with three of five who would vote for it: %#v", got)
	}
}

// Who is cut off asks for as long as it is, and has changed nothing for anybody when it is heard again.
func TestAServerThatIsCutOffRaisesNoTerm(t *testing.T) {
	for _, tt := range []struct {
		name string
		cut  func(net *clustertest.Network, victim int)
	}{
		{"both ways", func(net *clustertest.Network, victim int) { net.Partition([]int{victim}) }},
		{"nothing reaches it", func(net *clustertest.Network, victim int) {
			net.Set(clustertest.Faults{Cut: true}, clustertest.Link{From: clustertest.Any, To: victim})
		}},
		{"nothing that it sends arrives", func(net *clustertest.Network, victim int) {
			net.Set(clustertest.Faults{Cut: true}, clustertest.Link{From: victim, To: clustertest.Any})
		}},
		{"it has moved, and the others do not know where to", func(net *clustertest.Network, victim int) {
			for id := range servers {
				if id != victim {
					put(net.Node(id), net.Config(), victim, servers)
				}
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range uint64(10) {
				synctest.Test(t, func(t *testing.T) {
					c, leader := elected(t, seed+1)
					before := c.of(leader)
					victim := (leader + 1) % servers
					tt.cut(c.net, victim)
					time.Sleep(time.Minute)
					if got := c.of(victim); got != (Status{before.Term, PreCandidate, Nobody}) {
						t.Errorf("seed %d: after a minute it is at %v (%+v), want it to ask in term %d", seed+1, got, got, before.Term)
					}
					if got := c.of(leader); got != before {
						t.Errorf("seed %d: the leader is at %v, want %v", seed+1, got, before)
					}
					c.net.Heal()
					c.net.Set(clustertest.Faults{})
					for id := range servers {
						put(c.net.Node(id), c.net.Config(), victim, victim)
					}
					time.Sleep(10 * time.Second)
					for id := range servers {
						if got := c.of(id); got.Term != before.Term || got.Leader != leader {
							t.Errorf("seed %d: after all is well again, server %d is at %v, want %v", seed+1, id, got, before)
						}
					}
				})
			}
		})
	}
}

// put makes the entry of server id in the node's catalogue say the address of another.
func put(node *cluster.Node, cfg cluster.Config, id, at int) {
	entry := cfg.Peers[id]
	entry.Address = strings.TrimSuffix(entry.Address, fmt.Sprint(id)) + fmt.Sprint(at)
	if err := node.Catalog().Put(entry); err != nil {
		panic(err)
	}
}

// Over TCP: the others have an address for one of the servers where nobody listens. What it sends arrives.
func TestAServerThatHasMovedRaisesNoTermOverTCP(t *testing.T) {
	t.Parallel()
	const count, moved = 4, 3
	nodes := clustertest.StartLocal(t, count)
	l, err := freeport.Listen()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for _, node := range nodes[:moved] {
		if err := node.Catalog().Put(peercatalog.Peer{ID: moved, Address: l.Addr().String()}); err != nil {
			t.Fatal(err)
		}
	}
	statuses := make(chan report, 1000)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	for id, node := range nodes {
		e, err := NewElection(node, &memory{ballot: Ballot{VotedFor: Nobody}}, rand.New(rand.NewPCG(1, uint64(id))), func(s Status) {
			statuses <- report{id, s}
		})
		if err != nil {
			t.Fatal(err)
		}
		go func() { ended <- e.Run(ctx) }() // ends with ctx; the function below waits
	}
	defer func() {
		stop()
		for range nodes {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}()

	// The others elect among themselves, with its vote counting: three of four are a majority.
	now := make(map[int]Status)
	until(t, statuses, now, time.Minute, "the others have a leader", func() bool {
		return now[0].Leader != Nobody && now[0].Term > 0 && now[1].Leader == now[0].Leader && now[2].Leader == now[0].Leader
	})
	term := now[0].Term
	asking := func() bool { return now[moved].Role == PreCandidate }
	until(t, statuses, now, time.Minute, "the moved server asks", asking)
	// Some election timeouts of its go by, in which a candidate would have raised the term each time.
	deadline := time.After(4 * mostTimeout)
	for passed := false; !passed; {
		select {
		case r := <-statuses:
			now[r.id] = r.Status
		case <-deadline:
			passed = true
		}
	}
	for id := range nodes {
		if now[id].Term > term || id != moved && now[id].Leader != now[0].Leader {
			t.Errorf("server %d is at %v, want term %d and the leader %d", id, now[id], term, now[0].Leader)
		}
	}
	heard := slices.ContainsFunc(nodes[0].Stats().Peers, func(p cluster.PeerStats) bool { return p.ID == moved && p.Received.Received > 0 })
	if !heard {
		t.Error("nothing of the moved server has arrived, so that this tests nothing")
	}
}

// A report is what a server has come to know.
type report struct {
	id int
	Status
}

// until takes in reports until done.
func until(t *testing.T, reports <-chan report, now map[int]Status, limit time.Duration, what string, done func() bool) {
	t.Helper()
	deadline := time.After(limit)
	for !done() {
		select {
		case r := <-reports:
			now[r.id] = r.Status
		case <-deadline:
			t.Fatalf("%v have passed until %s: %v", limit, what, now)
		}
	}
}
