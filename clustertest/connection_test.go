package clustertest_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/internal/transport"
)

var both = []clustertest.Link{{From: 0, To: 1}, {From: 1, To: 0}}

// pathFaults are ways in which server 0 does not reach server 1 any more.
var pathFaults = []struct {
	name  string
	begin func(*clustertest.Network)
	end   func(*clustertest.Network)
	found time.Duration // after the end, at the latest
}{
	{"partition", func(net *clustertest.Network) { net.Partition([]int{1}) }, (*clustertest.Network).Heal, time.Second},
	{"cut there", func(net *clustertest.Network) { net.Set(clustertest.Faults{Cut: true}, both[0]) }, heal, time.Second},
	{"cut back", func(net *clustertest.Network) { net.Set(clustertest.Faults{Cut: true}, both[1]) }, heal, time.Second},
	{"all is lost", func(net *clustertest.Network) { net.Set(clustertest.Faults{Loss: 1}, both[1]) }, heal, time.Second},
	{"pause", func(net *clustertest.Network) { net.Pause(1) }, func(net *clustertest.Network) { net.Resume(1) }, 40 * time.Millisecond},
	{"crash behind a cut", func(net *clustertest.Network) {
		net.Set(clustertest.Faults{Cut: true}, both...)
		net.Crash(1)
	}, func(net *clustertest.Network) {
		net.Set(clustertest.Faults{})
		net.Start(1)
	}, time.Second},
}

func heal(net *clustertest.Network) { net.Set(clustertest.Faults{}) }

// until sends from server 0 to server 1 each 10 ms until the error of Send is as wanted, and returns how long that took. When that is nil,
// the link is up as soon as the peer has acknowledged something: that may take longer than a third of SendTimeout, where round trips do.
func until(t *testing.T, node *cluster.Node, want error) time.Duration {
	t.Helper()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err := node.Send(t.Context(), &cluster.Envelope{Pid: 1, Msg: -1})
		state := node.Stats().Peers[0].State
		if errors.Is(err, want) {
			return time.Since(began)
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("Send returns %v, and the link is %v, want %v", err, state, want)
		}
	}
}

// Heartbeats without an answer break the connection, and the program sees that its peer is unreachable
// as soon as a message has waited for SendTimeout after that. When the fault is over the peer is found
// again, as the transports promise.
func TestAPeerThatDoesNotAnswerIsUnreachableAfterTheTimesOfTheTransports(t *testing.T) {
	const waits = time.Second // SendTimeout
	for _, f := range pathFaults {
		t.Run(f.name, func(t *testing.T) {
			var least, most, slowest time.Duration
			for phase := range 15 { // of the heartbeats
				bubble(t, uint64(phase), 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
					net.Connect()
					time.Sleep(time.Second + time.Duration(phase)*transport.HeartbeatInterval/15)
					f.begin(net)
					took := until(t, nodes[0], cluster.ErrUnreachable)
					if phase == 0 || took < least {
						least = took
					}
					most = max(most, took)
					time.Sleep(time.Duration(phase) * 97 * time.Millisecond) // of the attempts to connect
					f.end(net)
					slowest = max(slowest, until(t, nodes[0], nil))
				})
			}
			if slowest > f.found || slowest < f.found/2 {
				t.Errorf("it was found again after %v at the latest, want about %v", slowest, f.found)
			}
			if least < transport.HeartbeatTimeout+waits || most > transport.Unacknowledged+waits+50*time.Millisecond || most-least < transport.HeartbeatInterval/2 {
				t.Errorf("it was unreachable after %v to %v, want all between %v and %v", least, most, transport.HeartbeatTimeout+waits, transport.Unacknowledged+waits)
			}
		})
	}
}

// A process that ends closes its connections, and its machine refuses others: nobody waits for a heartbeat.
func TestAServerThatEndsIsNoticedAtOnce(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*clustertest.Network)
	}{
		{"crash", func(net *clustertest.Network) { net.Crash(1) }},
		{"close", func(net *clustertest.Network) { net.Node(1).Close() }},
		{"crash of a stopped one", func(net *clustertest.Network) { net.Pause(1); net.Crash(1) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
				net.Connect()
				c.end(net)
				if took := until(t, nodes[0], cluster.ErrUnreachable); took > time.Second+50*time.Millisecond {
					t.Errorf("it was unreachable after %v, want about SendTimeout", took)
				}
				time.Sleep(time.Minute)
				net.Start(1)
				if took := until(t, nodes[0], nil); took > transport.ReconnectMax+50*time.Millisecond {
					t.Errorf("it was found again after %v, want %v", took, transport.ReconnectMax)
				}
			})
		})
	}
}

