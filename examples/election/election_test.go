package main

import (
	"context"
	"errors"
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

// Whatever the network does, a term has at most one leader; and soon after it has healed there is one whom all follow.
func TestATermHasOneLeaderAndAHealedNetworkToo(t *testing.T) {
	const batches = 8
	var seeds []uint64
	for seed := range uint64(seedsTried) {
		seeds = append(seeds, seed+1)
	}
	if testing.Short() {
		seeds = seeds[:min(len(seeds), 200)]
	}
	if *replay != 0 {
		seeds = []uint64{*replay}
	}
	var mu sync.Mutex // guards lives
	var lives []life
	t.Run("seeds", func(t *testing.T) {
		for batch := range batches {
			t.Run(fmt.Sprintf("batch %d of %d", batch+1, batches), func(t *testing.T) {
				t.Parallel()
				for i := batch; i < len(seeds) && !t.Failed(); i += batches {
					l := simulate(t, seeds[i], none)
					mu.Lock()
					lives = append(lives, l)
					mu.Unlock()
				}
			})
		}
	})
	if t.Failed() || *replay != 0 {
		return
	}

	// The faults were real, and there was something to elect.
	events := make(map[clustertest.Kind]int)
	elected, terms, several, worst := 0, 0, 0, life{}
	for _, l := range lives {
		for k, n := range l.events {
			events[k] += n
		}
		elected += l.elected
		terms += l.term
		if l.elected > 1 {
			several++
		}
		if l.settled > worst.settled {
			worst = l
		}
	}
	for k := clustertest.Sent; k <= clustertest.Resumed; k++ {
		if events[k] < len(lives)/2 && k != clustertest.Held {
			t.Errorf("with %d seeds there were %d events of kind %v", len(lives), events[k], k)
		}
	}
	if several < len(lives)/2 || terms < 2*len(lives) {
		t.Errorf("with %d seeds, %d times a second leader was elected, and the terms came to %d altogether", len(lives), several, terms)
	}
	t.Logf("%d seeds: %d leaders were elected in %d terms; all followed one no later than %v after the network had healed (seed %d)",
		len(lives), elected, terms, worst.settled, worst.seed)
	t.Logf("events: %v", events)
}

// The test above is worth something: it notices when a server votes twice in a term, and what it has noticed can be seen
// again.
func TestASecondVoteInATermIsCaught(t *testing.T) {
	for _, tt := range []struct {
		flaw flaw
		from uint64 // not long before the first seed that shows it
		most uint64 // seeds
	}{
		{flaw{name: "fickle", fickle: true}, 1, 200},
		// It takes a crash between two requests for the same term: one seed in about a thousand has it.
		{flaw{name: "forgetful", forgetful: true}, 2100, 5000},
	} {
		t.Run(tt.flaw.name, func(t *testing.T) {
			t.Parallel()
			if *replay != 0 {
				tt.from, tt.most = *replay, 1
			}
			for seed := tt.from; seed < tt.from+tt.most; seed++ {
				first := simulate(t, seed, tt.flaw)
				if len(first.doubles) == 0 {
					continue
				}
				t.Logf("seed %d: %+v", seed, first.doubles)
				again := simulate(t, seed, tt.flaw)
				if !slices.Equal(again.doubles, first.doubles) {
					t.Errorf("seed %d again: %+v", seed, again.doubles)
				}
				return
			}
			t.Errorf("no term had two leaders with the seeds %d to %d", tt.from, tt.from+tt.most-1)
		})
	}
}

// A lone is a server without a network: the test plays the others.
type lone struct{ in, out chan *cluster.Envelope }

func (l lone) Pid() int                       { return 0 }
func (l lone) Peers() []int                   { return []int{1, 2, 3, 4} }
func (l lone) Inbox() chan *cluster.Envelope  { return l.in }
func (l lone) Outbox() chan *cluster.Envelope { return l.out }

// alone runs an election on a server whose messages test sends and receives. Run must end with the error want.
func alone(t *testing.T, storage Storage, outbox int, want error, test func(*testing.T, lone)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := lone{make(chan *cluster.Envelope), make(chan *cluster.Envelope, outbox)}
		e, err := NewElection(s, storage, rand.New(rand.NewPCG(1, 1)), func(Status) {})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { ended <- e.Run(context.Background()) }() // ends as Inbox is closed; the last lines wait
		test(t, s)
		close(s.in)
		if err := <-ended; !errors.Is(err, want) {
			t.Errorf("Run returned %v, want %v", err, want)
		}
	})
}

