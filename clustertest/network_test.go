package clustertest_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

// bubble runs a test with a network of n servers, all started, in virtual time.
func bubble(t *testing.T, seed uint64, n int, test func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node)) {
	synctest.Test(t, func(t *testing.T) {
		net := clustertest.NewNetwork(t, seed, n)
		test(t, net, net.Start())
	})
}

// send sends the numbers from..to-1, one each millisecond.
func send(n *cluster.Node, to, first, end int) {
	for i := first; i < end; i++ {
		n.Outbox() <- &cluster.Envelope{Pid: to, Msg: i}
		time.Sleep(time.Millisecond)
	}
}

// drain takes what is in the inbox, once nothing has come for a second.
func drain(n *cluster.Node) (got []int) {
	for {
		select {
		case e, ok := <-n.Inbox():
			if !ok {
				return got
			}
			got = append(got, e.Msg.(int))
		case <-time.After(time.Second):
			return got
		}
	}
}

func numbers(first, end int) (all []int) {
	for i := first; i < end; i++ {
		all = append(all, i)
	}
	return all
}

func equal(t *testing.T, what string, got, want []int) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func received(n *cluster.Node, from int) cluster.ReceivedStats {
	for _, p := range n.Stats().Peers {
		if p.ID == from {
			return p.Received
		}
	}
	return cluster.ReceivedStats{}
}

func TestWithoutFaultsAllArrives(t *testing.T) {
	bubble(t, 1, 3, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		send(nodes[0], cluster.BROADCAST, 0, 100)
		equal(t, "server 1", drain(nodes[1]), numbers(0, 100))
		equal(t, "server 2", drain(nodes[2]), numbers(0, 100))
	})
}

func TestItWorksOutsideABubbleToo(t *testing.T) {
	net := clustertest.NewNetwork(t, 1, 2)
	nodes := net.Start()
	go send(nodes[0], 1, 0, 20)
	for i := range 20 {
		select {
		case e := <-nodes[1].Inbox():
			if e.Msg != i {
				t.Fatalf("got %v, want %d", e.Msg, i)
			}
		case <-time.After(time.Minute):
			t.Fatalf("message %d has not come", i)
		}
	}
}

func TestAPartitionStopsWhatCrossesItUntilItHeals(t *testing.T) {
	bubble(t, 1, 4, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		net.Connect()
		net.Partition([]int{0, 1}, []int{2})
		send(nodes[0], cluster.BROADCAST, 0, 10)
		time.Sleep(5 * time.Second) // the connections break, and what was sent is lost with them
		equal(t, "the same group", drain(nodes[1]), numbers(0, 10))
		equal(t, "another group", drain(nodes[2]), nil)
		equal(t, "no group", drain(nodes[3]), nil)
		net.Heal()
		time.Sleep(time.Second) // the link is tried now and then
		send(nodes[0], cluster.BROADCAST, 10, 20)
		equal(t, "after healing", drain(nodes[2]), numbers(10, 20))
		if lost := received(nodes[2], 0).Lost + received(nodes[2], 0).Missed; lost != 10 {
			t.Errorf("%d messages are counted as lost or missed, want 10", lost)
		}
	})
}

// Nothing comes through, and what is sent the other way is not acknowledged: after a moment nothing
// passes there either, as with TCP.
func TestALinkThatIsCutInOneDirectionSoonPassesNothingInTheOther(t *testing.T) {
	bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		net.Connect()
		net.Set(clustertest.Faults{Cut: true}, clustertest.Link{From: 0, To: 1})
		send(nodes[0], 1, 0, 5)
		send(nodes[1], 0, 0, 5)
		equal(t, "the cut direction", drain(nodes[1]), nil)
		equal(t, "the other direction", drain(nodes[0]), numbers(0, 5))
		send(nodes[1], 0, 5, 10)
		equal(t, "the other direction, a second later", drain(nodes[0]), nil)
		time.Sleep(5 * time.Second)
		for i, n := range nodes {
			if err := n.Send(t.Context(), &cluster.Envelope{Pid: 1 - i, Msg: 10}); err != nil {
				t.Errorf("server %d: %v, want the message to wait for SendTimeout", i, err)
			}
		}
		time.Sleep(2 * time.Second)
		for i, n := range nodes {
			if err := n.Send(t.Context(), &cluster.Envelope{Pid: 1 - i, Msg: 11}); !errors.Is(err, cluster.ErrUnreachable) {
				t.Errorf("server %d: %v, want that the other is unreachable", i, err)
			}
		}
	})
}

