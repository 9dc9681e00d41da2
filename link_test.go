package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/mem"
	"github.com/abhishekg16/cluster/internal/wire"
)

// The tests of this file run in virtual time: what takes a second for the node
// takes none here, and is exact.

// A puppet is a server played by the test, frame by frame.
type puppet struct {
	t           testing.TB
	id          int
	cluster     string
	incarnation uint64
	listener    transport.Listener
}

// newPuppet listens as the server id of cfg.
func newPuppet(t testing.TB, id int, cfg Config) *puppet {
	t.Helper()
	l, err := mem.Default.Listen(cfg.Peers[id].DialEndpoint(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &puppet{t: t, id: id, cluster: cfg.Cluster, incarnation: 77, listener: l}
	t.Cleanup(func() { p.listener.Close() })
	return p
}

// next is the next frame that comes within d, or false.
func (p *puppet) next(d time.Duration) (wire.Header, []byte, bool) {
	p.t.Helper()
	head, tail, err := p.listener.Recv(time.Now().Add(d))
	if errors.Is(err, transport.ErrTimeout) {
		return wire.Header{}, nil, false
	}
	if err != nil {
		p.t.Fatal(err)
	}
	h, err := wire.ParseHeader(head)
	if err != nil {
		p.t.Fatal(err)
	}
	return h, wire.Join(head[wire.HeaderSize:], tail), true
}

// send sends a frame to the server to of cfg; the header is completed.
func (p *puppet) send(to int, cfg Config, h wire.Header, body []byte) {
	p.t.Helper()
	conn, err := mem.Default.Dial(cfg.Peers[to].DialEndpoint(), nil, "")
	if err != nil {
		p.t.Fatal(err)
	}
	h.To, h.From = uint16(to), uint16(p.id)
	h.Cluster = wire.ClusterHash(p.cluster)
	h.Incarnation = p.incarnation
	if h.Start.Seq == 0 {
		h.Start.Seq = 1
	}
	if h.Window == 0 {
		h.Window = wire.InitialWindow
	}
	head := make([]byte, wire.HeaderSize)
	h.Put(head)
	if ok, err := conn.TrySend(append(head, body...), nil); err != nil || !ok {
		p.t.Fatalf("cannot send to %d: %v", to, err)
	}
}

// records makes the body of a frame with these messages.
func records(t testing.TB, msgs ...any) []byte {
	t.Helper()
	var body []byte
	for i, m := range msgs {
		payload, kind, err := codec.Append(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		head := wire.AppendRecordHeader(nil, int64(i+1), uint8(kind), len(payload))
		body = append(append(body, head...), payload...)
	}
	return body
}

// bubble runs the test in virtual time, with a configuration of n servers.
func bubble(t *testing.T, n int, test func(t *testing.T, cfg Config)) {
	cfg := config(t, "mem", n)
	synctest.Test(t, func(t *testing.T) { test(t, cfg) })
}

// stateOf is the state of the link to the peer.
func stateOf(n *Node, peer int) LinkState {
	for _, p := range n.Stats().Peers {
		if p.ID == peer {
			return p.State
		}
	}
	return LinkIdle
}

func TestDroppedAfterSendTimeoutAndAtOnceFromThenOn(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		a := join(t, 0, cfg)
		put(t, a, &Envelope{1, 0, "x"})
		time.Sleep(defaultSendTimeout - time.Millisecond)
		synctest.Wait()
		if s := a.Stats().Sent; s.Queued != 1 || stateOf(a, 1) != LinkConnecting {
			t.Errorf("just before the timeout: %+v, link %v", s, stateOf(a, 1))
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if s := a.Stats().Sent; s.Dropped[ReasonTimedOut] != 1 || stateOf(a, 1) != LinkDown {
			t.Errorf("just after the timeout: %+v, link %v", s, stateOf(a, 1))
		}
		start := time.Now()
		for range 10 * defaultOutboxSize {
			put(t, a, &Envelope{1, 0, "y"})
		}
		synctest.Wait()
		if s := a.Stats().Sent; s.Dropped[ReasonUnreachable] != 10*defaultOutboxSize || time.Since(start) != 0 {
			t.Errorf("while the link is down, after %v: %+v", time.Since(start), s)
		}
	})
}

// A link may find out by itself, when it asks what became of the last that it wrote,
// that its peer is gone. What is sent after that has its time all the same.
func TestDroppedAfterSendTimeoutAlsoWhenThePeerWasGoneBefore(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		p := newPuppet(t, 1, cfg)
		a := join(t, 0, cfg)
		put(t, a, &Envelope{1, 0, "x"})
		if _, _, ok := p.next(time.Second); !ok {
			t.Fatal("nothing was sent")
		}
		p.listener.Close()
		time.Sleep(time.Hour)
		put(t, a, &Envelope{1, 0, "y"})
		time.Sleep(defaultSendTimeout + time.Millisecond)
		synctest.Wait()
		if s := statsOf(a, 1); s.Sent.Dropped[ReasonTimedOut] != 1 || s.State != LinkDown {
			t.Errorf("after SendTimeout: the link is %v, dropped %v", s.State, s.Sent.Dropped)
		}
	})
}

