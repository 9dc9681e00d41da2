package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/examples/kv/internal/fleet"
)

// What clients see fits an order in which one server carried out all requests, one by one, while servers are killed,
// stopped, cut off from one another, and their connections break.
func TestTheStoreIsLinearizable(t *testing.T) {
	t.Parallel()
	seed, until := rand.Uint64(), time.Now()
	if *long {
		until = until.Add(10 * time.Minute)
	}
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	f := begin(t, true, thisProgram)
	rounds, operations, unknowns := 0, 0, 0
	for ; rounds == 0 || time.Now().Before(until); rounds++ {
		these := short
		if *long {
			these = []fault{faults[random.IntN(len(faults))], faults[random.IntN(len(faults))], faults[random.IntN(len(faults))]}
		}
		h := disturb(t, f, fmt.Sprintf("round%d", rounds), random, 2, these)
		operations, unknowns = operations+len(h.all), unknowns+h.unknowns
		if ok, tried := h.linearizable(t); !ok {
			draw(t, tried)
			t.Fatalf("the history of round %d is not linearizable", rounds)
		}
	}
	t.Logf("%d rounds are linearizable: %d operations, of which %d were not answered", rounds, operations, unknowns)
}

// recovery is for how long writes may wait after the leader is killed, in the middle of twenty times, where nothing else runs.
const recovery = 2 * time.Second

// How long writes wait after the leader is killed is measured and printed.
func TestAnotherLeaderTakesOver(t *testing.T) {
	if !*long {
		t.Parallel() // where it is measured, nothing else runs
	}
	f := begin(t, false, thisProgram)
	c := fleet.NewClient(f.Addresses)
	times := 2
	if *long {
		times = 20
	}
	var took []time.Duration
	for n := range times {
		ask(t, c, "PUT", "/kv/before", "1")
		id := leader(t, f)
		began := time.Now()
		kill(t, f, id)
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		_, err := c.Do(ctx, fleet.Request{Method: "PUT", Path: "/kv/after", Body: []byte(fmt.Sprint(n)), Name: fmt.Sprint(n)})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
		start(t, f, id)
	}
	slices.Sort(took)
	t.Logf("from the kill of the leader to the next acknowledged write, %d times: median %v, longest %v",
		times, took[times/2].Round(time.Millisecond), took[times-1].Round(time.Millisecond))
	if *long && took[times/2] > recovery {
		t.Errorf("want %v at most", recovery)
	}
}
