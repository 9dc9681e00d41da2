package clustertest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

const troubled = 20 * time.Second

// disturbed is what Disturb does to servers that say nothing.
func disturbed(t *testing.T, seed uint64, n int, restart func(*cluster.Node)) (events []clustertest.Event) {
	bubble(t, seed, n, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		net.Disturb(troubled, restart)
		time.Sleep(2 * troubled)
		events = net.Events()
	})
	return events
}

func lines(events []clustertest.Event) string {
	var all []string
	for _, e := range events {
		all = append(all, e.String())
	}
	return strings.Join(all, "\n")
}

func TestTheSameSeedDisturbsAtTheSameTimes(t *testing.T) {
	seen := make(map[string]uint64)
	for seed := range uint64(20) {
		first := lines(disturbed(t, seed, 5, func(*cluster.Node) {}))
		if again := lines(disturbed(t, seed, 5, func(*cluster.Node) {})); again != first {
			t.Errorf("seed %d: first\n%s\n\nthen\n%s", seed, first, again)
		}
		if other, ok := seen[first]; ok {
			t.Errorf("the seeds %d and %d are disturbed in the same way", other, seed)
		}
		seen[first] = seed
	}
}

func TestEachKindOfDisturbanceOccursAndEnds(t *testing.T) {
	const seeds = 200
	counts := make(map[string]int)
	var quiet, whole time.Duration
	for seed := range uint64(seeds) {
		// What is going on: the kinds of the events that began it.
		active := make(map[string]bool)
		last := time.Duration(0)
		restarted := 0
		for _, e := range disturbed(t, seed, 5, func(*cluster.Node) { restarted++ }) {
			if e.At > troubled {
				t.Errorf("seed %d: too late: %v", seed, e)
			}
			if len(active) == 0 {
				quiet += e.At - last
			}
			whole += e.At - last
			last = e.At
			server := string(rune('0' + max(0, e.From)))
			switch e.Kind {
			case clustertest.Partitioned:
				active["partition"] = true
				counts["partition"]++
			case clustertest.Healed:
				delete(active, "partition")
			case clustertest.Paused:
				active["paused "+server] = true
				counts["pause"]++
			case clustertest.Resumed:
				delete(active, "paused "+server)
			case clustertest.Crashed:
				active["crashed "+server] = true
				counts["crash"]++
			case clustertest.Restarted:
				delete(active, "crashed "+server)
				restarted--
			case clustertest.Disturbed:
				delete(active, "faults")
				if e.Why != "no faults" || e.From != clustertest.Any {
					active["faults"] = true
				}
				for _, word := range []string{"cut", "loss", "delay", "reorder", "duplicate"} {
					if strings.Contains(e.Why, word) {
						counts[word]++
					}
				}
			default:
				t.Errorf("seed %d: %v", seed, e)
			}
		}
		if len(active) > 0 {
			t.Errorf("seed %d: it does not end: %v", seed, active)
		}
		if restarted != 0 {
			t.Errorf("seed %d: restart was called %d times too often", seed, restarted)
		}
	}
	for _, kind := range []string{"partition", "pause", "crash", "cut", "loss", "delay", "reorder", "duplicate"} {
		if counts[kind] < seeds/2 {
			t.Errorf("with %d seeds there was %d times a %s", seeds, counts[kind], kind)
		}
	}
	// A server may be down in a quiet period.
	if share := quiet.Seconds() / whole.Seconds(); share < 0.1 || share > 0.3 {
		t.Errorf("for %.0f%% of the time nothing was the matter", 100*share)
	}
}

func TestWithoutARestartNothingCrashes(t *testing.T) {
	for n := 1; n < 6; n++ {
		for seed := range uint64(20) {
			for _, e := range disturbed(t, seed, n, nil) {
				if e.Kind == clustertest.Crashed {
					t.Fatalf("seed %d: %v", seed, e)
				}
			}
		}
	}
}

