package clustertest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
)

// count is how many events of a kind there are whose reason begins like that.
func count(net *clustertest.Network, k clustertest.Kind, why string) (n int) {
	for _, e := range net.Events() {
		if e.Kind == k && strings.HasPrefix(e.Why, why) {
			n++
		}
	}
	return n
}

// patient runs a test with two servers that give nothing up within fifteen seconds.
func patient(t *testing.T, test func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node)) {
	synctest.Test(t, func(t *testing.T) {
		net := clustertest.NewNetwork(t, 1, 2)
		cfg := net.Config()
		cfg.SendTimeout = 15 * time.Second
		test(t, net, []*cluster.Node{net.StartWith(0, cfg), net.StartWith(1, cfg)})
	})
}

// What was on a connection that broke is sent again by the nodes when another one stands, as over TCP.
func TestNodesOnANetworkSendAgainWhatABrokenConnectionLost(t *testing.T) {
	for _, f := range pathFaults[:2] {
		patient(t, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
			send(nodes[0], 1, 0, 10)
			send(nodes[1], 0, 0, 1) // they know each other
			time.Sleep(time.Second)
			f.begin(net)
			send(nodes[0], 1, 10, 30)
			time.Sleep(6 * time.Second)
			lost := count(net, clustertest.Lost, "the connection broke")
			f.end(net)
			equal(t, f.name, drain(nodes[1]), numbers(0, 30))
			s, r := nodes[0].Stats().Sent, received(nodes[1], 0)
			if lost == 0 || s.Resent == 0 || s.Confirmed != 30 || s.Unconfirmed != 0 || r.Lost+r.Missed != 0 {
				t.Errorf("%s: %d are lost with the connection; %+v, and %+v", f.name, lost, s, r)
			}
			if again := count(net, clustertest.Sent, "again"); again == 0 {
				t.Errorf("%s: the record shows nothing that was sent again", f.name)
			}
		})
	}
}

// Whoever delivers while the path is cut hears that all has arrived, once it has; and when the peer is down, that nobody knows.
func TestDeliverOnANetworkOutlastsABrokenConnectionAndEndsWhenThePeerIsDown(t *testing.T) {
	deliver := func(n *cluster.Node, msg any) error {
		return n.Deliver(context.Background(), &cluster.Envelope{Pid: 1, Msg: msg})
	}
	patient(t, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		if err := errors.Join(deliver(nodes[0], 1), nodes[0].Deliver(t.Context(), &cluster.Envelope{Pid: 0, Msg: 1})); err != nil {
			t.Errorf("Deliver to a peer and to oneself: %v", err)
		}
		net.Partition([]int{1})
		net.At(7*time.Second, net.Heal)
		began := time.Now()
		if err := deliver(nodes[0], 2); err != nil || time.Since(began) < 6*time.Second {
			t.Errorf("Deliver across a cut returns %v after %v", err, time.Since(began))
		}
		equal(t, "what Deliver says has arrived", drain(nodes[1]), []int{1, 2})
	})
	bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		if err := deliver(nodes[0], 1); err != nil {
			t.Error(err)
		}
		net.Partition([]int{1})
		if err := deliver(nodes[0], 2); !errors.Is(err, cluster.ErrUnconfirmed) {
			t.Errorf("Deliver to a server that is cut off returns %v, want ErrUnconfirmed", err)
		}
		until(t, nodes[0], cluster.ErrUnreachable)
		if err := deliver(nodes[0], 3); !errors.Is(err, cluster.ErrUnreachable) {
			t.Errorf("Deliver to a server that is down returns %v, want ErrUnreachable", err)
		}
	})
}

// What the network loses by chance, or the test drops, is gone: its sender does not take it for delivered, and its receiver
// does not wait for it.
func TestWhatIsLostByChanceOrDroppedDoesNotComeAgain(t *testing.T) {
	bubble(t, 8, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		net.Set(clustertest.Faults{Loss: 0.3}, clustertest.Link{From: 0, To: 1})
		send(nodes[0], 1, 0, 100)
		net.Set(clustertest.Faults{})
		send(nodes[0], 1, 100, 101)
		got := drain(nodes[1])
		time.Sleep(10 * time.Second)
		s, r, lost := nodes[0].Stats().Sent, received(nodes[1], 0), uint64(101-len(got))
		if lost < 15 || r.Lost+r.Missed != lost || !slices.IsSorted(got) {
			t.Errorf("%d of 101 arrive: %v, %+v", len(got), got, r)
		}
		if s.Sent != 101 || s.Unconfirmed != lost || s.Confirmed != 101-lost {
			t.Errorf("%d are lost, and the sender's books say %+v", lost, s)
		}
	})
	for _, hold := range []bool{false, true} {
		bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
			asked := 0
			net.Watch(func(m clustertest.Message) clustertest.Verdict {
				switch {
				case m.Text != "lost":
					return clustertest.Pass
				case hold:
					asked++
					return clustertest.Hold
				}
				asked++
				return clustertest.Drop
			})
			for _, c := range []struct {
				msg  string
				want error
			}{{"first", nil}, {"lost", cluster.ErrUnconfirmed}, {"last", nil}} {
				if hold && c.want != nil {
					net.At(time.Since(time.Unix(946684800, 0))+3*time.Second, func() { net.Discard() })
				}
				if err := nodes[0].Deliver(t.Context(), &cluster.Envelope{Pid: 1, Msg: c.msg}); !errors.Is(err, c.want) {
					t.Errorf("Deliver of %q returns %v, want %v", c.msg, err, c.want)
				}
			}
			if asked != 1 {
				t.Errorf("the watcher was asked %d times, want once", asked)
			}
		})
	}
}

