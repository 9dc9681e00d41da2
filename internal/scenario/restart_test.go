//go:build unix

package scenario

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

func TestARestartedPeerIsANewIncarnationAndItsMessagesFlow(t *testing.T) {
	const restarts = 5
	cfg := testcluster.ProcessConfig(t, 2)
	cfg.QueueBytes, cfg.SendTimeout = 1<<20, testcluster.Limit
	n := testcluster.Join(t, 0, cfg)
	r := testcluster.ReadAll(n)
	// Slow enough that each life leaves something behind that was not read.
	r.Pause.Store(int64(20 * time.Microsecond))
	least := testcluster.Limit // that the first message of a life took; the machine may be too busy for some
	for life := 0; life <= restarts; life++ {
		peer := testcluster.Spawn(t, cfg, 1).Start()
		before := r.Tally(1).Count
		began := time.Now()
		peer.Send([]int{0}, 0, 64, 0)
		testcluster.Eventually(t, fmt.Sprintf("messages of life %d", life), func() bool { return r.Tally(1).Lives() == life+1 })
		if took := time.Since(began); life > 0 {
			least = min(least, took)
		}
		testcluster.Eventually(t, fmt.Sprintf("1000 messages of life %d", life), func() bool { return r.Tally(1).Count > before+1000 })
		if got := testcluster.StatsOf(n, 1).Received.Restarts; got != uint64(life) {
			t.Errorf("Restarts is %d in life %d", got, life)
		}
		peer.Kill()
	}
	if least > 2*time.Second {
		t.Errorf("the first message of a life after a restart took %v and more, want at most 2 s", least)
	}
	got, books := r.Tally(1), testcluster.StatsOf(n, 1).Received
	got.CheckOrder(t, "server 0")
	t.Logf("%d messages of %d lives", got.Count, got.Lives())
	// What a life has sent before its end came through one connection.
	if len(got.Spans) != got.Lives() || books.Lost != 0 || books.Missed != 0 || books.Refused[cluster.RefusedWindow] != 0 {
		t.Errorf("%d lives came as the messages %v; lost %d, missed %d, refused %v, want no gap in any",
			got.Lives(), got.Spans, books.Lost, books.Missed, books.Refused)
	}
}

func TestWhenAReceiverRestartsMessagesFlowAgain(t *testing.T) {
	for _, c := range []struct {
		name  string
		pause time.Duration
	}{{"a trickle", time.Millisecond}, {"a flood", 0}} {
		t.Run(c.name, func(t *testing.T) {
			// It is within a second, unless the machine is too busy.
			least := testcluster.Limit
			for try := 0; try < 4 && least > time.Second; try++ {
				least = min(least, testRestartOfAReceiver(t, c.pause))
			}
			if least > time.Second {
				t.Errorf("the first message came %v and more after the new life was ready, want within a second", least)
			}
		})
	}
}

// testRestartOfAReceiver returns how long after the new life was ready the first message came.
func testRestartOfAReceiver(t *testing.T, pause time.Duration) time.Duration {
	cfg := testcluster.ProcessConfig(t, 2)
	cfg.QueueBytes = 1 << 20
	n := testcluster.Join(t, 0, cfg)
	s := testcluster.NewTraffic(n)
	old, young := testcluster.Spawn(t, cfg, 1).Start(), testcluster.Spawn(t, cfg, 1)
	s.Send([]int{1}, 0, 16, pause)
	defer s.Halt()
	r := old.Until("200 messages", func(r *testcluster.Report) bool { return r.Tally(0).Count > 200 })
	r.Tally(0).CheckAll(t, "the old life", r.Tally(0).Last())
	known := r.Tally(0).Last()
	old.Kill()
	young.Start()
	since := s.Number(1)
	r = young.Until("a message", func(r *testcluster.Report) bool { return r.Tally(0).Count > 0 })
	if first := r.Tally(0).Spans[0].From; first <= known {
		t.Errorf("message %d came to the new life, and to the old one before", first)
	}
	took := r.Tally(0).First.Sub(r.Ready)
	t.Logf("the first message came %v after the new life was ready", took)
	young.Until("200 messages that were sent since", func(r *testcluster.Report) bool { return r.Tally(0).Last() > since+200 })
	s.Halt()
	testcluster.Quiet(t, n)
	testcluster.Put(t, n, s.Message(1, 16))
	sent := s.Number(1) - 1
	r = young.Until("the last message", func(r *testcluster.Report) bool { return r.Tally(0).Last() == sent })
	r.Tally(0).CheckOrder(t, "the new life")
	testcluster.Quiet(t, n)
	got, books := r.Stats.Peer(0).Received, testcluster.StatsOf(n, 1).Sent
	t.Logf("the new life: %d received, %d missed, %d lost; sent %d, dropped %v", got.Received, got.Missed, got.Lost, books.Sent, books.Dropped)
	if got.Missed < known || got.Lost != 0 || got.Received+got.Missed != books.Sent {
		t.Errorf("the new life counts %d received, %d missed and %d lost, want none lost, at least %d missed, and %d together",
			got.Received, got.Missed, got.Lost, known, books.Sent)
	}
	young.Close()
	return took
}

