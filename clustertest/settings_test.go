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
)

// burst sends so many messages of 100 bytes at once, and returns when each arrives.
func burst(net *clustertest.Network, n *cluster.Node, count int) (arrivals []time.Duration) {
	for i := range count {
		n.Outbox() <- &cluster.Envelope{Pid: 1, Msg: fmt.Sprintf("%0100d", i)}
	}
	time.Sleep(time.Minute)
	for _, e := range net.Events() {
		if e.Kind == clustertest.Delivered {
			arrivals = append(arrivals, e.At)
		}
	}
	return arrivals
}

// However little may be on its way at a time, it is no more than that: what a node puts
// into one frame leaves message by message.
func TestInFlightHoldsForLessThanAFrameToo(t *testing.T) {
	const each = 148 // bytes of a message with its headers, at least
	for _, c := range []struct{ inFlight, atATime int }{{1, 1}, {each, 1}, {500, 3}, {2000, 12}} {
		bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
			net.Set(clustertest.Faults{InFlight: c.inFlight, Delay: clustertest.Fixed(10 * time.Millisecond)})
			arrivals := burst(net, nodes[0], 60)
			if len(arrivals) != 60 {
				t.Fatalf("InFlight %d: %d of 60 arrive", c.inFlight, len(arrivals))
			}
			for i := c.atATime; i < len(arrivals); i++ {
				if gap := arrivals[i] - arrivals[i-c.atATime]; gap < 10*time.Millisecond {
					t.Fatalf("InFlight %d: messages %d and %d arrive within %v, so more than %d were on their way", c.inFlight, i-c.atATime, i, gap, c.atATime)
				}
			}
			if last := arrivals[59]; last > 700*time.Millisecond {
				t.Errorf("InFlight %d: the last arrives after %v", c.inFlight, last)
			}
		})
	}
}

func TestALinkThatIsFullMakesTheSenderWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := clustertest.NewNetwork(t, 1, 2)
		cfg := net.Config()
		cfg.QueueBytes, cfg.OutboxSize = 64<<10, 1
		a := net.StartWith(0, cfg)
		net.StartWith(1, cfg)
		net.Set(clustertest.Faults{InFlight: 1000, Delay: clustertest.Fixed(10 * time.Millisecond)})
		sent := 0
		for end := time.After(time.Second / 2); end != nil; {
			select {
			case a.Outbox() <- &cluster.Envelope{Pid: 1, Msg: make([]byte, 900)}:
				sent++
			case <-end:
				end = nil
			}
		}
		// A message each 10 ms goes on; the others are in the queues of the node, and on the link.
		if sent < 50 || sent > 50+(2*64<<10+256<<10)/900 {
			t.Errorf("%d messages of 900 bytes were taken in half a second", sent)
		}
	})
}

func TestEachFaultActsWithoutADelay(t *testing.T) {
	for _, c := range []struct {
		name   string
		faults clustertest.Faults
		kind   clustertest.Kind
	}{
		{"Reorder", clustertest.Faults{Reorder: 0.3}, clustertest.Late},
		{"Duplicate", clustertest.Faults{Duplicate: 0.3}, clustertest.Duplicated},
		{"Loss", clustertest.Faults{Loss: 0.3}, clustertest.Lost},
		{"Cut", clustertest.Faults{Cut: true}, clustertest.Lost},
	} {
		bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
			net.Connect()
			c.faults.Delay = clustertest.Fixed(0)
			net.Set(c.faults)
			send(nodes[0], 1, 0, 100)
			time.Sleep(5 * time.Second) // what is cut is lost as the connection breaks
			count := 0
			for _, e := range net.Events() {
				if e.Kind == c.kind {
					count++
				}
			}
			if count < 10 {
				t.Errorf("%s without a delay: of 100 messages %d are %v", c.name, count, c.kind)
			}
		})
	}
}

// Which of several messages comes first that are due at the same moment is drawn from the
// seed: not always the same, and not in the order of links.
func TestWhatIsDueAtOnceComesInAnOrderOfTheSeed(t *testing.T) {
	orders := make(map[string]bool)
	for seed := range uint64(20) {
		bubble(t, seed, 4, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
			net.Connect()
			net.Set(clustertest.Faults{Delay: clustertest.Fixed(10 * time.Millisecond)})
			for _, n := range nodes[:3] {
				n.Outbox() <- &cluster.Envelope{Pid: 3, Msg: n.Pid()}
			}
			orders[fmt.Sprint(drain(nodes[3]))] = true
		})
	}
	if len(orders) < 4 {
		t.Errorf("20 seeds make %d orders of 3 messages: %v", len(orders), orders)
	}
}