func TestAfterTheDisturbancesAllArrives(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			net := clustertest.NewNetwork(t, seed, 3)
			cfg := net.Config()
			cfg.OutboxSize = 7
			for id := range 3 {
				net.StartWith(id, cfg)
			}
			net.Disturb(troubled, func(n *cluster.Node) {
				if cap(n.Outbox()) != 7 {
					t.Errorf("server %d was started again with an outbox for %d", n.Pid(), cap(n.Outbox()))
				}
			})
			time.Sleep(troubled + 2*time.Second)
			for from := range 3 {
				send(net.Node(from), cluster.BROADCAST, 0, 10)
				for to := range 3 {
					if to != from {
						equal(t, "after the end", drain(net.Node(to)), numbers(0, 10))
					}
				}
			}
		})
	}
}

// gossip makes a server tell each other one something now and then, and answer what it is told. A message says how
// many answers it may have.
func gossip(n *cluster.Node, pause time.Duration) {
	go func() { // ends with the inbox, which the network closes; synctest.Test waits
		// So that no two things happen at the same moment, which leaves their order to chance.
		tick := time.NewTicker(pause + time.Duration(n.Pid())*1234567)
		defer tick.Stop()
		say := func(to, answers int) {
			select {
			case n.Outbox() <- &cluster.Envelope{Pid: to, Msg: answers}:
			default:
			}
		}
		for i := 0; ; {
			select {
			case <-tick.C:
				say(n.Peers()[i%len(n.Peers())], 2)
				i++
			case e, open := <-n.Inbox():
				if !open {
					return
				}
				if left := e.Msg.(int); left > 0 {
					say(e.Pid, left-1)
				}
			}
		}
	}()
}

func TestTheSameSeedMakesTheSameDecisionsWhenDisturbed(t *testing.T) {
	kinds := make(map[clustertest.Kind]bool)
	seeds := 60
	switch {
	case testcluster.RaceEnabled && !long: // each takes ten times as long
		seeds = 8
	case testing.Short():
		seeds = 20
	}
	for seed := range uint64(seeds) {
		// Some talk all the time; others not for so long that their nodes ask what has arrived.
		pause := []time.Duration{141592653, 314159265, 1141592653, 1718281828}[seed%4]
		run := func() (all []string) {
			bubble(t, seed, 4, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
				for _, n := range nodes {
					gossip(n, pause)
				}
				net.Disturb(troubled, func(n *cluster.Node) { gossip(n, pause) })
				time.Sleep(troubled + time.Second)
				for _, e := range net.Events() {
					kinds[e.Kind] = true
					all = append(all, e.String())
				}
				// At the same moment, the order among links is left to chance.
				slices.Sort(all)
			})
			return all
		}
		first, again := run(), run()
		i := 0
		for i < min(len(first), len(again)) && first[i] == again[i] {
			i++
		}
		if i < max(len(first), len(again)) {
			t.Errorf("seed %d: the events differ from number %d on:\n%s\n\n%s", seed, i,
				strings.Join(first[i:min(i+3, len(first))], "\n"), strings.Join(again[i:min(i+3, len(again))], "\n"))
		}
	}
	for _, k := range []clustertest.Kind{clustertest.Lost, clustertest.Late, clustertest.Duplicated} {
		if !kinds[k] {
			t.Errorf("nothing was %v", k)
		}
	}
}

// What begins at the moment of the call does so before anything that the test does
// next.
func TestADisturbanceBeginsBeforeTheTestGoesOn(t *testing.T) {
	run := func(seed uint64) (events string) {
		synctest.Test(t, func(t *testing.T) {
			net := clustertest.NewNetwork(t, seed, 3)
			nodes := net.Start()
			net.Disturb(2*time.Second, nil)
			for i := range 50 {
				nodes[0].Outbox() <- &cluster.Envelope{Pid: 1, Msg: i}
				time.Sleep(17 * time.Millisecond)
			}
			events = fmt.Sprint(net.Events())
		})
		return events
	}
	for seed := range uint64(20) {
		if first, again := run(seed), run(seed); first != again {
			t.Errorf("two runs with seed %d differ:\n%.2000s\n%.2000s", seed, first, again)
		}
	}
}
