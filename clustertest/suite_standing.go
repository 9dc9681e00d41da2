package clustertest

import (
	"slices"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

var standingRules = []rule{
	{
		"Stats tells how the link to each peer stands",
		"A link is up when its peer has acknowledged what was sent, and down when the peer has closed. A peer that was never there, or was removed, is not up; nor is one idle to which something was sent.",
		testStandings,
	},
	{
		"a new life counts what its former life was sent as missed",
		"What one life of a sender has sent is, once all of it has come, received, lost, missed or refused. Missed is what it had numbered before the first message that this life of the receiver heard of.",
		testMissed,
	},
}

type catalogued interface {
	Catalog() *peercatalog.Catalog
}

func testStandings(t *trial) {
	t.cfg.Peers = t.cfg.Peers[:4]
	servers := t.startAll(2) // 2 and 3 are not there
	a := need[counter](t, servers[0], "Stats() cluster.Stats")
	stands := func(id int, wrong ...cluster.LinkState) bool { return !slices.Contains(wrong, countedBy(a, id).State) }
	absent := func(when string) {
		t.Helper()
		for _, id := range []int{2, 3} {
			if !stands(id, cluster.LinkUp, cluster.LinkStalled) {
				t.Errorf("%s, and Stats tells that the link to server %d, which is not there, is %v", when, id, countedBy(a, id).State)
			}
		}
	}
	up := func(when string) {
		t.Helper()
		t.greet(servers[0], servers[1])
		t.eventually(when+", and Stats tells that the link to it is up", func() bool { return countedBy(a, 1).State == cluster.LinkUp })
		if p := countedBy(a, 1); p.Since.IsZero() {
			t.Errorf("Stats does not tell since when the link to server 1 is %v", p.State)
		}
	}
	absent("nothing was sent")
	t.send(servers[0], 2, "is anybody there?")
	up("server 1 has acknowledged what was sent")
	absent("something was sent")
	t.eventually("what was sent to a server that is not there is dropped", func() bool { return countedBy(a, 2).Sent.DroppedTotal() == 1 })
	absent("something was dropped")
	if !stands(2, cluster.LinkIdle) {
		t.Errorf("Stats tells that nothing was sent to server 2, and something was")
	}
	if _, ok := servers[1].(closer); ok {
		t.shut(servers[1])
		t.eventually("server 1 has closed, and Stats tells that the link to it is down", func() bool { return countedBy(a, 1).State == cluster.LinkDown })
		servers[1] = t.start(1)
		up("server 1 has started anew")
	}
	if c, ok := servers[0].(catalogued); ok {
		c.Catalog().Remove(1)
		t.eventually("server 1 was removed, and Stats does not tell that the link to it is up", func() bool { return stands(1, cluster.LinkUp, cluster.LinkStalled) })
	}
}

func testMissed(t *trial) {
	t.cfg.Peers = t.cfg.Peers[:2]
	servers := t.startAll(2)
	need[closer](t, servers[1], "Close() error")
	a := need[counter](t, servers[0], "Stats() cluster.Stats")
	const before, after = 10, 5
	for i := range before {
		t.send(servers[0], 1, i)
		t.expect(servers[1], 0, i)
	}
	t.shut(servers[1])
	servers[1] = t.start(1)
	// What is sent at once may be for the life before, which nobody can tell.
	t.send(servers[1], 0, "are you there?")
	t.expect(servers[0], 1, "are you there?")
	again := 0 // of what the life before was sent, the last may come, if the word that it had come was lost with its connection
	for i := before; i < before+after; i++ {
		t.send(servers[0], 1, i)
		e := t.take(servers[1])
		for n, ok := e.Msg.(int); ok && n < before && again < before; n, ok = e.Msg.(int) {
			again++
			e = t.take(servers[1])
		}
		if e.Pid != 0 || e.Msg != i {
			t.Fatalf("server 1 received %v from %d, want %d from 0", e.Msg, e.Pid, i)
		}
	}
	b := need[counter](t, servers[1], "Stats() cluster.Stats")
	r := func() cluster.ReceivedStats { return countedBy(b, 0).Received }
	t.eventually("the new life counts each message that was sent as received, lost, missed or refused", func() bool {
		got := r()
		return got.Received+got.Lost+got.Missed+got.RefusedTotal() == countedBy(a, 1).Sent.Sent
	})
	if got := r(); got.Received != uint64(after+again) || got.Missed != uint64(before-again) || got.Lost != 0 {
		t.Errorf("the new life has received %d messages, missed %d and lost %d, want %d that it received, and %d that its former life had", got.Received, got.Missed, got.Lost, after+again, before-again)
	}
}
