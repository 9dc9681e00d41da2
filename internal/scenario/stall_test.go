//go:build unix

package scenario

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

func TestAStalledPeerAndADeadOneDoNotHoldUpTheOthers(t *testing.T) {
	// The longer stall outlasts the heartbeats, so that the connection is given
	// up meanwhile. The shorter one does not, and so SendTimeout is short, too: a busy
	// machine may hold one of the others up for as long, and what they got is the best of several tries.
	for _, c := range []struct {
		stall, sendTimeout time.Duration
		tries              int
	}{{1500 * time.Millisecond, time.Second, 4}, {5 * time.Second, 3 * time.Second, 1}} {
		t.Run(c.stall.String(), func(t *testing.T) {
			var heldUp []string
			for range c.tries {
				if heldUp = testStalledAndDead(t, c.stall, c.sendTimeout); len(heldUp) == 0 {
					return
				}
				t.Log("a try:", heldUp)
			}
			t.Error(heldUp)
		})
	}
}

// testStalledAndDead returns what it held against the others.
func testStalledAndDead(t *testing.T, stall, sendTimeout time.Duration) (heldUp []string) {
	const (
		stalled, dead = 3, 4
		slack         = 5 * time.Second // of a busy machine
	)
	cfg := testcluster.ProcessConfig(t, 5)
	cfg.QueueBytes, cfg.OutboxSize, cfg.SendTimeout = 1<<20, 16, sendTimeout
	n := testcluster.Join(t, 0, cfg)
	peers := make([]*testcluster.Child, 5)
	for id := 1; id < 5; id++ {
		peers[id] = testcluster.Spawn(t, cfg, id).Start()
	}
	s := testcluster.NewTraffic(n)
	s.Send([]int{1, 2, stalled, dead}, 0, 256, 0)
	defer s.Halt()
	mostQueued := 0
	watch := func(until func() bool, what string) {
		t.Helper()
		testcluster.Eventually(t, what, func() bool {
			for _, p := range n.Stats().Peers {
				mostQueued = max(mostQueued, p.Sent.QueueBytes)
			}
			return until()
		})
	}
	for id := 1; id < 5; id++ {
		peers[id].Until("the first 1000 messages", func(r *testcluster.Report) bool { return r.Tally(0).Count >= 1000 })
	}

	peers[stalled].Signal(syscall.SIGSTOP)
	peers[dead].Kill()
	since := time.Now()
	watch(func() bool {
		drops := func(id int) bool { return testcluster.StatsOf(n, id).Sent.Dropped[cluster.ReasonUnreachable] > 0 }
		return drops(stalled) && drops(dead)
	}, "messages to the stalled and the dead peer are dropped at once")
	// The dead one, if nothing waited for it as it died, has its time from the next message on, which Outbox may hold for as long as the
	// stalled one has its own.
	took := time.Since(since)
	if took > 2*cfg.SendTimeout+slack {
		t.Errorf("messages were dropped after %v, want at most about SendTimeout, %v, for each of the two", took, cfg.SendTimeout)
	}
	staleFrom := s.Number(stalled)
	healthy := []uint64{1: peers[1].Report().Tally(0).Last(), 2: peers[2].Report().Tally(0).Last()}
	watch(func() bool { return time.Since(since) > max(stall, took+stall/4) }, "the end of the stall")
	for id := 1; id <= 2; id++ {
		got := peers[id].Report().Tally(0).Last()
		t.Logf("server %d got %d messages while the others were down", id, got-healthy[id])
		if got < healthy[id]+1000 {
			heldUp = append(heldUp, fmt.Sprintf("server %d got %d messages while the others were down, want at least 1000", id, got-healthy[id]))
		}
	}
	staleTo := s.Number(stalled) - uint64(cfg.OutboxSize)
	if staleTo < staleFrom+1000 {
		t.Errorf("%d messages for the stalled peer were taken while it was down, want at least 1000", staleTo-staleFrom)
	}

	peers[stalled].Signal(syscall.SIGCONT)
	since = time.Now()
	resumed := s.Number(stalled)
	peers[stalled].Until("a message that was sent after it went on", func(r *testcluster.Report) bool { return r.Tally(0).Last() > resumed })
	t.Logf("the stalled peer gets messages again after %v", time.Since(since))
	if took := time.Since(since); took > time.Second+slack {
		t.Errorf("the stalled peer gets messages again after %v, want within a second", took)
	}
	watch(func() bool { return time.Since(since) > 500*time.Millisecond }, "half a second more")
	s.Halt()
	if s.SlowestPut() > cfg.SendTimeout+slack {
		t.Errorf("Outbox made the sender wait for %v, want at most about SendTimeout, %v", s.SlowestPut(), cfg.SendTimeout)
	}
	t.Logf("the longest wait for Outbox: %v; the most queued: %d bytes", s.SlowestPut(), mostQueued)
	if mostQueued > cfg.QueueBytes {
		t.Errorf("a link had %d bytes queued, want at most QueueBytes, %d", mostQueued, cfg.QueueBytes)
	}
	// One more for each, so that every gap has an end.
	testcluster.Quiet(t, n)
	for id := 1; id <= 3; id++ {
		testcluster.Put(t, n, s.Message(id, 256))
		sent := s.Number(id) - 1
		r := peers[id].Until("the last message", func(r *testcluster.Report) bool { return r.Tally(0).Last() == sent })
		testcluster.Quiet(t, n)
		got, books := r.Tally(0), testcluster.StatsOf(n, id).Sent
		got.CheckOrder(t, peers[id].Name)
		if books.Accepted != sent {
			t.Errorf("accepted for server %d: %d, want %d", id, books.Accepted, sent)
		}
		if c := r.Stats.Peer(0).Received; c.Received+c.Lost+c.Missed != books.Sent || uint64(got.Count) != c.Received {
			t.Errorf("server %d took %d messages, and counts %d as received, %d as lost and %d as missed, want %d in all",
				id, got.Count, c.Received, c.Lost, c.Missed, books.Sent)
		}
		if id != stalled {
			if uint64(got.Count) != sent {
				heldUp = append(heldUp, fmt.Sprintf("server %d got %d messages, want all %d; dropped %v", id, got.Count, sent, books.Dropped))
			}
			if got.Pause > cfg.SendTimeout+slack {
				t.Errorf("server %d got nothing for %v, want at most about SendTimeout, %v", id, got.Pause, cfg.SendTimeout)
			}
			continue
		}
		for _, run := range got.Spans {
			if run.To >= staleFrom && run.From < staleTo {
				t.Errorf("the stalled peer got the messages %d to %d, which were sent while its link was down (%d to %d)",
					run.From, run.To, staleFrom, staleTo)
			}
		}
		t.Logf("the stalled peer: lost %d, dropped %v, spans %v", r.Stats.Peer(0).Received.Lost, books.Dropped, got.Spans)
	}
	for id := 1; id <= 3; id++ {
		peers[id].Close()
	}
	return heldUp
}