func TestServersMayStartInAnyOrderWithinSendTimeout(t *testing.T) {
	bubble(t, 5, func(t *testing.T, cfg Config) {
		var nodes []*Node
		for i := range 5 {
			nodes = append(nodes, join(t, i, cfg))
			put(t, nodes[i], &Envelope{BROADCAST, 0, i})
			time.Sleep(defaultSendTimeout / 5)
		}
		for _, n := range nodes {
			sum := 0
			for range 4 {
				sum += take(t, n).Msg.(int)
			}
			if want := 0 + 1 + 2 + 3 + 4 - n.Pid(); sum != want {
				t.Errorf("server %d received ids that add up to %d, want %d", n.Pid(), sum, want)
			}
		}
	})
}

func TestAPeerThatWasDownGetsNothingStale(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		a := join(t, 0, cfg)
		for i := range 100 {
			put(t, a, &Envelope{1, 0, i})
			time.Sleep(50 * time.Millisecond)
		}
		b := join(t, 1, cfg)
		synctest.Wait()
		if got := stateOf(a, 1); got != LinkUp {
			t.Errorf("the link is %v as soon as the peer is there", got)
		}
		put(t, a, &Envelope{1, 0, "fresh"})
		if e := take(t, b); e.Msg != "fresh" {
			t.Errorf("got %v first", e.Msg)
		}
		if s := a.Stats().Sent; s.DroppedTotal() != 100 {
			t.Errorf("dropped %v, want 100 in all", s.Dropped)
		}
	})
}

func TestAStalledPeerDelaysTheOthersByOneSendTimeoutPerStall(t *testing.T) {
	bubble(t, 3, func(t *testing.T, cfg Config) {
		cfg.QueueBytes = minQueueBytes
		cfg.OutboxSize = 1
		a, b := join(t, 0, cfg), join(t, 1, cfg)
		newPuppet(t, 2, cfg) // it listens, and reads nothing
		var worst time.Duration
		go func() {
			for range 1000 {
				a.Outbox() <- &Envelope{BROADCAST, 0, make([]byte, 4000)}
			}
		}()
		for range 1000 {
			start := time.Now()
			take(t, b)
			worst = max(worst, time.Since(start))
		}
		if worst > defaultSendTimeout {
			t.Errorf("a healthy peer waited for %v", worst)
		}
		if worst == 0 {
			t.Error("the stalled peer delayed nothing: the test tests nothing")
		}
		if got := stateOf(a, 2); got != LinkDown {
			t.Errorf("the link to the stalled peer is %v", got)
		}
	})
}

