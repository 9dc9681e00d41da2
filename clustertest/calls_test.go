package clustertest_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
)

// Calls over a network that loses and delays messages, and is divided for a while, come out the same in each run of a seed.
func TestTheSameSeedMakesTheSameOutcomesOfCalls(t *testing.T) {
	run := func(seed uint64) (outcomes, events string) {
		bubble(t, seed, 3, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
			for _, n := range nodes[1:] {
				go func() { // It ends when its node has closed.
					for {
						env, err := n.Receive(context.Background())
						if err != nil {
							return
						}
						r := env.Msg.(*cluster.Request)
						r.Reply(context.Background(), r.Msg.(int)+n.Pid())
					}
				}()
			}
			net.Set(clustertest.Faults{Loss: 0.1, Duplicate: 0.1, Reorder: 0.1, Delay: clustertest.Between(0, 30*time.Millisecond)})
			net.At(5*time.Second, func() { net.Partition([]int{0, 1}, []int{2}) })
			net.At(15*time.Second, net.Heal)
			var lines []string
			began := time.Now()
			for i := range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				first := len(lines)
				for env, err := range nodes[0].CallAll(ctx, cluster.BROADCAST, 10*i) {
					if lines = append(lines, fmt.Sprint(time.Since(began), " ", err)); err == nil {
						lines[len(lines)-1] = fmt.Sprint(time.Since(began), " ", env.Pid, " ", env.Msg)
						if env.Msg != 10*i+env.Pid {
							t.Errorf("call %d yields %v", i, env)
						}
					}
				}
				cancel()
				slices.Sort(lines[first:]) // several calls end at the moment at which their context does, in any order
				time.Sleep(100 * time.Millisecond)
			}
			outcomes = strings.Join(lines, "\n")
			for _, e := range net.Events() {
				events += e.String() + "\n"
			}
		})
		return outcomes, events
	}
	first, events := run(42)
	for range 3 {
		if again, _ := run(42); again != first {
			a, b := strings.Split(first, "\n"), strings.Split(again, "\n")
			i := 0
			for i < min(len(a), len(b)) && a[i] == b[i] {
				i++
			}
			t.Fatalf("two runs with the same seed differ from outcome %d on:\n%s\n\n%s", i,
				strings.Join(a[i:min(i+5, len(a))], "\n"), strings.Join(b[i:min(i+5, len(b))], "\n"))
		}
	}
	if other, _ := run(43); other == first {
		t.Error("runs with two seeds do not differ")
	}
	for _, want := range []string{"deadline exceeded", " 1 11", " 2 "} {
		if !strings.Contains(first, want) {
			t.Errorf("no call comes out as %q:\n%s", want, first)
		}
	}
	for _, want := range []string{"request: 10", "reply: 11"} {
		if !strings.Contains(events, want) {
			t.Errorf("the record does not show %q", want)
		}
	}
}
