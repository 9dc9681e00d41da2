package cluster_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/wire"
)

// ended is a context that has ended.
func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestStartDeliveryDoesNotWaitToHearWhatBecomesOfTheMessage(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.InboxSize = 1
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		first := a.StartDelivery(t.Context(), &cluster.Envelope{1, 7, "first"})
		if err := first.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		var later []*cluster.Delivery
		for id := int64(8); id < 16; id++ {
			later = append(later, a.StartDelivery(t.Context(), &cluster.Envelope{1, id, "later"}))
		}
		time.Sleep(testcluster.SendTimeout)
		for _, d := range later {
			err := d.Wait(ended(t))
			var peer *cluster.PeerError
			if !errors.Is(err, cluster.ErrUnconfirmed) || !errors.Is(err, context.Canceled) || !errors.As(err, &peer) || peer.Peer != 1 {
				t.Errorf("Wait returns %v for a context that has ended, and Inbox has no room for the message", err)
			}
		}
		for want := int64(7); want < 16; want++ {
			if e := testcluster.Take(t, b); e.MsgId != want {
				t.Errorf("message %d comes, want %d", e.MsgId, want)
			}
		}
		synctest.Wait()
		for i, d := range append(later, first) {
			for _, ctx := range []context.Context{ended(t), t.Context(), ended(t)} {
				if err := d.Wait(ctx); err != nil {
					t.Errorf("delivery %d, which is over: %v", i, err)
				}
			}
		}
	})
}

// What Wait returns is what Deliver does, and the same when it is asked again.
func TestWaitReturnsWhatDeliverWould(t *testing.T) {
	testcluster.Bubble(t, 4, func(t *testing.T, cfg cluster.Config) {
		cfg.SendTimeout = testcluster.SendTimeout
		small := cfg
		small.MaxMessageBytes = 1 << 20
		a := testcluster.Join(t, 0, cfg)
		testcluster.Join(t, 1, cfg)
		testcluster.Join(t, 2, small)
		group, err := a.Group(0, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name string
			env  *cluster.Envelope
			is   error
		}{
			{"delivered", &cluster.Envelope{1, 0, "x"}, nil},
			{"delivered to oneself", &cluster.Envelope{0, 0, "x"}, nil},
			{"delivered to several", &cluster.Envelope{group, 0, "x"}, nil},
			{"refused", &cluster.Envelope{2, 0, make([]byte, 3<<20)}, cluster.ErrTooLarge},
			{"refused by one of several, while one is not there", &cluster.Envelope{cluster.BROADCAST, 0, make([]byte, 3<<20)}, cluster.ErrTooLarge},
			{"to a peer that is not there", &cluster.Envelope{3, 0, "x"}, cluster.ErrTimedOut},
			{"to nobody", &cluster.Envelope{9, 0, "x"}, cluster.ErrUnknownPeer},
			{"not encodable", &cluster.Envelope{1, 0, make(chan int)}, cluster.ErrNotEncodable},
			{"nil", nil, cluster.ErrNotEncodable},
		} {
			want := a.Deliver(t.Context(), c.env)
			d := a.StartDelivery(t.Context(), c.env)
			for range 2 {
				got := d.Wait(t.Context())
				if !errors.Is(got, c.is) || (got == nil) != (want == nil) || got != nil && got.Error() != want.Error() {
					t.Errorf("%s: Wait returns %v, Deliver %v", c.name, got, want)
				}
			}
		}
		a.Close()
		if err := a.StartDelivery(t.Context(), &cluster.Envelope{1, 0, "x"}).Wait(t.Context()); !errors.Is(err, cluster.ErrClosed) {
			t.Errorf("after closing: %v", err)
		}
		testcluster.CheckBooks(t, a)
	})
}

