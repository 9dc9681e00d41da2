package clustertest_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
)

// A tale is what is told to a history.
type tale struct {
	clustertest.History
	ids int64 // of sendAndReceive
}

// sent is a message with that id, and received is what a server takes.
func (h *tale) sent(from, pid int, id int64, msg any, to ...int) *cluster.Envelope {
	e := &cluster.Envelope{Pid: pid, MsgId: id, Msg: msg}
	h.Sent(from, e, to...)
	return e
}

func (h *tale) received(by, from int, id int64, msg any) {
	h.Received(by, &cluster.Envelope{Pid: from, MsgId: id, Msg: msg})
}

// sendAndReceive sends so many messages more from 0 to 1, whose ids are 1, 2 and so on, and lets 1 receive those with these ids.
func (h *tale) sendAndReceive(count int, ids ...int64) {
	for range count {
		h.ids++
		h.sent(0, 1, h.ids, "x")
	}
	for _, id := range ids {
		h.received(1, 0, id, "x")
	}
}

// carry is a message from 0 to 1 that arrives as got.
func carry(sent, got any) func(*tale) {
	return func(h *tale) {
		h.sent(0, 1, 1, sent)
		h.received(1, 0, 1, got)
	}
}

// sentStats are the books of a server about what it has sent to one peer.
func sentStats(pid int, incarnation uint64, peer int, s cluster.SentStats) cluster.Stats {
	return cluster.Stats{Pid: pid, Incarnation: incarnation, Peers: []cluster.PeerStats{{ID: peer, Sent: s}}}
}

var (
	negativeZero = math.Copysign(0, -1)
	unreachable1 = &cluster.PeerError{Peer: 1, Err: cluster.ErrUnreachable}
	unreachable2 = &cluster.PeerError{Peer: 2, Err: cluster.ErrUnreachable}
)

