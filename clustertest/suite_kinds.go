package clustertest

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/abhishekg16/cluster"
)

// Implementations treat messages in different ways, for whom they are and how large they
// are. So a rule is tried with each, and one about order with each two.

var kindRules = []rule{
	{
		"messages of different kinds keep their order",
		"What one server sends to another arrives in the order sent, whether it was sent to that server alone, to a group or to all, and whether it is small, fills a batch, or travels in pieces. Nothing may overtake, be missing or come twice.",
		testMixed,
	},
	{
		"payloads of different kinds keep their order and their types",
		"A message of any type arrives as that type, in its turn, whatever the type of the messages before and after it.",
		testPayloads,
	},
}

const (
	smallSize = 10
	batchSize = 24 << 10 // of which a few fill a batch
	largeSize = 300 << 10
)

// A manner is how a message is sent.
type manner struct {
	name string
	to   int // as Pid has it
	size int // of the message
	// all are the ids of those who receive it.
	all []int
}

// groups are what has addresses for several servers.
type groups interface {
	Group(pids ...int) (int, error)
}

// addresses are the ways to send a message to the server receiver, among peers: to it alone,
// to a group that has it and, if there is another, that one, and to all. A server without
// groups has two of them.
func (t *trial) addresses(s cluster.Server, receiver int, peers []int) (all []manner) {
	t.Helper()
	all = append(all, manner{name: "unicast", to: receiver, all: []int{receiver}}, manner{name: "broadcast", to: cluster.BROADCAST, all: peers})
	if g, ok := s.(groups); ok {
		others := without(peers, receiver)
		members := append([]int{receiver}, others[:min(1, len(others))]...)
		address, err := g.Group(members...)
		if err != nil {
			t.Fatalf("Group(%v): %v", members, err)
		}
		all = append(all, manner{name: "group", to: address, all: members})
	}
	return all
}

// manners are all addresses with messages of all sizes.
func (t *trial) manners(s cluster.Server, receiver int, peers []int) (all []manner) {
	t.Helper()
	for _, size := range []int{smallSize, batchSize, largeSize} {
		for _, m := range t.addresses(s, receiver, peers) {
			m.name, m.size = fmt.Sprintf("%s of %d bytes", m.name, size), size
			all = append(all, m)
		}
	}
	return all
}

// message is the i-th, of the size of the manner.
func (m manner) message(i int) []byte {
	b := make([]byte, m.size)
	binary.BigEndian.PutUint64(b, uint64(i))
	return b
}

// number is the i of a message.
func number(msg any) int {
	if b, ok := msg.([]byte); ok && len(b) >= 8 {
		return int(binary.BigEndian.Uint64(b))
	}
	return -1
}

// testMixed sends messages of each two manners by turns, and listens at two receivers.
func testMixed(t *trial) {
	t.cfg.Peers = t.cfg.Peers[:3]
	servers := t.startAll(3)
	manners := t.manners(servers[0], 1, []int{1, 2})
	var order []manner
	for _, a := range manners {
		for _, b := range manners {
			order = append(order, a, b, a, b)
		}
	}
	t.feed(servers[0], len(order), func(i int) *cluster.Envelope {
		return &cluster.Envelope{Pid: order[i].to, Msg: order[i].message(i)}
	})
	next := make(map[int]int) // of order, by receiver
	for range order {
		for _, s := range servers[1:] {
			i := next[s.Pid()]
			for i < len(order) && !slices.Contains(order[i].all, s.Pid()) {
				i++
			}
			if next[s.Pid()] = i + 1; i >= len(order) {
				continue
			}
			e := t.take(s)
			switch got := number(e.Msg); {
			case got < 0 || got >= len(order):
				t.Fatalf("server %d received %.50s, want message %d, a %s", s.Pid(), fmt.Sprintf("%v", e.Msg), i, order[i].name)
			case got != i:
				t.Fatalf("server %d received message %d, a %s, instead of message %d, a %s", s.Pid(), got, order[got].name, i, order[i].name)
			case len(e.Msg.([]byte)) != order[i].size:
				t.Fatalf("server %d received %d bytes of a %s", s.Pid(), len(e.Msg.([]byte)), order[i].name)
			}
		}
	}
	for _, s := range servers {
		t.nothing(s)
	}
}

// trialTime is a time that needs all its nanoseconds.
var trialTime = time.Date(2024, 2, 29, 23, 59, 59, 123456789, time.UTC)

