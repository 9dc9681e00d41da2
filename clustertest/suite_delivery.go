package clustertest

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/abhishekg16/cluster"
)

var deliveryRules = []rule{
	{
		"Pid is the id and Peers lists the others",
		"A server is started with an id, which Pid returns. Peers returns the ids of all other servers of the configuration, in order, in a slice that belongs to the caller.",
		testIdentity,
	},
	{
		"Inbox and Outbox are as large as configured",
		"InboxSize and OutboxSize say how many envelopes the channels hold: programs count on that for what they may put at once, and how much they may fall behind.",
		testSizes,
	},
	{
		"an envelope that was handed over is not changed",
		"A program may send one envelope to many, or look at it later. So the library never writes into it, not even the message id that it assigns.",
		testNotChanged,
	},
	{
		"a MsgId of 0 is given one and another is kept",
		"A MsgId of 0 means \"give it one\": a positive one, and those of one sender grow. Another is the program's own, and arrives as it was.",
		testMsgID,
	},
	{
		"assigned ids are unique among servers",
		"A MsgId names one message among those of all servers, also after thousands of messages. Only the copies of one broadcast share theirs.",
		testUniqueIDs,
	},
	{
		"what one server sends to another arrives in the order sent and never twice",
		"The order from one sender to one receiver is that of its Outbox; between different senders there is none. Here nothing fails, so nothing may be missing either.",
		testFIFO,
	},
	{
		"a received envelope carries its sender's id",
		"Pid is the receiver in an envelope to send, and the sender in one that was received. So Envelope{Pid: env.Pid} is a reply.",
		testReply,
	},
	{
		"a received envelope is fresh",
		"What a receiver does with an envelope that it took, and with what that points to, is seen by nobody else: neither by the sender nor by other receivers.",
		testFresh,
	},
	{
		"BROADCAST goes to every other server",
		"An envelope for BROADCAST arrives at each of Peers, and not at its sender.",
		testBroadcast,
	},
	{
		"5 servers broadcast 10,000 each and every one arrives once and in order",
		"Broadcasts of all servers at the same time neither disturb each other nor get lost, however full the queues are.",
		testBroadcastAll,
	},
	{
		"a send to one's own id arrives in one's own Inbox",
		"A server may be among its own receivers. The message takes the same way through the codec as any other, so it arrives as a copy.",
		testOwnID,
	},
	{
		"a message arrives as the type that it was sent as",
		"nil, booleans, numbers of each size, strings, []byte, times, and registered types arrive as what they were, alone and inside slices, maps and interfaces. A pointer arrives as what it points to.",
		testTypes,
	},
	{
		"a large message arrives whole",
		"A message may be larger than what the queue for its receiver holds, and larger than any buffer on its way.",
		testLarge,
	},
	{
		"what cannot be sent disturbs nothing",
		"A message to nobody, of a type that was never registered, too large, or no envelope at all is dropped. What is sent after it arrives.",
		testUnsendable,
	},
}

func testIdentity(t *trial) {
	for id, s := range t.startAll(trialServers) {
		if s.Pid() != id {
			t.Errorf("server %d says that it is %d", id, s.Pid())
		}
		for _, when := range []string{"", " after a program has changed the slice that it got"} {
			got, want := s.Peers(), without([]int{0, 1, 2, 3, 4}, id)
			if !slices.Equal(got, want) {
				t.Errorf("server %d has the peers %v%s, want %v", id, got, when, want)
			}
			clear(got)
		}
	}
}

func testSizes(t *trial) {
	t.cfg.InboxSize, t.cfg.OutboxSize = 7, 5
	servers := t.startAll(2)
	if in, out := cap(servers[1].Inbox()), cap(servers[1].Outbox()); in != 7 || out != 5 {
		t.Errorf("Inbox holds %d envelopes and Outbox %d, want 7 and 5", in, out)
	}
	t.feed(servers[0], 20, func(i int) *cluster.Envelope { return &cluster.Envelope{Pid: 1, Msg: i} })
	t.eventually("Inbox is full", func() bool { return len(servers[1].Inbox()) == 7 })
	for i := range 20 {
		t.expect(servers[1], 0, i)
	}
}