// A message that is held is not sent again, and is not given up because others came.
func TestAHeldMessageOfServersThatKnowEachOtherIsWaitedFor(t *testing.T) {
	bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		send(nodes[0], 1, 0, 3)
		send(nodes[1], 0, 0, 1)
		equal(t, "at first", drain(nodes[1]), numbers(0, 3))
		net.Watch(func(m clustertest.Message) clustertest.Verdict {
			if m.Text == "3" {
				return clustertest.Hold
			}
			return clustertest.Pass
		})
		send(nodes[0], 1, 3, 10)
		time.Sleep(5 * time.Second)
		equal(t, "while one is held", drain(nodes[1]), nil)
		if held := net.Held(); len(held) != 1 {
			t.Errorf("held: %+v, want one", held)
		}
		net.Release()
		equal(t, "then", drain(nodes[1]), numbers(3, 10))
	})
}

// What is urgent does not wait for the line, nor for what InFlight leaves no room for; each stream keeps its order.
func TestWhatIsUrgentOvertakesTheRestOnANetwork(t *testing.T) {
	bubble(t, 8, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		send(nodes[0], 1, 0, 1)
		send(nodes[1], 0, 0, 1)
		equal(t, "so that they know each other", drain(nodes[1]), numbers(0, 1))
		net.Set(clustertest.Faults{Bandwidth: 10_000, InFlight: 2000})
		for i := range 40 {
			how := nodes[0].Send
			if i >= 30 {
				how = nodes[0].SendUrgent
			}
			if err := how(t.Context(), &cluster.Envelope{Pid: 1, Msg: i}); err != nil {
				t.Fatal(err)
			}
		}
		got := drain(nodes[1])
		var ordinary, urgent []int
		for _, i := range got {
			if i >= 30 {
				urgent = append(urgent, i)
			} else {
				ordinary = append(ordinary, i)
			}
		}
		equal(t, "the one stream", ordinary, numbers(0, 30)[0:])
		equal(t, "the other stream", urgent, numbers(30, 40))
		if first := slices.Index(got, 30); first < 0 || first > 10 {
			t.Errorf("the first that is urgent came as number %d: %v", first, got)
		}
	})
}

// A receiver that holds as much as it may, behind what it misses, lets go of the rest, and has it sent again.
func TestWhatAReceiverLetsGoOfComesAgain(t *testing.T) {
	const many = 4000
	for _, c := range []struct {
		name   string
		faults clustertest.Faults
		held   string // a message that the test holds for a second
	}{{name: "one is held", held: "3"}, {name: "some are overtaken", faults: clustertest.Faults{Reorder: 0.01}}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := clustertest.NewNetwork(t, 1, 2)
				cfg := net.Config()
				cfg.SendTimeout, cfg.QueueBytes = 15*time.Second, 256<<10
				a, b := net.StartWith(0, cfg), net.StartWith(1, cfg)
				send(a, 1, 0, 3)
				send(b, 0, 0, 1)
				drain(b)
				net.Set(c.faults)
				net.Watch(func(m clustertest.Message) clustertest.Verdict {
					if m.Text == c.held {
						return clustertest.Hold
					}
					return clustertest.Pass
				})
				go func() { // It ends with its last message.
					for i := 3; i < many; i++ {
						a.Outbox() <- &cluster.Envelope{Pid: 1, Msg: i}
					}
				}()
				time.Sleep(time.Second)
				net.Release()
				got := drain(b)
				time.Sleep(10 * time.Second)
				equal(t, "in all", append(got, drain(b)...), numbers(3, many))
				if s := a.Stats().Sent; s.Resent == 0 || s.Confirmed != many {
					t.Errorf("%+v: want that some were sent again, and all confirmed", s)
				}
			})
		})
	}
}

// What is lost for good is told to who waits for it, however much it is.
func TestOfManyThatAreDroppedNoneIsDelivered(t *testing.T) {
	const many = 3000
	bubble(t, 1, 2, func(t *testing.T, net *clustertest.Network, nodes []*cluster.Node) {
		send(nodes[0], 1, 0, 3)
		send(nodes[1], 0, 0, 1)
		drain(nodes[1])
		net.Watch(func(m clustertest.Message) clustertest.Verdict { return clustertest.Drop })
		var delivered atomic.Int64
		var all sync.WaitGroup
		for i := range many {
			all.Go(func() {
				if err := nodes[0].Deliver(context.Background(), &cluster.Envelope{Pid: 1, Msg: i}); err == nil {
					delivered.Add(1)
				} else if !errors.Is(err, cluster.ErrUnconfirmed) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := delivered.Load(); n != 0 {
			t.Errorf("of %d messages that the test dropped %d were delivered", many, n)
		}
		if s := nodes[0].Stats().Sent; s.Unconfirmed != many {
			t.Errorf("%d of %d are unconfirmed", s.Unconfirmed, many)
		}
	})
}
