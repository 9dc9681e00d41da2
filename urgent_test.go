package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/wire"
	"github.com/abhishekg16/cluster/peercatalog"
)

// knows is what a server of today announces.
const knows = wire.CapValues | wire.CapResend | wire.CapConfirm | wire.CapUrgent

// declaring is a header that announces, of a server that has said nothing before.
func declaring(c wire.Capabilities) wire.Header {
	h := wire.Header{Start: wire.Position{Seq: 1}}
	h.Announce(c)
	return h
}

// announceTo makes a hear what its peer announces, once it has asked for it.
func announceTo(t testing.TB, a *cluster.Node, p *testcluster.FakePeer, cfg cluster.Config, c wire.Capabilities) {
	t.Helper()
	testcluster.Put(t, a, &cluster.Envelope{1, 0, "first"})
	if h, _, ok := p.Next(testcluster.Limit); !ok || h.Count != 1 {
		t.Fatalf("first came %+v, %v", h, ok)
	}
	p.Send(0, cfg, declaring(c), nil)
	p.Send(0, cfg, acknowledging(a, 0, wire.Position{Seq: 2}), nil)
	synctest.Wait()
}

// acknowledging is a header by which a peer of a acknowledges all before a place of one of its streams.
func acknowledging(a *cluster.Node, flags uint8, upTo wire.Position) wire.Header {
	one := wire.Position{Seq: 1}
	return wire.Header{
		Flags: flags | wire.FlagResend, Start: one, AckIncarnation: a.Stats().Incarnation, Ack: upTo,
		Resend: wire.Resend{Kept: one, Wanted: upTo, Held: upTo},
	}
}

// urgently sends an urgent message, and fails the test if that returns an error.
func urgently(t testing.TB, n *cluster.Node, to int, msg any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Limit)
	defer cancel()
	if err := n.SendUrgent(ctx, &cluster.Envelope{to, 0, msg}); err != nil {
		t.Fatal(err)
	}
}

// meet makes two servers know that the other has an urgent stream.
func meet(t testing.TB, nodes ...*cluster.Node) {
	t.Helper()
	for _, n := range nodes {
		for _, m := range nodes {
			if n == m {
				continue
			}
			urgently(t, n, m.Pid(), "hello")
			if e := testcluster.Take(t, m); e.Msg != "hello" {
				t.Fatalf("received %v", e)
			}
			testcluster.Eventually(t, "the peer is known to have an urgent stream", func() bool { return testcluster.StatsOf(n, m.Pid()).Urgent })
		}
	}
}

// contentFrames are the frames with records that come to p until nothing more does.
func contentFrames(p *testcluster.FakePeer) (all []wire.Header) {
	for {
		h, _, ok := p.Next(10 * time.Millisecond)
		if !ok {
			return all
		}
		if h.Count > 0 {
			all = append(all, h)
		}
	}
}

func TestAnUrgentMessageGoesBetweenThePiecesOfALargeOne(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.SendTimeout = time.Hour
		p := testcluster.NewFakePeer(t, 1, cfg)
		a := testcluster.Join(t, 0, cfg)
		announceTo(t, a, p, cfg, knows)
		testcluster.Put(t, a, &cluster.Envelope{1, 0, make([]byte, 1<<20)})
		pieces := contentFrames(p)
		if len(pieces) == 0 || slices.ContainsFunc(pieces, func(h wire.Header) bool { return h.Flags&wire.FlagUrgent != 0 }) {
			t.Fatalf("at first came %+v, want pieces", pieces)
		}
		urgently(t, a, 1, "now")
		urgently(t, a, 1, "and again")
		between := contentFrames(p)
		if len(between) != 2 {
			t.Fatalf("while the window was closed came %d frames, want 2: %+v", len(between), between)
		}
		for i, h := range between {
			if want := (wire.Position{Seq: uint64(i + 1)}); h.Flags != wire.FlagUrgent|wire.FlagResend || h.Start != want {
				t.Errorf("frame %d is %+v, want an urgent one that starts at %v", i, h, want)
			}
		}
		next := wire.Position{Seq: 2, Offset: uint32(len(pieces) * stream.PieceBytes)}
		for next.Seq == 2 {
			p.Send(0, cfg, acknowledging(a, 0, next), nil)
			more := contentFrames(p)
			if len(more) == 0 || more[0].Flags&wire.FlagUrgent != 0 || more[0].Start != next {
				t.Fatalf("after it came %+v, want a piece that starts at %v", more, next)
			}
			if next.Offset += uint32(len(more) * stream.PieceBytes); next.Offset == 1<<20 {
				next = wire.Position{Seq: 3}
			}
		}
		p.Send(0, cfg, acknowledging(a, 0, next), nil)
		p.Send(0, cfg, acknowledging(a, wire.FlagUrgent, wire.Position{Seq: 3}), nil)
		synctest.Wait()
		if s := testcluster.StatsOf(a, 1).Sent; s.Sent != 4 || s.Confirmed != 4 || s.FlightBytes != 0 {
			t.Errorf("the books say %+v, want 4 messages that are confirmed", s)
		}
	})
}

