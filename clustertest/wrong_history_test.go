package clustertest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
)

// A world is two servers, 0 who sends and 1 who receives, with books as nodes keep them.
type world struct {
	history     clustertest.History
	sent        []parcel
	incarnation uint64 // the last that began
	sender      cluster.Stats
	receiver    cluster.Stats
	heard       uint64 // the life of the sender that the receiver hears; 0: none yet
	upTo        int    // in its stream
}

// A parcel is a message with its place in the stream of a life of its sender.
type parcel struct {
	*cluster.Envelope
	life  uint64
	place int
}

func newWorld() *world {
	w := new(world)
	w.sender, w.receiver = w.begin(0, 1), w.begin(1, 0)
	return w
}

// begin makes the books of a new life.
func (w *world) begin(pid, peer int) cluster.Stats {
	w.incarnation++
	return cluster.Stats{Pid: pid, Incarnation: w.incarnation, Peers: []cluster.PeerStats{{
		ID: peer, Sent: cluster.SentStats{Dropped: make(map[cluster.Reason]uint64)},
	}}}
}

func (w *world) restartSender() {
	w.history.Explain(w.sender)
	w.sender = w.begin(0, 1)
}

func (w *world) restartReceiver() {
	w.history.Explain(w.receiver)
	w.receiver = w.begin(1, 0)
	w.heard, w.upTo = 0, 0
}

// send sends so many messages.
func (w *world) send(count int) {
	for range count {
		e := &cluster.Envelope{Pid: 1, Msg: fmt.Sprint("message ", len(w.sent)+1)}
		w.history.Sent(0, e)
		s := &w.sender.Peers[0].Sent
		s.Accepted++
		s.Sent++
		w.sent = append(w.sent, parcel{e, w.sender.Incarnation, int(s.Sent)})
	}
}

// drop is messages that the sender drops, and says so.
func (w *world) drop(count int) {
	for range count {
		w.history.Sent(0, &cluster.Envelope{Pid: 1, Msg: "dropped"})
		w.sender.Peers[0].Sent.Accepted++
		w.sender.Peers[0].Sent.Dropped[cluster.ReasonTimedOut]++
	}
}

// hear lets the receiver's node come to a message, the last of count in a row that it had not
// heard of.
func (w *world) hear(x parcel) *cluster.ReceivedStats {
	r := &w.receiver.Peers[0].Received
	if w.heard != x.life {
		if w.heard != 0 {
			r.Restarts++
		}
		w.heard, w.upTo = x.life, x.place-1
		r.Missed += uint64(x.place - 1)
	}
	r.Lost += uint64(x.place - 1 - w.upTo)
	w.upTo = x.place
	return r
}

// receive lets the program receive messages, by their numbers from 1.
func (w *world) receive(numbers ...int) {
	for _, i := range numbers {
		x := w.sent[i-1]
		w.hear(x).Received++
		w.history.Received(1, &cluster.Envelope{Pid: 0, MsgId: x.MsgId, Msg: x.Msg})
	}
}

// swallow lets the node hear messages, and neither deliver nor count them.
func (w *world) swallow(numbers ...int) {
	for _, i := range numbers {
		w.hear(w.sent[i-1])
	}
}

// takes lets the program see a message as it should not.
func (w *world) takes(i int, change func(*cluster.Envelope)) {
	e := cluster.Envelope{Pid: 0, MsgId: w.sent[i-1].MsgId, Msg: w.sent[i-1].Msg}
	if change != nil {
		change(&e)
	}
	w.history.Received(1, &e)
}

func (w *world) check() error {
	w.history.Explain(w.sender)
	w.history.Explain(w.receiver)
	return w.history.Check()
}

// restarts are what may happen in the middle of a history of twenty messages.
var restarts = []struct {
	name string
	do   func(*world)
}{
	{"without a restart", func(*world) {}},
	{"the receiver's restart", (*world).restartReceiver},
	{"the sender's restart", (*world).restartSender},
	{"the restarts of both, the sender's first", func(w *world) { w.restartSender(); w.restartReceiver() }},
	{"the restarts of both, the receiver's first", func(w *world) { w.restartReceiver(); w.restartSender() }},
}

