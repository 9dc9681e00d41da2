package outgoing_test

import (
	"context"
	"log/slog"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/outgoing"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

func TestTheLogSaysWhatToDoAboutEachTypeThatCannotBeSent(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		type first struct{ X int }
		type second struct{ X int }
		log := new(testcluster.LineLog)
		cfg.MaxMessageBytes = 100
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
		n := testcluster.Join(t, 0, cfg)
		for _, msg := range []any{first{}, second{}, first{}, make([]byte, 101)} {
			testcluster.Put(t, n, &cluster.Envelope{Pid: 1, Msg: msg})
		}
		synctest.Wait()
		for _, want := range []string{"cluster.Register(", "outgoing_test.first", "outgoing_test.second", "more than 100 bytes encoded, and maxMessageBytes is 100"} {
			if log.Count(want) == 0 {
				t.Errorf("%q is missing in the log:\n%s", want, log)
			}
		}
		if got := log.Count("dropped a message"); got != 3 {
			t.Errorf("%d lines for three kinds of messages:\n%s", got, log)
		}
	})
}

// A broadcast that has to wait for one peer is with the others already.
func TestABroadcastDoesNotWaitForAPeerThatIsBehind(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		cfg.QueueBytes = testcluster.MinQueueBytes
		a, c := testcluster.Join(t, 0, cfg), testcluster.Join(t, 2, cfg) // 1 is not there
		testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: make([]byte, testcluster.MinQueueBytes-30)})
		start := time.Now()
		testcluster.Put(t, a, &cluster.Envelope{Pid: cluster.BROADCAST, Msg: "for all"})
		if e := testcluster.Take(t, c); e.Msg != "for all" || time.Since(start) != 0 {
			t.Errorf("received %v after %v, want the broadcast at once", e.Msg, time.Since(start))
		}
		synctest.Wait()
		if s := a.Stats().Sent; s.DroppedTotal() != 0 {
			t.Errorf("dropped %v: nothing should wait for long enough yet", s.Dropped)
		}
		time.Sleep(2 * testcluster.SendTimeout)
		synctest.Wait()
		if s := a.Stats().Sent; s.DroppedTotal() != 2 || s.Sent != 1 {
			t.Errorf("later: %+v, want 1 message sent and 2 dropped", s)
		}
	})
}

// What waits for one peer stays as it is while the others' copies come and go.
func TestABroadcastThatWaitsForAPeerReachesItUnchanged(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		cfg.QueueBytes = testcluster.MinQueueBytes
		a, c := testcluster.Join(t, 0, cfg), testcluster.Join(t, 2, cfg)
		testcluster.Put(t, a, &cluster.Envelope{Pid: 1, Msg: make([]byte, testcluster.MinQueueBytes-30)})
		testcluster.Put(t, a, &cluster.Envelope{Pid: cluster.BROADCAST, Msg: "for all"})
		for range 50 {
			testcluster.Take(t, c)
			if err := a.Send(context.Background(), &cluster.Envelope{Pid: 2, Msg: "another"}); err != nil {
				t.Fatal(err)
			}
		}
		b := testcluster.Join(t, 1, cfg)
		testcluster.Take(t, b)
		if e := testcluster.Take(t, b); e.Msg != "for all" {
			t.Errorf("received %q", e.Msg)
		}
	})
}

// Message ids in a row are not written one by one. They arrive all the same, also when what
// was encoded together is split because the queue is full.
func TestMessageIdsArriveAsTheyWereGiven(t *testing.T) {
	for _, scheme := range []string{"mem", "tcp"} {
		t.Run(scheme, func(t *testing.T) {
			cfg := testcluster.Config(t, scheme, 2)
			cfg.QueueBytes, cfg.SendTimeout = testcluster.MinQueueBytes, testcluster.Limit
			a := testcluster.Join(t, 0, cfg) // the queue is full before 1 is there
			const count = 20_000
			random := rand.New(rand.NewPCG(1, 2))
			want := make([]cluster.Envelope, count)
			id := int64(math.MaxInt64 - 10)
			for i := range want {
				switch random.IntN(50) {
				case 0:
					if id = int64(random.Uint64()); random.IntN(3) == 0 {
						id = math.MaxInt64 - 2
					}
				case 1:
					id-- // which makes the next a repetition
				}
				if id++; id == 0 {
					id++
				}
				want[i] = cluster.Envelope{Pid: 0, MsgId: id, Msg: make([]byte, random.IntN(100))}
				if random.IntN(1000) == 0 {
					want[i].Msg = make([]byte, outgoing.LargeBytes-1+random.IntN(3))
				}
			}
			go func() { // It ends with its last message.
				for _, e := range want {
					a.Outbox() <- &cluster.Envelope{Pid: 1, MsgId: e.MsgId, Msg: e.Msg}
				}
			}()
			testcluster.Eventually(t, "the queue is full", func() bool {
				return a.Stats().Sent.QueueBytes > testcluster.MinQueueBytes/2 && len(a.Outbox()) == cap(a.Outbox())
			})
			b := testcluster.Join(t, 1, cfg)
			for i := range want {
				if e := testcluster.Take(t, b); e.MsgId != want[i].MsgId || len(e.Msg.([]byte)) != len(want[i].Msg.([]byte)) {
					t.Fatalf("message %d arrived with the id %d and %d bytes, want %d and %d",
						i, e.MsgId, len(e.Msg.([]byte)), want[i].MsgId, len(want[i].Msg.([]byte)))
				}
			}
			testcluster.Eventually(t, "the queue is empty", func() bool {
				s := a.Stats().Sent
				return s.Queued == 0 && s.QueueBytes == 0
			})
		})
	}
}
