package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/wire"
)

// The tests of this file are about what one peer, one message or the program's own code
// must not do to the rest.

// A gated message waits, when it is encoded, until the test lets it go.
type gated struct{ at, on chan struct{} }

func (g gated) MarshalBinary() ([]byte, error) {
	close(g.at)
	<-g.on
	return []byte("gated"), nil
}

func (*gated) UnmarshalBinary([]byte) error { return nil }

func init() { cluster.Register("cluster.gated", gated{}) }

// A quitter's method ends the goroutine that calls it, where it says so.
type quitter struct{ Where string }

func (q quitter) MarshalBinary() ([]byte, error) {
	if q.Where == "encode" {
		runtime.Goexit()
	}
	return []byte(q.Where), nil
}

func (q *quitter) UnmarshalBinary(b []byte) error {
	if q.Where = string(b); q.Where == "decode" {
		runtime.Goexit()
	}
	return nil
}

func init() { cluster.Register("cluster.quitter", quitter{}) }

func TestAMethodThatEndsItsGoroutineCostsItsOwnMessageAlone(t *testing.T) {
	for _, scheme := range []string{"mem", "tcp"} {
		for _, where := range []string{"encode", "decode"} {
			for _, way := range []string{"Outbox and Inbox", "Send and Receive"} {
				t.Run(fmt.Sprint(scheme, " ", where, " ", way), func(t *testing.T) {
					nodes := testcluster.StartAll(t, testcluster.Config(t, scheme, 2))
					send := func(msg any) {
						if way == "Outbox and Inbox" {
							testcluster.Put(t, nodes[0], &cluster.Envelope{1, 0, msg})
							return
						}
						ended := make(chan struct{})
						go func() { // Send ends with its goroutine.
							defer close(ended)
							nodes[0].Send(context.Background(), &cluster.Envelope{1, 0, msg})
						}()
						<-ended
					}
					get := testcluster.Take
					if way == "Send and Receive" {
						get = testcluster.Receive
					}
					const each = 10
					for i := range each {
						send(2 * i)
						send(quitter{where})
						send(2*i + 1)
					}
					for i := range 2 * each {
						if e := get(t, nodes[1]); e.Msg != i {
							t.Fatalf("received %v, want %d", e.Msg, i)
						}
					}
					if where == "encode" {
						testcluster.Eventually(t, "the messages are counted as not encodable", func() bool {
							return nodes[0].Stats().Unaddressed.Dropped[cluster.ReasonNotEncodable] == each
						})
					} else {
						testcluster.Eventually(t, "the messages are counted as undecodable", func() bool {
							return nodes[1].Stats().Received.Refused[cluster.RefusedUndecodable] == each
						})
					}
				})
			}
		}
	}
}

// What waits in Outbox when closing begins is encoded by the same goroutine.
func TestShutdownEndsThoughAMethodEndsItsGoroutine(t *testing.T) {
	nodes := testcluster.StartAll(t, testcluster.Config(t, "mem", 2))
	g := gated{make(chan struct{}), make(chan struct{})}
	testcluster.Put(t, nodes[0], &cluster.Envelope{1, 0, g})
	<-g.at
	const each = 20
	for i := range each {
		testcluster.Put(t, nodes[0], &cluster.Envelope{1, 0, quitter{"encode"}})
		testcluster.Put(t, nodes[0], &cluster.Envelope{1, 0, i})
	}
	closed := make(chan error, 1)
	go func() { closed <- nodes[0].Close() }()
	<-nodes[0].Closing()
	close(g.on)
	testcluster.Take(t, nodes[1])
	for i := range each {
		if e := testcluster.Take(t, nodes[1]); e.Msg != i {
			t.Fatalf("received %v, want %d", e.Msg, i)
		}
	}
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testcluster.Limit):
		t.Fatal("Close does not return")
	}
}

// A dawdler takes its time to be decoded.
type dawdler struct{ time.Duration }

func (d dawdler) MarshalBinary() ([]byte, error) { return []byte(d.String()), nil }

func (d *dawdler) UnmarshalBinary(b []byte) (err error) {
	d.Duration, err = time.ParseDuration(string(b))
	time.Sleep(d.Duration)
	return err
}

func init() { cluster.Register("cluster.dawdler", dawdler{}) }

