package clustertest_test

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
)

// noting is a test that notes its errors instead of failing.
type noting struct {
	testing.TB
	mu     sync.Mutex // guards errors
	errors strings.Builder
}

func (n *noting) Helper()      {}
func (n *noting) Failed() bool { return false }

func (n *noting) Errorf(f string, a ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintf(&n.errors, f, a...)
}

func (n *noting) noted() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.errors.String()
}

func TestAnArgumentThatMakesNoSenseIsAnError(t *testing.T) {
	loss := func(p float64) clustertest.Faults { return clustertest.Faults{Loss: p} }
	for _, c := range []struct {
		call func(n *clustertest.Network)
		want string
	}{
		{func(n *clustertest.Network) { n.Partition([]int{0, 3}) }, "Partition: there is no server 3: the ids are 0 to 2"},
		{func(n *clustertest.Network) { n.Partition([]int{0, 1}, []int{1}) }, "server 1 is given twice"},
		{func(n *clustertest.Network) { n.Set(loss(10)) }, "Set: a Loss of 10: want a probability from 0 to 1"},
		{func(n *clustertest.Network) { n.Set(loss(math.NaN())) }, "a Loss of NaN"},
		{func(n *clustertest.Network) { n.Set(clustertest.Faults{Bandwidth: -1}) }, "a Bandwidth of -1"},
		{func(n *clustertest.Network) { n.Set(clustertest.Faults{InFlight: -1}) }, "an InFlight of -1"},
		{func(n *clustertest.Network) { n.Set(loss(1), clustertest.Link{From: 0, To: 3}) }, "link 0 -> 3: there is no server 3"},
		{func(n *clustertest.Network) { n.Set(loss(1), clustertest.Link{From: 1, To: 1}) }, "does not pass the network"},
		{func(n *clustertest.Network) { n.Pause(-1) }, "Pause: there is no server -1"},
		{func(n *clustertest.Network) { n.Resume(3) }, "Resume: there is no server 3"},
		{func(n *clustertest.Network) { n.Crash(2); n.Crash(2) }, "Crash: server 2 does not run"},
		{func(n *clustertest.Network) { n.Release(clustertest.Message{To: 1, MsgID: 7}) }, "Release: message 7 from 0 to 1 is not held"},
		{func(n *clustertest.Network) { n.Partition() }, "Partition: no server is in a group"},
		{func(n *clustertest.Network) { n.Partition([]int{}) }, "Partition: no server is in a group"},
		{func(n *clustertest.Network) { n.Add(loss(2)) }, "Add: a Loss of 2: want a probability from 0 to 1"},
		{func(n *clustertest.Network) { n.Set(clustertest.Faults{Delay: clustertest.Fixed(-1)}) }, "Set: a Delay of -1ns: want 0 or more"},
		{func(n *clustertest.Network) { n.Set(clustertest.Faults{Delay: clustertest.Between(-1, 5)}) }, "a Delay of -1ns"},
		{func(n *clustertest.Network) { n.Faults(clustertest.Link{From: 0, To: clustertest.Any}) }, "Faults: link 0 -> all: want two servers"},
		{func(n *clustertest.Network) { n.At(0, nil) }, "At: the function is nil"},
		{func(n *clustertest.Network) { n.Disturb(0, nil) }, "Disturb: until 0s, and it is 0s: want a time"},
		{func(n *clustertest.Network) { n.Sleep(time.Minute); n.Disturb(time.Second, nil) }, "Disturb: until 1s, and it is 1m0"},
		{func(n *clustertest.Network) {
			n.Watch(func(clustertest.Message) clustertest.Verdict { return 9 })
			send(n.Node(0), 1, 0, 3)
			time.Sleep(time.Second)
		}, "Watch: the verdict 9: want Pass, Drop or Hold"},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := &noting{TB: t}
			net := clustertest.NewNetwork(n, 1, 3)
			net.Start()
			c.call(net)
			if got := n.noted(); !strings.HasPrefix(got, "clustertest: ") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q in it", got, c.want)
			}
		})
	}
}