// TCP repeats what was lost as long as the connection stands.
func TestAShortCutLosesNothing(t *testing.T) {
	for _, f := range pathFaults[:3] {
		for _, length := range []time.Duration{time.Millisecond, 150 * time.Millisecond, time.Second} {
			bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
				net.Connect()
				time.Sleep(2 * time.Second) // between two heartbeats
				f.begin(net)
				net.At(2*time.Second+length, func() { f.end(net) })
				send(nodes[0], 1, 0, 2000)
				equal(t, fmt.Sprintf("%s for %v", f.name, length), drain(nodes[1]), numbers(0, 2000))
				if at := longestPause(net, 2*time.Second); length == time.Second && (at < 1150*time.Millisecond || at > 1450*time.Millisecond) {
					t.Errorf("%s for %v: nothing came for %v, want it until TCP's third repetition, 1.4 s after the first message", f.name, length, at)
				}
				if r := received(nodes[1], 0); r.Lost != 0 || r.Missed != 0 {
					t.Errorf("%s for %v: %d are lost and %d missed", f.name, length, r.Lost, r.Missed)
				}
			})
		}
	}
}

// longestPause is the longest time since then in which nothing was delivered.
func longestPause(net *clustertest.Network, last time.Duration) (longest time.Duration) {
	for _, e := range net.Events() {
		if e.Kind == clustertest.Delivered {
			longest, last = max(longest, e.At-last), e.At
		}
	}
	return longest
}

// What is on its way as the path is cut does not arrive before it is whole again.
func TestACutStopsWhatIsOnItsWay(t *testing.T) {
	bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		net.Connect()
		net.Set(clustertest.Faults{Delay: clustertest.Fixed(100 * time.Millisecond)})
		send(nodes[0], 1, 0, 5)
		net.Partition([]int{0})
		equal(t, "meanwhile", drain(nodes[1]), nil)
		net.Heal()
		equal(t, "then", drain(nodes[1]), numbers(0, 5))
	})
}

// What was on its way when the connection broke is lost, and the receiver counts it, if the path is cut for so long that the sender keeps
// nothing any more. What the machine of a stopped server has taken is not.
func TestWhatIsOnAConnectionThatIsBrokenForLongIsLostAndCounted(t *testing.T) {
	for _, f := range pathFaults[:3] {
		bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
			net.Connect()
			f.begin(net)
			passed := 0
			if f.name == "cut back" {
				passed = 10
			}
			send(nodes[0], 1, 0, passed)
			time.Sleep(time.Second) // after which what is sent without acknowledgments does not pass either
			send(nodes[0], 1, 10, 30)
			time.Sleep(5 * time.Second)
			f.end(net)
			time.Sleep(time.Second)
			send(nodes[0], 1, 30, 31)
			equal(t, f.name, drain(nodes[1]), append(numbers(0, passed), 30))
			if r := received(nodes[1], 0); r.Lost+r.Missed != 20 {
				t.Errorf("%s: %d are lost and %d missed, want 20", f.name, r.Lost, r.Missed)
			}
		})
	}
	bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		net.Connect()
		net.Pause(1)
		send(nodes[0], 1, 0, 10)
		until(t, nodes[0], cluster.ErrUnreachable)
		net.Resume(1)
		got := drain(nodes[1])
		if len(got) < 10 || !slices.Equal(got[:10], numbers(0, 10)) {
			t.Errorf("a stopped server got %v, want what its machine had taken", got)
		}
		if r := received(nodes[1], 0); r.Lost+r.Missed != 0 {
			t.Errorf("%d are lost and %d missed of what a stopped server's machine had taken", r.Lost, r.Missed)
		}
	})
}

// Its receiver hears nothing of a sender that is stopped, and closes the connection after the TTL. What was to be sent
// meanwhile goes out later, or is lost with it.
func TestAStoppedSenderKeepsItsConnectionForTheTTL(t *testing.T) {
	for _, c := range []struct {
		stopped time.Duration
		want    []int
	}{
		{transport.HeartbeatTTL - transport.HeartbeatInterval - time.Second, numbers(0, 5)},
		{transport.HeartbeatTTL + time.Second, nil},
	} {
		bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
			net.Connect()
			time.Sleep(time.Second)
			net.Pause(0)
			send(nodes[0], 1, 0, 5)
			time.Sleep(c.stopped)
			equal(t, "meanwhile", drain(nodes[1]), nil)
			net.Resume(0)
			equal(t, fmt.Sprintf("after %v", c.stopped), drain(nodes[1]), c.want)
			send(nodes[0], 1, 5, 6)
			equal(t, "then", drain(nodes[1]), numbers(5, 6))
		})
	}
}