// What an implementation may get wrong in the values, with the addresses and in what it says, besides the faults of the
// other tables.
var oddAndWrong = []struct {
	name, want string
	happen     func(*tale)
}{
	{"-0 arrives as 0", "corruption: got float64 0, want float64 -0", carry(negativeZero, 0.0)},
	{"0 arrives as -0", "corruption: got float64 -0, want float64 0", carry(0.0, negativeZero)},
	{"-0 inside arrives as 0", `corruption: got map[string]interface {} map[a:[1 0]], want map[string]interface {} map[a:[1 -0]]; at ["a"][1] it is float64 0 instead of float64 -0`,
		carry(map[string]any{"a": []float64{1, negativeZero}}, map[string]any{"a": []float64{1, 0}})},
	{"-0i arrives as 0i", "corruption: got complex128", carry(complex(1, negativeZero), complex(1, 0))},
	{"NaN arrives as an infinity", "corruption: got float64 +Inf, want float64 NaN", carry(math.NaN(), math.Inf(1))},
	{"a float64 is rounded", "corruption: got float64", carry(0.1, float64(float32(0.1)))},
	{"a time is another zone's", "corruption: got time.Time", carry(time.Unix(5, 7).In(time.FixedZone("", 3600)), time.Unix(5, 7).UTC())},
	{"what is empty arrives as nil", "corruption: got []uint8 nil, want []uint8 []", carry([]byte{}, []byte(nil))},
	{"the sender's own pointer arrives", "corruption: got *string", func(h *tale) { s := "x"; carry(&s, &s)(h) }},
	{"a pointer arrives for a value", "corruption: got *string", func(h *tale) { s := "x"; carry("x", &s)(h) }},
	{"a pointer arrives for a value inside", "at [0] it is *string", func(h *tale) { s := "x"; carry([]any{"x"}, []any{&s})(h) }},
	{"nothing arrives for something", `corruption: got <nil> <nil>, want string "x"`, carry("x", nil)},
	{"a channel arrives, which cannot be sent", "message 1 from 0 to 1: phantom: it cannot have been sent: ", func(h *tale) { c := make(chan int); carry(c, c)(h) }},
	{"something arrives for a function", "phantom: it cannot have been sent: ", carry(func() {}, "x")},
	{"two messages exchange what they say", `message 2 from 0 to 1: corruption: got string "a", want string "b"`, func(h *tale) {
		h.sent(0, 1, 1, "a")
		h.sent(0, 1, 2, "b")
		h.received(1, 0, 1, "b")
		h.received(1, 0, 2, "a")
	}},
	{"a closed Inbox is read on", "no envelope: server 1 has received nil", func(h *tale) { h.Received(1, nil) }},
	{"a broadcast comes back", "message 1 from 0 to 0: phantom", func(h *tale) {
		h.sent(0, cluster.BROADCAST, 1, "x", 1)
		h.received(1, 0, 1, "x")
		h.received(0, 0, 1, "x")
	}},
	{"a broadcast keeps its address", "message 1 from -1 to 1: phantom", func(h *tale) {
		h.sent(0, cluster.BROADCAST, 1, "x", 1)
		h.received(1, cluster.BROADCAST, 1, "x")
	}},
	{"a message says another sender", "message 1 from 2 to 1: phantom", func(h *tale) { h.sent(0, 1, 1, "x"); h.received(1, 2, 1, "x") }},
	{"a message arrives before it was sent", "message 1 from 0 to 1: phantom", func(h *tale) { h.received(1, 0, 1, "x"); h.sent(0, 1, 1, "x") }},
	{"one of a group goes without", "unexplained loss: of 1 messages from 0 to 2, 1 did not arrive", func(h *tale) {
		h.sent(0, -7, 1, "x", 1, 2)
		h.received(1, 0, 1, "x")
	}},
	{"nobody is named for a broadcast", "the test has not said to whom message 1 goes", func(h *tale) { h.sent(0, cluster.BROADCAST, 1, "x") }},
	{"a broadcast is for its own address", "the test has not said to whom message 1 goes", func(h *tale) { h.sent(0, cluster.BROADCAST, 1, "x", cluster.BROADCAST) }},
	{"Deliver names a server that is not meant", "message 1 from 0: another server is named: Deliver has returned", func(h *tale) {
		e := h.sent(0, 1, 1, "x")
		h.received(1, 0, 1, "x")
		h.Delivered(0, e, unreachable2)
	}},
	{"Deliver names one of the servers that have not got it", "message 1 from 0 to 2: unkept promise", func(h *tale) {
		e := h.sent(0, cluster.BROADCAST, 1, "x", 1, 2, 3)
		h.received(3, 0, 1, "x")
		h.Delivered(0, e, fmt.Errorf("it was not replicated: %w", unreachable1))
	}},
	{"what nobody has received waits in an Inbox", "unexplained loss: of 1 messages from 2 to 1, 1 did not arrive", func(h *tale) {
		h.sent(0, 1, 1, "x")
		h.sent(2, 1, 1, "y")
		h.Explain(sentStats(0, 1, 1, cluster.SentStats{Accepted: 1, Sent: 1}))
		h.Explain(sentStats(2, 2, 1, cluster.SentStats{Accepted: 1, Sent: 1}))
		h.Explain(cluster.Stats{Pid: 1, Incarnation: 3, InboxLen: 1, Peers: []cluster.PeerStats{{ID: 0, Received: cluster.ReceivedStats{Received: 1}}, {ID: 2}}})
	}},
	{"another link's drops are counted", "unexplained loss: of 2 messages from 0 to 1, 1 did not arrive", func(h *tale) {
		h.sent(0, 1, 1, "a")
		h.sent(0, 1, 2, "b")
		h.received(1, 0, 2, "b")
		h.Explain(cluster.Stats{Pid: 0, Incarnation: 1, Peers: []cluster.PeerStats{
			{ID: 1, Sent: cluster.SentStats{Accepted: 2, Sent: 2}},
			{ID: 2, Sent: cluster.SentStats{Accepted: 1, Dropped: map[cluster.Reason]uint64{cluster.ReasonTimedOut: 1}}},
		}})
		h.Explain(cluster.Stats{Pid: 1, Incarnation: 2, Peers: []cluster.PeerStats{{ID: 0, Received: cluster.ReceivedStats{Received: 1}}}})
	}},
	{"more are dropped than there can be", "unkept promise: of the messages from 0 to 1, 2 are confirmed", func(h *tale) {
		h.sent(0, 1, 1, "a")
		h.sent(0, 1, 2, "b")
		h.received(1, 0, 2, "b")
		h.Explain(sentStats(0, 1, 1, cluster.SentStats{Accepted: 2, Sent: 2, Confirmed: 2, Dropped: map[cluster.Reason]uint64{cluster.ReasonTimedOut: math.MaxUint64}}))
		h.Explain(cluster.Stats{Pid: 1, Incarnation: 2, Peers: []cluster.PeerStats{{ID: 0, Received: cluster.ReceivedStats{Received: 1}}}})
	}},
	{"a life of the receiver keeps quiet of what is lost of one life of the sender, and hears another one", "unexplained loss: of 13 messages from 0 to 1, 2 did not arrive", func(h *tale) {
		h.sendAndReceive(10, 1, 2, 3, 4, 5, 6)
		h.Explain(cluster.Stats{Pid: 1, Incarnation: 1, Peers: []cluster.PeerStats{{ID: 0, Received: cluster.ReceivedStats{Received: 6}}}})
		h.sendAndReceive(0, 9, 10)
		h.Explain(sentStats(0, 2, 1, cluster.SentStats{Accepted: 10, Sent: 10, Confirmed: 6, Unconfirmed: 4}))
		h.sendAndReceive(3, 11, 12, 13)
		h.Explain(cluster.Stats{Pid: 1, Incarnation: 3, Peers: []cluster.PeerStats{{ID: 0, Received: cluster.ReceivedStats{Received: 5, Missed: 6, Restarts: 1}}}})
		h.Explain(sentStats(0, 4, 1, cluster.SentStats{Accepted: 3, Sent: 3, Confirmed: 3}))
	}},
	// Books that would explain the loss, and cannot be.
	{"more are sent and dropped than were accepted", "contradicting books: of 2 messages that server 0 has accepted for 1, it says that 2 were sent, 0 are queued, and were dropped: map[timed out:1]",
		contradicting(cluster.SentStats{Accepted: 2, Sent: 2, Dropped: map[cluster.Reason]uint64{cluster.ReasonTimedOut: 1}})},
	{"more are dropped than were accepted", "contradicting books: of 0 messages that server 0 has accepted for 1",
		contradicting(cluster.SentStats{Dropped: map[cluster.Reason]uint64{cluster.ReasonTimedOut: 1, cluster.ReasonUnreachable: math.MaxUint64}})},
	{"more are queued than were accepted", "contradicting books: of 2 messages that server 0 has accepted for 1, it says that 1 were sent, 2 are queued",
		contradicting(cluster.SentStats{Accepted: 2, Sent: 1, Queued: 2})},
	{"more are confirmed and unconfirmed than were sent", "contradicting books: of 1 messages that server 0 has sent to 1, it says that 1 are confirmed, and 1 unconfirmed",
		contradicting(cluster.SentStats{Accepted: 2, Sent: 1, Confirmed: 1, Unconfirmed: 1, Dropped: map[cluster.Reason]uint64{cluster.ReasonTimedOut: 1}})},
	{"more are unconfirmed than there can be", "contradicting books: of 1 messages that server 0 has sent to 1",
		contradicting(cluster.SentStats{Accepted: 2, Sent: 1, Confirmed: 1, Unconfirmed: math.MaxUint64, Dropped: map[cluster.Reason]uint64{cluster.ReasonTimedOut: 1}})},
	{"more are dropped than were accepted for no peer", "contradicting books: of 0 messages that server 0 has accepted for no peer, it says that were dropped: map[too large:1]", func(h *tale) {
		lose(h)
		h.Explain(cluster.Stats{Pid: 0, Incarnation: 1, Unaddressed: cluster.SentStats{Dropped: map[cluster.Reason]uint64{cluster.ReasonTooLarge: 1}}, Peers: []cluster.PeerStats{
			{ID: 1, Sent: cluster.SentStats{Accepted: 1, Sent: 1}},
		}})
	}},
	{"books of a link of which nothing was told contradict themselves", "contradicting books: of 1 messages that server 0 has accepted for 2", func(h *tale) {
		h.Explain(sentStats(0, 1, 2, cluster.SentStats{Accepted: 1, Sent: 2}))
	}},
	{"books of an earlier life contradict themselves", "contradicting books: of 1 messages that server 0 has accepted for 1", func(h *tale) {
		h.sent(0, 1, 1, "a")
		h.received(1, 0, 1, "a")
		h.Explain(sentStats(0, 1, 1, cluster.SentStats{Accepted: 1, Sent: 2}))
		h.Explain(sentStats(0, 2, 1, cluster.SentStats{}))
		h.Explain(cluster.Stats{Pid: 1, Incarnation: 3, Peers: []cluster.PeerStats{{ID: 0, Received: cluster.ReceivedStats{Received: 1, Lost: 1}}}})
	}},
}

