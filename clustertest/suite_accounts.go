package clustertest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

var accountRules = []rule{
	{
		"Stats accounts for every message",
		"For each peer, accepted = sent + queued + dropped by reason. What was sent is received, or counted as lost or refused by its receiver. Nothing vanishes uncounted. What a program does to the Stats that it got changes nothing.",
		testBooks,
	},
	{
		"a message that is too large for its receiver is refused",
		"MaxMessageBytes counts on both sides: a sender that allows more is not believed. The receiver counts what it refuses, and takes what comes after.",
		testTooLargeHere,
	},
	{
		"Send tells the outcome",
		"Send returns nil for what was accepted for the wire, and otherwise an error that says why it was dropped, and for which peer.",
		testSend,
	},
	{
		"Send waits for room as long as its context allows",
		"While the queue of the peer is full Send blocks, until there is room or its context ends.",
		testSendContext,
	},
	{
		"what Send sends arrives in the order sent",
		"What one goroutine gives to Send, one after another, arrives in that order, as what is put into Outbox does, whatever it is and for whom.",
		testSendOrder,
	},
	{
		"what SendUrgent sends keeps an order of its own",
		"What one goroutine gives to SendUrgent arrives in that order, and what it gives to Send in that; each message comes once. Between the two there is no order.",
		testUrgentOrder,
	},
	{
		"Receive takes from Inbox",
		"Receive returns what would come next from Inbox, and each envelope goes to one who takes it. It waits as long as its context allows, and returns ErrClosed when the server has closed and Inbox is empty.",
		testReceive,
	},
	{
		"a group is a multicast address",
		"Group returns an address of -2 or below for a set of ids. What is sent there arrives once at each of them, and nowhere else.",
		testGroup,
	},
	{
		"the catalogue counts from the next message on",
		"A peer that is added to Catalog can be sent to and is heard; one that was removed is not. If it returns, its messages go on where they were.",
		testCatalog,
	},
}

// countedBy is what s has counted about a peer.
func countedBy(s counter, peer int) cluster.PeerStats {
	for _, p := range s.Stats().Peers {
		if p.ID == peer {
			return p
		}
	}
	return cluster.PeerStats{ID: peer}
}

func testBooks(t *trial) {
	t.cfg.SendTimeout = t.patience(200 * time.Millisecond)
	servers := t.startAll(2) // the others are not there
	a, b := need[counter](t, servers[0], "Stats() cluster.Stats"), servers[1].(counter)
	const rounds = 300
	destinations := []int{1, 2, cluster.BROADCAST, 77, 1}
	t.feed(servers[0], rounds*len(destinations), func(i int) *cluster.Envelope {
		return &cluster.Envelope{Pid: destinations[i%len(destinations)], Msg: i}
	})
	for range 3 * rounds {
		t.take(servers[1])
	}
	t.eventually("the links to those who are not there are down, and nothing is queued", func() bool {
		s := a.Stats()
		return s.OutboxLen == 0 && s.Sent.Queued == 0 && s.Unaddressed.Accepted == rounds
	})
	// Stats is a copy, and the caller's.
	for _, p := range a.Stats().Peers {
		clear(p.Sent.Dropped)
	}
	clear(a.Stats().Unaddressed.Dropped)
	clear(a.Stats().Peers)
	s := a.Stats()
	check := func(who string, got cluster.SentStats, accepted int) {
		t.Helper()
		if got.Accepted != uint64(accepted) {
			t.Errorf("%s: %d messages are counted as accepted, and %d were put into Outbox", who, got.Accepted, accepted)
		}
		if got.Accepted != got.Sent+got.Queued+got.DroppedTotal() {
			t.Errorf("%s: accepted %d, but sent %d, queued %d, dropped %v", who, got.Accepted, got.Sent, got.Queued, got.Dropped)
		}
	}
	check("peer 1", countedBy(a, 1).Sent, 3*rounds)
	check("peer 2", countedBy(a, 2).Sent, 2*rounds)
	check("peer 3", countedBy(a, 3).Sent, rounds)
	check("an unknown peer", s.Unaddressed, rounds)
	if got := s.Unaddressed.Dropped[cluster.ReasonUnknownPeer]; got != rounds {
		t.Errorf("%d messages are counted as for unknown peers, want %d", got, rounds)
	}
	nobody := countedBy(a, 2).Sent
	if got := nobody.Dropped[cluster.ReasonTimedOut] + nobody.Dropped[cluster.ReasonUnreachable]; got != 2*rounds || nobody.DroppedTotal() != got {
		t.Errorf("of the messages to a peer that is not there %v are counted as dropped, want %d that it did not take in time, or that were dropped since it takes nothing", nobody.Dropped, 2*rounds)
	}
	if nobody.Confirmed != 0 {
		t.Errorf("a peer that is not there is counted as having confirmed %d messages", nobody.Confirmed)
	}
	t.eventually("the receiver has counted what was sent", func() bool {
		r := countedBy(b, 0).Received
		return r.Received+r.Lost+r.Missed == countedBy(a, 1).Sent.Sent
	})
	r, sent := countedBy(b, 0).Received, countedBy(a, 1).Sent
	if r.Received != 3*rounds {
		t.Errorf("%d messages are counted as received, and %d were", r.Received, 3*rounds)
	}
	if r.Bytes == 0 || r.Bytes > sent.Bytes {
		t.Errorf("%d bytes are counted as received, and %d as sent with all that is around them", r.Bytes, sent.Bytes)
	}
	if again := a.Stats().Incarnation; again != s.Incarnation || again == b.Stats().Incarnation {
		t.Errorf("one life of server 0 has the incarnations %d and %d, and that of server 1 is %d", s.Incarnation, again, b.Stats().Incarnation)
	}
	t.confirmed(servers[0], servers[1])
}