func TestWaitIsUnconfirmedWhenTheNodeOrThePeerCloses(t *testing.T) {
	for _, name := range []string{"the node", "the peer"} {
		t.Run(name, func(t *testing.T) {
			testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
				cfg.InboxSize = 1
				a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
				if err := a.Deliver(t.Context(), &cluster.Envelope{1, 0, "fills Inbox"}); err != nil {
					t.Fatal(err)
				}
				d := a.StartDelivery(t.Context(), &cluster.Envelope{1, 0, "waits"})
				synctest.Wait()
				if name == "the node" {
					a.Close()
				} else {
					b.Close()
				}
				if err := d.Wait(t.Context()); !errors.Is(err, cluster.ErrUnconfirmed) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// One goroutine has many messages on their way, over real sockets: all are delivered, in order, and told so, whether or not the program takes from
// Inbox itself.
func TestManyDeliveriesOfOneGoroutineKeepTheirOrder(t *testing.T) {
	for _, inbox := range []bool{false, true} {
		cfg := testcluster.Config(t, "tcp", 2)
		cfg.SendTimeout = testcluster.Limit
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		if inbox {
			a.Inbox()
		}
		const count, most = 20_000, 1000
		ctx, cancel := context.WithTimeout(t.Context(), testcluster.Limit)
		defer cancel()
		wrong := make(chan error, 1)
		go func() { // It ends with ctx at the latest.
			for want := range count {
				if e, err := b.Receive(ctx); err != nil || e.Msg != want {
					wrong <- errors.Join(err, errors.New("the receiver has seen something else than the next message"))
					return
				}
			}
			wrong <- nil
		}()
		var under [most]*cluster.Delivery
		for i := range count + most {
			d := &under[i%most]
			if *d != nil {
				if err := (*d).Wait(ctx); err != nil {
					t.Fatalf("message %d: %v", i-most, err)
				}
			}
			if *d = nil; i < count {
				*d = a.StartDelivery(ctx, &cluster.Envelope{1, 0, i})
			}
		}
		if err := <-wrong; err != nil {
			t.Error(err)
		}
	}
}

// What is forgotten is delivered all the same, and in nobody's way.
func TestADeliveryThatNobodyWaitsForIsDelivered(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		for range 100 {
			a.StartDelivery(t.Context(), &cluster.Envelope{1, 0, "x"})
		}
		last := a.StartDelivery(t.Context(), &cluster.Envelope{1, 0, "x"})
		for range 101 {
			testcluster.Take(t, b)
		}
		if err := last.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if s := a.Stats().Sent; s.Confirmed != 101 {
			t.Errorf("%d messages are confirmed, want 101", s.Confirmed)
		}
	})
}

// corking is a node whose only peer the test plays, which is a tenth of a millisecond away, as the node has measured.
type corking struct {
	t   *testing.T
	cfg cluster.Config
	a   *cluster.Node
	p   *testcluster.FakePeer
	h   wire.Header // of the last frame with records that has come
}

func newCorking(t *testing.T, cfg cluster.Config, trip time.Duration) *corking {
	cfg.SendTimeout = testcluster.SendTimeout
	c := &corking{t: t, cfg: cfg, p: testcluster.NewFakePeer(t, 1, cfg), a: testcluster.Join(t, 0, cfg)}
	c.p.Send(0, cfg, announcing(deliverKnows), nil)
	synctest.Wait()
	for range 3 {
		c.start(1, "x")
		c.check("the first", 1)
		time.Sleep(trip)
		c.done()
	}
	return c
}

func (c *corking) start(count int, msg any) (all []*cluster.Delivery) {
	for range count {
		all = append(all, c.a.StartDelivery(c.t.Context(), &cluster.Envelope{1, 0, msg}))
	}
	synctest.Wait()
	return all
}

// wait waits for a delivery beside the test.
func (c *corking) wait(d *cluster.Delivery) {
	go d.Wait(c.t.Context()) // It ends when the node has closed at the latest.
	synctest.Wait()
}

// come is how many messages have come since it was last called.
func (c *corking) come() (count int) {
	for {
		h, _, ok := c.p.Next(time.Nanosecond)
		if !ok {
			return count
		}
		if !h.Bare() {
			c.h = h
			count += int(h.Count)
		}
	}
}

func (c *corking) check(when string, want int) {
	c.t.Helper()
	synctest.Wait()
	if got := c.come(); got != want {
		c.t.Errorf("%s: %d messages come, want %d", when, got, want)
	}
}

// done says that the peer is done with all that has come.
func (c *corking) done() {
	done := wire.Position{Seq: c.h.Start.Seq + uint64(c.h.Count)}
	c.p.Send(0, c.cfg, wire.Header{
		Flags: wire.FlagResend, AckIncarnation: c.h.Incarnation, Ack: done, Window: 1 << 20,
		Resend: wire.Resend{Kept: wire.Position{Seq: 1}, Wanted: done, Held: wire.Position{Seq: 1}},
	}, nil)
	synctest.Wait()
}

// What one goroutine starts goes in few frames: while some of it is on its way, more gathers, until there is enough, or somebody waits, or nothing
// is on its way any more, or for a moment.
func TestWhatIsStartedGathersWhileOthersAreOnTheirWay(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		c := newCorking(t, cfg, 100*time.Microsecond)
		first := c.start(1, "x")
		c.check("the first", 1)
		nine := c.start(9, "x")
		c.check("behind the first", 0)
		nine[8].Wait(ended(t))
		c.check("when somebody looks what became of the last of them", 0)
		c.wait(nine[8])
		c.check("when somebody waits for the last of them", 9)
		c.start(9, "x")
		c.wait(first[0])
		c.check("when somebody waits for what is on its way, and that is more", 0)
		c.start(2, "x")
		c.wait(nine[0])
		c.check("when somebody waits for what is on its way, and that is less", 11)
		c.start(10, "x")
		if err := c.a.Send(t.Context(), &cluster.Envelope{1, 0, "x"}); err != nil {
			t.Fatal(err)
		}
		c.check("with one that is sent", 11)
		c.start(1000, "x")
		if got := c.come(); got < 600 || got > 1000 {
			t.Errorf("of many more %d come at once, want most", got)
		}
		time.Sleep(c.cfg.SendTimeout/8 + time.Millisecond)
		c.come()
		c.start(10, "x")
		c.check("behind those", 0)
		c.done()
		c.check("when nothing is on its way any more", 10)
		time.Sleep(100 * time.Microsecond)
		c.done()
		c.start(1, "x")
		c.check("the first of others", 1)
		time.Sleep(100 * time.Microsecond)
		c.done()
		c.start(1, "x")
		c.check("the first of others", 1)
		c.start(10, "x")
		c.check("behind those again", 0)
		time.Sleep(c.cfg.SendTimeout/8 + time.Millisecond)
		c.check("after an eighth of SendTimeout", 10)
		c.done()
	})
}