// lose is two messages from 0 to 1, of which one is lost.
func lose(h *tale) {
	h.sent(0, 1, 1, "a")
	h.sent(0, 1, 2, "b")
	h.received(1, 0, 1, "a")
	h.Explain(cluster.Stats{Pid: 1, Incarnation: 2, Peers: []cluster.PeerStats{{ID: 0, Received: cluster.ReceivedStats{Received: 1}}}})
}

// contradicting is what lose does, and the sender's books.
func contradicting(s cluster.SentStats) func(*tale) {
	return func(h *tale) {
		lose(h)
		h.Explain(sentStats(0, 1, 1, s))
	}
}

// What is right, and looks like one of those.
var oddAndRight = []struct {
	name   string
	happen func(*tale)
}{
	{"a server that is alone broadcasts", func(h *tale) { h.sent(0, cluster.BROADCAST, 1, "x", []int{}...) }},
	{"a group has a server twice", func(h *tale) { h.sent(0, -7, 1, "x", 1, 1); h.received(1, 0, 1, "x") }},
	{"-0", carry(negativeZero, negativeZero)},
	{"-0 inside", carry(map[string]any{"a": []float64{negativeZero}}, map[string]any{"a": []float64{negativeZero}})},
	{"NaN", carry(math.NaN(), math.NaN())},
	{"NaN inside", carry([]any{math.NaN(), negativeZero}, []any{math.NaN(), negativeZero})},
	{"a time with a monotonic clock", func(h *tale) { now := time.Now(); carry(now, now.Round(0))(h) }},
	{"a pointer arrives as its value", func(h *tale) { s := "x"; carry(&s, "x")(h) }},
	{"nil", carry(nil, nil)},
	{"what cannot be sent is not received", func(h *tale) {
		h.Delivered(0, h.sent(0, 1, 1, make(chan int)), cluster.ErrNotEncodable)
	}},
	{"to oneself", func(h *tale) { h.sent(0, 0, 1, "x"); h.received(0, 0, 1, "x") }},
	{"two senders use one id", func(h *tale) {
		h.sent(0, 1, 1, "a")
		h.sent(2, 1, 1, "b")
		h.received(1, 2, 1, "b")
		h.received(1, 0, 1, "a")
	}},
	{"the least id", func(h *tale) { h.sent(0, 1, math.MinInt64, "x"); h.received(1, 0, math.MinInt64, "x") }},
	{"the error of Deliver is wrapped", func(h *tale) {
		e := h.sent(0, cluster.BROADCAST, 1, "x", 1, 2, 3)
		h.received(3, 0, 1, "x")
		h.Delivered(0, e, fmt.Errorf("it was not replicated: %w", errors.Join(unreachable1, unreachable2)))
	}},
	{"the error of Deliver is joined with others", func(h *tale) {
		e := h.sent(0, cluster.BROADCAST, 1, "x", 1, 2, 3)
		h.received(3, 0, 1, "x")
		h.Delivered(0, e, errors.Join(errors.New("it was not replicated"), errors.Join(unreachable1, unreachable2)))
	}},
	{"a life of the receiver is told of less than the one before had come up to", func(h *tale) {
		for number := range 5 {
			h.sent(0, 1, int64(number+1), "x")
			if number != 1 {
				h.received(1, 0, int64(number+1), "x")
			}
		}
		h.Explain(cluster.Stats{Pid: 1, Incarnation: 2, Peers: []cluster.PeerStats{{ID: 0, Received: cluster.ReceivedStats{Received: 4, Lost: 1}}}})
		h.Explain(cluster.Stats{Pid: 1, Incarnation: 3, Peers: []cluster.PeerStats{{ID: 0, Received: cluster.ReceivedStats{Missed: 3}}}})
		h.Explain(sentStats(0, 1, 1, cluster.SentStats{Accepted: 5, Sent: 5, Confirmed: 3, Unconfirmed: 2}))
	}},
	{"a life of the receiver is told of less than the one before had come up to, and hears another life of the sender", func(h *tale) {
		h.sendAndReceive(10, 1, 2, 3, 4, 5, 6)
		h.Explain(cluster.Stats{Pid: 1, Incarnation: 1, Peers: []cluster.PeerStats{{ID: 0, Received: cluster.ReceivedStats{Received: 6}}}})
		h.Explain(sentStats(0, 2, 1, cluster.SentStats{Accepted: 10, Sent: 10, Confirmed: 3, Unconfirmed: 7}))
		h.sendAndReceive(3, 11, 13)
		h.Explain(cluster.Stats{Pid: 1, Incarnation: 3, Peers: []cluster.PeerStats{{ID: 0, Received: cluster.ReceivedStats{Received: 2, Lost: 1, Missed: 3, Restarts: 1}}}})
		h.Explain(sentStats(0, 4, 1, cluster.SentStats{Accepted: 3, Sent: 3, Confirmed: 2, Unconfirmed: 1}))
	}},
	{"books in which all is dropped, queued or in doubt", func(h *tale) {
		lose(h)
		h.Explain(sentStats(0, 1, 1, cluster.SentStats{Accepted: 7, Sent: 4, Queued: 1, Confirmed: 1, Unconfirmed: 3, Dropped: map[cluster.Reason]uint64{
			cluster.ReasonTimedOut: 1, cluster.ReasonUnreachable: 1,
		}}))
	}},
	{"two senders' messages wait in one Inbox", func(h *tale) {
		h.sent(0, 1, 1, "x")
		h.sent(2, 1, 1, "y")
		h.Explain(sentStats(0, 1, 1, cluster.SentStats{Accepted: 1, Sent: 1}))
		h.Explain(sentStats(2, 2, 1, cluster.SentStats{Accepted: 1, Sent: 1}))
		h.Explain(cluster.Stats{Pid: 1, Incarnation: 3, InboxLen: 2, Peers: []cluster.PeerStats{
			{ID: 0, Received: cluster.ReceivedStats{Received: 1}}, {ID: 2, Received: cluster.ReceivedStats{Received: 1}},
		}})
	}},
}

func TestAnOddAndWrongHistoryIsReported(t *testing.T) {
	for _, odd := range oddAndWrong {
		t.Run(odd.name, func(t *testing.T) {
			h := new(tale)
			odd.happen(h)
			if err := h.Check(); err == nil || !strings.Contains(err.Error(), odd.want) {
				t.Errorf("got %v, want %q in it", err, odd.want)
			}
		})
	}
}

func TestAnOddAndRightHistoryIsNoError(t *testing.T) {
	for _, odd := range oddAndRight {
		t.Run(odd.name, func(t *testing.T) {
			h := new(tale)
			odd.happen(h)
			if err := h.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}
