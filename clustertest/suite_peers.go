package clustertest

import (
	"slices"
	"time"

	"github.com/abhishekg16/cluster"
)

var peerRules = []rule{
	{
		"while a peer takes nothing is dropped",
		"A peer that takes more slowly than we send paces us: its queue fills, then Outbox, and then the sender waits, for many times SendTimeout if need be.",
		testPaced,
	},
	{
		"servers start in any order within SendTimeout and lose nothing",
		"A message waits up to SendTimeout for a peer that is not up yet.",
		testAnyOrder,
	},
	{
		"a peer that is not there delays the others by one SendTimeout at most",
		"What a dead peer does not take is dropped after SendTimeout, and from then on at once. So who sends to several is held up once, and only briefly.",
		testDeadPeer,
	},
	{
		"a peer whose program stops reading is given up until it reads again",
		"A program that takes nothing from its Inbox for SendTimeout counts as stalled: what does not fit anywhere is dropped, and nobody else waits for it. When it reads again it gets what is sent from then on.",
		testStalledProgram,
	},
	{
		"a server that was down gets nothing stale",
		"What was sent to a server more than SendTimeout before it came up was dropped. What is sent once it is there arrives.",
		testNothingStale,
	},
	{
		"a restarted server hears and is heard",
		"A server that ends and starts again, at the same address, goes on as a new incarnation: what it sends then is no duplicate of what it had sent before.",
		testRestart,
	},
	{
		"an observer is nobody's peer",
		"An entry with Observer is that of a server beside the cluster: it sends, and is sent to by its id, but it is in no list of Peers, so that it counts in no majority, and gets no BROADCAST.",
		testObserver,
	},
}

func testPaced(t *trial) {
	const count, size = 300, 5_000 // much more than all queues and windows hold
	t.cfg.QueueBytes, t.cfg.InboxSize, t.cfg.OutboxSize = 64<<10, 1, 1
	t.cfg.SendTimeout = t.patience(500 * time.Millisecond)
	t.cfg.Peers = t.cfg.Peers[:2]
	servers := t.startAll(2)
	addresses := t.addresses(servers[0], 1, []int{1})
	t.feed(servers[0], count, func(i int) *cluster.Envelope {
		m := manner{size: []int{size, smallSize, batchSize}[i/10%3]}
		return &cluster.Envelope{Pid: addresses[i%len(addresses)].to, Msg: m.message(i)}
	})
	each := 10 * time.Millisecond // so that all of them take several times SendTimeout
	if !t.impl.Bubble {
		each = 20 * time.Millisecond
	}
	pause := time.NewTicker(each)
	defer pause.Stop()
	for i := range count {
		if got := number(t.take(servers[1]).Msg); got != i {
			t.Fatalf("message %d comes instead of message %d: what is between was dropped, though the peer takes", got, i)
		}
		<-pause.C
		if c, ok := servers[0].(counter); ok {
			if s := c.Stats().Sent; s.QueueBytes > t.cfg.QueueBytes {
				t.Fatalf("%d bytes are queued, and QueueBytes is %d", s.QueueBytes, t.cfg.QueueBytes)
			}
		}
	}
	if c, ok := servers[0].(counter); ok {
		if s := c.Stats(); s.Sent.DroppedTotal() != 0 {
			t.Errorf("dropped:\n%v", s)
		}
	}
}

func testAnyOrder(t *trial) {
	t.cfg.SendTimeout = trialLimit / 2
	var servers []cluster.Server
	for id := range trialServers {
		<-time.After(50 * time.Millisecond) // so that what was sent before finds nobody there
		s := t.start(id)
		t.send(s, cluster.BROADCAST, id)
		for _, before := range servers {
			t.send(before, id, -1)
		}
		servers = append(servers, s)
	}
	for _, s := range servers {
		want := make(map[int][]any)
		for id := range trialServers {
			if id != s.Pid() {
				want[id] = append(want[id], id)
			}
			if id < s.Pid() {
				want[id] = append(want[id], -1)
			}
		}
		for left := 2*(trialServers-1) - (trialServers - 1 - s.Pid()); left > 0; left-- {
			e := t.take(s)
			if w := want[e.Pid]; len(w) == 0 || w[0] != e.Msg {
				t.Fatalf("server %d received %v from %d, want %v", s.Pid(), e.Msg, e.Pid, w)
			}
			want[e.Pid] = want[e.Pid][1:]
		}
		t.nothing(s)
	}
}

func testDeadPeer(t *trial) {
	t.cfg.SendTimeout = t.patience(200 * time.Millisecond)
	t.cfg.QueueBytes, t.cfg.OutboxSize = 64<<10, 1
	servers := t.startAll(2) // 2 is not there
	const rounds = 100
	t.feed(servers[0], 2*rounds, func(i int) *cluster.Envelope {
		return &cluster.Envelope{Pid: 2 - i%2, Msg: append(make([]byte, 5_000), byte(i/2))}
	})
	start := time.Now()
	for i := range rounds {
		if got, _ := t.take(servers[1]).Msg.([]byte); len(got) == 0 || got[len(got)-1] != byte(i) {
			t.Fatalf("message %d is another", i)
		}
	}
	if took, most := time.Since(start), t.cfg.SendTimeout+t.slack(); took > most {
		t.Errorf("the messages for the peer that is there took %v, want at most SendTimeout (%v) and a little", took, t.cfg.SendTimeout)
	}
}