func testNotChanged(t *trial) {
	messages := func() []any { return append(payloads(), shared()...) }
	t.handOver(messages, func(cluster.Server, *cluster.Envelope, any) {}, func(now, before cluster.Envelope) {
		t.Helper()
		if !reflect.DeepEqual(now, before) {
			t.Fatalf("after it was sent the envelope is %.200s, want %.200s as before", fmt.Sprintf("%+v", now), fmt.Sprintf("%+v", before))
		}
	})
}

func testMsgID(t *trial) {
	t.cfg.Peers = t.cfg.Peers[:3]
	servers := t.startAll(3)
	last := int64(0)
	manners := append(t.manners(servers[0], 1, []int{1, 2}), manner{name: "send to oneself", size: smallSize, all: []int{0}})
	for _, m := range manners {
		for _, id := range []int64{0, 0, 42, -42, 1 << 62} {
			t.put(servers[0], &cluster.Envelope{Pid: m.to, MsgId: id, Msg: m.message(0)})
			for _, receiver := range m.all {
				got := t.take(servers[receiver]).MsgId
				switch {
				case id != 0 && got != id:
					t.Errorf("a %s: got the id %d, want %d to be kept", m.name, got, id)
				case id == 0 && receiver == m.all[0] && got <= last:
					t.Errorf("a %s: the assigned id is %d, want a positive one above those before, of which %d is the last", m.name, got, last)
				case id == 0 && receiver != m.all[0] && got != last:
					t.Errorf("a %s: one copy has the id %d and another one %d", m.name, last, got)
				}
				if id == 0 {
					last = got
				}
			}
		}
	}
}

func testUniqueIDs(t *trial) {
	const count = 12_000
	servers := t.startAll(3)
	from := make(map[int64]int)
	collect := func(senders ...cluster.Server) {
		for _, s := range senders {
			t.feed(s, count, func(int) *cluster.Envelope { return &cluster.Envelope{Pid: 0, Msg: true} })
		}
		for range count * len(senders) {
			e := t.take(servers[0])
			if other, twice := from[e.MsgId]; twice {
				t.Fatalf("server %d has assigned the id %d, and so has server %d", e.Pid, e.MsgId, other)
			}
			from[e.MsgId] = e.Pid
		}
	}
	collect(servers[1], servers[2])
	for range 10 {
		t.send(servers[0], cluster.BROADCAST, "all")
		if a, b := t.take(servers[1]).MsgId, t.take(servers[2]).MsgId; a != b {
			t.Fatalf("the copies of a broadcast have the ids %d and %d", a, b)
		}
	}
	if _, ok := servers[1].(closer); ok {
		t.shut(servers[1])
		// So many ids need some milliseconds of a clock, which stands still in a
		// bubble.
		<-time.After(100 * time.Millisecond)
		collect(t.start(1)) // a restart does not begin anew
	}
}

func testFIFO(t *trial) {
	servers := t.startAll(trialServers)
	t.exchange(servers[1:], servers[:1], 0, 20_000)
	if c, ok := servers[0].(counter); ok {
		if r := c.Stats().Received; r.Received != 80_000 || r.Lost != 0 || r.Missed != 0 || r.RefusedTotal() != 0 {
			t.Errorf("the receiver counts %+v, and received 80000 messages", r)
		}
	}
}

func testReply(t *trial) {
	t.cfg.Peers = t.cfg.Peers[:4]
	servers := t.startAll(4)
	manners := append(t.manners(servers[3], 2, []int{0, 1, 2}), manner{name: "send to oneself", to: 3, size: smallSize, all: []int{3}})
	for i, m := range manners {
		t.put(servers[3], &cluster.Envelope{Pid: m.to, Msg: m.message(i)})
		for _, id := range m.all {
			e := t.take(servers[id])
			if e.Pid != 3 || number(e.Msg) != i {
				t.Fatalf("a %s: server %d received message %d from %d, want %d from 3", m.name, id, number(e.Msg), e.Pid, i)
			}
			t.send(servers[id], e.Pid, i)
			t.expect(servers[3], id, i)
		}
	}
}