func TestUrgentMessagesPassLargeOnes(t *testing.T) {
	const large, each = 8 << 20, 6
	pass := func(t *testing.T, cfg cluster.Config) {
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		meet(t, a, b)
		for range each {
			testcluster.Put(t, a, &cluster.Envelope{1, 0, make([]byte, large)})
		}
		urgently(t, a, 1, "first")
		urgently(t, a, 1, "second")
		var order []string
		for len(order) < each+2 {
			switch m := testcluster.Take(t, b).Msg.(type) {
			case string:
				order = append(order, m)
			case []byte:
				order = append(order, "large")
			}
		}
		first, second := slices.Index(order, "first"), slices.Index(order, "second")
		if second < first || second > each/2 {
			t.Errorf("they came in the order %q", order)
		}
		testcluster.Eventually(t, "all is confirmed", func() bool { s := testcluster.StatsOf(a, 1).Sent; return s.Confirmed == s.Accepted })
		testcluster.CheckBooks(t, a)
		if r := testcluster.StatsOf(b, 0).Received; r.Lost+r.Repeated+r.RefusedTotal() > 0 {
			t.Errorf("the receiver's books say %+v", r)
		}
	}
	for _, name := range available(t) {
		for _, scheme := range []string{"tcp", "ipc"} {
			t.Run(name+" "+scheme, func(t *testing.T) {
				cfg := testcluster.Config(t, scheme, 2)
				cfg.Transport = name
				pass(t, cfg)
			})
		}
		t.Run(name+" with keys", func(t *testing.T) {
			cfg := testcluster.Keyed(t, testcluster.Config(t, "tcp", 2))
			cfg.Transport = name
			pass(t, cfg)
		})
	}
	t.Run("mem", func(t *testing.T) { pass(t, testcluster.Config(t, "mem", 2)) })
}

// A message of the other stream that takes long to decode holds up what is behind it, and no urgent one.
func TestAnUrgentMessageIsDecodedBesideALongDecoding(t *testing.T) {
	cfg := testcluster.Config(t, "tcp", 2)
	a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
	meet(t, a, b)
	testcluster.Put(t, a, &cluster.Envelope{1, 0, slow{}})
	testcluster.Put(t, a, &cluster.Envelope{1, 0, "behind it"})
	select {
	case goOn := <-decoding:
		defer close(goOn)
	case <-time.After(testcluster.Limit):
		go func() { close(<-decoding) }() // Close waits for it
		t.Fatal("nothing is being decoded")
	}
	urgently(t, a, 1, quitter{"nowhere"}) // its method runs in a goroutine, too
	if e := testcluster.Take(t, b); e.Msg != (quitter{"nowhere"}) {
		t.Errorf("received %v", e.Msg)
	}
}

// A slow message is decoded until the test closes what decoding has brought.
type slow struct{}

var decoding = make(chan chan struct{})

func (slow) MarshalBinary() ([]byte, error) { return []byte("slow"), nil }

func (*slow) UnmarshalBinary([]byte) error {
	goOn := make(chan struct{})
	decoding <- goOn
	<-goOn
	return nil
}

func init() { cluster.Register("cluster.slow", slow{}) }