func TestASlowlyDecodedMessageHoldsUpItsSenderAlone(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		cfg.QueueBytes = testcluster.MinQueueBytes
		slow, busy, other := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg), testcluster.Join(t, 2, cfg)
		const decoding = 20 * testcluster.SendTimeout
		testcluster.Put(t, slow, &cluster.Envelope{1, 0, dawdler{decoding}})
		synctest.Wait()
		began := time.Now()
		const count = 1000
		behind := make(chan struct{})
		go func() { // It ends with its last message.
			defer close(behind)
			for i := range count { // more than the window and the queue hold
				slow.Outbox() <- &cluster.Envelope{1, 0, append(make([]byte, 4000), byte(i), byte(i>>8))}
			}
		}()
		for i := range count {
			testcluster.Put(t, other, &cluster.Envelope{1, 0, i})
			if e := testcluster.Take(t, busy); e.Msg != i {
				t.Fatalf("received %v, want %d", e.Msg, i)
			}
			testcluster.Put(t, busy, &cluster.Envelope{2, 0, i})
			if e := testcluster.Take(t, other); e.Msg != i {
				t.Fatalf("the busy server's %v came, want %d", e.Msg, i)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the others' messages took %v", took)
		}
		time.Sleep(decoding / 2)
		if s := testcluster.StatsOf(slow, 1); s.Sent.DroppedTotal() != 0 || s.State != cluster.LinkUp {
			t.Errorf("while its message is decoded the sender's link is %v, and dropped %v", s.State, s.Sent.Dropped)
		}
		if e := testcluster.Take(t, busy); e.Msg != (dawdler{decoding}) {
			t.Errorf("received %v, want the slow one", e.Msg)
		}
		for i := range count {
			if e := testcluster.Take(t, busy).Msg.([]byte); e[4000] != byte(i) || e[4001] != byte(i>>8) {
				t.Fatalf("the %d. message behind the slow one is another", i)
			}
		}
		<-behind
	})
}

// sendOn sends the envelope again and again until the function that it returns is called.
func sendOn(n *cluster.Node, e cluster.Envelope) (stop func()) {
	stopped := make(chan struct{})
	var sender sync.WaitGroup
	sender.Go(func() {
		for {
			select {
			case n.Outbox() <- &cluster.Envelope{e.Pid, 0, e.Msg}:
				time.Sleep(time.Millisecond) // what is dropped takes no time
			case <-stopped:
				return
			}
		}
	})
	return func() {
		close(stopped)
		sender.Wait()
	}
}

func TestAPeerIsHeldToBeTakingForThirtySecondsOfOneDecodeAtMost(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.QueueBytes = testcluster.MinQueueBytes
		slow, busy := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		testcluster.Put(t, slow, &cluster.Envelope{1, 0, dawdler{time.Minute}})
		defer sendOn(slow, cluster.Envelope{1, 0, make([]byte, 4000)})()
		time.Sleep(29 * time.Second)
		if s := testcluster.StatsOf(slow, 1); s.Sent.DroppedTotal() != 0 || s.State != cluster.LinkUp {
			t.Errorf("after 29 s the sender's link is %v, and dropped %v", s.State, s.Sent.Dropped)
		}
		time.Sleep(time.Second + 2*testcluster.SendTimeout)
		synctest.Wait()
		if s := testcluster.StatsOf(slow, 1); s.State != cluster.LinkStalled {
			t.Errorf("after 32 s the sender's link is %v", s.State)
		}
		testcluster.ReadAll(busy)
		time.Sleep(time.Minute) // closing waits for the program's own method
	})
}

func TestAProgramThatHasStoppedReadingIsNotTaking(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.QueueBytes, cfg.InboxSize = testcluster.MinQueueBytes, 1
		a, _ := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		defer sendOn(a, cluster.Envelope{1, 0, dawdler{}})()
		time.Sleep(5 * testcluster.SendTimeout)
		synctest.Wait()
		if got := testcluster.StatsOf(a, 1).State; got != cluster.LinkStalled {
			t.Errorf("the link is %v", got)
		}
	})
}

// A removed peer's goroutine, connection, queue and unfinished messages go; its books and its place in
// the streams stay, so that it may come back.
func TestARemovedPeerLeavesNothingRunning(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		p := testcluster.NewFakePeer(t, 1, cfg)
		whole := testcluster.Records(t, make([]byte, 1<<20))
		p.Send(0, cfg, wire.Header{Flags: wire.FlagPiece, Count: 1}, whole[:wire.RecordSize+100_000])
		p.Send(0, cfg, wire.Header{Start: wire.Position{Seq: 9}, Count: 1}, testcluster.Records(t, "early"))
		testcluster.Put(t, a, &cluster.Envelope{1, 0, "written"})
		p.Next(testcluster.Limit)
		for range 100 {
			testcluster.Put(t, a, &cluster.Envelope{1, 0, make([]byte, 4000)})
		}
		synctest.Wait()
		running := func() int {
			stacks := make([]byte, 1<<20)
			return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), ".(*Link).run(")
		}
		if got := running(); got != 1 {
			t.Fatalf("%d goroutines of links run before the peer is removed, want 1", got)
		}
		a.Catalog().Remove(1)
		synctest.Wait()
		if got := running(); got != 0 {
			t.Errorf("%d goroutines of links run after the peer was removed", got)
		}
		s := testcluster.StatsOf(a, 1)
		if s.Sent.Queued != 0 || s.Sent.FlightBytes != 0 || s.Received.HeldBytes != 0 || s.Received.BacklogBytes != 0 {
			t.Errorf("of the removed peer is left: %+v", s)
		}
		if e := testcluster.Take(t, a); e.Msg != "early" {
			t.Errorf("received %v", e.Msg)
		}
		testcluster.CheckBooks(t, a)
	})
}