// The next life of a server knows nothing of the connections of the one before, and gets nothing that was sent on them.
func TestARestartBehindACutLeavesNothingForTheNextLife(t *testing.T) {
	bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		net.Connect()
		net.Set(clustertest.Faults{Cut: true}, both...)
		send(nodes[0], 1, 0, 10)
		net.Crash(1)
		time.Sleep(10 * time.Millisecond)
		again := net.Start(1)[0]
		time.Sleep(time.Second) // the connection still stands, as far as its sender knows
		send(nodes[0], 1, 10, 20)
		net.Set(clustertest.Faults{})
		equal(t, "of the connection with the former life", drain(again), nil)
		send(nodes[0], 1, 20, 30)
		equal(t, "of the new one", drain(again), numbers(20, 30))
	})
}

// A connect that takes longer than ConnectTimeout does not succeed, however often it is tried.
func TestARoundTripThatIsTooLongMakesNoConnection(t *testing.T) {
	for _, c := range []struct {
		delay time.Duration
		want  cluster.LinkState
	}{
		{transport.ConnectTimeout/2 - 10*time.Millisecond, cluster.LinkUp},
		{transport.ConnectTimeout/2 + 10*time.Millisecond, cluster.LinkDown},
	} {
		bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
			net.Set(clustertest.Faults{Delay: clustertest.Fixed(c.delay)})
			for range 100 {
				nodes[0].Outbox() <- &cluster.Envelope{Pid: 1, Msg: 0}
				time.Sleep(100 * time.Millisecond)
			}
			if got := nodes[0].Stats().Peers[0].State; got != c.want {
				t.Errorf("with a delay of %v the link is %v, want %v", c.delay, got, c.want)
			}
		})
	}
}

// A heartbeat waits for its turn on the line. Where the answer takes too long the connection breaks, though all arrives.
func TestAHeartbeatThatTakesTooLongBreaksTheConnection(t *testing.T) {
	for _, c := range []struct {
		name   string
		faults clustertest.Faults
		size   int
		breaks bool
	}{
		{"two seconds of the line", clustertest.Faults{Bandwidth: 125_000}, 250_000, false},
		{"seven seconds of the line", clustertest.Faults{Bandwidth: 125_000}, 900_000, true},
		{"a delay of a second", clustertest.Faults{Delay: clustertest.Fixed(time.Second)}, 100, false},
		{"a delay of two seconds", clustertest.Faults{Delay: clustertest.Fixed(2 * time.Second)}, 100, true},
		{"sometimes too long", clustertest.Faults{Delay: clustertest.Between(0, 2*time.Second)}, 100, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := clustertest.NewNetwork(t, 1, 2)
				cfg := net.Config()
				cfg.SendTimeout = time.Minute // so that nothing is given up
				nodes := []*cluster.Node{net.StartWith(0, cfg), net.StartWith(1, cfg)}
				net.Connect()
				net.Set(c.faults)
				nodes[0].Outbox() <- &cluster.Envelope{Pid: 1, Msg: make([]byte, c.size)}
				for range 1200 {
					time.Sleep(100 * time.Millisecond)
					nodes[0].Outbox() <- &cluster.Envelope{Pid: 1, Msg: []byte("x")}
				}
				net.Set(clustertest.Faults{})
				until(t, nodes[0], nil)
				time.Sleep(time.Second)
				if lost := count(net, clustertest.Lost, "the connection broke"); (lost > 0) != c.breaks {
					t.Errorf("%d messages were lost, want a connection that breaks and loses some: %v", lost, c.breaks)
				}
				if r, s := received(nodes[1], 0), nodes[0].Stats().Sent; r.Lost+r.Missed > s.Unconfirmed {
					t.Errorf("what was lost was not sent again, and not given up: %+v, and %+v", r, s)
				}
			})
		})
	}
}

// Heartbeats cost nothing while nothing is wrong: time does not go on for them, and synctest finds a test that
// waits for ever.
func TestAnIdleNetworkHasNothingToDo(t *testing.T) {
	bubble(t, 1, 5, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		net.Connect()
		send(nodes[0], cluster.BROADCAST, 0, 10)
		for _, n := range nodes[1:] {
			equal(t, "at first", drain(n), numbers(0, 10))
		}
		time.Sleep(5 * time.Second)
		if !net.Idle() {
			t.Error("something is due, though nothing is wrong")
		}
		net.Partition([]int{0})
		time.Sleep(time.Hour)
		if !net.Idle() {
			t.Error("something is due, though nothing can come of it")
		}
	})
}