func TestANegativeSendTimeoutNeverWaits(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		cfg.SendTimeout = -1
		cfg.QueueBytes = minQueueBytes
		a := join(t, 0, cfg)
		start := time.Now()
		for range 100 {
			put(t, a, &Envelope{1, 0, make([]byte, 4000)})
		}
		synctest.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("sending took %v", took)
		}
		s := a.Stats().Sent
		if s.Dropped[ReasonTimedOut] == 0 || s.Queued == 0 {
			t.Errorf("a full queue should hold some and drop the others: %+v", s)
		}
		if err := a.Send(context.Background(), &Envelope{1, 0, make([]byte, 4000)}); !errors.Is(err, ErrTimedOut) {
			t.Errorf("Send with a full queue: %v", err)
		}
	})
}

func TestASlowReaderIsPacedForAnyTime(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		cfg.InboxSize, cfg.OutboxSize = 1, 1
		cfg.QueueBytes = minQueueBytes
		a, b := join(t, 0, cfg), join(t, 1, cfg)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; i < 20_000; i++ {
				a.Outbox() <- &Envelope{1, 0, i}
			}
		}()
		// One message in nine tenths of the timeout, for hours.
		for i := range 20_000 {
			select {
			case e := <-b.Inbox():
				if e.Msg != i {
					t.Fatalf("got %v, want %d:\n%v", e.Msg, i, a.Stats())
				}
			case <-time.After(limit):
				t.Fatalf("nothing came:\n%+v\n%+v", a.Stats().Peers, b.Stats().Peers)
			}
			time.Sleep(defaultSendTimeout * 9 / 10)
		}
		<-done
		if s := a.Stats().Sent; s.DroppedTotal() != 0 {
			t.Errorf("dropped %v", s.Dropped)
		}
	})
}

// The reader takes one message each 200 ms, so each of six senders waits for more
// than SendTimeout until one of its own is taken.
func TestASlowReaderOfSeveralSendersPacesThemAll(t *testing.T) {
	bubble(t, 7, func(t *testing.T, cfg Config) {
		cfg.QueueBytes, cfg.InboxSize, cfg.Linger = minQueueBytes, 4, 100*time.Millisecond
		nodes := startAll(t, cfg)
		var senders sync.WaitGroup
		for _, n := range nodes[1:] {
			senders.Go(func() {
				for {
					select {
					case n.Outbox() <- &Envelope{0, 0, make([]byte, 4000)}:
						time.Sleep(time.Millisecond) // what is dropped takes no time
					case <-n.Done():
						return
					}
				}
			})
		}
		for range 300 {
			take(t, nodes[0])
			time.Sleep(200 * time.Millisecond)
		}
		for _, n := range nodes[1:] {
			if s := n.Stats().Sent; s.DroppedTotal() > 0 {
				t.Errorf("server %d has dropped %v", n.Pid(), s.Dropped)
			}
		}
		for _, n := range nodes[1:] {
			n.Shutdown(alreadyDone())
		}
		senders.Wait()
	})
}

// alreadyDone is a context that has ended.
func alreadyDone() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestAnyPositiveSendTimeoutEnds(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		cfg.SendTimeout = 1
		n := join(t, 0, cfg)
		put(t, n, &Envelope{1, 0, "x"})
		time.Sleep(time.Second)
		synctest.Wait()
		if got := stateOf(n, 1); got != LinkDown {
			t.Errorf("the link is %v a second after SendTimeout, %v", got, cfg.SendTimeout)
		}
	})
}

func TestAWindowThatIsNeverAcknowledgedStopsTheSender(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		a := join(t, 0, cfg)
		p := newPuppet(t, 1, cfg)
		go func() {
			for range 1000 {
				a.Outbox() <- &Envelope{1, 0, make([]byte, 1000)}
			}
		}()
		got, probes := 0, 0
		var last wire.Header
		for end := time.Now().Add(defaultSendTimeout * 2); time.Now().Before(end); {
			h, body, ok := p.next(time.Until(end))
			if !ok {
				break
			}
			got += wire.HeaderSize + len(body)
			if h.Bare() {
				probes++
				got -= wire.HeaderSize
			}
			last = h
		}
		if got > wire.InitialWindow || got < wire.InitialWindow/2 {
			t.Errorf("%d bytes were sent into a window of %d", got, wire.InitialWindow)
		}
		if probes < 5 || probes > 10 || last.Flags&wire.FlagAckNow == 0 {
			t.Errorf("%d frames asked for an acknowledgment in %v, the last with the flags %#x", probes, 2*defaultSendTimeout, last.Flags)
		}
		if s := stateOf(a, 1); s != LinkDown {
			t.Errorf("the link is %v", s)
		}
		p.send(0, cfg, wire.Header{AckIncarnation: a.incarnation, Ack: last.Start}, nil)
		synctest.Wait()
		if s := stateOf(a, 1); s == LinkDown {
			t.Errorf("the link is %v after the acknowledgment", s)
		}
	})
}

