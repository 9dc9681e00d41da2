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

// What one goroutine starts goes in few frames: while some of it is on its way, more gathers, until there is enough, or somebody waits, or nothing
// is on its way any more, or for a moment.
func TestWhatIsStartedGathersWhileOthersAreOnTheirWay(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.SendTimeout = testcluster.SendTimeout
		p := testcluster.NewFakePeer(t, 1, cfg)
		a := testcluster.Join(t, 0, cfg)
		p.Send(0, cfg, announcing(deliverKnows), nil)
		synctest.Wait()
		start := func(count int) (last *cluster.Delivery) {
			for range count {
				last = a.StartDelivery(t.Context(), &cluster.Envelope{1, 0, "x"})
			}
			synctest.Wait()
			return last
		}
		var h wire.Header // of the last frame with records
		come := func() (count int) {
			for {
				next, _, ok := p.Next(time.Nanosecond)
				if !ok {
					return count
				}
				if !next.Bare() {
					h = next
					count += int(h.Count)
				}
			}
		}
		check := func(when string, want int) {
			t.Helper()
			synctest.Wait()
			if got := come(); got != want {
				t.Errorf("%s: %d messages come, want %d", when, got, want)
			}
		}
		start(1)
		check("the first", 1)
		start(9)
		check("behind the first", 0)
		last := start(1)
		last.Wait(ended(t))
		check("when somebody waits for the last of them", 10)
		last.Wait(ended(t))
		start(10)
		last.Wait(ended(t))
		check("when somebody waits for one that is on its way", 0)
		if err := a.Send(t.Context(), &cluster.Envelope{1, 0, "x"}); err != nil {
			t.Fatal(err)
		}
		check("with one that is sent", 11)
		start(1000)
		if got := come(); got < 700 || got > 1000 {
			t.Errorf("of many more %d come at once, want most", got)
		}
		time.Sleep(cfg.SendTimeout / 4)
		come()
		start(10)
		check("behind those", 0)
		done := wire.Position{Seq: h.Start.Seq + uint64(h.Count)}
		p.Send(0, cfg, wire.Header{
			Flags: wire.FlagResend, AckIncarnation: h.Incarnation, Ack: done,
			Resend: wire.Resend{Kept: wire.Position{Seq: 1}, Wanted: done, Held: wire.Position{Seq: 1}},
		}, nil)
		check("when nothing is on its way any more", 10)
		start(10)
		check("behind those again", 0)
		time.Sleep(cfg.SendTimeout / 4)
		check("after a while", 10)
	})
}