func testStalledProgram(t *trial) {
	t.cfg.SendTimeout = t.patience(200 * time.Millisecond)
	t.cfg.QueueBytes, t.cfg.InboxSize, t.cfg.OutboxSize = 64<<10, 1, 1
	servers := t.startAll(3)
	const rounds = 400 // of more than all queues and windows hold
	start := time.Now()
	t.feed(servers[0], 2*rounds, func(i int) *cluster.Envelope {
		return &cluster.Envelope{Pid: 1 + i%2, Msg: append(make([]byte, 5_000), byte(i/2))}
	})
	for i := range rounds {
		if got, _ := t.take(servers[2]).Msg.([]byte); len(got) == 0 || got[len(got)-1] != byte(i) {
			t.Fatalf("message %d is another", i)
		}
	}
	if took, most := time.Since(start), t.cfg.SendTimeout+t.slack(); took > most {
		t.Errorf("the messages for the peer that reads took %v, want at most SendTimeout (%v) and a little", took, t.cfg.SendTimeout)
	}
	// Now the other one reads, and gets what was on its way, and then what is sent.
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for end := time.After(trialLimit); ; {
		select {
		case e, open := <-servers[1].Inbox():
			if err := arrived(servers[1], e, open); err != nil {
				t.Fatal(err)
			} else if e.Msg == "fresh" {
				return
			}
		case <-again.C:
			t.send(servers[0], 1, "fresh")
		case <-end:
			t.Fatalf("nothing that was sent later arrives within %v of reading again%s", trialLimit, books(servers[0]))
		}
	}
}

func testNothingStale(t *trial) {
	t.cfg.SendTimeout = 100 * time.Millisecond
	a := t.start(0)
	t.send(a, 1, "stale", "stale", "stale")
	sent := time.Now()
	<-time.After(5 * t.cfg.SendTimeout)
	if c, ok := a.(counter); ok {
		// On a busy machine the server may count less than what has passed.
		for time.Since(sent) < trialLimit && countedBy(c, 1).Sent.DroppedTotal() < 3 {
			<-time.After(10 * time.Millisecond)
		}
	}
	overdue := time.Since(sent)
	b := t.start(1)
	// The link to it may be found up only when something is sent.
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for end := time.After(trialLimit); ; {
		select {
		case e, open := <-b.Inbox():
			if err := arrived(b, e, open); err != nil {
				t.Fatal(err)
			} else if e.Msg != "fresh" {
				t.Errorf("got %v, which was sent %v before server 1 came up", e.Msg, overdue)
				continue
			}
			return
		case <-again.C:
			t.send(a, 1, "fresh")
		case <-end:
			t.Fatalf("nothing arrives within %v of the start%s", trialLimit, books(a))
		}
	}
}

func testRestart(t *trial) {
	servers := t.startAll(2)
	need[closer](t, servers[1], "Close() error")
	for life := range 5 {
		t.shut(servers[1])
		servers[1] = t.start(1)
		t.exchange(servers[1:], servers[:1], 0, 10)
		// What is sent at once may be for the life before, which nobody can tell.
		t.send(servers[1], 0, "are you there?")
		t.expect(servers[0], 1, "are you there?")
		t.send(servers[0], 1, life)
		t.expect(servers[1], 0, life)
	}
}

func testObserver(t *trial) {
	t.cfg.Peers = slices.Clone(t.cfg.Peers[:3])
	t.cfg.Peers[2].Observer = true
	servers := t.startAll(3)
	observer := servers[2]
	for id, want := range [][]int{{1}, {0}, {0, 1}} {
		if got := servers[id].Peers(); !slices.Equal(got, want) {
			t.Errorf("server %d has the peers %v, want %v: server 2 is an observer", id, got, want)
		}
	}
	for i, size := range []int{smallSize, batchSize, largeSize} {
		m := manner{size: size}
		message := func(of int) []byte { return m.message(10*i + of) }
		receive := func(s cluster.Server, from, of int) {
			t.Helper()
			if e := t.take(s); e.Pid != from || number(e.Msg) != 10*i+of {
				t.Fatalf("server %d received message %d from %d, want message %d, of %d bytes, from %d", s.Pid(), number(e.Msg), e.Pid, 10*i+of, size, from)
			}
		}
		t.send(servers[0], cluster.BROADCAST, message(0))
		receive(servers[1], 0, 0)
		t.send(servers[0], 2, message(1)) // behind a broadcast that would have come before
		receive(observer, 0, 1)
		t.send(observer, 1, message(2))
		receive(servers[1], 2, 2)
		t.send(observer, cluster.BROADCAST, message(3))
		receive(servers[0], 2, 3)
		receive(servers[1], 2, 3)
	}
	for _, s := range servers {
		t.nothing(s)
	}
}
