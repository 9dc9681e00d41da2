package clustertest_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
)

// The events of a node are those of the simulated network, at its times, and the same each time.
func TestEventsTellWhatTheNetworkDoesToServersThatAreWatched(t *testing.T) {
	tell := func(t *testing.T) (told []string) {
		synctest.Test(t, func(t *testing.T) {
			net := clustertest.NewNetwork(t, 1, 3)
			cfg := net.Config()
			cfg.Watch = true
			var nodes []*cluster.Node
			for id := range 3 {
				nodes = append(nodes, net.StartWith(id, cfg))
			}
			began := time.Now()
			go func() { // It ends with the node, and synctest.Test waits for it.
				for e := range nodes[0].Events(t.Context()) {
					told = append(told, fmt.Sprintf("%d %v after %v", e.Peer, e.Kind, time.Since(began).Round(100*time.Millisecond)))
				}
			}()
			net.Sleep(10 * time.Second)
			net.Pause(1)
			net.Crash(2)
			net.Sleep(10 * time.Second)
			net.Resume(1)
			net.StartWith(2, cfg)
			net.Sleep(10 * time.Second)
			nodes[0].Close()
		})
		return told
	}
	got := tell(t)
	want := []string{"1 added after 0s", "2 added after 0s", "1 up after 0s", "2 up after 0s", "2 down after 10.6s", "1 down after 13.6s"}
	if len(got) != len(want)+3 || !slices.Equal(got[:2], want[:2]) || !slices.Equal(got[4:5], want[4:5]) {
		t.Errorf("it is told %q, want %q, and then that one is up and the other has restarted and is up", got, want)
	}
	if again := tell(t); !slices.Equal(got, again) {
		t.Errorf("it is told %q, and the next time %q", got, again)
	}
}
