//go:build unix

package scenario

import (
	"errors"
	"sync"
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

// A Deliver that returns nil has put its message into the peer's Inbox, once, and so it is of each whatever happens to connections.
func TestDeliverSurvivesBrokenConnections(t *testing.T) {
	t.Parallel()
	cfg := testcluster.ProcessConfig(t, 2)
	cfg.SendTimeout = testcluster.Limit
	cfg, p := behind(t, cfg, 0)
	cfg, q := behind(t, cfg, 1)
	a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
	if err := a.Deliver(t.Context(), &cluster.Envelope{Pid: 1, Msg: "first"}); err != nil {
		t.Fatal(err)
	}
	testcluster.Take(t, b)
	const callers, calls, breaks = 50, 100, 20
	came := make(map[int64]int)
	all := make(chan struct{})
	go func() { // It ends when b has closed at the latest.
		defer close(all)
		for n := 0; n < callers*calls; n++ {
			e, ok := <-b.Inbox()
			if !ok {
				return
			}
			if came[e.MsgId]++; n%(callers*calls/breaks) == callers*calls/breaks/2 {
				p.hangUp()
				q.hangUp()
			}
		}
	}()
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range calls {
				err := a.Deliver(t.Context(), &cluster.Envelope{Pid: 1, MsgId: int64(1 + c*calls + i), Msg: make([]byte, i)})
				if err != nil {
					t.Errorf("message %d: %v", 1+c*calls+i, err)
				}
			}
		})
	}
	wg.Wait()
	select {
	case <-all:
	case <-time.After(testcluster.Limit):
		t.Fatal("messages that were delivered are not in Inbox")
	}
	for id, n := range came {
		if n != 1 {
			t.Errorf("message %d has come %d times", id, n)
		}
	}
}

// Where the peer is killed, nobody knows what became of what it had not confirmed.
func TestDeliverToAServerThatIsKilledIsUnconfirmed(t *testing.T) {
	t.Parallel()
	cfg := testcluster.ProcessConfig(t, 2)
	cfg.InboxSize = 1
	a := testcluster.Join(t, 0, cfg)
	child := testcluster.Spawn(t, cfg, 1)
	child.Start()
	if err := a.Deliver(t.Context(), &cluster.Envelope{Pid: 1, Msg: "it is there"}); err != nil {
		t.Fatal(err)
	}
	child.Kill()
	began := time.Now()
	err := a.Deliver(t.Context(), &cluster.Envelope{Pid: 1, Msg: "nobody is"})
	if !errors.Is(err, cluster.ErrUnconfirmed) && !errors.Is(err, cluster.ErrUnreachable) && !errors.Is(err, cluster.ErrTimedOut) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > testcluster.Limit {
		t.Errorf("it took %v", took)
	}
}