// What a timer of the program's leads to comes before a message that is due at the same
// time, and before a function that is scheduled for it; and messages of one time come one
// after the other.
func TestAtOneMomentTheProgramIsFirst(t *testing.T) {
	for seed := range uint64(10) {
		bubble(t, seed, 3, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
			net.Connect()
			net.Set(clustertest.Faults{Delay: clustertest.Fixed(10 * time.Millisecond)})
			var order []string
			net.At(10*time.Millisecond, func() { order = append(order, "first function") })
			net.At(10*time.Millisecond, func() { order = append(order, "second function") })
			for _, n := range nodes[1:] {
				n.Outbox() <- &cluster.Envelope{Pid: 0, Msg: "x"}
			}
			time.Sleep(10 * time.Millisecond)
			if len(nodes[0].Inbox()) > 0 {
				t.Errorf("seed %d: a message is there before the program", seed)
			}
			order = append(order, "program")
			net.Sleep(time.Millisecond)
			if want := []string{"program", "first function", "second function"}; !slices.Equal(order, want) {
				t.Errorf("seed %d: got %v, want %v", seed, order, want)
			}
			if len(nodes[0].Inbox()) != 2 {
				t.Errorf("seed %d: %d messages came, want 2", seed, len(nodes[0].Inbox()))
			}
		})
	}
}

// What is scheduled is called from the goroutine that is in Sleep: the race detector sees
// that the test needs no lock for what it shares with it.
func TestSleepCallsWhatIsScheduledFromItsGoroutine(t *testing.T) {
	bubble(t, 3, 3, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		restarts := 0
		net.Disturb(troubled, func(n *cluster.Node) {
			restarts++
			nodes[n.Pid()] = n
		})
		ticks, nested := 0, false
		for i := range 10 {
			net.At(time.Duration(i)*time.Second, func() {
				ticks++
				net.At(0, func() { nested = true }) // at once
			})
		}
		for range 20 {
			net.Sleep(time.Second)
		}
		if ticks != 10 || !nested || restarts == 0 {
			t.Errorf("%d of 10 functions were called, and %d servers restarted; one within another: %v", ticks, restarts, nested)
		}
		for id, n := range nodes {
			if net.Node(id) != n {
				t.Errorf("server %d is another node than the test was given", id)
			}
		}
		if now := time.Since(time.Unix(946684800, 0)); now < troubled || now > troubled+time.Millisecond {
			t.Errorf("it took %v, want %v", now, troubled)
		}
	})
}

func TestAFunctionThatTakesItsTimeDelaysSleepAndLosesNothing(t *testing.T) {
	bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, _ []*cluster.Node) {
		var calls []string
		net.At(time.Second, func() {
			calls = append(calls, "slow")
			time.Sleep(5 * time.Second)
		})
		net.At(4*time.Second, func() { calls = append(calls, "meanwhile") })
		net.At(7*time.Second, func() { calls = append(calls, "later") })
		net.Sleep(2 * time.Second)
		if want := []string{"slow", "meanwhile"}; !slices.Equal(calls, want) {
			t.Errorf("got %v, want %v", calls, want)
		}
		net.Sleep(2 * time.Second)
		if len(calls) != 3 {
			t.Errorf("got %v, want what was due later, too", calls)
		}
	})
}

func TestServersHaveTheIDsThatTheTestGives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := clustertest.NewNetworkOf(t, 1, 7, 3, 1000)
		var got []int
		nodes := net.Start()
		for _, n := range nodes {
			got = append(got, n.Pid())
		}
		equal(t, "the ids", got, []int{7, 3, 1000})
		net.Partition([]int{1000})
		send(nodes[0], cluster.BROADCAST, 0, 3)
		equal(t, "server 3", drain(nodes[1]), numbers(0, 3))
		equal(t, "server 1000", drain(nodes[2]), nil)
		net.Heal()
		net.Disturb(time.Since(time.Unix(946684800, 0))+troubled, func(n *cluster.Node) {
			for i, old := range nodes {
				if old.Pid() == n.Pid() {
					nodes[i] = n
				}
			}
		})
		net.Sleep(troubled + 5*time.Second)
		send(nodes[0], 1000, 3, 5)
		equal(t, "server 1000, later", drain(nodes[2]), numbers(3, 5))
		for _, want := range []string{"participant s1000 as server 1000", "s7->>s3: ", "Note over s7,s1000: "} {
			if !strings.Contains(net.Mermaid(), want) {
				t.Errorf("%q is missing in the diagram", want)
			}
		}
	})
}