func TestLossIsCountedAndOrderKept(t *testing.T) {
	bubble(t, 7, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		net.Set(clustertest.Faults{Loss: 0.1}, clustertest.Link{From: 0, To: 1})
		send(nodes[0], 1, 0, 1000)
		net.Set(clustertest.Faults{})
		send(nodes[0], 1, 1000, 1001)
		got := drain(nodes[1])
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Errorf("out of order, or twice: %v", got)
		}
		r := received(nodes[1], 0)
		if lost := 1001 - len(got); lost < 60 || lost > 140 || r.Lost+r.Missed != uint64(lost) {
			t.Errorf("%d of 1001 were lost, want about 100; counted are %d and %d", lost, r.Lost, r.Missed)
		}
	})
}

func TestTheSameSeedMakesTheSameDecisions(t *testing.T) {
	run := func(seed uint64) (events string) {
		bubble(t, seed, 3, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
			net.Set(clustertest.Faults{Loss: 0.1, Duplicate: 0.1, Reorder: 0.1, Delay: clustertest.Between(0, 30*time.Millisecond)})
			net.At(50500*time.Microsecond, func() { net.Partition([]int{0, 1}, []int{2}) })
			net.At(99500*time.Microsecond, net.Heal)
			// Several at once, so that nodes may put them into one frame or several.
			for i := range 100 {
				for _, n := range nodes {
					n.Outbox() <- &cluster.Envelope{Pid: cluster.BROADCAST, Msg: fmt.Sprint("a", i)}
					n.Outbox() <- &cluster.Envelope{Pid: cluster.BROADCAST, Msg: fmt.Sprint("b", i)}
				}
				time.Sleep(time.Millisecond)
			}
			time.Sleep(time.Second)
			var lines []string
			for _, e := range net.Events() {
				lines = append(lines, e.String())
			}
			// At the same moment, the order among links is left to chance.
			slices.Sort(lines)
			events = strings.Join(lines, "\n")
		})
		return events
	}
	first := run(42)
	for range 5 {
		if again := run(42); again != first {
			a, b := strings.Split(first, "\n"), strings.Split(again, "\n")
			i := 0
			for i < min(len(a), len(b)) && a[i] == b[i] {
				i++
			}
			t.Fatalf("two runs with the same seed differ from event %d on:\n%s\n\n%s", i,
				strings.Join(a[i:min(i+5, len(a))], "\n"), strings.Join(b[i:min(i+5, len(b))], "\n"))
		}
	}
	if run(43) == first {
		t.Error("runs with two seeds do not differ")
	}
	for _, kind := range []string{"lost", "duplicated", "late", "partitioned"} {
		if !strings.Contains(first, kind) {
			t.Errorf("nothing was %s", kind)
		}
	}
}

func TestReorderingAndDuplicationEndAtTheNodesChecks(t *testing.T) {
	bubble(t, 3, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		net.Set(clustertest.Faults{Reorder: 0.2, Duplicate: 0.2, Delay: clustertest.Between(50*time.Millisecond, 100*time.Millisecond)})
		send(nodes[0], 1, 0, 500)
		equal(t, "late ones are waited for, and copies are not delivered", drain(nodes[1]), numbers(0, 500))
		if r := received(nodes[1], 0); r.Repeated == 0 || r.Lost+r.Missed != 0 {
			t.Errorf("no copy came, or something is counted as lost: %+v", r)
		}
		if late := count(net, clustertest.Late, ""); late == 0 {
			t.Error("nothing came late")
		}
	})
}

func TestACrashedServerLosesWhatWasQueuedAndComesBackAnew(t *testing.T) {
	bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		send(nodes[0], 1, 0, 3)
		equal(t, "before", drain(nodes[1]), numbers(0, 3))
		send(nodes[1], 0, 0, 3)
		equal(t, "before, the other way", drain(nodes[0]), numbers(0, 3))
		net.Set(clustertest.Faults{Delay: clustertest.Fixed(time.Second)})
		send(nodes[0], 1, 3, 6)
		net.Crash(1)
		if _, ok := <-nodes[1].Inbox(); ok {
			t.Error("a crashed server has received something")
		}
		if net.Node(1) != nil {
			t.Error("a crashed server is still there")
		}
		net.Set(clustertest.Faults{})
		time.Sleep(5 * time.Second)
		send(nodes[0], 1, 6, 9)
		time.Sleep(5 * time.Second)
		again := net.Start(1)[0]
		time.Sleep(5 * time.Second)
		send(nodes[0], 1, 9, 12)
		equal(t, "after", drain(again), numbers(9, 12))
		send(again, 0, 0, 2)
		equal(t, "the other way", drain(nodes[0]), numbers(0, 2))
		for _, e := range net.Events() {
			if e.Kind == clustertest.Late {
				t.Errorf("not late, but the first of another life: %v", e)
			}
		}
	})
}