func TestAnAcknowledgmentOfWhatWasNotSentIsIgnored(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		a := join(t, 0, cfg)
		p := newPuppet(t, 1, cfg)
		p.send(0, cfg, wire.Header{}, nil)
		synctest.Wait()
		for i := range 10 {
			p.send(0, cfg, wire.Header{AckIncarnation: a.incarnation, Ack: wire.Position{Seq: 1 << 40}}, nil)
			put(t, a, &Envelope{1, 0, i})
		}
		synctest.Wait()
		if s := a.Stats().Sent; s.FlightBytes == 0 || s.Sent != 10 {
			t.Errorf("%+v", s)
		}
	})
}

func TestAGapIsCountedAsLostAfterAWhile(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		a := join(t, 0, cfg)
		p := newPuppet(t, 1, cfg)
		frame := func(seq uint64, msgs ...any) {
			p.send(0, cfg, wire.Header{Start: wire.Position{Seq: seq}, Count: uint32(len(msgs))}, records(t, msgs...))
		}
		frame(1, "a", "b")
		frame(4, "d")
		frame(6, "f")
		for _, want := range []string{"a", "b"} {
			if e := take(t, a); e.Msg != want {
				t.Errorf("got %v, want %q", e.Msg, want)
			}
		}
		start := time.Now()
		frame(5, "e")
		if e := take(t, a); e.Msg != "d" || time.Since(start) != holdTime {
			t.Errorf("got %v after %v", e.Msg, time.Since(start))
		}
		for _, want := range []string{"e", "f"} {
			if e := take(t, a); e.Msg != want {
				t.Errorf("got %v, want %q", e.Msg, want)
			}
		}
		frame(3, "c")
		synctest.Wait()
		r := a.Stats().Received
		if r.Lost != 1 || r.Received != 5 || r.Refused[RefusedSequence] != 1 {
			t.Errorf("the books: %+v", r)
		}
	})
}

func TestWhatWasMissingAndComesInTimeIsNotLost(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		a := join(t, 0, cfg)
		p := newPuppet(t, 1, cfg)
		for _, i := range []int{1, 3, 5, 4, 2} {
			p.send(0, cfg, wire.Header{Start: wire.Position{Seq: uint64(i)}, Count: 1}, records(t, i))
			time.Sleep(holdTime / 10)
		}
		for i := 1; i <= 5; i++ {
			if e := take(t, a); e.Msg != i {
				t.Errorf("got %v, want %d", e.Msg, i)
			}
		}
		if r := a.Stats().Received; r.Lost != 0 || r.HeldBytes != 0 {
			t.Errorf("the books: %+v", r)
		}
	})
}

func TestAnEarlierIncarnationIsHeardOutAndThenRefused(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		a := join(t, 0, cfg)
		p := newPuppet(t, 1, cfg)
		send := func(incarnation, seq uint64, msg any) {
			p.incarnation = incarnation
			p.send(0, cfg, wire.Header{Start: wire.Position{Seq: seq}, Count: 1}, records(t, msg))
		}
		send(100, 1, "old")
		send(50, 1, "new") // the numbers say nothing of the order
		send(100, 2, "on its way meanwhile")
		time.Sleep(holdTime)
		synctest.Wait()
		send(100, 3, "stale")
		send(50, 2, "more")
		for _, want := range []string{"old", "on its way meanwhile", "new", "more"} {
			if e := take(t, a); e.Msg != want {
				t.Errorf("got %v, want %q", e.Msg, want)
			}
		}
		r := a.Stats().Received
		if r.Restarts != 1 || r.Refused[RefusedIncarnation] != 1 || r.Lost != 0 {
			t.Errorf("the books: %+v", r)
		}
	})
}