func testFresh(t *trial) {
	t.handOver(shared, func(s cluster.Server, got *cluster.Envelope, want any) {
		t.Helper()
		if !reflect.DeepEqual(got.Msg, want) {
			t.Fatalf("server %d received %.200s, want %.200s: it sees what another receiver wrote, or what was sent has changed",
				s.Pid(), fmt.Sprintf("%#v", got.Msg), fmt.Sprintf("%#v", want))
		}
		scribble(reflect.ValueOf(got.Msg))
		got.Pid, got.MsgId, got.Msg = -77, -77, nil
	}, func(now, before cluster.Envelope) {
		t.Helper()
		if !reflect.DeepEqual(now.Msg, before.Msg) || now.Pid != before.Pid {
			t.Fatalf("a receiver wrote into what was sent: it is %.200s, and was %.200s", fmt.Sprintf("%#v", now.Msg), fmt.Sprintf("%#v", before.Msg))
		}
	})
}

func testBroadcast(t *trial) {
	servers := t.startAll(trialServers)
	for i, size := range []int{smallSize, batchSize, largeSize} {
		m := manner{size: size}
		t.put(servers[2], &cluster.Envelope{Pid: cluster.BROADCAST, Msg: m.message(i)})
		for _, s := range servers {
			if s.Pid() == 2 {
				continue
			}
			if e := t.take(s); e.Pid != 2 || number(e.Msg) != i {
				t.Fatalf("server %d received message %d from %d, want %d, of %d bytes, from 2", s.Pid(), number(e.Msg), e.Pid, i, size)
			}
		}
		for _, s := range servers {
			t.nothing(s)
		}
	}
}

func testBroadcastAll(t *trial) {
	servers := t.startAll(trialServers)
	t.exchange(servers, servers, cluster.BROADCAST, 10_000)
}

func testOwnID(t *trial) {
	s := t.start(0)
	p := &trialPoint{1, 2}
	t.put(s, &cluster.Envelope{Pid: 0, MsgId: 7, Msg: p})
	if e := t.take(s); e.Pid != 0 || e.MsgId != 7 || e.Msg != *p {
		t.Errorf("got %+v, want the value of the point, from 0", *e)
	}
	for _, m := range append(payloads(), shared()...) {
		t.send(s, 0, m)
		if got := t.take(s).Msg; !equal(got, value(m)) {
			t.Errorf("got %.100s (%T), want %.100s (%T)", fmt.Sprintf("%#v", got), got, fmt.Sprintf("%#v", m), m)
		}
	}
	const count = 50_000
	t.feed(s, count, func(i int) *cluster.Envelope { return &cluster.Envelope{Pid: 0, Msg: i} })
	for i := range count {
		t.expect(s, 0, i)
	}
}

// trialPoint and trialShape are messages of this package's own.
type trialPoint struct{ X, Y int }

type trialShape struct {
	Name   string
	Points []trialPoint
	Any    any
	At     time.Time
}

func init() {
	cluster.Register("clustertest.trialPoint", trialPoint{})
	cluster.Register("clustertest.trialShape", trialShape{})
}

func testTypes(t *trial) {
	t.cfg.Peers = t.cfg.Peers[:2]
	servers := t.startAll(2)
	messages, shape := payloads(), newShape()
	check := func(sent any) {
		t.Helper()
		if got := t.take(servers[1]).Msg; !equal(got, sent) {
			t.Errorf("%T: got %#v (%T), want %#v", sent, got, got, sent)
		}
	}
	for _, m := range messages {
		for _, a := range t.addresses(servers[0], 1, []int{1}) {
			t.send(servers[0], a.to, m)
			check(m)
		}
	}
	// Many of a kind in a row may travel together.
	for _, m := range messages {
		t.feed(servers[0], 100, func(int) *cluster.Envelope { return &cluster.Envelope{Pid: 1, Msg: m} })
		for range 100 {
			check(m)
		}
	}
	t.send(servers[0], 1, &shape)
	if got := t.take(servers[1]).Msg; !reflect.DeepEqual(got, shape) {
		t.Errorf("a pointer: got %#v (%T), want the value", got, got)
	}
	// What == does not tell.
	t.send(servers[0], 1, math.NaN())
	if got, is := t.take(servers[1]).Msg.(float64); !is || !math.IsNaN(got) {
		t.Errorf("a float64 that is NaN arrives as %v", got)
	}
	t.send(servers[0], 1, trialTime.In(time.FixedZone("", 5*60*60+30*60)))
	got, _ := t.take(servers[1]).Msg.(time.Time)
	if _, offset := got.Zone(); !got.Equal(trialTime) || offset != 5*60*60+30*60 {
		t.Errorf("a time in another zone arrives as %v, want %v five hours and a half to the east", got, trialTime)
	}
}