func TestToAPeerWithoutAnUrgentStreamTheMessageGoesByTheOrdinaryOne(t *testing.T) {
	for name, c := range map[string]wire.Capabilities{
		"of the first version":           0,
		"that resends":                   wire.CapValues | wire.CapResend,
		"that resends and confirms":      knows &^ wire.CapUrgent,
		"of which nothing is known":      1 << 63,
		"that is of a later version yet": knows&^wire.CapUrgent | 1<<9,
	} {
		t.Run(name, func(t *testing.T) {
			testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
				p := testcluster.NewFakePeer(t, 1, cfg)
				a := testcluster.Join(t, 0, cfg)
				if c != 1<<63 {
					announceTo(t, a, p, cfg, c)
				}
				got := 0
				for range 10 {
					urgently(t, a, 1, "x")
					for _, h := range contentFrames(p) {
						if got += int(h.Count); h.Flags&wire.FlagUrgent != 0 {
							t.Errorf("it was sent %+v", h)
						}
					}
				}
				if got != 10 {
					t.Errorf("%d records came, want 10", got)
				}
				if testcluster.StatsOf(a, 1).Urgent {
					t.Error("it counts as one with an urgent stream")
				}
			})
		})
	}
}

// Who does not use SendUrgent sends what it sent before there was that.
func TestWhoSendsNothingUrgentSendsNothingOfIt(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		p := testcluster.NewFakePeer(t, 1, cfg)
		a := testcluster.Join(t, 0, cfg)
		announceTo(t, a, p, cfg, knows)
		for range 10 {
			testcluster.Put(t, a, &cluster.Envelope{1, 0, "x"})
			for _, h := range contentFrames(p) {
				if h.Flags&wire.FlagUrgent != 0 {
					t.Errorf("it was sent %+v", h)
				}
			}
		}
	})
}

// When another life of the peer is heard, which does not say that it has an urgent stream, what was for that goes by the ordinary one.
func TestUrgentMessagesForAPeerThatHasBecomeAnEarlierVersionGoByTheOrdinaryStream(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.SendTimeout = time.Minute
		p := testcluster.NewFakePeer(t, 1, cfg)
		a := testcluster.Join(t, 0, cfg)
		announceTo(t, a, p, cfg, knows)
		large := make([]byte, 100<<10)
		for range 4 { // two fill the window
			urgently(t, a, 1, large)
		}
		if got := contentFrames(p); len(got) != 2 || got[0].Flags&wire.FlagUrgent == 0 {
			t.Fatalf("came %+v, want two urgent frames", got)
		}
		p.Incarnation++
		time.Sleep(stream.HoldTime)
		p.Send(0, cfg, declaring(0), nil)
		synctest.Wait()
		got := contentFrames(p)
		if len(got) != 2 || got[0].Flags&wire.FlagUrgent != 0 || got[0].Start.Seq != 2 {
			t.Errorf("then came %+v, want two frames of the ordinary stream", got)
		}
		if s := testcluster.StatsOf(a, 1).Sent; s.Sent != 5 || s.Unconfirmed != 2 {
			t.Errorf("the books say %+v, want 5 that were sent, and 2 of them unconfirmed", s)
		}
	})
}

func TestUrgentMessagesAreBounded(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		p := testcluster.NewFakePeer(t, 1, cfg)
		a := testcluster.Join(t, 0, cfg)
		announceTo(t, a, p, cfg, knows)
		synctest.Wait()
		err := a.SendUrgent(t.Context(), &cluster.Envelope{1, 0, make([]byte, stream.UrgentBytes+1)})
		if !errors.Is(err, cluster.ErrTooLarge) || !strings.Contains(err.Error(), "urgent message is 131072") {
			t.Errorf("a larger one: %v, want ErrTooLarge that says how large it may be", err)
		}
		sent := 0
		for ; sent < 100 && err != nil; sent++ { // until it waits for room
			ctx, cancel := context.WithTimeout(t.Context(), testcluster.SendTimeout/2)
			err = a.SendUrgent(ctx, &cluster.Envelope{1, 0, make([]byte, stream.UrgentBytes)})
			cancel()
			if err == nil {
				err = errors.New("there was room")
				continue
			}
			if !errors.Is(err, cluster.ErrTimedOut) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("without room: %v, want ErrTimedOut and the context's error", err)
			}
			break
		}
		if sent != 2 { // one is on its way, one waits
			t.Errorf("%d messages found room, want 2", sent)
		}
		// The peer takes nothing for SendTimeout: then its urgent stream counts as stalled, and what waits is dropped.
		time.Sleep(2 * testcluster.SendTimeout)
		if err := a.SendUrgent(t.Context(), &cluster.Envelope{1, 0, "x"}); !errors.Is(err, cluster.ErrUnreachable) {
			t.Errorf("to a peer that takes nothing: %v, want ErrUnreachable", err)
		}
		testcluster.CheckBooks(t, a)
		if s := testcluster.StatsOf(a, 1).Sent; s.Dropped[cluster.ReasonTimedOut] != 2 || s.Dropped[cluster.ReasonUnreachable] != 1 || s.Sent != 2 {
			t.Errorf("the books say %+v", s)
		}
		// It takes again.
		p.Send(0, cfg, acknowledging(a, wire.FlagUrgent, wire.Position{Seq: 2}), nil)
		synctest.Wait()
		urgently(t, a, 1, "again")
		if err := a.SendUrgent(testcluster.AlreadyDone(), &cluster.Envelope{1, 0, "late"}); !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %v", err)
		}
		if err := a.SendUrgent(t.Context(), &cluster.Envelope{9, 0, "x"}); !errors.Is(err, cluster.ErrUnknownPeer) {
			t.Errorf("to nobody: %v", err)
		}
	})
}