func TestASenderThatIgnoresTheWindowIsBounded(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		cfg.QueueBytes = minQueueBytes
		cfg.InboxSize = 1
		a := join(t, 0, cfg)
		p := newPuppet(t, 1, cfg)
		body := records(t, make([]byte, 60_000))
		for i := range 1000 {
			p.send(0, cfg, wire.Header{Start: wire.Position{Seq: uint64(i + 1)}, Count: 1}, body)
			synctest.Wait()
		}
		r := a.Stats().Received
		if r.Refused[RefusedWindow] < 900 || r.BacklogBytes > 3*wire.MaxFrame {
			t.Errorf("the books: %+v", r)
		}
	})
}

func TestALargeMessageThatBreaksOffIsLost(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		a := join(t, 0, cfg)
		p := newPuppet(t, 1, cfg)
		whole := records(t, make([]byte, 1000))
		piece := func(seq uint64, offset uint32, body []byte) {
			p.send(0, cfg, wire.Header{Flags: wire.FlagPiece, Start: wire.Position{Seq: seq, Offset: offset}, Count: 1}, body)
		}
		piece(1, 0, whole[:wire.RecordSize+400])
		piece(1, 400, whole[wire.RecordSize+400:wire.RecordSize+700])
		p.send(0, cfg, wire.Header{Start: wire.Position{Seq: 2}, Count: 1}, records(t, "after"))
		piece(3, 0, whole[:wire.RecordSize+400])
		piece(3, 700, whole[wire.RecordSize+700:]) // the middle is missing
		p.send(0, cfg, wire.Header{Start: wire.Position{Seq: 4}, Count: 1}, records(t, "end"))
		piece(5, 0, whole[:wire.RecordSize+400])
		piece(5, 400, whole[wire.RecordSize+400:])
		for _, want := range []string{"after", "end"} {
			if e := take(t, a); e.Msg != want {
				t.Errorf("got %v, want %q", e.Msg, want)
			}
		}
		if e := take(t, a); len(e.Msg.([]byte)) != 1000 {
			t.Errorf("got %v", e.Msg)
		}
		if r := a.Stats().Received; r.Lost != 2 || r.Received != 3 {
			t.Errorf("the books: %+v", r)
		}
	})
}

func TestWhatCannotBeDecodedIsCountedAndNeverDeliveredHalf(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		cfg.MaxMessageBytes = 1000
		a := join(t, 0, cfg)
		p := newPuppet(t, 1, cfg)
		bad := func(kind codec.Kind, payload string) []byte {
			head := wire.AppendRecordHeader(nil, 9, uint8(kind), len(payload))
			return append(head, payload...)
		}
		body := records(t, "first")
		body = append(body, bad(127, "?")...)
		body = append(body, bad(codec.Typed, "\x0a\x00"+"8:no.Such\xa0")...)
		body = append(body, records(t, make([]byte, 1001))...)
		body = append(body, records(t, "last")...)
		p.send(0, cfg, wire.Header{Count: 5}, body)
		for _, want := range []string{"first", "last"} {
			if e := take(t, a); e.Msg != want {
				t.Errorf("got %v, want %q", e.Msg, want)
			}
		}
		got := fmt.Sprint(a.Stats().Received.Refused)
		if want := fmt.Sprint(map[Refusal]uint64{RefusedUndecodable: 1, RefusedUnregistered: 1, RefusedTooLarge: 1}); got != want {
			t.Errorf("refused %v, want %v", got, want)
		}
		// A frame is taken whole or not at all.
		p.send(0, cfg, wire.Header{Start: wire.Position{Seq: 6}, Count: 2}, records(t, "half"))
		p.send(0, cfg, wire.Header{Start: wire.Position{Seq: 6}, Count: 1}, records(t, "whole"))
		if e := take(t, a); e.Msg != "whole" {
			t.Errorf("got %v", e.Msg)
		}
	})
}