// wrongs are what may be wrong with it: with messages before the middle, after it, or on
// both sides of it. Each is given what is received of the first ten, and of the others.
var wrongs = []struct {
	kind   string // as Check names it
	places map[string]func(w *world, middle func())
}{
	{"phantom", map[string]func(*world, func()){
		"before": func(w *world, middle func()) {
			w.receive(numbers(1, 6)...)
			w.takes(5, func(e *cluster.Envelope) { e.MsgId = 1 << 40 })
			w.receive(numbers(6, 11)...)
			middle()
			w.receive(numbers(11, 21)...)
		},
		"across": func(w *world, middle func()) { // what was sent to another server
			w.history.Sent(0, &cluster.Envelope{Pid: 2, MsgId: 1 << 40, Msg: "for 2"})
			w.history.Received(2, &cluster.Envelope{Pid: 0, MsgId: 1 << 40, Msg: "for 2"})
			w.receive(numbers(1, 11)...)
			middle()
			w.history.Received(1, &cluster.Envelope{Pid: 0, MsgId: 1 << 40, Msg: "for 2"})
			w.receive(numbers(11, 21)...)
		},
		"after": func(w *world, middle func()) { // what another server has sent
			w.receive(numbers(1, 11)...)
			middle()
			w.receive(numbers(11, 21)...)
			w.takes(20, func(e *cluster.Envelope) { e.Pid = 7 })
		},
	}},
	{"duplicate", map[string]func(*world, func()){
		"before": func(w *world, middle func()) {
			w.receive(numbers(1, 6)...)
			w.takes(5, nil)
			w.receive(numbers(6, 11)...)
			middle()
			w.receive(numbers(11, 21)...)
		},
		"across": func(w *world, middle func()) {
			w.receive(numbers(1, 11)...)
			middle()
			w.takes(10, nil)
			w.receive(numbers(11, 21)...)
		},
		"after": func(w *world, middle func()) {
			w.receive(numbers(1, 11)...)
			middle()
			w.receive(numbers(11, 21)...)
			w.takes(20, nil)
		},
	}},
	{"inversion", map[string]func(*world, func()){
		"before": func(w *world, middle func()) {
			w.receive(1, 2, 4, 5)
			w.takes(3, nil)
			w.receive(numbers(6, 11)...)
			middle()
			w.receive(numbers(11, 21)...)
		},
		"across": func(w *world, middle func()) {
			w.receive(1, 2, 3, 4, 5, 6, 7, 8, 10)
			middle()
			w.takes(9, nil)
			w.receive(numbers(11, 21)...)
		},
		"after": func(w *world, middle func()) {
			w.receive(numbers(1, 11)...)
			middle()
			w.receive(11, 12, 14)
			w.takes(13, nil)
			w.receive(numbers(15, 21)...)
		},
	}},
	{"corruption", map[string]func(*world, func()){
		"before": func(w *world, middle func()) {
			w.receive(numbers(1, 5)...)
			w.swallow(5)
			w.takes(5, func(e *cluster.Envelope) { e.Msg = "message 6" })
			w.receive(numbers(6, 11)...)
			middle()
			w.receive(numbers(11, 21)...)
		},
		"across": func(w *world, middle func()) { // sent before, received after
			w.receive(numbers(1, 10)...)
			middle()
			w.swallow(10)
			w.takes(10, func(e *cluster.Envelope) { e.Msg = []byte("message 10") })
			w.receive(numbers(11, 21)...)
		},
		"after": func(w *world, middle func()) {
			w.receive(numbers(1, 11)...)
			middle()
			w.receive(numbers(11, 20)...)
			w.swallow(20)
			w.takes(20, func(e *cluster.Envelope) { e.Msg = nil })
		},
	}},
	{"unexplained loss", map[string]func(*world, func()){
		"before": func(w *world, middle func()) {
			w.receive(numbers(1, 4)...)
			w.swallow(4, 5, 6)
			w.receive(numbers(7, 11)...)
			middle()
			w.receive(numbers(11, 21)...)
		},
		"across": func(w *world, middle func()) {
			w.receive(numbers(1, 9)...)
			w.swallow(9, 10)
			middle()
			w.swallow(11, 12)
			w.receive(numbers(13, 21)...)
		},
		"after": func(w *world, middle func()) {
			w.receive(numbers(1, 11)...)
			middle()
			w.receive(numbers(11, 15)...)
			w.swallow(15, 16, 17)
			w.receive(numbers(18, 21)...)
		},
	}},
}

// Whatever is wrong with a history is found and named, before, across and after restarts of
// either end, and nothing else is.
func TestEachWrongHistoryIsCaughtAndNamed(t *testing.T) {
	tried := 0
	for _, wrong := range wrongs {
		for _, where := range []string{"before", "across", "after"} {
			for _, restart := range restarts {
				tried++
				t.Run(fmt.Sprintf("%s %s %s", wrong.kind, where, restart.name), func(t *testing.T) {
					w := newWorld()
					w.send(10)
					wrong.places[where](w, func() {
						restart.do(w)
						w.send(10)
					})
					err := w.check()
					if err == nil {
						t.Fatal("it passes")
					}
					for line := range strings.Lines(err.Error()) {
						if !strings.Contains(line, wrong.kind) {
							t.Errorf("got %q, want only %q", line, wrong.kind)
						}
					}
				})
			}
		}
	}
	if tried < 40 {
		t.Errorf("%d wrong histories were tried, want at least 40", tried)
	}
}