// Partition([]int{2}) is what it says: 2 is cut off, and the others are not.
func TestServersInNoGroupStayTogether(t *testing.T) {
	bubble(t, 1, 5, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		heard := func(what string, want ...[]int) {
			t.Helper()
			time.Sleep(5 * time.Second) // so that links which were down are tried again
			for _, n := range nodes {
				n.Outbox() <- &cluster.Envelope{Pid: cluster.BROADCAST, Msg: n.Pid()}
			}
			for id, n := range nodes {
				got := drain(n)
				slices.Sort(got)
				equal(t, fmt.Sprintf("%s: server %d", what, id), got, want[id])
			}
		}
		net.Partition([]int{2})
		heard("one alone", []int{1, 3, 4}, []int{0, 3, 4}, nil, []int{0, 1, 4}, []int{0, 1, 3})
		net.Partition([]int{0, 1}, []int{2})
		heard("two groups and the rest", []int{1}, []int{0}, nil, []int{4}, []int{3})
		net.Heal()
		heard("healed", []int{1, 2, 3, 4}, []int{0, 2, 3, 4}, []int{0, 1, 3, 4}, []int{0, 1, 2, 4}, []int{0, 1, 2, 3})
	})
}

func TestSetReplacesAndAddAdds(t *testing.T) {
	bubble(t, 1, 3, func(t *testing.T, net *clustertest.Network, _ []*cluster.Node) {
		link := clustertest.Link{From: 0, To: 1}
		expect := func(what string, l clustertest.Link, want string) {
			t.Helper()
			if got := net.Faults(l).String(); got != want {
				t.Errorf("%s: %v has %s, want %s", what, l, got, want)
			}
		}
		net.Set(clustertest.Faults{Loss: 0.1})
		net.Add(clustertest.Faults{Duplicate: 0.2}, link)
		expect("added to one", link, "loss 0.10, duplicate 0.20")
		expect("another", clustertest.Link{From: 1, To: 0}, "loss 0.10")
		net.Add(clustertest.Faults{Delay: clustertest.Fixed(time.Second)}, clustertest.Link{From: 0, To: clustertest.Any})
		expect("added to all of one sender", link, "loss 0.10, duplicate 0.20, delay about 1s")
		expect("another of it", clustertest.Link{From: 0, To: 2}, "loss 0.10, delay about 1s")
		net.Set(clustertest.Faults{Loss: 0.5}, clustertest.Link{From: clustertest.Any, To: 1})
		expect("set last", link, "loss 0.50")
		net.Set(clustertest.Faults{})
		expect("set for all", link, "no faults")
	})
}

// What Disturb draws is added to what the test has set, and only that ends with it.
func TestDisturbLeavesTheFaultsOfTheTest(t *testing.T) {
	bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		net.Set(clustertest.Faults{Delay: clustertest.Fixed(100 * time.Millisecond)})
		net.Disturb(troubled, nil)
		net.Sleep(troubled + 5*time.Second)
		start := time.Now()
		nodes[0].Outbox() <- &cluster.Envelope{Pid: 1, Msg: 1}
		<-nodes[1].Inbox()
		if took := time.Since(start); took < 100*time.Millisecond {
			t.Errorf("a message takes %v, want the 100ms that the test has set", took)
		}
	})
}

// By the end of Disturb all is well, also for what happens at that very moment.
func TestAllIsWellAtTheEndOfDisturb(t *testing.T) {
	for seed := range uint64(50) {
		bubble(t, seed, 3, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
			net.Disturb(troubled, func(*cluster.Node) {})
			time.Sleep(troubled)
			for id := range nodes {
				if net.Node(id) == nil {
					t.Fatalf("seed %d: server %d is down", seed, id)
				}
			}
			if e := net.Events(); len(e) > 0 && e[len(e)-1].At >= troubled {
				t.Errorf("seed %d: too late: %v", seed, e[len(e)-1])
			}
		})
	}
}

// Whether and when nodes acknowledge with frames of their own is left to the scheduler, so
// those take nothing of the bandwidth that messages have.
func TestAcknowledgmentsTakeNoBandwidth(t *testing.T) {
	bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		net.Set(clustertest.Faults{Bandwidth: 100}, clustertest.Link{From: 1, To: 0})
		nodes[0].Outbox() <- &cluster.Envelope{Pid: 1, Msg: "x"}
		time.Sleep(3*time.Second + 10*time.Millisecond) // by now node 0 has asked, and node 1 has answered
		start := time.Now()
		nodes[1].Outbox() <- &cluster.Envelope{Pid: 0, Msg: "y"}
		<-nodes[0].Inbox()
		if took := time.Since(start); took > 1300*time.Millisecond {
			t.Errorf("121 bytes at 100 bytes a second took %v", took)
		}
	})
}
