//go:build unix

package scenario

import (
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

func TestNothingIsLostWithTheConnectionsOfServersThatLive(t *testing.T) {
	for _, keyed := range []bool{false, true} {
		t.Run(map[bool]string{false: "in plaintext", true: "with keys"}[keyed], func(t *testing.T) {
			t.Parallel()
			cfg := testcluster.ProcessConfig(t, 2)
			if keyed {
				cfg = testcluster.Keyed(t, cfg)
			}
			cfg.SendTimeout = testcluster.Limit
			cfg, p := behind(t, cfg, 0)
			cfg, q := behind(t, cfg, 1)
			a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
			testcluster.Put(t, b, &cluster.Envelope{Pid: 0, Msg: "what is written from now on is written to this life"})
			testcluster.Take(t, a)
			// A break costs something only where messages are on their way at that moment: so many are sent until one has.
			const count, breaks, most = 20_000, 20, 50
			stop := time.After(5 * testcluster.Limit)
			sent := 0
			for rounds := 0; rounds < most && (rounds == 0 || a.Stats().Sent.Resent == 0); rounds++ {
				first := sent
				go func() { // It ends with its last message.
					for i := first; i < first+count; i++ {
						a.Outbox() <- &cluster.Envelope{Pid: 1, MsgId: int64(i + 1), Msg: make([]byte, i%1000)}
					}
				}()
				for ; sent < first+count; sent++ {
					if sent%(count/breaks) == count/breaks/2 {
						p.hangUp()
						q.hangUp()
					}
					select {
					case e := <-b.Inbox():
						if e.MsgId != int64(sent+1) || len(e.Msg.([]byte)) != sent%1000 {
							t.Fatalf("message %d comes after %d", e.MsgId, sent)
						}
					case <-stop:
						t.Fatalf("%d messages have come: %+v", sent, a.Stats().Sent)
					}
				}
			}
			testcluster.Eventually(t, "all is confirmed", func() bool { return a.Stats().Sent.Confirmed == uint64(sent) })
			if s, r := a.Stats().Sent, b.Stats().Received; s.DroppedTotal() != 0 || s.Unconfirmed != 0 || r.Lost+r.Missed != 0 {
				t.Errorf("the books: %+v; %+v", s, r)
			} else if s.Resent == 0 {
				t.Errorf("%d breaks have cost nothing", most*breaks)
			}
		})
	}
}
