package clustertest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/abhishekg16/cluster"
)

var deliveryRules = []rule{
	{
		"Pid is the id and Peers lists the others",
		"A server is started with an id, which Pid returns. Peers returns the ids of all other servers of the configuration, in order.",
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
		if got, want := s.Peers(), without([]int{0, 1, 2, 3, 4}, id); !slices.Equal(got, want) {
			t.Errorf("server %d has the peers %v, want %v", id, got, want)
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
	servers := t.startAll(trialServers)
	message := func() any { return map[string]any{"a": []int{1, 2}} }
	for _, pid := range []int{cluster.BROADCAST, 1, 0} {
		e := &cluster.Envelope{Pid: pid, MsgId: 0, Msg: message()}
		t.put(servers[0], e)
		if pid != 0 {
			t.take(servers[1])
		} else {
			t.take(servers[0])
		}
		if want := (cluster.Envelope{Pid: pid, MsgId: 0, Msg: message()}); !reflect.DeepEqual(*e, want) {
			t.Errorf("after it was sent the envelope is %v, want %v as before", *e, want)
		}
	}
}

func testMsgID(t *trial) {
	servers := t.startAll(2)
	for _, id := range []int64{0, 0, 42, -42, 1 << 62} {
		t.put(servers[0], &cluster.Envelope{Pid: 1, MsgId: id, Msg: "x"})
	}
	a, b := t.take(servers[1]).MsgId, t.take(servers[1]).MsgId
	if a <= 0 || b <= a {
		t.Errorf("the assigned ids are %d and %d, want positive ones that grow", a, b)
	}
	for _, want := range []int64{42, -42, 1 << 62} {
		if got := t.take(servers[1]).MsgId; got != want {
			t.Errorf("got the id %d, want %d to be kept", got, want)
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
	servers := t.startAll(4)
	t.send(servers[3], 2, "ping")
	e := t.take(servers[2])
	if e.Pid != 3 || e.Msg != "ping" {
		t.Errorf("got %v from %d, want ping from 3", e.Msg, e.Pid)
	}
	t.put(servers[2], &cluster.Envelope{Pid: e.Pid, Msg: "pong"})
	t.expect(servers[3], 2, "pong")
}

func testFresh(t *trial) {
	servers := t.startAll(trialServers)
	for _, size := range []int{3, 100, 40 << 10, 200 << 10} { // each travels in its own way
		sent := make([]byte, size)
		t.send(servers[0], cluster.BROADCAST, sent)
		t.send(servers[0], 0, sent)
		for _, s := range servers {
			got, ok := t.take(s).Msg.([]byte)
			if !ok || len(got) != size {
				t.Fatalf("server %d received %d bytes, want %d", s.Pid(), len(got), size)
			}
			if slices.Max(got) != 0 {
				t.Fatalf("%d bytes: server %d sees what another receiver wrote", size, s.Pid())
			}
			got[0], got[size-1] = 1, 1
		}
		if slices.Max(sent) != 0 {
			t.Fatalf("%d bytes: a receiver wrote into what was sent", size)
		}
	}
}

func testBroadcast(t *trial) {
	servers := t.startAll(trialServers)
	t.send(servers[2], cluster.BROADCAST, "all")
	for _, s := range servers {
		if s.Pid() != 2 {
			t.expect(s, 2, "all")
		}
	}
	for _, s := range servers {
		t.nothing(s)
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
	servers := t.startAll(2)
	at := time.Date(2024, 2, 29, 23, 59, 59, 123456789, time.UTC)
	shape := trialShape{Name: "s", Points: []trialPoint{{1, 2}, {3, 4}}, Any: map[string]any{"p": trialPoint{5, 6}}, At: at}
	messages := []any{
		nil, true, 1, int8(-2), int16(3), int32(-4), int64(1 << 62), uint(6), uint8(7), uint16(8), uint32(9), uint64(1 << 63),
		float32(1.5), 2.5, "text", []byte("bytes"), []byte{}, at, []string{"a", ""}, []int{1, 2}, [2]bool{true, false},
		map[string]any{"a": 1, "b": []any{"c", int8(2), nil}}, map[int]string{1: "x"}, shape, []trialShape{shape},
	}
	check := func(sent any) {
		t.Helper()
		if got := t.take(servers[1]).Msg; !reflect.DeepEqual(got, sent) {
			t.Errorf("%T: got %#v (%T), want %#v", sent, got, got, sent)
		}
	}
	for _, m := range messages {
		t.send(servers[0], 1, m)
		check(m)
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
}

func testLarge(t *trial) {
	t.cfg.QueueBytes = 64 << 10
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
}

func testUnsendable(t *trial) {
	t.cfg.MaxMessageBytes = 1000
	servers := t.startAll(2)
	type stranger struct{ X int }
	for _, e := range []*cluster.Envelope{
		{Pid: 99, Msg: "nobody"}, {Pid: -99, Msg: "no group"},
		{Pid: 1, Msg: make([]byte, 1001)}, {Pid: cluster.BROADCAST, Msg: strings.Repeat("x", 100_000)},
		{Pid: 1, Msg: stranger{1}}, {Pid: 1, Msg: make(chan int)}, nil,
	} {
		t.put(servers[0], e)
	}
	t.send(servers[0], 1, make([]byte, 1000))
	if got, _ := t.take(servers[1]).Msg.([]byte); len(got) != 1000 {
		t.Errorf("got %d bytes, want the 1000 that are allowed", len(got))
	}
	c, ok := servers[0].(counter)
	if !ok {
		return
	}
	got := c.Stats().Unaddressed.Dropped
	for r, want := range map[cluster.Reason]uint64{
		cluster.ReasonUnknownPeer: 2, cluster.ReasonTooLarge: 2, cluster.ReasonNotEncodable: 3,
	} {
		if got[r] != want {
			t.Errorf("dropped as %v: %d, want %d", r, got[r], want)
		}
	}
}
