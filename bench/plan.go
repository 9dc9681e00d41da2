package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// An experiment measures some peers on the same work, one after the other.
type experiment struct {
	Kind    kind
	Load    string
	Servers int
	peers   []string

	warm, window time.Duration
}

// key names the experiment among the results.
func (e experiment) key() string { return key(e.Kind, e.Load, e.Servers) }

func key(k kind, load string, servers int) string {
	switch k {
	case stream:
		return fmt.Sprintf("%s, %s", k, load)
	case roundTrip, nearTrip:
		return string(k)
	default:
		return fmt.Sprintf("%s, %d servers", k, servers)
	}
}

// Sizes of the plans, in servers.
var (
	broadcastServers = []int{8, 16}
	growthServers    = []int{2, 4, 8, 16, 32, 64}
	nodesServers     = []int{1, 10, 100, 1000}
)

const (
	smallLoad = "16 B"
	groupLoad = "256 B"
	bulkLoad  = "1 MiB"
)

// fullPlan is everything. Round trips are in it twice: how long they take depends on
// the cores that the system happens to give to two processes, so more of them are needed.
func fullPlan() (plan []experiment) {
	const warm, window = 300 * time.Millisecond, time.Second
	trips := experiment{roundTrip, smallLoad, 2, names(peers), warm, window}
	plan = append(plan, trips)
	for _, l := range loads {
		plan = append(plan, experiment{stream, l.name, 2, names(peers), warm, window})
	}
	plan = append(plan, trips)
	near := names([]peer{bare, channels, direct, channelsOnGo, directOnGo})
	plan = append(plan, experiment{nearTrip, smallLoad, 2, near, warm, window})
	for _, n := range broadcastServers {
		plan = append(plan, experiment{broadcast, groupLoad, n, names([]peer{bare, channels, direct, channelsOnGo, natsPeer}), warm, window})
	}
	for _, n := range growthServers {
		plan = append(plan, experiment{allToAll, groupLoad, n, names([]peer{bare, channels, channelsOnGo, natsPeer}), 2 * warm, window})
	}
	for _, n := range nodesServers {
		plan = append(plan, experiment{nodes, smallLoad, n, names([]peer{bare, channels, channelsOnGo}), 0, 0})
	}
	return plan
}

// quickPlan is the headline.
func quickPlan() (plan []experiment) {
	const warm, window = 200 * time.Millisecond, 800 * time.Millisecond
	few := names([]peer{bare, channels, direct, channelsOnGo, directOnGo, tcp})
	trips := experiment{roundTrip, smallLoad, 2, few, warm, window}
	plan = append(plan, trips)
	for _, l := range []string{smallLoad, "1 KiB", "64 KiB"} {
		plan = append(plan, experiment{stream, l, 2, few, warm, window})
	}
	return append(plan, trips)
}

func names(of []peer) (all []string) {
	for _, p := range of {
		all = append(all, p.name)
	}
	return all
}

// only keeps what the patterns match: of the experiments by their keys, of the peers by
// their names.
func only(plan []experiment, what, who *regexp.Regexp) (kept []experiment) {
	for _, e := range plan {
		e.peers = slices.DeleteFunc(slices.Clone(e.peers), func(name string) bool { return !who.MatchString(name) })
		if what.MatchString(e.key()) && len(e.peers) > 0 {
			kept = append(kept, e)
		}
	}
	return kept
}

// A sample is what one measurement found.
type sample struct {
	Experiment string `json:"experiment"`
	Peer       string `json:"peer"`
	Round      int    `json:"round"` // of this experiment, from 0: two in one round of the plan if it is there twice
	Values     values `json:"values,omitempty"`
	Failed     string `json:"failed,omitempty"` // the reason
}

// carryOut makes the rounds, in each of which the peers take turns, and returns what it
// has when ctx ends. A peer that has failed twice at something is not asked again. It
// tells done of each measurement.
func carryOut(ctx context.Context, plan []experiment, rounds int, done func(what string)) (samples []sample) {
	failures := make(map[string]int)
	made := make(map[string]int) // rounds of each experiment
	for range rounds {
		for _, e := range plan {
			round := made[e.key()]
			made[e.key()]++
			for i := range e.peers {
				name := e.peers[(i+round)%len(e.peers)] // no peer always follows the same other
				what := e.key() + ": " + name
				if failures[what] < 2 && ctx.Err() == nil {
					m := measurement{Kind: e.Kind, Load: e.Load, Servers: e.Servers, Peer: name, warm: e.warm, window: e.window}
					v, err := m.take(ctx)
					s := sample{Experiment: e.key(), Peer: name, Round: round, Values: v}
					if ctx.Err() != nil {
						return samples // it may be half of one
					}
					if err != nil {
						failures[what]++
						s.Failed = err.Error()
					}
					samples = append(samples, s)
				}
				done(what)
			}
		}
	}
	return samples
}