func testTooLargeHere(t *trial) {
	a := t.start(0)
	t.cfg.MaxMessageBytes = 1000
	b := t.start(1)
	for _, size := range []int{1001, 50_000, 300_000} { // each travels in its own way
		t.send(a, 1, make([]byte, size))
		t.send(a, 1, size)
		t.expect(b, 0, size)
	}
	if c, ok := b.(counter); ok {
		if got := countedBy(c, 0).Received.Refused[cluster.RefusedTooLarge]; got != 3 {
			t.Errorf("%d messages are counted as too large, want 3", got)
		}
	}
}

type sender interface {
	Send(ctx context.Context, env *cluster.Envelope) error
}

func testSend(t *trial) {
	t.cfg.MaxMessageBytes = 1000
	t.cfg.SendTimeout = t.patience(50 * time.Millisecond)
	servers := t.startAll(2) // 2, 3 and 4 are not there
	a := need[sender](t, servers[0], "Send(context.Context, *cluster.Envelope) error")
	type stranger struct{ X int }
	ctx := context.Background()
	for _, c := range []struct {
		name string
		env  *cluster.Envelope
		want error
	}{
		{"to a peer that is up", &cluster.Envelope{Pid: 1, Msg: "x"}, nil},
		{"to oneself", &cluster.Envelope{Pid: 0, Msg: "x"}, nil},
		{"unknown peer", &cluster.Envelope{Pid: 99, Msg: "x"}, cluster.ErrUnknownPeer},
		{"unknown group", &cluster.Envelope{Pid: -7, Msg: "x"}, cluster.ErrUnknownPeer},
		{"too large", &cluster.Envelope{Pid: 1, Msg: make([]byte, 1001)}, cluster.ErrTooLarge},
		{"unregistered", &cluster.Envelope{Pid: 1, Msg: stranger{1}}, cluster.ErrNotEncodable},
		{"no envelope", nil, cluster.ErrNotEncodable},
	} {
		if err := a.Send(ctx, c.env); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	if err := a.Send(ctx, &cluster.Envelope{Pid: 1, Msg: stranger{1}}); err == nil || !strings.Contains(err.Error(), "Register(") {
		t.Errorf("the error for an unregistered type does not say what to call: %v", err)
	}
	down := func(id int) {
		t.Helper()
		t.eventually("messages for a peer that is not there are dropped at once", func() bool {
			return errors.Is(a.Send(ctx, &cluster.Envelope{Pid: id, Msg: "x"}), cluster.ErrUnreachable)
		})
	}
	for id := 2; id <= 4; id++ {
		if err := a.Send(ctx, &cluster.Envelope{Pid: id, Msg: "x"}); err != nil {
			t.Errorf("to a peer that may still come up: %v", err)
		}
	}
	down(2)
	if err := a.Send(ctx, &cluster.Envelope{Pid: 2, Msg: "x"}); err == nil || !strings.Contains(err.Error(), "peer 2") {
		t.Errorf("the error does not name the peer: %v", err)
	}
	down(3)
	down(4)
	if err := a.Send(ctx, &cluster.Envelope{Pid: cluster.BROADCAST, Msg: "x"}); !errors.Is(err, cluster.ErrUnreachable) || !strings.Contains(err.Error(), "peer 4") {
		t.Errorf("a broadcast that three of four do not get: %v", err)
	}
	t.drops(servers[0], servers[1])
}

func testSendContext(t *trial) {
	t.cfg.SendTimeout, t.cfg.Linger = time.Hour, 50*time.Millisecond
	t.cfg.QueueBytes = 64 << 10
	s := t.start(0) // 1 is not there
	a := need[sender](t, s, "Send(context.Context, *cluster.Envelope) error")
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	var err error
	if !within(trialLimit, func() {
		for sent := 0; err == nil && sent < 1000; sent++ {
			err = a.Send(ctx, &cluster.Envelope{Pid: 1, Msg: make([]byte, 10_000)})
		}
	}) {
		t.Fatalf("Send has not returned %v after its context ended", trialLimit)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Send returns %v with a full queue, want %v", err, context.DeadlineExceeded)
	}
}

func testSendOrder(t *trial) {
	t.cfg.Peers = t.cfg.Peers[:3]
	servers := t.startAll(3)
	a := need[sender](t, servers[0], "Send(context.Context, *cluster.Envelope) error")
	manners := t.manners(servers[0], 1, []int{1, 2})
	const rounds = 20
	failed := make(chan error, 1)
	go func() { // It ends with the last Send, or with the trial: then the server closes.
		defer close(failed)
		for i := range rounds * len(manners) {
			m := manners[i%len(manners)]
			if err := a.Send(context.Background(), &cluster.Envelope{Pid: m.to, Msg: m.message(i)}); err != nil {
				failed <- err
				return
			}
		}
	}()
	next := make(map[int]int) // by receiver
	for i := range rounds * len(manners) {
		for _, id := range manners[i%len(manners)].all {
			got := number(t.take(servers[id]).Msg)
			if got != i {
				t.Fatalf("server %d received message %d after message %d, want message %d, a %s", id, got, next[id]-1, i, manners[i%len(manners)].name)
			}
			next[id] = i + 1
		}
	}
	if err := <-failed; err != nil {
		t.Errorf("Send: %v", err)
	}
}

type urgentSender interface {
	SendUrgent(ctx context.Context, env *cluster.Envelope) error
}

func testUrgentOrder(t *trial) {
	servers := t.startAll(2)
	const method = "SendUrgent(context.Context, *cluster.Envelope) error"
	a, b := need[urgentSender](t, servers[0], method), need[urgentSender](t, servers[1], method)
	ordinary := need[sender](t, servers[0], "Send(context.Context, *cluster.Envelope) error")
	// Until the servers have heard of one another, the messages may go by the one stream or the other.
	if err := a.SendUrgent(context.Background(), &cluster.Envelope{Pid: 1, Msg: "hello"}); err != nil {
		t.Fatalf("SendUrgent: %v", err)
	}
	t.expect(servers[1], 0, "hello")
	if err := b.SendUrgent(context.Background(), &cluster.Envelope{Pid: 0, Msg: "hello"}); err != nil {
		t.Fatalf("SendUrgent: %v", err)
	}
	t.expect(servers[0], 1, "hello")
	const count = 300
	failed := make(chan error, 1)
	go func() { // It ends with the last message, or with the trial: then the server closes.
		defer close(failed)
		for i := range count {
			large := append(make([]byte, 1+i%7*50_000), byte(i), byte(i>>8))
			err := ordinary.Send(context.Background(), &cluster.Envelope{Pid: 1, Msg: large})
			if err == nil {
				err = a.SendUrgent(context.Background(), &cluster.Envelope{Pid: 1, Msg: i})
			}
			if err != nil {
				failed <- err
				return
			}
		}
	}()
	next := map[string]int{}
	for range 2 * count {
		stream, got := "SendUrgent", 0
		switch msg := t.take(servers[1]).Msg.(type) {
		case int:
			got = msg
		case []byte:
			stream, got = "Send", int(msg[len(msg)-2])+int(msg[len(msg)-1])<<8
		}
		if got != next[stream] {
			t.Fatalf("message %d of %s came after message %d, want message %d", got, stream, next[stream]-1, next[stream])
		}
		next[stream]++
	}
	if err := <-failed; err != nil {
		t.Errorf("sending: %v", err)
	}
}

func testGroup(t *trial) {
	servers := t.startAll(trialServers)
	a := need[groups](t, servers[0], "Group(...int) (int, error)")
	g, err := a.Group(3, 1, 0, 3)
	if err != nil || g > -2 {
		t.Fatalf("Group: %d, %v", g, err)
	}
	if again, _ := a.Group(0, 1, 3); again != g {
		t.Errorf("the same set has the addresses %d and %d", g, again)
	}
	if other, _ := a.Group(1, 3); other == g {
		t.Errorf("another set has the address %d as well", g)
	}
	t.send(servers[0], g, "some")
	t.send(servers[0], cluster.BROADCAST, "end")
	t.send(servers[0], 0, "end")
	for _, s := range servers {
		if slices.Contains([]int{0, 1, 3}, s.Pid()) {
			t.expect(s, 0, "some")
		}
		t.expect(s, 0, "end")
	}
	if _, err := a.Group(1, 99); !errors.Is(err, cluster.ErrUnknownPeer) {
		t.Errorf("a group with an unknown member: %v", err)
	}
	if _, err := a.Group(); err == nil {
		t.Error("a group without members is no error")
	}
}

func testCatalog(t *trial) {
	all := t.cfg.Peers
	t.cfg.Peers = all[:2]
	servers := t.startAll(2)
	catalog := need[catalogued](t, servers[0], "Catalog() *peercatalog.Catalog").Catalog()
	t.cfg.Peers = []peercatalog.Peer{all[0], all[1], all[4]}
	late := t.start(4)
	t.send(servers[0], 4, "too early")
	t.send(servers[0], 1, "sync")
	t.expect(servers[1], 0, "sync")
	if err := catalog.Create(all[4]); err != nil {
		t.Fatal(err)
	}
	if got := servers[0].Peers(); !slices.Equal(got, []int{1, 4}) {
		t.Errorf("the peers are %v after one was added, want [1 4]", got)
	}
	t.send(servers[0], cluster.BROADCAST, "hello")
	t.expect(servers[1], 0, "hello")
	t.expect(late, 0, "hello")
	t.send(late, cluster.BROADCAST, "hello") // which 1 has to refuse
	t.expect(servers[0], 4, "hello")
	if !catalog.Remove(4) {
		t.Error("the catalogue does not have 4")
	}
	t.send(servers[0], 4, "are you gone?")
	t.send(servers[0], cluster.BROADCAST, "4 is gone")
	t.expect(servers[1], 0, "4 is gone")
	if err := catalog.Put(all[4]); err != nil {
		t.Fatal(err)
	}
	t.send(servers[0], 4, "back")
	t.expect(late, 0, "back")
	t.nothing(servers[1])
	if c, ok := late.(counter); ok {
		if r := countedBy(c, 0).Received; r.Lost != 0 || r.RefusedTotal() != 0 {
			t.Errorf("of a peer that was removed and has returned, %d messages are counted as lost, %v refused", r.Lost, r.Refused)
		}
	}
	if c, ok := servers[1].(counter); ok {
		t.eventually("a server that is not in the catalogue is refused", func() bool {
			r := c.Stats().Refused
			return r[cluster.RefusedSender]+r[cluster.RefusedKey] > 0
		})
	}
	if c, ok := servers[0].(counter); ok {
		if got := c.Stats().Sent.Dropped[cluster.ReasonUnknownPeer]; got != 2 {
			t.Errorf("dropped for an unknown peer: %d, want 2", got)
		}
	}
}