// rightButOdd are histories that keep the contract and do not look like it.
var rightButOdd = []struct {
	name   string
	happen func(w *world)
}{
	{"what was on its way when the receiver ended", func(w *world) {
		w.send(10)
		w.receive(numbers(1, 6)...)
		w.restartReceiver()
		w.send(2)
		w.receive(11, 12)
	}},
	{"what the sender sent last before it ended", func(w *world) {
		w.send(10)
		w.receive(numbers(1, 6)...)
		w.restartSender()
		w.send(2)
		w.receive(11, 12)
	}},
	{"both at once", func(w *world) {
		w.send(10)
		w.receive(numbers(1, 6)...)
		w.restartReceiver()
		w.restartSender()
		w.send(2)
		w.receive(11, 12)
	}},
	{"the receiver twice, in one life of the sender", func(w *world) {
		w.send(10)
		w.receive(numbers(1, 6)...)
		w.restartReceiver()
		w.send(5)
		w.receive(numbers(12, 14)...)
		w.restartReceiver()
		w.send(5)
		w.receive(20)
	}},
	{"a life of the receiver that hears nothing", func(w *world) {
		w.send(10)
		w.receive(numbers(1, 6)...)
		w.restartReceiver()
		w.send(5)
		w.restartReceiver()
		w.send(5)
		w.receive(20)
	}},
	{"a life of the sender of which nothing arrives", func(w *world) {
		w.send(10)
		w.receive(numbers(1, 11)...)
		w.restartSender()
		w.send(10)
		w.restartSender()
		w.send(1)
		w.receive(21)
	}},
	{"lives that alternate", func(w *world) {
		last := 0
		for i := range 6 {
			w.send(5)
			w.receive(last+2, last+3)
			last += 5
			if i%2 == 0 {
				w.restartSender()
			} else {
				w.restartReceiver()
			}
		}
		w.send(2)
		w.receive(last + 2)
	}},
	{"gaps that are counted", func(w *world) {
		w.send(20)
		w.receive(3, 7, 8, 15, 20)
	}},
	{"drops that are counted, in several lives", func(w *world) {
		w.drop(3)
		w.send(2)
		w.receive(1, 2)
		w.restartSender()
		w.drop(4)
		w.send(1)
		w.receive(3)
	}},
	{"books that are shown again and again", func(w *world) {
		w.send(5)
		w.receive(2, 3)
		w.history.Explain(w.receiver)
		w.history.Explain(w.sender)
		w.send(5)
		w.receive(9, 10)
	}},
	{"all books at the end", func(w *world) {
		w.send(10)
		w.receive(numbers(1, 6)...)
		first := w.receiver
		first.Peers = slices.Clone(first.Peers)
		w.receiver = w.begin(1, 0)
		w.heard, w.upTo = 0, 0
		w.send(5)
		w.receive(14, 15)
		w.history.Explain(first)
	}},
	{"nothing was sent", func(*world) {}},
	{"nothing arrives, and the sender says so", func(w *world) { w.drop(10) }},
}

func TestARightHistoryThatLooksOddIsNoError(t *testing.T) {
	for _, odd := range rightButOdd {
		t.Run(odd.name, func(t *testing.T) {
			w := newWorld()
			odd.happen(w)
			if err := w.check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What differs is told with types, and where it is.
func TestACorruptionIsToldWithTypes(t *testing.T) {
	type named = map[string]any
	for _, c := range []struct {
		sent, got any
		want      string
	}{
		{[]int{1}, []int64{1}, "got []int64 [1], want []int [1]"},
		{1, int8(1), "got int8 1, want int 1"},
		{"1", 1, `got int 1, want string "1"`},
		{[]any{1}, []any{int8(1)}, "at [0] it is int8 1 instead of int 1"},
		{named{"a": []any{1, "x"}}, named{"a": []any{1, "y"}}, `at ["a"][1] it is string "y" instead of string "x"`},
		{[]byte("a"), "a", `got string "a", want []uint8 [97]`},
		{nil, "", `got string "", want <nil> <nil>`},
		{[]int{}, []int(nil), "got []int nil, want []int []"},
		{strings.Repeat("x", 500), strings.Repeat("y", 500), "…"},
	} {
		var h clustertest.History
		e := &cluster.Envelope{Pid: 1, Msg: c.sent}
		h.Sent(0, e)
		h.Received(1, &cluster.Envelope{Pid: 0, MsgId: e.MsgId, Msg: c.got})
		err := h.Check()
		if err == nil || !strings.Contains(err.Error(), "corruption: got ") || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 1000 {
			t.Errorf("%#v instead of %#v: got %v, want %q in it", c.got, c.sent, err, c.want)
		}
	}
}
