package cluster_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

func TestCallAllYieldsOneResultForEachServer(t *testing.T) {
	testcluster.Bubble(t, 5, func(t *testing.T, cfg cluster.Config) {
		cfg.Peers[4].Observer = true
		nodes := testcluster.StartAll(t, cfg)
		for _, n := range nodes {
			go echo(n) // It ends when n has closed.
		}
		group, err := nodes[0].Group(0, 2, 4)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			address int
			want    []int
		}{{cluster.BROADCAST, []int{1, 2, 3}}, {group, []int{0, 2, 4}}, {3, []int{3}}} {
			for range 2 {
				got := make(map[int]int64)
				for env, err := range nodes[0].CallAll(t.Context(), c.address, "x") {
					if err != nil || env.Msg != "x" {
						t.Fatalf("got %v, %v", env, err)
					}
					got[env.Pid] = env.MsgId
				}
				for _, pid := range c.want {
					if got[pid] == 0 || got[pid] != got[c.want[0]] {
						t.Errorf("address %d yields %v, want %v with one id", c.address, got, c.want)
					}
				}
				if len(got) != len(c.want) {
					t.Errorf("address %d yields %v, want %v", c.address, got, c.want)
				}
			}
		}
		for _, err := range nodes[0].CallAll(t.Context(), -99, "x") {
			fails(t, err, cluster.ErrUnknownPeer, false)
		}
	})
}

// Results come as they are there: that one server is down holds up nobody else.
func TestCallAllYieldsResultsAsTheyCome(t *testing.T) {
	testcluster.Bubble(t, 4, func(t *testing.T, cfg cluster.Config) {
		var nodes []*cluster.Node
		for pid := range 3 {
			nodes = append(nodes, testcluster.Join(t, pid, cfg))
		}
		go echo(nodes[2]) // It ends when its node has closed.
		began := time.Now()
		n := 0
		for env, err := range nodes[0].CallAll(t.Context(), cluster.BROADCAST, "x") {
			switch n++; n {
			case 1:
				if err != nil || env.Pid != 2 || time.Since(began) > 0 {
					t.Errorf("got %v, %v after %v, want the reply of 2 at once", env, err, time.Since(began))
				}
				r := request(t, nodes[1])
				time.AfterFunc(2*testcluster.SendTimeout, func() { r.Reply(t.Context(), "late") })
			case 2:
				var c *cluster.CallError
				if fails(t, err, cluster.ErrUnreachable, false); errors.As(err, &c) && c.Pid != 3 {
					t.Errorf("got %v, want that 3 is not there", err)
				}
			case 3:
				if err != nil || env.Pid != 1 {
					t.Errorf("got %v, %v, want the reply of 1", env, err)
				}
			}
		}
		if n != 3 {
			t.Errorf("%d results, want 3", n)
		}
	})
}

func TestWhoBreaksOffACallAllLeavesNothingBehind(t *testing.T) {
	testcluster.Bubble(t, 6, func(t *testing.T, cfg cluster.Config) {
		var nodes []*cluster.Node
		for pid := range 5 { // the last one is not there
			nodes = append(nodes, testcluster.Join(t, pid, cfg))
		}
		for _, n := range nodes[1:3] {
			go echo(n) // It ends when n has closed.
		}
		before := 0
		for i := range 10 {
			if synctest.Wait(); i == 1 { // with the goroutines of all links
				before = runtime.NumGoroutine()
			}
			replies := 0
			for _, err := range nodes[0].CallAll(t.Context(), cluster.BROADCAST, "x") {
				if err != nil {
					t.Error(err)
				}
				if replies++; replies == 2 {
					break
				}
			}
			if replies != 2 {
				t.Errorf("%d replies, want 2", replies)
			}
		}
		testcluster.Take(t, nodes[3]).Msg.(*cluster.Request).Reply(t.Context(), "late")
		time.Sleep(time.Second)
		if n := nodes[0].Stats().Received.Refused[cluster.RefusedLate]; n != 1 {
			t.Errorf("%d replies were late, want 1", n)
		}
		synctest.Wait()
		if n := runtime.NumGoroutine(); n > before {
			t.Errorf("%d goroutines, and %d before", n, before)
		}
	})
}

func TestWhenItsContextEndsCallAllYieldsThatForEachThatIsLeft(t *testing.T) {
	testcluster.Bubble(t, 4, func(t *testing.T, cfg cluster.Config) {
		nodes := testcluster.StartAll(t, cfg)
		go echo(nodes[1]) // It ends when its node has closed.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		replies, failed := 0, make(map[int]bool)
		for _, err := range nodes[0].CallAll(ctx, cluster.BROADCAST, "x") {
			var c *cluster.CallError
			if err == nil {
				replies++
			} else if fails(t, err, context.DeadlineExceeded, true); errors.As(err, &c) {
				failed[c.Pid] = true
			}
		}
		if replies != 1 || len(failed) != 2 || !failed[2] || !failed[3] {
			t.Errorf("%d replies, and %v failed", replies, failed)
		}
	})
}
