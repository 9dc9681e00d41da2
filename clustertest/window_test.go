package clustertest_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

// On the way each message has a frame of its own, which is larger than its part of the frame
// that was sent: that must not count against the sender's window.
func TestABurstOfSmallMessagesToASlowProgramArrives(t *testing.T) {
	for _, c := range []struct{ queueBytes, size, count int }{
		{256 << 10, 0, 50_000}, {256 << 10, 8, 30_000}, {256 << 10, 40, 12_000}, {1 << 20, 48, 40_000},
	} {
		if testcluster.RaceEnabled && !long && c.count > 12_000 {
			continue // each takes half a minute then
		}
		synctest.Test(t, func(t *testing.T) {
			net := clustertest.NewNetwork(t, 1, 2)
			cfg := net.Config()
			cfg.QueueBytes = c.queueBytes
			a, b := net.StartWith(0, cfg), net.StartWith(1, cfg)
			go func() { // It ends with its last message.
				for range c.count {
					a.Outbox() <- &cluster.Envelope{Pid: 1, Msg: strings.Repeat("x", c.size)}
				}
			}()
			time.Sleep(500 * time.Millisecond)
			for i := range c.count {
				select {
				case <-b.Inbox():
				case <-time.After(2 * time.Second):
					t.Fatalf("%d of %d messages of %d bytes came:\n%v", i, c.count, c.size, b.Stats())
				}
			}
		})
	}
}