func TestALargeMessageGivenUpHalfwayCountsAsSent(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		a := join(t, 0, cfg)
		p := newPuppet(t, 1, cfg)
		put(t, a, &Envelope{1, 0, make([]byte, 3*pieceBytes)})
		put(t, a, &Envelope{1, 0, "behind it"})
		first, _, _ := p.next(limit)
		if first.Flags&wire.FlagPiece == 0 || first.Start != (wire.Position{Seq: 1}) {
			t.Fatalf("the first frame is %+v", first)
		}
		time.Sleep(2 * defaultSendTimeout)
		synctest.Wait()
		if s := a.Stats().Sent; s.Sent != 1 || s.Dropped[ReasonTimedOut] != 1 || s.Queued != 0 || s.QueueBytes != 0 {
			t.Errorf("the books: %+v", s)
		}
		p.send(0, cfg, wire.Header{AckIncarnation: a.incarnation, Ack: wire.Position{Seq: 1, Offset: pieceBytes}}, nil)
		synctest.Wait()
		put(t, a, &Envelope{1, 0, "next"})
		for {
			h, _, ok := p.next(limit)
			if !ok {
				t.Fatal("the next message does not come")
			}
			if !h.Bare() {
				if h.Start != (wire.Position{Seq: 2}) {
					t.Errorf("the next message begins at %+v, and number 1 was used up", h.Start)
				}
				return
			}
		}
	})
}

func TestAMessageToOneselfThatIsGivenUpHalfwayDoesNotWedge(t *testing.T) {
	bubble(t, 1, func(t *testing.T, cfg Config) {
		cfg.InboxSize, cfg.OutboxSize, cfg.QueueBytes = 1, 1, minQueueBytes
		a := join(t, 0, cfg)
		for range 3 {
			put(t, a, &Envelope{0, 0, make([]byte, 4<<20)})
		}
		time.Sleep(5 * defaultSendTimeout) // nobody takes
		for len(a.Inbox()) > 0 {
			take(t, a)
			time.Sleep(time.Second)
		}
		if err := a.Send(context.Background(), &Envelope{0, 0, "hello"}); err != nil {
			t.Fatal(err)
		}
		for take(t, a).Msg != "hello" {
		}
	})
}

func TestALargeMessageWhoseBeginningWasLostDoesNotWedge(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		a := join(t, 0, cfg)
		p := newPuppet(t, 1, cfg)
		p.send(0, cfg, wire.Header{}, nil)
		put(t, a, &Envelope{1, 0, make([]byte, 3<<20)})
		p.next(limit) // the first piece goes with its connection
		p.listener.Close()
		b := join(t, 1, cfg)
		time.Sleep(limit)
		if err := a.Send(context.Background(), &Envelope{1, 0, "hello"}); err != nil {
			t.Fatal(err)
		}
		if e := take(t, b); e.Msg != "hello" {
			t.Errorf("got %v", e.Msg)
		}
	})
}

func TestSendWaitsForRoomAsLongAsItsContextAllows(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		cfg.InboxSize, cfg.QueueBytes = 1, minQueueBytes
		a, b := join(t, 0, cfg), join(t, 1, cfg)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 1000 {
				take(t, b)
				time.Sleep(time.Millisecond)
			}
		}()
		for i := range 1000 {
			if err := a.Send(context.Background(), &Envelope{1, 0, make([]byte, 4000)}); err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
		}
		<-done
		ctx, cancel := context.WithTimeout(context.Background(), defaultSendTimeout/2)
		defer cancel()
		var err error
		for err == nil {
			err = a.Send(ctx, &Envelope{1, 0, make([]byte, 4000)})
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a deadline: %v", err)
		}
	})
}

