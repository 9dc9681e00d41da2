package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// replay is for seeing again what a test that has failed has seen.
var replay = flag.Uint64("seed", 0, "let the tests that try many seeds try this one alone, and tell its story")

const (
	servers = 5
	// faultsEnd is when the network is healed.
	faultsEnd = 20 * time.Second
	// settleTime is how long after that there must be one leader whom all follow. For the first second and a half,
	// messages from before may still come late. Then either there is a leader whom a majority obeys, or within
	// mostTimeout a server asks whether it may be a candidate. That may fail because the terms still differ, but the
	// refusals spread the latest of them. Each election that follows fails only if the vote is split: if two servers
	// become candidates within the few milliseconds that a request takes. Four in a row do not.
	settleTime = 1500*time.Millisecond + 5*mostTimeout
)

// A memory is a Storage that outlives its server, but not the test.
type memory struct {
	ballot Ballot
	loses  bool // its vote in a crash
}

func (m *memory) Load() (Ballot, error) {
	b := m.ballot
	if m.loses {
		b.VotedFor = Nobody
	}
	return b, nil
}

func (m *memory) Save(b Ballot) error {
	m.ballot = b
	return nil
}

// A flaw is a way in which the program can be wrong. The tests have to notice.
type flaw struct {
	name      string
	fickle    bool // a server votes for whoever asks, as often as it is asked
	forgetful bool // a server that crashes does not know for whom it has voted
}

var none = flaw{name: "none"}

// fickle is a server on which an Election forgets its vote before each message. Inbox is called by the goroutine of
// Run, to which the vote belongs.
type fickle struct {
	cluster.Server
	election *Election
}

func (f *fickle) Inbox() chan *cluster.Envelope {
	if f.election.status.Role == Follower {
		f.election.ballot.VotedFor = Nobody
	}
	return f.Server.Inbox()
}

// A double is two servers that were elected in the same term.
type double struct {
	Term          int
	First, Second int
	At            time.Duration // when the second was
}

// A life is what happened to the servers with one seed.
type life struct {
	seed    uint64
	doubles []double
	elected int           // leaders
	term    int           // the latest
	settled time.Duration // from faultsEnd on; negative: not
	events  map[clustertest.Kind]int
	story   []string // each change of a server's status
}

// A witness is told of each change of the status of each server, and so of every moment.
type witness struct {
	start time.Time

	mu      sync.Mutex // guards what follows
	life    life
	leaders map[int]int    // by term, the first of it
	status  map[int]Status // of the servers that run
}

func (w *witness) sees(id int, s Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Since(w.start)
	w.life.story = append(w.life.story, fmt.Sprintf("%12v  server %d: %v", now, id, s))
	w.life.term = max(w.life.term, s.Term)
	if s.Role == Leader {
		w.life.elected++
		if first, taken := w.leaders[s.Term]; taken {
			w.life.doubles = append(w.life.doubles, double{s.Term, first, id, now})
		} else {
			w.leaders[s.Term] = id
		}
	}
	w.status[id] = s
	switch {
	case !w.agree():
		w.life.settled = -1
	case w.life.settled < 0:
		w.life.settled = max(0, now-faultsEnd)
	}
}

// crashed is told that a server does not run any more.
func (w *witness) crashed(id int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.life.story = append(w.life.story, fmt.Sprintf("%12v  server %d crashes", time.Since(w.start), id))
	delete(w.status, id)
	w.life.settled = -1
}

// agree reports whether one server leads, and all others follow it in the same term. The caller holds mu.
func (w *witness) agree() bool {
	leader := w.status[0].Leader
	for id := range servers {
		want := Status{w.status[0].Term, Follower, leader}
		if id == leader {
			want.Role = Leader
		}
		if got, runs := w.status[id]; !runs || got != want {
			return false
		}
	}
	return leader != Nobody
}

// simulate is the life of five servers on the network and with the faults of the seed, in virtual time. A life without
// a flaw must be right.
func simulate(t *testing.T, seed uint64, wrong flaw) (l life) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		net := clustertest.NewNetwork(t, seed, servers)
		w := &witness{
			start:   time.Now(),
			life:    life{seed: seed, settled: -1},
			leaders: make(map[int]int),
			status:  make(map[int]Status),
		}
		var storages [servers]memory
		for id := range storages {
			storages[id] = memory{Ballot{VotedFor: Nobody}, wrong.forgetful}
		}
		var lives [servers]uint64
		run := func(node *cluster.Node) {
			id := node.Pid()
			lives[id]++
			server := &fickle{Server: node}
			random := rand.New(rand.NewPCG(seed, lives[id]<<8|uint64(id)))
			e, err := NewElection(server, &storages[id], random, func(s Status) { w.sees(id, s) })
			if err != nil {
				t.Error(err)
				return
			}
			if server.election = e; !wrong.fickle {
				e.server = node
			}
			w.sees(id, e.status)
			go func() { // ends when the network crashes the node or, as the test ends, closes it; synctest.Test waits
				if err := e.Run(context.Background()); err != nil {
					t.Error(err)
				}
				w.crashed(id)
			}()
		}
		for _, node := range net.Start() {
			run(node)
		}
		net.Disturb(faultsEnd, run)
		time.Sleep(faultsEnd + settleTime)
		w.mu.Lock()
		defer w.mu.Unlock()
		l = w.life
		l.events = make(map[clustertest.Kind]int)
		for _, e := range net.Events() {
			l.events[e.Kind]++
		}
		if wrong == none {
			l.check(t)
		}
		if *replay == seed || t.Failed() {
			t.Logf("seed %d, flaw: %s\n%s", seed, wrong.name, strings.Join(l.story, "\n"))
		}
	})
	return l
}

// check finds what must not be.
func (l life) check(t *testing.T) {
	t.Helper()
	for _, d := range l.doubles {
		t.Errorf("seed %d: in term %d, server %d was elected, and at %v server %d too", l.seed, d.Term, d.First, d.At, d.Second)
	}
	if l.settled < 0 {
		t.Errorf("seed %d: %v after the network has healed there is no leader whom all follow", l.seed, settleTime)
	}
	if t.Failed() {
		t.Logf("to see it again: go test ./examples/election -run '^%s$' -seed %d -v", "TestATermHasOneLeaderAndAHealedNetworkToo", l.seed)
	}
}