func TestAPeerThatWasRemovedAndAddedAgainIsHeardAndReached(t *testing.T) {
	for _, busy := range []bool{false, true} {
		t.Run(fmt.Sprint("with frames on their way ", busy), func(t *testing.T) {
			testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
				a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
				exchange := func(i int) {
					t.Helper()
					// What was on its way when the peer was removed may be lost, or come now.
					for _, way := range [][2]*cluster.Node{{a, b}, {b, a}} {
						// Who was no peer for SendTimeout has taken nothing meanwhile: its link is down until
						// it is asked again.
						testcluster.Eventually(t, "a message is accepted", func() bool {
							err := way[0].Send(context.Background(), &cluster.Envelope{way[1].Pid(), 0, i})
							if err != nil && !errors.Is(err, cluster.ErrUnreachable) {
								t.Fatal(err)
							}
							return err == nil
						})
						for testcluster.Take(t, way[1]).Msg != i {
						}
					}
				}
				for i := range 20 {
					exchange(i)
					if busy {
						for range 3 {
							testcluster.Put(t, a, &cluster.Envelope{1, 0, make([]byte, 200_000)})
							testcluster.Put(t, b, &cluster.Envelope{0, 0, make([]byte, 200_000)})
						}
					}
					a.Catalog().Remove(1)
					if i%2 == 0 {
						synctest.Wait()
					}
					if i%3 == 0 {
						testcluster.Put(t, b, &cluster.Envelope{0, 0, "while it is no peer"})
						time.Sleep(time.Second)
					}
					if err := a.Catalog().Put(cfg.Peers[1]); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
				}
				exchange(-1)
				testcluster.CheckBooks(t, a)
				testcluster.CheckBooks(t, b)
			})
		})
	}
}

func TestAPeerThatIsRemovedUnderTrafficDisturbsNothing(t *testing.T) {
	cfg := testcluster.Config(t, "tcp", 2)
	a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
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
				a.Send(context.Background(), &cluster.Envelope{1, 0, make([]byte, 100+i%3*stream.PieceBytes)})
			}
		})
	}
	testcluster.ReadAll(b)
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

func TestSlowEncodingDoesNotKeepTheFirstMessageBack(t *testing.T) {
	for _, destinations := range []int{1, 3} {
		t.Run(fmt.Sprint(destinations, " servers"), func(t *testing.T) {
			testcluster.Bubble(t, 4, func(t *testing.T, cfg cluster.Config) {
				nodes := testcluster.StartAll(t, cfg)
				for _, n := range nodes[2:] {
					testcluster.ReadAll(n)
				}
				began := time.Now()
				const count = 1000
				for i := range count {
					testcluster.Put(t, nodes[0], &cluster.Envelope{1 + i%destinations, 0, slowlyEncoded{}})
				}
				testcluster.Take(t, nodes[1])
				if took := time.Since(began); took > count*slowness/4 {
					t.Errorf("the first of %d messages, %v each, came after %v", count, slowness, took)
				}
				testcluster.ReadAll(nodes[1])
			})
		})
	}
}

// callbacks calls every method of a node.
func callbacks(n *cluster.Node) {
	n.Pid()
	n.Peers()
	n.Group(0, 1)
	n.Stats()
	n.Catalog().IDs()
	n.Send(testcluster.AlreadyDone(), &cluster.Envelope{1, 0, "x"})
	n.Receive(testcluster.AlreadyDone())
	select {
	case <-n.Done():
	case n.Outbox() <- &cluster.Envelope{1, 0, "from a callback"}:
	default:
	}
}

// A meddler calls back while it is encoded, decoded, and turned into text.
type meddler struct{}

var meddlesWith func()

func (meddler) MarshalBinary() ([]byte, error) { meddlesWith(); return []byte("x"), nil }

func (*meddler) UnmarshalBinary([]byte) error { meddlesWith(); return nil }

func (meddler) String() string { meddlesWith(); return "meddler" }

func (meddler) Error() string { meddlesWith(); return "meddler" }

type failingMeddler struct{}

func (failingMeddler) MarshalBinary() ([]byte, error) { return nil, meddler{} }

func (*failingMeddler) UnmarshalBinary([]byte) error { return nil }