func TestTwoServersWithTheSameIDAreNoticed(t *testing.T) {
	all := testcluster.ProcessConfig(t, 3)
	cfg, other := all, all
	cfg.Peers = all.Peers[:2]
	other.Peers = []peercatalog.Peer{all.Peers[0], {ID: 1, Address: all.Peers[2].Address}}
	a, b := testcluster.Spawn(t, cfg, 1).Start(), testcluster.Spawn(t, other, 1).Start()
	log := new(testcluster.LineLog)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	n := testcluster.Join(t, 0, cfg)
	r := testcluster.ReadAll(n)
	a.Send([]int{0}, 0, 16, time.Millisecond)
	testcluster.Eventually(t, "messages of the first server 1", func() bool { return r.Tally(1).Count > 100 })
	b.Send([]int{0}, 0, 16, time.Millisecond)
	testcluster.Eventually(t, "messages of the first server 1 are refused, and those of the second come", func() bool {
		got := r.Tally(1)
		return testcluster.StatsOf(n, 1).Received.Refused[cluster.RefusedIncarnation] > 100 && got.Lives() == 2 && got.Last() > 100
	})
	got, books := r.Tally(1), testcluster.StatsOf(n, 1).Received
	got.CheckOrder(t, "server 0")
	if len(got.Spans) != 2 || got.Spans[0].From != 1 || got.Spans[1].From != 1 {
		t.Errorf("got the messages %v, want two runs from 1", got.Spans)
	}
	if books.Restarts != 1 || books.Lost != 0 || len(books.Refused) != 1 {
		t.Errorf("Restarts %d, Lost %d, Refused %v, want one restart, none lost, and no other refusal", books.Restarts, books.Lost, books.Refused)
	}
	if k := log.Count("do two servers use the id?"); k != 1 {
		t.Errorf("it was logged %d times, want once:\n%s", k, log)
	}
}

func TestAReplyToThePeerThatHasRestartedArrives(t *testing.T) {
	const rounds, soon, limit = 40, 2 * time.Second, 20 * time.Second
	cfg := testcluster.ProcessConfig(t, 2)
	cfg.SendTimeout = limit
	other := testcluster.Join(t, 1, cfg)
	late := 0
	for i := range rounds {
		n, err := cluster.NewFromConfig(0, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		testcluster.Put(t, n, &cluster.Envelope{Pid: 1, Msg: i})
		// The connection to the life before was closed long before this comes.
		e := testcluster.Take(t, other)
		testcluster.Put(t, other, &cluster.Envelope{Pid: e.Pid, Msg: e.Msg})
		began := time.Now()
		select {
		case e := <-n.Inbox():
			if e.Msg != i {
				t.Fatalf("server 0 got %v in round %d", e.Msg, i)
			}
		case <-time.After(limit):
			t.Fatalf("in round %d server 1 heard the new life of server 0, and its reply has not come in %v:\n%v", i, limit, other.Stats())
		}
		if took := time.Since(began); took > soon {
			t.Logf("the reply of round %d took %v", i, took)
			late++
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if late > rounds/10 { // The machine may be too busy for some.
		t.Errorf("%d of %d replies took longer than %v", late, rounds, soon)
	}
}
