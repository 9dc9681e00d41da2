//go:build unix

package scenario

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

func TestAProcessThatIsStoppedOrKilledIsDownWhetherItIsSentToOrWatched(t *testing.T) {
	for _, transport := range []string{"libzmq", "go"} {
		for _, watch := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, watched: %v", transport, watch), func(t *testing.T) {
				t.Parallel()
				cfg := testcluster.ProcessConfig(t, 2)
				cfg.Transport = transport
				b := testcluster.Spawn(t, cfg, 1).Start()
				cfg.Watch = watch
				n := testcluster.Join(t, 0, cfg)
				if !watch {
					s := testcluster.NewTraffic(n)
					s.Send([]int{1}, 0, 100, time.Millisecond)
					defer s.Halt()
				}
				state := func(want cluster.LinkState) time.Duration {
					began := time.Now()
					testcluster.Eventually(t, "the link is "+want.String(), func() bool { return testcluster.StatsOf(n, 1).State == want })
					return time.Since(began)
				}
				state(cluster.LinkUp)
				b.Signal(syscall.SIGSTOP)
				t.Logf("unacknowledged after %v", state(cluster.LinkUnacknowledged))
				t.Logf("and down after another %v", state(cluster.LinkDown))
				for down := time.Now(); *reloadLong && time.Since(down) < 10*time.Second; time.Sleep(10 * time.Millisecond) {
					if trouble := testcluster.StatsOf(n, 1).Trouble; strings.Contains(trouble, "it runs") {
						t.Fatalf("%v after it was stopped: %s", time.Since(down), trouble)
					}
				}
				b.Signal(syscall.SIGCONT)
				t.Logf("up %v after it goes on", state(cluster.LinkUp))
				b.Kill()
				t.Logf("down %v after it is killed", state(cluster.LinkDown))
			})
		}
	}
}

// A peer whose process runs is never found to be down, however busy its machine is, and whether or not its program takes what it is sent.
func TestAPeerWhoseProcessRunsIsNotDown(t *testing.T) {
	d := time.Second
	if *reloadLong {
		d = 15 * time.Minute
	}
	cfg := testcluster.ProcessConfig(t, 4)
	cfg.SendTimeout = 3 * time.Second // in which connections are made, too
	var servers []*testcluster.Child
	for id := range cfg.Peers {
		servers = append(servers, testcluster.Spawn(t, cfg, id).Start())
	}
	const stalled = 3
	servers[stalled].Pace(time.Hour) // its program takes nothing
	// judge waits until all find that the others answer, which some may not have done for a while, and that one is stalled.
	judge := func(when string) {
		t.Helper()
		for id, s := range servers {
			s.Until("the others answer, and one is stalled, "+when, func(r *testcluster.Report) bool {
				settled := true
				for other := range servers {
					want := "up"
					if other == stalled {
						want = "stalled"
					}
					switch state := r.Stats.Peer(other).State; {
					case other == id || state == want:
					case state == "down":
						t.Fatalf("server %d finds server %d down %s", id, other, when)
					default:
						settled = false
					}
				}
				return settled
			})
			if n := s.Logged("link is down"); n != 0 {
				t.Errorf("server %d has found another to be down %d times %s", id, n, when)
			}
		}
	}
	for id, s := range servers {
		var others []int
		for other := range servers {
			if other != id {
				others = append(others, other)
			}
		}
		s.Send(others, 0, 1000, 0)
	}
	judge("at first")
	end := time.Now().Add(d)
	var busy sync.WaitGroup
	for range 2 {
		busy.Go(func() { // It ends by itself.
			for time.Now().Before(end) {
			}
		})
	}
	busy.Wait()
	judge("in the end")
	// Only now: to the others a server that has ended is down.
	for _, s := range servers {
		s.Kill()
	}
}