// Where a peer is far it is not left to wait for what could be under way.
func TestWhatIsStartedForAPeerThatIsFarIsWrittenAtOnce(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		c := newCorking(t, cfg, 20*time.Millisecond)
		c.start(1, "x")
		c.start(9, "x")
		c.check("all", 10)
	})
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		c := newCorking(t, cfg, 100*time.Microsecond)
		c.start(1, "x")
		c.check("the first", 1)
		time.Sleep(20 * time.Millisecond) // now it is far
		c.done()
		c.start(1, "x")
		c.start(9, "x")
		c.check("all", 10)
	})
}

// What does not go into one frame is not left behind, to be waited for.
func TestWhatIsStartedAndLargeIsWrittenToItsEnd(t *testing.T) {
	for _, v := range []struct {
		count, size int
		waits       bool
	}{{3, 40 << 10, false}, {100, 1 << 10, true}, {10, 30 << 10, true}} {
		testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
			c := newCorking(t, cfg, 100*time.Microsecond)
			first := c.start(1, make([]byte, v.size))
			all := c.start(v.count-1, make([]byte, v.size))
			if v.waits {
				c.wait(all[v.count-2])
			}
			c.check("all", v.count)
			c.done()
			if err := first[0].Wait(ended(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A node that closes writes what has gathered, like what was sent.
func TestWhatIsStartedIsWrittenWhenTheNodeCloses(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		c := newCorking(t, cfg, 100*time.Microsecond)
		c.start(1, "x")
		c.start(9, "x")
		c.check("the first", 1)
		go c.a.Close()
		c.check("when it closes", 9)
		c.done()
	})
}

// What gathers leaves no less room for others: a sender for whose message there is no more room has it written.
func TestWhatIsStartedIsWrittenWhenTheQueueIsFull(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.QueueBytes = 64 << 10
		c := newCorking(t, cfg, 100*time.Microsecond)
		c.start(1, "x")
		c.start(30, make([]byte, 1<<10))
		c.check("the first", 1)
		began := time.Now()
		c.start(1, make([]byte, 60<<10))
		if took := time.Since(began); took > 0 {
			t.Errorf("a message for which the queue has no room waits for %v", took)
		}
		c.check("with one that does not fit", 31)
		c.done()
	})
}

// Of several servers Wait knows those of which it is known, also when its context has ended.
func TestWaitKnowsWhatIsKnownOfSeveralServers(t *testing.T) {
	testcluster.Bubble(t, 4, func(t *testing.T, cfg cluster.Config) {
		small, full := cfg, cfg
		small.MaxMessageBytes = 1 << 20
		full.InboxSize = 1
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, full)
		testcluster.Join(t, 2, cfg)
		testcluster.Join(t, 3, small)
		if err := a.Deliver(t.Context(), &cluster.Envelope{1, 0, "fills Inbox"}); err != nil {
			t.Fatal(err)
		}
		d := a.StartDelivery(t.Context(), &cluster.Envelope{cluster.BROADCAST, 0, make([]byte, 2<<20)})
		time.Sleep(testcluster.SendTimeout / 2)
		for _, want := range []map[int]error{{1: cluster.ErrUnconfirmed, 3: cluster.ErrTooLarge}, {3: cluster.ErrTooLarge}} {
			got := make(map[int]error)
			if several, ok := d.Wait(ended(t)).(interface{ Unwrap() []error }); ok {
				for _, err := range several.Unwrap() {
					var p *cluster.PeerError
					if errors.As(err, &p) {
						got[p.Peer] = p.Err
					}
				}
			}
			for pid := range 4 {
				if !errors.Is(got[pid], want[pid]) || (got[pid] == nil) != (want[pid] == nil) {
					t.Errorf("of server %d: %v, want %v", pid, got[pid], want[pid])
				}
			}
			if len(want) == 2 {
				testcluster.Take(t, b)
				time.Sleep(time.Second) // until server 1 has told that it has room for the other
			}
		}
	})
}