func TestADeadPeerIsNotSentStaleMessagesWhenItComesBack(t *testing.T) {
	const count = 1000
	cfg := testcluster.ProcessConfig(t, 2)
	cfg.SendTimeout = 300 * time.Millisecond
	n := testcluster.Join(t, 0, cfg)
	s := testcluster.NewTraffic(n)
	defer s.Halt()
	// It gets messages again within a second, unless the machine is too busy.
	least := testcluster.Limit
	for i := 0; i < 2 || i < 5 && least > time.Second; i++ {
		before := "it was never up"
		if i > 0 {
			before = "it was killed"
		}
		t.Run(before, func(t *testing.T) {
			// What is written before the peer's end is noticed counts as sent, so
			// messages go on until the link is down.
			s.Send([]int{1}, 0, 16, time.Millisecond)
			testcluster.Eventually(t, "the link is down", func() bool { return testcluster.StatsOf(n, 1).State == cluster.LinkDown })
			s.Halt()
			was := testcluster.StatsOf(n, 1).Sent
			if before == "it was never up" && (was.Sent != 0 || was.Dropped[cluster.ReasonTimedOut] == 0) {
				t.Errorf("to a peer that was never up %d messages were sent, and dropped %v, want some timed out", was.Sent, was.Dropped)
			}
			s.Send([]int{1}, count, 16, 0)
			s.Wait()
			testcluster.Eventually(t, "all is accounted for", func() bool { return testcluster.StatsOf(n, 1).Sent.Accepted == s.Number(1)-1 })
			now := testcluster.StatsOf(n, 1).Sent
			if got := now.Dropped[cluster.ReasonUnreachable] - was.Dropped[cluster.ReasonUnreachable]; got < count || now.Sent != was.Sent || now.Queued != 0 {
				t.Errorf("while the link was down: dropped %d as unreachable, sent %d, queued %d; want %d dropped", got, now.Sent-was.Sent, now.Queued, count)
			}

			peer := testcluster.Spawn(t, cfg, 1)
			fresh := s.Number(1)
			peer.Start()
			s.Send([]int{1}, 0, 16, 5*time.Millisecond)
			defer s.Halt()
			r := peer.Until("a message", func(r *testcluster.Report) bool { return r.Tally(0).Count > 0 })
			got := r.Tally(0)
			if first := got.Spans[0].From; first < fresh {
				t.Errorf("message %d came, want none from before %d", first, fresh)
			}
			took := got.First.Sub(r.Ready)
			t.Logf("the first message came %v after the peer was ready", took)
			least = min(least, took)
			s.Halt()
			sent := s.Number(1) - 1
			r = peer.Until("the last message", func(r *testcluster.Report) bool { return r.Tally(0).Last() == sent })
			r.Tally(0).CheckOrder(t, peer.Name)
			if len(r.Tally(0).Spans) != 1 {
				t.Errorf("got the messages %v, want no gaps", r.Tally(0).Spans)
			}
			// It is down until something is acknowledged.
			testcluster.Eventually(t, "the link is up", func() bool { return testcluster.StatsOf(n, 1).State == cluster.LinkUp })
			peer.Kill()
		})
	}
	if least > time.Second {
		t.Errorf("the first message came %v and more after the peer was ready, want within a second", least)
	}
}

// A sender that does not run for a while, be it stopped or its machine busy, must
// not hold that against its peer.
func TestASenderThatWasStoppedDropsNothingWhenItGoesOn(t *testing.T) {
	const count, size = 1_200, 5_000
	cfg := testcluster.ProcessConfig(t, 2)
	cfg.QueueBytes, cfg.InboxSize, cfg.SendTimeout = testcluster.MinQueueBytes, 1, 3*time.Second
	n := testcluster.Join(t, 1, cfg)
	from := testcluster.Spawn(t, cfg, 0).Start()
	from.Send([]int{1}, count, size, 0)
	var got testcluster.Tally
	for i := range count {
		if i%(count/2) == 20 {
			from.Signal(syscall.SIGSTOP)
			time.AfterFunc(2*cfg.SendTimeout, func() { from.Signal(syscall.SIGCONT) })
		}
		got.Add(testcluster.Take(t, n).Msg)
		time.Sleep(2 * time.Millisecond)
	}
	got.CheckAll(t, "server 1", count)
	if dropped := from.Report().Stats.Peer(1).Sent.Dropped; len(dropped) > 0 {
		t.Errorf("the sender has dropped %v", dropped)
	}
	from.Close()
}
