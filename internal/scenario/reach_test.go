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
	var servers []*testcluster.Child
	for id := range cfg.Peers {
		servers = append(servers, testcluster.Spawn(t, cfg, id).Start())
	}
	servers[3].Pace(time.Hour) // its program has stalled
	end := time.Now().Add(d)
	var busy sync.WaitGroup
	for range 2 {
		busy.Go(func() { // It ends by itself.
			for time.Now().Before(end) {
			}
		})
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
	busy.Wait()
	for id, s := range servers {
		if n := s.Logged("link is down"); n != 0 {
			t.Errorf("server %d has found another to be down %d times", id, n)
		}
		r := s.Report()
		for other := range servers {
			if p := r.Stats.Peer(other); other != id && p.State != "up" && p.State != "stalled" {
				t.Errorf("server %d finds server %d %s", id, other, p.State)
			}
		}
		s.Kill()
	}
}