// The largest that is accepted is one frame, whatever the message is.
func TestTheLargestUrgentMessagesArrive(t *testing.T) {
	cfg := testcluster.Config(t, "mem", 2)
	a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
	meet(t, a, b)
	for name, make := range map[string]func(n int) any{
		"bytes":  func(n int) any { return make([]byte, n) },
		"text":   func(n int) any { return strings.Repeat("x", n) },
		"a type": func(n int) any { return note{Text: strings.Repeat("x", n)} },
	} {
		t.Run(name, func(t *testing.T) {
			accepted := 0
			for n := stream.UrgentBytes - 300; n <= stream.UrgentBytes+300; n += 1 + (stream.UrgentBytes-n)*(stream.UrgentBytes-n)/2000 {
				err := a.SendUrgent(t.Context(), &cluster.Envelope{1, 0, make(n)})
				if errors.Is(err, cluster.ErrTooLarge) {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if e := testcluster.Take(t, b); !reflect.DeepEqual(e.Msg, make(n)) {
					t.Fatalf("of size %d came %T", n, e.Msg)
				}
				accepted = n
			}
			if accepted < stream.UrgentBytes-64 || accepted > stream.UrgentBytes {
				t.Errorf("the largest that was accepted is of %d bytes", accepted)
			}
		})
	}
	if r := testcluster.StatsOf(b, 0).Received; r.RefusedTotal()+r.Lost > 0 {
		t.Errorf("the receiver's books say %+v", r)
	}
}

func TestUrgentMessagesGoToAllToGroupsAndToOneself(t *testing.T) {
	nodes := testcluster.StartAll(t, testcluster.Config(t, "mem", 3))
	meet(t, nodes...)
	urgently(t, nodes[0], cluster.BROADCAST, "all")
	group, err := nodes[0].Group(0, 2)
	if err != nil {
		t.Fatal(err)
	}
	urgently(t, nodes[0], group, "group")
	urgently(t, nodes[0], 0, "self")
	for pid, want := range [][]string{{"group", "self"}, {"all"}, {"all", "group"}} {
		for _, w := range want {
			if e := testcluster.Take(t, nodes[pid]); e.Msg != w || e.Pid != 0 {
				t.Errorf("server %d received %v, want %q", pid, e, w)
			}
		}
	}
}

// What is sent to a server that has started anew is for its new life alone, and arrives in order.
func TestUrgentMessagesReachAServerThatStartsAnew(t *testing.T) {
	cfg := testcluster.Config(t, "tcp", 2)
	a := testcluster.Join(t, 0, cfg)
	var received, numbered uint64
	for life := range 3 {
		b := testcluster.Join(t, 1, cfg)
		meet(t, b, a) // first b, whose new life a then knows: what was written to the one before is not sent again
		for i := range 20 {
			urgently(t, a, 1, i)
		}
		for i := range 20 {
			if e := testcluster.Take(t, b); e.Msg != i {
				t.Fatalf("in life %d came %v, want %d", life, e.Msg, i)
			}
		}
		s := testcluster.StatsOf(b, 0).Received
		received += s.Received
		numbered = s.Received + s.Missed
		if s.Lost != 0 || s.Restarts != 0 {
			t.Errorf("life %d: %+v", life, s)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	testcluster.Quiet(t, a) // a message may come before its sender has counted it
	if sent := testcluster.StatsOf(a, 1).Sent.Sent; numbered != sent || received != sent {
		t.Errorf("%d messages were sent, the last life of the peer has or misses %d, and all lives received %d", sent, numbered, received)
	}
}

// All that SendUrgent has accepted arrives though the node is closed next.
func TestShutdownDeliversUrgentMessages(t *testing.T) {
	for round := range 5 {
		cfg := testcluster.Config(t, "tcp", 2)
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		meet(t, a, b)
		testcluster.Put(t, a, &cluster.Envelope{1, 0, make([]byte, 4<<20)})
		const count = 50
		for i := range count {
			urgently(t, a, 1, i)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		next, large := 0, false
		for next < count || !large {
			switch m := testcluster.Take(t, b).Msg.(type) {
			case int:
				if m != next {
					t.Fatalf("round %d: %d came, want %d", round, m, next)
				}
				next++
			case []byte:
				large = true
			}
		}
		if err := a.SendUrgent(t.Context(), &cluster.Envelope{1, 0, "x"}); !errors.Is(err, cluster.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if s := a.Stats().Sent; s.Sent != s.Confirmed+s.Unconfirmed {
			t.Errorf("the books say %+v", s)
		}
	}
}

func ExampleNode_SendUrgent() {
	cfg := cluster.Config{Peers: []peercatalog.Peer{{ID: 0, Address: "mem://urgent/0"}, {ID: 1, Address: "mem://urgent/1"}}}
	leader, err := cluster.NewFromConfig(0, cfg)
	if err != nil {
		panic(err)
	}
	defer leader.Close()
	follower, err := cluster.NewFromConfig(1, cfg)
	if err != nil {
		panic(err)
	}
	defer follower.Close()
	ctx := context.Background()
	leader.Send(ctx, &cluster.Envelope{Pid: 1, Msg: make([]byte, 10<<20)})
	if err := leader.SendUrgent(ctx, &cluster.Envelope{Pid: 1, Msg: "heartbeat"}); err != nil {
		fmt.Println(err)
	}
	for range 2 {
		e := <-follower.Inbox()
		if beat, ok := e.Msg.(string); ok {
			fmt.Println(beat)
		}
	}
	// Output: heartbeat
}

// BenchmarkSendUrgent measures how long a message of 16 bytes takes to Inbox while large ones flow to the same peer, by both streams.
func BenchmarkSendUrgent(b *testing.B) {
	for _, name := range available(b) {
		for _, size := range []int{0, 10 << 20, 100 << 20} {
			for _, urgent := range []bool{false, true} {
				if size > 10<<20 && !urgent {
					continue // it takes its turn with the large ones for room in the queue, and many seconds
				}
				b.Run(fmt.Sprintf("%s/%dMiB/urgent=%v", name, size>>20, urgent), func(b *testing.B) {
					cfg := testcluster.Config(b, "tcp", 2)
					cfg.Transport, cfg.MaxMessageBytes, cfg.SendTimeout = name, 128<<20, time.Minute
					near, far := testcluster.Join(b, 0, cfg), testcluster.Join(b, 1, cfg)
					meet(b, near, far)
					ctx, end := context.WithCancel(context.Background())
					ended := make(chan struct{})
					went := 0
					began := time.Now()
					came := make(chan time.Time, 1) // when the small one was in Inbox
					go func() {                     // It ends when the node closes.
						for e := range far.Inbox() {
							if len(e.Msg.([]byte)) <= 16 {
								came <- time.Now()
							}
						}
					}()
					go func() { // It ends with ctx.
						defer close(ended)
						for large := make([]byte, size); size > 0 && near.Send(ctx, &cluster.Envelope{1, 0, large}) == nil; {
							went++
						}
					}()
					send := near.Send
					if urgent {
						send = near.SendUrgent
					}
					var took []time.Duration
					small := func() {
						at := time.Now()
						if err := send(ctx, &cluster.Envelope{1, 0, make([]byte, 16)}); err != nil {
							b.Fatal(err)
						}
						took = append(took, (<-came).Sub(at))
					}
					small()
					took = nil
					for b.Loop() {
						small()
					}
					slices.Sort(took)
					b.ReportMetric(float64(took[len(took)/2].Microseconds())/1e3, "p50-ms")
					b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1e3, "p99-ms")
					b.ReportMetric(float64(went*size)/1e6/time.Since(began).Seconds(), "MB/s")
					end()
					<-ended
					near.Shutdown(ctx) // which has ended: nothing more is written
				})
			}
		}
	}
}