func TestManyGapsAreGivenUpTogether(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		a := join(t, 0, cfg)
		p := newPuppet(t, 1, cfg)
		p.send(0, cfg, wire.Header{Count: 1}, records(t, "first"))
		take(t, a)
		for i := range 20 {
			p.send(0, cfg, wire.Header{Start: wire.Position{Seq: uint64(3 + 2*i)}, Count: 1}, records(t, i))
		}
		start := time.Now()
		for range 20 {
			take(t, a)
		}
		if took := time.Since(start); took > holdTime {
			t.Errorf("20 gaps that came together took %v", took)
		}
		if r := a.Stats().Received; r.Lost != 20 {
			t.Errorf("the books: %+v", r)
		}
	})
}

func TestTheLossOfTheLastMessageIsNoticed(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		a := join(t, 0, cfg)
		p := newPuppet(t, 1, cfg)
		p.send(0, cfg, wire.Header{}, nil)
		put(t, a, &Envelope{1, 0, "lost with its connection"})
		p.next(limit)
		p.listener.Close()
		b := join(t, 1, cfg)
		_ = b
		time.Sleep(limit)
		synctest.Wait()
		if s := a.Stats().Sent; s.FlightBytes != 0 {
			t.Errorf("the sender still waits: %+v", s)
		}
	})
}

func TestPeersWithABacklogTakeTurns(t *testing.T) {
	bubble(t, 4, func(t *testing.T, cfg Config) {
		cfg.InboxSize, cfg.OutboxSize, cfg.QueueBytes = 1, 1, minQueueBytes
		nodes := startAll(t, cfg)
		stop := make(chan struct{})
		for _, n := range nodes[1:] {
			go func() {
				for {
					select {
					case n.Outbox() <- &Envelope{0, 0, "x"}:
					case <-stop:
						return
					}
				}
			}()
		}
		got := make(map[int]int)
		for range 3000 {
			got[take(t, nodes[0]).Pid]++
			time.Sleep(5 * time.Millisecond)
		}
		close(stop)
		for id := 1; id <= 3; id++ {
			if got[id] < 900 {
				t.Errorf("of 3000 messages %d are from %d: %v", got[id], id, got)
			}
			if s := nodes[id].Stats().Sent; s.DroppedTotal() != 0 {
				t.Errorf("server %d dropped %v", id, s.Dropped)
			}
		}
	})
}

func TestShutdownIsBoundedAlsoForLinksThatAreNew(t *testing.T) {
	bubble(t, 3, func(t *testing.T, cfg Config) {
		cfg.QueueBytes, cfg.SendTimeout, cfg.Linger = minQueueBytes, time.Hour, 50*time.Millisecond
		a, err := NewFromConfig(0, cfg)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			put(t, a, &Envelope{1, 0, make([]byte, 30000)})
		}
		put(t, a, &Envelope{2, 0, "the first to 2"})
		synctest.Wait()
		start := time.Now()
		a.Close()
		if took := time.Since(start); took > cfg.Linger+letGoTime {
			t.Errorf("Close took %v", took)
		}
		checkBooks(t, a)
	})
}

// A slowConn takes everything, and closes only when it is interrupted.
type slowConn struct{ closing, interrupted chan struct{} }

func (c *slowConn) TrySend(_, _ []byte) (bool, error) { return true, nil }
func (c *slowConn) Wait(time.Time) error              { return nil }
func (c *slowConn) Interrupt()                        { c.interrupted <- struct{}{} }

func (c *slowConn) Close(time.Duration) error {
	close(c.closing)
	<-c.interrupted
	return nil
}

func TestOnlyACutEndsTheFlushOfAClosingLink(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		n := join(t, 0, cfg)
		l := newLink(n, 1)
		conn := &slowConn{make(chan struct{}), make(chan struct{}, 10)}
		l.conn = conn
		l.io.Lock()
		ended := make(chan struct{})
		go func() { // It ends with the link.
			defer close(ended)
			l.end()
		}()
		<-conn.closing
		l.peerBegan("") // a new life of the peer was heard
		l.redirect("mem://elsewhere", nil)
		synctest.Wait()
		select {
		case <-ended:
			t.Error("the flush ended though nobody had cut it short")
		default:
			l.abandon()
			<-ended
		}
	})
}