func TestAPausedServerGoesOnWhereItWas(t *testing.T) {
	bubble(t, 1, 3, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		net.Connect()
		net.Pause(1)
		send(nodes[0], 1, 0, 5)
		send(nodes[1], 0, 0, 5)
		equal(t, "to a paused server", drain(nodes[1]), nil)
		equal(t, "from a paused server", drain(nodes[0]), nil)
		net.Resume(1)
		equal(t, "to it, afterwards", drain(nodes[1]), numbers(0, 5))
		equal(t, "from it, afterwards", drain(nodes[0]), numbers(0, 5))
	})
}

func TestBandwidthTakesItsTime(t *testing.T) {
	bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		net.Set(clustertest.Faults{Bandwidth: 1 << 20, Delay: clustertest.Fixed(0), InFlight: 64 << 10})
		start := time.Now()
		go func() {
			for range 100 {
				nodes[0].Outbox() <- &cluster.Envelope{Pid: 1, Msg: make([]byte, 100<<10)}
			}
		}()
		for range 100 {
			<-nodes[1].Inbox()
		}
		if took := time.Since(start); took < 9*time.Second || took > 12*time.Second {
			t.Errorf("10 MB at 1 MiB/s took %v", took)
		}
	})
}

func TestAMessageIsHeldUntilTheTestReleasesIt(t *testing.T) {
	bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		net.Watch(func(m clustertest.Message) clustertest.Verdict {
			if m.Text == "1" {
				return clustertest.Drop
			}
			return clustertest.Hold
		})
		send(nodes[0], 1, 0, 3)
		equal(t, "while held", drain(nodes[1]), nil)
		held := net.Held()
		if len(held) != 2 || held[0].Text != "0" || held[1].Text != "2" || held[0].From != 0 || held[0].To != 1 {
			t.Fatalf("held: %+v", held)
		}
		net.Release(held[0])
		equal(t, "after the first", drain(nodes[1]), numbers(0, 1))
		net.Release()
		equal(t, "after the second", drain(nodes[1]), numbers(2, 3))
		net.Watch(nil)
		send(nodes[0], 1, 3, 4)
		equal(t, "without a watcher", drain(nodes[1]), numbers(3, 4))
	})
}

func TestAnHourOfClusterLife(t *testing.T) {
	hour := time.Hour
	if testcluster.RaceEnabled && !long {
		hour /= 10 // it takes ten times as long
	}
	bubble(t, 1, 3, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		const pause = 100 * time.Millisecond
		beats := int(hour / pause)
		var sender sync.WaitGroup
		sender.Go(func() {
			for i := range beats {
				nodes[0].Outbox() <- &cluster.Envelope{Pid: cluster.BROADCAST, Msg: i}
				time.Sleep(pause)
			}
		})
		defer sender.Wait()
		start := time.Now()
		for i := range beats {
			for _, n := range nodes[1:] {
				if e := <-n.Inbox(); e.Msg != i {
					t.Fatalf("got %v, want %d", e.Msg, i)
				}
			}
		}
		if took := time.Since(start); took < hour-time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

// failed is a test that fails, as NewNetwork sees it.
type failed struct {
	testing.TB
	log      strings.Builder
	cleanups []func()
}

func (f *failed) Helper()                    {}
func (f *failed) Failed() bool               { return true }
func (f *failed) Cleanup(c func())           { f.cleanups = append(f.cleanups, c) }
func (f *failed) Logf(form string, a ...any) { fmt.Fprintf(&f.log, form, a...) }

func TestAFailedTestPrintsTheSeedAndTheLastEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &failed{TB: t}
		net := clustertest.NewNetwork(f, 4711, 2)
		nodes := net.Start()
		net.Connect()
		net.Set(clustertest.Faults{Loss: 1}, clustertest.Link{From: 0, To: 1})
		send(nodes[0], 1, 0, 1)
		for _, c := range f.cleanups {
			c()
		}
		for _, want := range []string{"4711", "0 -> 1  lost       #1 0 (loss)"} {
			if !strings.Contains(f.log.String(), want) {
				t.Errorf("%q is missing in:\n%s", want, f.log.String())
			}
		}
	})
}