func TestNothingIsReleasedIfNothingIsNamed(t *testing.T) {
	bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		net.Watch(func(clustertest.Message) clustertest.Verdict { return clustertest.Hold })
		send(nodes[0], 1, 0, 3)
		net.Release([]clustertest.Message{}...)
		equal(t, "of an empty selection", drain(nodes[1]), nil)
		net.Release()
		equal(t, "without a selection", drain(nodes[1]), numbers(0, 3))
	})
}

func TestWhatAServerHadSentBeforeItCrashedArrives(t *testing.T) {
	bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		net.Connect()
		net.Set(clustertest.Faults{Delay: clustertest.Fixed(100 * time.Millisecond)})
		send(nodes[0], 1, 0, 3)
		net.Crash(0)
		equal(t, "from a server that has crashed", drain(nodes[1]), numbers(0, 3))
	})
}

// What a server had sent before it was stopped is on its way; what the program that runs on it sends
// after that has not left, and is gone with it.
func TestOfAPausedServerThatCrashesArrivesWhatItHadSentBefore(t *testing.T) {
	bubble(t, 1, 3, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		net.Connect()
		net.Set(clustertest.Faults{Delay: clustertest.Fixed(100 * time.Millisecond)})
		send(nodes[0], cluster.BROADCAST, 0, 1)
		net.Pause(0)
		send(nodes[0], cluster.BROADCAST, 1, 2)
		net.Crash(0)
		equal(t, "server 1", drain(nodes[1]), numbers(0, 1))
		equal(t, "server 2", drain(nodes[2]), numbers(0, 1))
	})
}

func TestWhatACrashedServerHadNotTakenIsGone(t *testing.T) {
	bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		send(nodes[0], 1, 0, 3)
		time.Sleep(time.Second)
		net.Crash(1)
		equal(t, "its Inbox", drain(nodes[1]), nil)
	})
}

func TestTheRecordKnowsWhatNeverArrived(t *testing.T) {
	lost := func(net *clustertest.Network, why string) (found bool) {
		for _, e := range net.Events() {
			if e.Kind == clustertest.Delivered {
				return false
			}
			found = found || e.Kind == clustertest.Lost && strings.Contains(e.Why, why)
		}
		return found
	}
	bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		net.Watch(func(clustertest.Message) clustertest.Verdict { return clustertest.Hold })
		send(nodes[0], 1, 0, 1)
		time.Sleep(time.Second)
		net.Crash(1)
		net.Start(1)
		net.Release()
		time.Sleep(time.Second)
		if !lost(net, "the receiver has crashed") {
			t.Errorf("held while its receiver crashed: %v", net.Events())
		}
	})
	bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		net.Connect()
		net.Set(clustertest.Faults{Delay: clustertest.Fixed(100 * time.Millisecond)})
		send(nodes[0], 1, 0, 1)
		nodes[1].Close()
		time.Sleep(time.Second)
		if !lost(net, "the receiver has closed") {
			t.Errorf("its receiver had closed: %v", net.Events())
		}
		if net.Node(1) != nil {
			t.Error("a node that has closed counts as running")
		}
	})
}

// ending is a test whose end is told by a panic.
type ending struct{ testing.TB }

func (ending) Helper()                   {}
func (ending) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

func TestANetworkHasServersWithIDsThatServersCanHave(t *testing.T) {
	for _, c := range []struct {
		make func(t testing.TB)
		want string
	}{
		{func(t testing.TB) { clustertest.NewNetwork(t, 1, 0) }, "NewNetwork: 0 servers: want 1 to 65536"},
		{func(t testing.TB) { clustertest.NewNetwork(t, 1, 65537) }, "NewNetwork: 65537 servers: want 1 to 65536"},
		{func(t testing.TB) { clustertest.NewNetworkOf(t, 1) }, "no ids: want at least 1"},
		{func(t testing.TB) { clustertest.NewNetworkOf(t, 1, 65536) }, "the id 65536: want 0 to 65535"},
		{func(t testing.TB) { clustertest.NewNetworkOf(t, 1, 3, 3) }, "the id 3 is given twice"},
	} {
		said := func() (said any) {
			defer func() { said = recover() }()
			c.make(ending{t})
			return nil
		}()
		if text, _ := said.(string); !strings.Contains(text, c.want) {
			t.Errorf("got %v, want %q in it", said, c.want)
		}
	}
}
