package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

func TestSendWaitsForRoomAsLongAsItsContextAllows(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.InboxSize, cfg.QueueBytes = 1, testcluster.MinQueueBytes
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 1000 {
				testcluster.Take(t, b)
				time.Sleep(time.Millisecond)
			}
		}()
		for i := range 1000 {
			if err := a.Send(context.Background(), &cluster.Envelope{1, 0, make([]byte, 4000)}); err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
		}
		<-done
		ctx, cancel := context.WithTimeout(context.Background(), testcluster.SendTimeout/2)
		defer cancel()
		var err error
		for err == nil {
			err = a.Send(ctx, &cluster.Envelope{1, 0, make([]byte, 4000)})
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a deadline: %v", err)
		}
	})
}

func TestSendWithAContextThatHasEndedIsOneKindOfErrorAndBookedForItsPeer(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		cfg.QueueBytes = testcluster.MinQueueBytes
		n := testcluster.Join(t, 0, cfg)
		check := func(when string, err error) {
			t.Helper()
			if !errors.Is(err, cluster.ErrTimedOut) || !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v, want one that is ErrTimedOut and context.Canceled", when, err)
			}
		}
		check("ended before", n.Send(testcluster.AlreadyDone(), &cluster.Envelope{1, 0, "x"}))
		check("ended before a broadcast", n.Send(testcluster.AlreadyDone(), &cluster.Envelope{cluster.BROADCAST, 0, "x"}))
		testcluster.Put(t, n, &cluster.Envelope{1, 0, make([]byte, testcluster.MinQueueBytes-30)})
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			time.Sleep(time.Millisecond)
			cancel()
		}()
		check("ended while it waits", n.Send(ctx, &cluster.Envelope{1, 0, make([]byte, 1000)}))
		for id, want := range map[int]uint64{1: 3, 2: 1} {
			if got := testcluster.StatsOf(n, id).Sent.Dropped[cluster.ReasonTimedOut]; got != want {
				t.Errorf("for peer %d %d are booked as timed out, want %d", id, got, want)
			}
		}
		if got := n.Stats().Unaddressed.Accepted; got != 0 {
			t.Errorf("%d are booked for nobody", got)
		}
	})
}

func TestABroadcastGoesToAPeerThatWasAddedBeforeIt(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		late := cfg.Peers[2]
		c := testcluster.Join(t, 2, cfg)
		cfg.Peers = cfg.Peers[:2]
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		g := gated{make(chan struct{}), make(chan struct{})}
		testcluster.Put(t, a, &cluster.Envelope{cluster.BROADCAST, 0, g})
		<-g.at // the pump is gathering
		if err := a.Catalog().Put(late); err != nil {
			t.Fatal(err)
		}
		testcluster.Put(t, a, &cluster.Envelope{cluster.BROADCAST, 0, "for all"})
		close(g.on)
		testcluster.Take(t, b)
		testcluster.Take(t, b)
		if e := testcluster.Take(t, c); e.Msg != "for all" {
			t.Errorf("the new peer received %v, which was sent before it was added", e.Msg)
		}
	})
}

// Whatever goes to one server keeps its order, though it went by different addresses, and
// more of it than is gathered at a time.
func TestOneServerAndManyAreSentToInOrder(t *testing.T) {
	testcluster.Bubble(t, 12, func(t *testing.T, cfg cluster.Config) {
		nodes := testcluster.StartAll(t, cfg)
		from, count := nodes[0], 20_000
		few, err := from.Group(1, 2, 3)
		if err != nil {
			t.Fatal(err)
		}
		others, err := from.Group(3, 4, 5)
		if err != nil {
			t.Fatal(err)
		}
		want := make([][]int, len(nodes))
		random := rand.New(rand.NewPCG(1, 2))
		to := make([]int, count)
		for i := range to {
			var reached []int
			switch r := random.IntN(300); {
			case r == 0:
				to[i], reached = cluster.BROADCAST, from.Peers()
			case r == 1:
				to[i], reached = few, []int{1, 2, 3}
			case r == 2:
				to[i], reached = others, []int{3, 4, 5}
			default:
				to[i] = 1 + r%11
				reached = []int{to[i]}
			}
			for _, id := range reached {
				want[id] = append(want[id], i)
			}
		}
		go func() { // It ends with its last message.
			for i, pid := range to {
				from.Outbox() <- &cluster.Envelope{pid, 0, i}
			}
		}()
		for id, n := range nodes {
			for at, i := range want[id] {
				if e := testcluster.Take(t, n); e.Msg != i {
					t.Fatalf("server %d received %v as its %d., want %d", id, e.Msg, at+1, i)
				}
			}
		}
	})
}

func TestGroupsAreFoundByTheirMembersAndBounded(t *testing.T) {
	var cfg cluster.Config
	const servers = 400
	for i := range servers {
		cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: i, Address: fmt.Sprintf("mem://%s/%d", t.Name(), i)})
	}
	n := testcluster.Join(t, 0, cfg)
	made := 0
	addresses := make(map[int]bool)
	for i := range servers {
		for j := range i {
			if made == cluster.MaxGroups {
				break
			}
			a, err := n.Group(i, j)
			if err != nil {
				t.Fatal(err)
			}
			if addresses[a] || a > cluster.FirstGroup {
				t.Fatalf("group %d has the address %d, which is another's", made, a)
			}
			addresses[a] = true
			made++
		}
	}
	if _, err := n.Group(1, 2, 3); err == nil {
		t.Errorf("there are more than %d groups", cluster.MaxGroups)
	}
	again, err := n.Group(0, 1)
	if first, _ := n.Group(1, 0, 1); err != nil || again != first || !addresses[again] {
		t.Errorf("the members of the first group have the address %d, and once more %d: %v", first, again, err)
	}
}

// Encoders are used again by whoever sends next.
func TestSendsAtOnceAreEachBookedOnce(t *testing.T) {
	nodes := testcluster.StartAll(t, testcluster.Config(t, "mem", 2))
	received := testcluster.ReadAll(nodes[1])
	const senders, each = 8, 20_000
	var all sync.WaitGroup
	for range senders {
		all.Go(func() {
			for i := range each {
				if err := nodes[0].Send(context.Background(), &cluster.Envelope{1, 0, i}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	testcluster.Eventually(t, "all messages", func() bool { return received.Tally(0).Others == senders*each })
	s := nodes[0].Stats()
	if s.Peers[0].Sent.Accepted != senders*each || s.Unaddressed.Accepted != 0 || s.Sent.DroppedTotal() != 0 {
		t.Errorf("of %d messages %d are booked as accepted, and %d for nobody; dropped %v",
			senders*each, s.Peers[0].Sent.Accepted, s.Unaddressed.Accepted, s.Sent.Dropped)
	}
}