// newShape is a message that has something inside of each kind.
func newShape() trialShape {
	return trialShape{Name: "s", Points: []trialPoint{{1, 2}, {3, 4}}, Any: map[string]any{"p": trialPoint{5, 6}}, At: trialTime}
}

// payloads are messages of all kinds, made anew.
func payloads() []any {
	return []any{
		nil, true, 1, int8(-2), int16(3), int32(-4), int64(1 << 62), uint(6), uint8(7), uint16(8), uint32(9), uint64(1 << 63),
		float32(1.5), 2.5, "text", []byte("bytes"), []byte{}, trialTime, []string{"a", ""}, []int{1, 2}, [2]bool{true, false},
		map[string]any{"a": 1, "b": []any{"c", int8(2), nil}}, map[int]string{1: "x"}, newShape(), []trialShape{newShape()},
		// What other encodings round, mend or cut.
		int64(1<<53 + 1), int64(math.MinInt64), uint64(math.MaxUint64), 0.1, math.Copysign(0, -1), math.Inf(-1), math.SmallestNonzeroFloat64,
		"\xff is not UTF-8\x00", []byte{0, 1, 0}, []any{math.Copysign(0, -1), "\xff", int64(1<<53 + 1), 0.1},
	}
}

// testPayloads sends messages of each two types by turns.
func testPayloads(t *trial) {
	servers := t.startAll(2)
	var order []any
	for _, a := range payloads() {
		for _, b := range payloads() {
			order = append(order, a, b, a, b)
		}
	}
	t.feed(servers[0], len(order), func(i int) *cluster.Envelope { return &cluster.Envelope{Pid: 1, Msg: order[i]} })
	for i, want := range order {
		if got := t.take(servers[1]).Msg; !equal(got, want) {
			t.Fatalf("message %d: got %#v (%T), want %#v (%T), which stands among %T and %T", i, got, got, want, want, order[i&^3], order[i|1])
		}
	}
	t.nothing(servers[1])
}

// shared are messages with something inside that could be shared, made anew: small ones,
// and such as travel in other ways.
func shared() []any {
	shape := newShape()
	many := make([]int, 40<<10)
	large := map[string]any{"a": []int{1, 2}, "b": make([]byte, largeSize), "s": strings.Repeat("s", batchSize)}
	all := []any{
		[]int{1, 2}, []string{"a", "b"}, []any{1, []int{2}}, map[string]any{"a": []int{1, 2}}, map[int]string{1: "x"},
		newShape(), []trialShape{newShape()}, &shape, many, large,
	}
	for _, size := range []int{3, 100, batchSize, 40 << 10, largeSize} {
		all = append(all, make([]byte, size))
	}
	return all
}

// scribble changes what is inside of a message, wherever it can be.
func scribble(v reflect.Value) {
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		if !v.IsNil() {
			scribble(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			scribble(v.Index(i))
			if !v.Index(i).IsZero() || v.Type().Elem().Kind() != reflect.Uint8 {
				v.Index(i).SetZero()
			} else {
				v.Index(i).SetUint(1)
			}
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			scribble(v.MapIndex(key))
		}
		v.Clear()
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			scribble(v.Field(i))
		}
	}
}

// value is a message as it arrives: what a pointer points to.
func value(msg any) any {
	if v := reflect.ValueOf(msg); v.Kind() == reflect.Pointer {
		return v.Elem().Interface()
	}
	return msg
}

// handOver sends each of the messages that make makes to every address, also to the sender
// itself, and lets each receiver see it, in turn; then check sees the envelope again, as
// it was sent and as it is.
func (t *trial) handOver(make func() []any, see func(s cluster.Server, got *cluster.Envelope, want any), check func(now, before cluster.Envelope)) {
	t.Helper()
	t.cfg.Peers = t.cfg.Peers[:3]
	servers := t.startAll(3)
	addresses := append(t.addresses(servers[0], 1, []int{1, 2}), manner{name: "own id", to: 0, all: []int{0}})
	for i := range make() {
		for _, a := range addresses {
			e := &cluster.Envelope{Pid: a.to, Msg: make()[i]}
			t.put(servers[0], e)
			for _, id := range a.all {
				see(servers[id], t.take(servers[id]), value(make()[i]))
			}
			check(*e, cluster.Envelope{Pid: a.to, Msg: make()[i]})
		}
	}
}