// A confidant asks the node for its Stats while it is decoded.
type confidant struct{ X int }

var confide func()

func (confidant) MarshalBinary() ([]byte, error) { return []byte{1}, nil }
func (*confidant) UnmarshalBinary([]byte) error  { confide(); return nil }

func TestTheProgramsCodeRunsOutsideTheLocks(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		var n *Node
		Register("test.confidant", confidant{})
		confide = func() { n.Stats() }
		cfg.Logger = slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
			n.Stats()
			return len(b), nil
		}), nil))
		n = join(t, 0, cfg)
		put(t, n, &Envelope{0, 0, confidant{}})
		take(t, n)
		put(t, n, &Envelope{1, 0, "x"})
		time.Sleep(2 * defaultSendTimeout)
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestAPeerThatIsRemovedUnderTrafficDisturbsNothing(t *testing.T) {
	cfg := config(t, "tcp", 2)
	a, b := join(t, 0, cfg), join(t, 1, cfg)
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				a.Send(context.Background(), &Envelope{1, 0, make([]byte, 100+i%3*pieceBytes)})
			}
		})
	}
	go func() {
		for range b.Inbox() {
		}
	}()
	for range 200 {
		a.Catalog().Remove(1)
		time.Sleep(time.Millisecond)
		if err := a.Catalog().Put(cfg.Peers[1]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	close(stop)
	senders.Wait()
}

func TestDecodingMaySendToItsOwnNode(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		Register("test.confidant", confidant{})
		a, b := join(t, 0, cfg), join(t, 1, cfg)
		confide = func() {
			if err := a.Send(context.Background(), &Envelope{0, 0, "decoded"}); err != nil {
				t.Error(err)
			}
		}
		put(t, a, &Envelope{0, 0, "the link to itself is there"})
		take(t, a)
		synctest.Wait()
		put(t, b, &Envelope{0, 0, confidant{}})
		got := map[any]bool{take(t, a).Msg: true, take(t, a).Msg: true}
		if !got["decoded"] {
			t.Errorf("got %v", got)
		}
	})
}

func TestShutdownEndsThoughSendersNeverStop(t *testing.T) {
	cfg := config(t, "mem", 2)
	cfg.OutboxSize = 4
	a, b := join(t, 0, cfg), join(t, 1, cfg)
	go func() {
		for range b.Inbox() {
		}
	}()
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for {
				select {
				case a.Outbox() <- &Envelope{1, 0, "more"}:
				case <-stop:
					return
				}
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	ended := make(chan error, 1)
	go func() { ended <- a.Shutdown(context.Background()) }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(limit / 4):
		t.Error("Shutdown goes on as long as somebody sends")
	}
	close(stop)
	senders.Wait()
}

// A question that could not be written has not been asked: it is as soon as it can be.
func TestAProbeThatDidNotFitIsAskedOnceThereIsRoom(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		a := join(t, 0, cfg)
		p := newPuppet(t, 1, cfg)
		const frames = 32 // as many as the connection takes; together they fill the window
		for range frames + 1 {
			put(t, a, &Envelope{1, 0, make([]byte, wire.InitialWindow/frames-wire.HeaderSize-wire.RecordSize)})
			synctest.Wait() // each is a frame of its own
		}
		time.Sleep(10 * time.Millisecond)
		began := time.Now()
		for got := 0; ; {
			h, _, ok := p.next(limit)
			if !ok {
				t.Fatal("nothing more comes")
			}
			if h.Bare() {
				if got != frames {
					t.Fatalf("it was asked after %d frames, so that the test tests nothing", got)
				}
				break
			}
			got++
		}
		if took := time.Since(began); took > probeInterval/2 {
			t.Errorf("it was asked %v after there was room", took)
		}
	})
}