// says is what the server answers when from sends it msg; nil if nothing.
func (l lone) says(from int, msg any) any {
	l.in <- &cluster.Envelope{Pid: from, Msg: msg}
	synctest.Wait()
	select {
	case env := <-l.out:
		return env.Msg
	default:
		return nil
	}
}

func TestAServerVotesOnceInATerm(t *testing.T) {
	storage := &memory{ballot: Ballot{Term: 4, VotedFor: Nobody}}
	steps := []struct {
		name      string
		candidate int
		term      int
		want      RequestVoteReply
	}{
		{"an earlier term", 1, 3, RequestVoteReply{4, false}},
		{"the first", 1, 4, RequestVoteReply{4, true}},
		{"another", 2, 4, RequestVoteReply{4, false}},
		{"the first again", 1, 4, RequestVoteReply{4, true}},
		{"another, of a later term", 2, 5, RequestVoteReply{5, true}},
		{"the first, of the earlier term", 1, 4, RequestVoteReply{5, false}},
	}
	// The second half after a restart.
	for _, half := range [][2]int{{0, 3}, {3, len(steps)}} {
		alone(t, storage, 1, nil, func(t *testing.T, s lone) {
			for _, step := range steps[half[0]:half[1]] {
				if got := s.says(step.candidate, RequestVote{step.term}); got != step.want {
					t.Errorf("%s: got %+v, want %+v", step.name, got, step.want)
				}
			}
		})
	}
}

func TestALeaderGivesWayToALaterTerm(t *testing.T) {
	alone(t, &memory{ballot: Ballot{VotedFor: Nobody}}, 1, nil, func(t *testing.T, s lone) {
		asked(t, s)
		s.says(1, RequestVoteReply{1, true})
		if got := s.says(1, RequestVoteReply{1, true}); got != nil {
			t.Errorf("with two votes of five, of which one came twice: %+v", got)
		}
		if got := s.says(2, RequestVoteReply{1, true}); got != (AppendEntries{1}) {
			t.Errorf("with three votes of five: %+v", got)
		}
		if got := s.says(3, AppendEntries{0}); got != (AppendEntriesReply{1, false}) {
			t.Errorf("to a leader of an earlier term: %+v", got)
		}
		s.says(4, AppendEntriesReply{2, false})
		if got := s.says(3, RequestVoteReply{1, true}); got != nil {
			t.Errorf("after hearing of a later term: %+v", got)
		}
		start := time.Now()
		if got := (<-s.out).Msg; got != (RequestPreVote{3}) {
			t.Errorf("what it sends next, as a follower, is %+v", got)
		}
		if took := time.Since(start); took < leastTimeout || took > mostTimeout {
			t.Errorf("it asked for the next term after %v", took)
		}
	})
}

func TestAnObserverNeitherVotesNorGetsAVote(t *testing.T) {
	const observer = 9 // in no list of peers
	alone(t, &memory{ballot: Ballot{VotedFor: Nobody}}, 1, nil, func(t *testing.T, s lone) {
		asked(t, s)
		s.says(1, RequestVoteReply{1, true})
		for _, msg := range []any{RequestPreVote{7}, RequestPreVoteReply{7, false}, RequestVoteReply{1, true}, RequestVote{7}, AppendEntries{7}} {
			if got := s.says(observer, msg); got != nil {
				t.Errorf("to %#v of an observer: %+v", msg, got)
			}
		}
		if got := s.says(2, RequestVoteReply{1, true}); got != (AppendEntries{1}) {
			t.Errorf("with three votes of five: %+v", got)
		}
	})
}

var errDisk = errors.New("disk full")

type fullDisk struct{ memory }

func (*fullDisk) Save(Ballot) error { return errDisk }

func TestAVoteThatCannotBeStoredIsNotGiven(t *testing.T) {
	alone(t, &fullDisk{}, 1, errDisk, func(t *testing.T, s lone) {
		if got := s.says(1, RequestVote{1}); got != nil {
			t.Errorf("got %+v", got)
		}
	})
}

func TestAServerReadsOnThoughNobodyReadsItsOutbox(t *testing.T) {
	alone(t, &memory{ballot: Ballot{VotedFor: Nobody}}, 0, nil, func(t *testing.T, s lone) {
		for term := range 100 {
			s.in <- &cluster.Envelope{Pid: 1, Msg: AppendEntries{term}}
		}
		time.Sleep(time.Minute) // some campaigns
		s.in <- &cluster.Envelope{Pid: 1, Msg: AppendEntries{1000}}
	})
}