func testLarge(t *trial) {
	t.cfg.QueueBytes = 64 << 10
	t.cfg.Peers = t.cfg.Peers[:2]
	servers := t.startAll(2)
	// Around the sizes where implementations change their ways.
	sizes := []int{0, 1, 32<<10 - 1, 32 << 10, 64 << 10, 128<<10 - 1, 128 << 10, 128<<10 + 1, 400_000, 9 << 20}
	message := func(i int) any {
		b := make([]byte, sizes[i/3])
		for i := range b {
			b[i] = byte(i * 7 / 5)
		}
		return [...]any{b, string(b), []any{b, "x"}}[i%3]
	}
	t.feed(servers[0], 3*len(sizes), func(i int) *cluster.Envelope { return &cluster.Envelope{Pid: 1, Msg: message(i)} })
	for i := range 3 * len(sizes) {
		if got, want := t.take(servers[1]).Msg, message(i); !reflect.DeepEqual(got, want) {
			t.Fatalf("a %T with %d bytes arrives as %.50s", want, sizes[i/3], fmt.Sprintf("%#v", got))
		}
	}
	for _, a := range append(t.addresses(servers[0], 1, []int{1}), manner{name: "send to oneself", all: []int{0}}) {
		sent := strings.Repeat("large ", largeSize/6)
		t.send(servers[0], a.to, sent)
		if got := t.take(servers[a.all[0]]).Msg; got != sent {
			t.Fatalf("a large %s arrives as %.50s", a.name, fmt.Sprintf("%#v", got))
		}
	}
}

func testUnsendable(t *trial) {
	t.cfg.MaxMessageBytes = 1000
	t.cfg.Peers = t.cfg.Peers[:2]
	servers := t.startAll(2)
	type stranger struct{ X int }
	unsendable := []any{make([]byte, 1001), strings.Repeat("x", 100_000), make([]byte, largeSize), stranger{1}, &stranger{1}, make(chan int)}
	addresses := append(t.addresses(servers[0], 1, []int{1}), manner{name: "send to oneself", all: []int{0}})
	for _, a := range addresses {
		for i, m := range unsendable {
			t.send(servers[0], a.to, m)
			t.send(servers[0], a.to, i)
			t.expect(servers[a.all[0]], 0, i)
		}
	}
	for _, e := range []*cluster.Envelope{{Pid: 99, Msg: "nobody"}, {Pid: -99, Msg: "no group"}, nil} {
		t.put(servers[0], e)
	}
	t.send(servers[0], 1, make([]byte, 1000))
	if got, _ := t.take(servers[1]).Msg.([]byte); len(got) != 1000 {
		t.Errorf("got %d bytes, want the 1000 that are allowed", len(got))
	}
	t.nothing(servers[1])
	c, ok := servers[0].(counter)
	if !ok {
		return
	}
	each := uint64(3 * len(addresses))
	got := c.Stats().Unaddressed.Dropped
	for r, want := range map[cluster.Reason]uint64{
		cluster.ReasonUnknownPeer: 2, cluster.ReasonTooLarge: each, cluster.ReasonNotEncodable: each + 1,
	} {
		if got[r] != want {
			t.Errorf("dropped as %v: %d, want %d", r, got[r], want)
		}
	}
}