func TestTheProgramsCodeMayCallEveryMethodOfTheNode(t *testing.T) {
	cluster.Register("cluster.meddler", meddler{})
	cluster.Register("cluster.failingMeddler", failingMeddler{})
	for _, scheme := range []string{"mem", "tcp"} {
		t.Run(scheme, func(t *testing.T) {
			cfg := testcluster.Config(t, scheme, 3)
			cfg.SendTimeout = 100 * time.Millisecond
			ready := make(chan struct{})
			var n *cluster.Node
			meddlesWith = func() {
				<-ready
				callbacks(n)
			}
			cfg.Logger = slog.New(meddlingHandler{slog.DiscardHandler})
			n = testcluster.Join(t, 0, cfg)
			close(ready)
			other := testcluster.Join(t, 1, cfg)
			for range 20 {
				testcluster.Put(t, n, &cluster.Envelope{0, 0, meddler{}})
				testcluster.Put(t, n, &cluster.Envelope{1, 0, meddler{}})
				testcluster.Put(t, other, &cluster.Envelope{0, 0, meddler{}})
				testcluster.Put(t, n, &cluster.Envelope{1, 0, failingMeddler{}})
				testcluster.Put(t, n, &cluster.Envelope{2, 0, "nobody is there"})
				n.Send(context.Background(), &cluster.Envelope{1, 0, meddler{}})
			}
			for _, n := range []*cluster.Node{n, other} {
				testcluster.ReadAll(n)
			}
			testcluster.Eventually(t, "all is received", func() bool {
				testcluster.Put(t, n, &cluster.Envelope{1, 0, meddler{}}) // of the first, some may have been dropped
				testcluster.Put(t, other, &cluster.Envelope{0, 0, meddler{}})
				return n.Stats().Received.Received >= 40 && other.Stats().Received.Received >= 40
			})
		})
	}
}

// meddlingHandler calls back in each method that is called for an event.
type meddlingHandler struct{ slog.Handler }

func (meddlingHandler) Enabled(context.Context, slog.Level) bool { meddlesWith(); return true }

func (meddlingHandler) Handle(context.Context, slog.Record) error { meddlesWith(); return nil }

func (h meddlingHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h meddlingHandler) WithGroup(string) slog.Handler { return h }

// An unruly error is one of the program's own whose methods do not return.
type unruly struct{ ends bool }

func (u unruly) fail() {
	if u.ends {
		runtime.Goexit()
	}
	panic("unruly")
}

func (u unruly) Error() string { return "unruly" }

func (u unruly) Is(error) bool { u.fail(); return false }

func (u unruly) As(any) bool { u.fail(); return false }

func (u unruly) Unwrap() error { u.fail(); return nil }

// A failing message cannot be encoded.
type failing struct{ ends bool }

func (f failing) MarshalBinary() ([]byte, error) { return nil, unruly(f) }

func (*failing) UnmarshalBinary([]byte) error { return nil }

func init() { cluster.Register("cluster.failing", failing{}) }

func TestTheErrorsOfAProgramsMethodsDisturbNobody(t *testing.T) {
	for _, ends := range []bool{false, true} {
		testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
			nodes := testcluster.StartAll(t, cfg)
			for i := range 3 {
				nodes[0].Outbox() <- &cluster.Envelope{1, 0, failing{ends}}
				nodes[0].Outbox() <- &cluster.Envelope{1, 0, i}
			}
			for i := range 3 {
				if e := testcluster.Take(t, nodes[1]); e.Msg != i {
					t.Fatalf("%v comes, want %d", e.Msg, i)
				}
			}
			if n := nodes[0].Stats().Unaddressed.Dropped[cluster.ReasonNotEncodable]; n != 3 {
				t.Errorf("%d are dropped as not encodable, want 3", n)
			}
		})
	}
}

func TestAReceiveHasAtOnceWhatARemovedPeersStreamHeld(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		p := testcluster.NewFakePeer(t, 1, cfg)
		p.Send(0, cfg, wire.Header{Start: wire.Position{Seq: 1}, Count: 1}, testcluster.Records(t, "first"))
		testcluster.Take(t, a)
		p.Send(0, cfg, wire.Header{Start: wire.Position{Seq: 9}, Count: 1}, testcluster.Records(t, "early"))
		received := make(chan error)
		go func() { // It ends with the Receive.
			ctx, cancel := context.WithTimeout(context.Background(), testcluster.Limit)
			defer cancel()
			_, err := a.Receive(ctx)
			received <- err
		}()
		synctest.Wait()
		began := time.Now()
		a.Catalog().Remove(1)
		if err := <-received; err != nil || time.Since(began) >= stream.HoldTime/2 {
			t.Errorf("it returns after %v: %v", time.Since(began), err)
		}
	})
}
