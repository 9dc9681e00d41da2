//go:build unix

package scenario

import (
	"log/slog"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

// peaks checks the peak of what the processes had in memory.
func peaks(t *testing.T, most int, cs ...*testcluster.Child) {
	t.Helper()
	for _, c := range cs {
		u := c.Usage()
		peak := u.Peak
		switch {
		case peak == 0:
			t.Log("memory cannot be measured here: there is no VmHWM in /proc/self/status")
		case testcluster.RaceEnabled:
			t.Logf("%s had %d MB in memory, of which the race detector has its share", c.Name, peak>>20)
		case peak > most:
			t.Errorf("%s had %d MB in memory at its peak, want at most %d", c.Name, peak>>20, most>>20)
		default:
			t.Logf("%s had %d MB in memory at its peak, and used %v of processor time", c.Name, peak>>20, u.CPU)
		}
	}
}

func TestAHundredMessagesOf10MBArriveInBoundedMemory(t *testing.T) {
	count := 100
	if testcluster.RaceEnabled {
		count = 20 // each takes ten times as long
	}
	cfg := testcluster.ProcessConfig(t, 2)
	cfg.OutboxSize = 1 // what the program keeps there is its own affair
	cfg.SendTimeout = testcluster.Limit
	from, to := testcluster.Spawn(t, cfg, 0).Start(), testcluster.Spawn(t, cfg, 1).Start()
	// For a while nobody reads, and all that may pile up does.
	to.Pace(time.Hour)
	from.Send([]int{1}, count, 10_000_000, 0)
	time.Sleep(2500 * time.Millisecond)
	if got := to.Report().Tally(0).Count; got > 1 {
		t.Errorf("%d messages were taken by a program that does not read", got)
	}
	to.Pace(0)
	r := to.Until("all messages", func(r *testcluster.Report) bool { return r.Tally(0).Count >= count })
	r.Tally(0).CheckAll(t, to.Name, uint64(count))
	if lost := r.Stats.Peer(0).Received.Lost; lost != 0 {
		t.Errorf("%d lost", lost)
	}
	peaks(t, 200<<20, from, to)
	from.Close()
	to.Close()
}

func TestAServerThatTakesSlowlyPacesItsSenderAndLosesNothing(t *testing.T) {
	const count = 200_000
	cfg := testcluster.ProcessConfig(t, 2)
	cfg.SendTimeout = testcluster.Limit
	from, to := testcluster.Spawn(t, cfg, 0).Start(), testcluster.Spawn(t, cfg, 1).Start()
	to.Pace(10 * time.Microsecond)
	from.Send([]int{1}, count, 1<<10, 0)
	r := to.Until("all messages", func(r *testcluster.Report) bool { return r.Tally(0).Count >= count })
	r.Tally(0).CheckAll(t, to.Name, count)
	sent := from.Report()
	if d := sent.Stats.Peer(1).Sent.Dropped; len(d) != 0 {
		t.Errorf("dropped %v, want nothing", d)
	}
	if sent.Slowest == 0 {
		t.Error("the sender never had to wait, so that the test tests nothing")
	}
	peaks(t, 150<<20, from, to)
	from.Close()
	to.Close()
}

func TestWhileAPeerTakesVerySlowlyNothingIsDropped(t *testing.T) {
	t.Parallel() // it waits more than it works
	cfg := testcluster.ProcessConfig(t, 2)
	cfg.QueueBytes, cfg.SendTimeout = testcluster.MinQueueBytes, 5*time.Second
	log := new(testcluster.LineLog)
	sending := cfg
	sending.Logger = slog.New(slog.NewTextHandler(log, nil))
	n := testcluster.Join(t, 0, sending)
	to := testcluster.Spawn(t, cfg, 1).Start()
	to.Pace(20 * time.Millisecond)
	s := testcluster.NewTraffic(n)
	s.Send([]int{1}, 0, 16, 0)
	defer s.Halt()
	full := false
	for began := time.Now(); time.Since(began) < 3*cfg.SendTimeout; time.Sleep(10 * time.Millisecond) {
		p := testcluster.StatsOf(n, 1)
		if p.State == cluster.LinkDown || p.Sent.DroppedTotal() > 0 {
			t.Fatalf("after %v: the link is %v, dropped %v", time.Since(began), p.State, p.Sent.Dropped)
		}
		full = full || n.Stats().OutboxLen == cap(n.Outbox())
	}
	if !full {
		t.Error("Outbox was never full, so that the test tests nothing")
	}
	slow := to.Report().Tally(0).Count
	t.Logf("it took %d messages in %v", slow, 3*cfg.SendTimeout)
	to.Pace(0)
	s.Halt()
	sent := s.Number(1) - 1
	r := to.Until("all messages", func(r *testcluster.Report) bool { return r.Tally(0).Last() == sent })
	r.Tally(0).CheckAll(t, to.Name, sent)
	if k := log.Count("link is down"); k != 0 {
		t.Errorf("the link went down %d times:\n%s", k, log)
	}
	to.Close()
}

func TestWhileAPeerTakesVerySlowlyFromSeveralNothingIsDropped(t *testing.T) {
	t.Parallel() // it waits more than it works
	cfg := testcluster.ProcessConfig(t, 4)
	cfg.QueueBytes, cfg.SendTimeout = testcluster.MinQueueBytes, 5*time.Second
	to := testcluster.Spawn(t, cfg, 0).Start()
	to.Pace(2 * time.Millisecond)
	senders := testcluster.Spawn(t, cfg, 1, 2, 3).Start()
	senders.Send([]int{0}, 0, 16, 0)
	for began := time.Now(); time.Since(began) < 3*cfg.SendTimeout; time.Sleep(50 * time.Millisecond) {
		for i, r := range senders.Reports() {
			if p := r.Stats.Peer(0); p.State == "down" || len(p.Sent.Dropped) > 0 {
				got := to.Report()
				t.Fatalf("after %v: the link of server %d is %s, dropped %v; the peer takes steadily: %d, %d and %d messages so far",
					time.Since(began), i+1, p.State, p.Sent.Dropped, got.Tally(1).Count, got.Tally(2).Count, got.Tally(3).Count)
			}
		}
	}
	to.Pace(0)
	senders.Do("halt", nil)
	for i, r := range senders.Reports() {
		sent := r.Next[0] - 1
		got := to.Until("all messages", func(r *testcluster.Report) bool { return r.Tally(i+1).Last() == sent })
		got.Tally(i+1).CheckAll(t, to.Name, sent)
	}
}
