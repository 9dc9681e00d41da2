package cluster_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/wire"
)

// delivering calls Deliver, and returns where its error will come.
func delivering(ctx context.Context, n *cluster.Node, env *cluster.Envelope) <-chan error {
	done := make(chan error, 1)
	go func() { done <- n.Deliver(ctx, env) }() // It ends when the node has closed at the latest.
	return done
}

// outcome takes the error of a Deliver.
func outcome(t testing.TB, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(testcluster.Limit):
		t.Fatalf("Deliver has not returned within %v", testcluster.Limit)
		return nil
	}
}

func TestDeliverReturnsNilWhenTheMessageIsInThePeersInbox(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.InboxSize = 1
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		if err := a.Deliver(t.Context(), &cluster.Envelope{1, 7, "first"}); err != nil {
			t.Fatal(err)
		}
		if len(b.Inbox()) != 1 {
			t.Fatal("Deliver has returned, and nothing is in the peer's Inbox")
		}
		second := delivering(t.Context(), a, &cluster.Envelope{1, 8, "second"})
		time.Sleep(20 * testcluster.SendTimeout)
		select {
		case err := <-second:
			t.Fatalf("Deliver has returned %v, and Inbox has no room for its message", err)
		default:
		}
		for want := int64(7); want <= 8; want++ {
			if e := testcluster.Take(t, b); e.MsgId != want {
				t.Errorf("message %d comes, want %d", e.MsgId, want)
			}
		}
		if err := outcome(t, second); err != nil {
			t.Error(err)
		}
	})
}

// A message whose type only the sender, or nobody, can read.
type secret struct{ Text string }

func (secret) MarshalBinary() ([]byte, error)  { return []byte("x"), nil }
func (*secret) UnmarshalBinary(b []byte) error { return errors.New("unreadable") }

func init() { cluster.Register("test.secret", secret{}) }

func TestDeliverSaysWhatThePeerHasRefused(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		small := cfg
		small.MaxMessageBytes = 1 << 20
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, small)
		for range 2 {
			for _, c := range []struct {
				msg  any
				want cluster.Refusal
				is   error
			}{
				{secret{}, cluster.RefusedUndecodable, cluster.ErrNotEncodable},
				{make([]byte, 3<<20), cluster.RefusedTooLarge, cluster.ErrTooLarge},
			} {
				before := delivering(t.Context(), a, &cluster.Envelope{1, 0, "before"})
				synctest.Wait()
				err := a.Deliver(t.Context(), &cluster.Envelope{1, 0, c.msg})
				var refused *cluster.RefusedError
				var peer *cluster.PeerError
				if !errors.As(err, &refused) || refused.Refusal != c.want || !errors.Is(err, c.is) || errors.Is(err, cluster.ErrUnconfirmed) {
					t.Errorf("%T: %v, want one that says %v", c.msg, err, c.want)
				}
				if !errors.As(err, &peer) || peer.Peer != 1 {
					t.Errorf("%T: %v names no peer", c.msg, err)
				}
				if err := outcome(t, before); err != nil {
					t.Error("before it: ", err)
				}
				if err := a.Deliver(t.Context(), &cluster.Envelope{1, 0, "after"}); err != nil {
					t.Error("after it: ", err)
				}
			}
		}
		if got := len(b.Inbox()); got != 8 {
			t.Errorf("%d messages are in the peer's Inbox, want 8", got)
		}
	})
}

// Of many that are refused, each is told apart from those that are delivered between them.
func TestDeliverTellsWhichOfManyMessagesWereRefused(t *testing.T) {
	cfg := testcluster.Config(t, "tcp", 2)
	cfg.SendTimeout = testcluster.Limit
	a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
	testcluster.ReadAll(b)
	const count = 3000
	var wg sync.WaitGroup
	var refused, wrong atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Limit)
	defer cancel()
	for i := range count {
		wg.Go(func() {
			var msg any = "x"
			if i%3 == 0 {
				msg = secret{}
			}
			err := a.Deliver(ctx, &cluster.Envelope{1, 0, msg})
			var r *cluster.RefusedError
			switch {
			case errors.As(err, &r) && i%3 == 0:
				refused.Add(1)
			case err == nil && i%3 != 0:
			case errors.Is(err, cluster.ErrUnconfirmed) && ctx.Err() == nil:
				// More were refused at a time than a frame can name.
			default:
				wrong.Add(1)
				t.Errorf("message %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if refused.Load() == 0 {
		t.Error("none was refused")
	}
}

func TestDeliverToAPeerThatDoesNotConfirmSendsNothing(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		p := testcluster.NewFakePeer(t, 1, cfg)
		a := testcluster.Join(t, 0, cfg)
		p.Send(0, cfg, announcing(wire.CapValues|wire.CapResend), nil)
		for range 2 {
			began := time.Now()
			err := a.Deliver(t.Context(), &cluster.Envelope{1, 0, "x"})
			if !errors.Is(err, cluster.ErrUnsupported) || time.Since(began) > 0 {
				t.Errorf("%v after %v, want ErrUnsupported at once", err, time.Since(began))
			}
		}
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); { // it asks a peer that does not answer on and on
			h, _, ok := p.Next(time.Second)
			if !ok {
				break
			}
			if !h.Bare() || h.Flags&wire.FlagConfirm != 0 {
				t.Errorf("it was sent %+v", h)
			}
		}
		if s := a.Stats().Sent; s.Accepted != 0 {
			t.Errorf("%d messages were accepted", s.Accepted)
		}
	})
}

func TestDeliverToAPeerThatIsNotThereCertainlyDoesNotDeliver(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.SendTimeout = testcluster.SendTimeout
		a := testcluster.Join(t, 0, cfg)
		began := time.Now()
		err := a.Deliver(t.Context(), &cluster.Envelope{1, 0, "x"})
		if !errors.Is(err, cluster.ErrTimedOut) || errors.Is(err, cluster.ErrUnconfirmed) || time.Since(began) != testcluster.SendTimeout {
			t.Errorf("%v after %v, want ErrTimedOut after %v", err, time.Since(began), testcluster.SendTimeout)
		}
		if err := a.Deliver(t.Context(), &cluster.Envelope{9, 0, "x"}); !errors.Is(err, cluster.ErrUnknownPeer) {
			t.Errorf("to nobody: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), testcluster.SendTimeout/2)
		defer cancel()
		err = a.Deliver(ctx, &cluster.Envelope{1, 0, "x"})
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, cluster.ErrUnconfirmed) {
			t.Errorf("with a deadline: %v", err)
		}
		if err := a.Deliver(ctx, &cluster.Envelope{1, 0, "x"}); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, cluster.ErrUnconfirmed) {
			t.Errorf("after the deadline: %v", err)
		}
		testcluster.CheckBooks(t, a)
	})
}

func TestDeliverIsUnconfirmedIfItsContextEndsOrThePeerDoesNotSay(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(t *testing.T, a, b *cluster.Node, cancel func())
		is   error
	}{
		{"its context ends", func(_ *testing.T, _, _ *cluster.Node, cancel func()) { cancel() }, context.Canceled},
		{"the peer is closed", func(_ *testing.T, _, b *cluster.Node, _ func()) { b.Close() }, cluster.ErrUnconfirmed},
		{"the node is closed", func(_ *testing.T, a, _ *cluster.Node, _ func()) { a.Close() }, cluster.ErrUnconfirmed},
		{"the peer is removed", func(t *testing.T, a, _ *cluster.Node, _ func()) {
			if !a.Catalog().Remove(1) {
				t.Error("it was not removed")
			}
		}, cluster.ErrUnconfirmed},
	} {
		t.Run(c.name, func(t *testing.T) {
			testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
				cfg.InboxSize = 1
				a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
				if err := a.Deliver(t.Context(), &cluster.Envelope{1, 0, "fills Inbox"}); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				waits := delivering(ctx, a, &cluster.Envelope{1, 0, "waits"})
				other := delivering(t.Context(), a, &cluster.Envelope{1, 0, "waits longer"})
				synctest.Wait()
				c.end(t, a, b, cancel)
				if err := outcome(t, waits); !errors.Is(err, cluster.ErrUnconfirmed) || !errors.Is(err, c.is) {
					t.Errorf("got %v", err)
				}
				if c.is != context.Canceled {
					if err := outcome(t, other); !errors.Is(err, cluster.ErrUnconfirmed) {
						t.Errorf("of the other: %v", err)
					}
					return
				}
				for range 3 {
					testcluster.Take(t, b) // that of which nobody waits to hear, too
				}
				if err := outcome(t, other); err != nil {
					t.Errorf("of the other: %v", err)
				}
			})
		})
	}
}

func TestDeliverToOneselfAndAfterClosing(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		for range 3 {
			if err := a.Deliver(t.Context(), &cluster.Envelope{0, 0, "x"}); err != nil {
				t.Error(err)
			}
		}
		if got := len(a.Inbox()); got != 3 {
			t.Errorf("%d messages are in Inbox, want 3", got)
		}
		if err := a.Deliver(t.Context(), &cluster.Envelope{0, 0, make(chan int)}); !errors.Is(err, cluster.ErrNotEncodable) {
			t.Errorf("a channel: %v", err)
		}
		if err := a.Deliver(t.Context(), nil); !errors.Is(err, cluster.ErrNotEncodable) {
			t.Errorf("no envelope: %v", err)
		}
		a.Close()
		if err := a.Deliver(t.Context(), &cluster.Envelope{0, 0, "x"}); !errors.Is(err, cluster.ErrClosed) {
			t.Errorf("after closing: %v", err)
		}
	})
}

func TestDeliverToSeveralNamesThoseThatItDidNotReach(t *testing.T) {
	testcluster.Bubble(t, 4, func(t *testing.T, cfg cluster.Config) {
		small := cfg
		small.MaxMessageBytes = 1 << 20
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		c := testcluster.Join(t, 2, small)
		group, err := a.Group(0, 1, 2)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Deliver(t.Context(), &cluster.Envelope{group, 0, "to three"}); err != nil {
			t.Error(err)
		}
		for _, n := range []*cluster.Node{a, b, c} {
			if len(n.Inbox()) != 1 {
				t.Errorf("%d messages are in the Inbox of server %d", len(n.Inbox()), n.Pid())
			}
		}
		err = a.Deliver(t.Context(), &cluster.Envelope{cluster.BROADCAST, 0, make([]byte, 2<<20)})
		joined, ok := err.(interface{ Unwrap() []error })
		if !ok {
			t.Fatalf("got %v, want several errors", err)
		}
		got := make(map[int]error)
		for _, err := range joined.Unwrap() {
			var p *cluster.PeerError
			if errors.As(err, &p) {
				got[p.Peer] = p.Err
			}
		}
		if len(got) != 2 || !errors.Is(got[2], cluster.ErrTooLarge) || !errors.Is(got[3], cluster.ErrTimedOut) {
			t.Errorf("got %v, want that 2 has refused it, and 3 is not there", got)
		}
	})
}

func TestADeliverDoesNotWaitForMoreTraffic(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		for i := range 100 {
			began := time.Now()
			if err := a.Deliver(t.Context(), &cluster.Envelope{1, 0, "x"}); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > 0 {
				t.Fatalf("call %d has waited for %v though nothing takes time here", i, took)
			}
			testcluster.Take(t, b)
		}
	})
}

const deliverKnows = wire.CapValues | wire.CapResend | wire.CapConfirm

// announcing is a frame of a peer that announces what it knows.
func announcing(c wire.Capabilities) wire.Header {
	h := wire.Header{Start: wire.Position{Seq: 1}}
	h.Announce(c)
	return h
}

// nextRecords is the next frame with records that comes to p, without time passing.
func nextRecords(t *testing.T, p *testcluster.FakePeer) wire.Header {
	t.Helper()
	for {
		h, _, ok := p.Next(time.Nanosecond)
		if !ok {
			t.Fatal("no records come")
		}
		if !h.Bare() {
			return h
		}
	}
}

func TestWhatAPeerHasAnnouncedBeforeTheFirstDeliverCounts(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		p := testcluster.NewFakePeer(t, 1, cfg)
		a := testcluster.Join(t, 0, cfg)
		p.Send(0, cfg, announcing(deliverKnows), nil)
		synctest.Wait()
		done := delivering(t.Context(), a, &cluster.Envelope{1, 0, "x"})
		synctest.Wait()
		// The peer has not been asked anything that it had to answer first.
		if h := nextRecords(t, p); h.Count != 1 || h.Flags&wire.FlagConfirm == 0 || h.Flags&wire.FlagAckNow == 0 {
			t.Errorf("the first frame with records is %+v, want the message", h)
		}
		a.Close()
		outcome(t, done)
	})
}

func TestDeliverIsUnconfirmedIfThePeerSaysNothingAnyMore(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.SendTimeout = testcluster.SendTimeout
		for _, c := range []struct {
			name string
			say  func(p *testcluster.FakePeer, a *cluster.Node, h wire.Header) // when the message has come
			most time.Duration
		}{
			{"nothing", func(*testcluster.FakePeer, *cluster.Node, wire.Header) {}, cfg.SendTimeout + 3*time.Second},
			{"that it has come", func(p *testcluster.FakePeer, a *cluster.Node, h wire.Header) {
				p.Send(0, cfg, wire.Header{
					Flags: wire.FlagResend, AckIncarnation: h.Incarnation, Ack: h.Start,
					Resend: wire.Resend{Kept: wire.Position{Seq: 1}, Wanted: wire.Position{Seq: h.Start.Seq + 1}, Held: wire.Position{Seq: 1}},
				}, nil)
			}, cfg.SendTimeout + 3*time.Second},
			{"that it does not confirm", func(p *testcluster.FakePeer, a *cluster.Node, h wire.Header) {
				p.Send(0, cfg, announcing(wire.CapValues|wire.CapResend), nil)
			}, 0},
		} {
			a, p := testcluster.Join(t, 0, cfg), testcluster.NewFakePeer(t, 1, cfg)
			p.Send(0, cfg, announcing(deliverKnows), nil)
			began := time.Now()
			done := delivering(t.Context(), a, &cluster.Envelope{1, 0, "x"})
			synctest.Wait()
			c.say(p, a, nextRecords(t, p))
			synctest.Wait()
			if c.most > 0 {
				time.Sleep(c.most)
				synctest.Wait()
			}
			select {
			case err := <-done:
				if !errors.Is(err, cluster.ErrUnconfirmed) {
					t.Errorf("it says %s: %v", c.name, err)
				}
				a.Close()
			default:
				t.Errorf("it says %s: after %v Deliver has not returned", c.name, time.Since(began))
				a.Close()
				outcome(t, done)
			}
			p.Listener.Close()
		}
	})
}

// What a peer acknowledges meanwhile does not say that it will not answer.
func TestDeliverWaitsForASlowAnswer(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.SendTimeout = testcluster.SendTimeout
		p := testcluster.NewFakePeer(t, 1, cfg)
		a := testcluster.Join(t, 0, cfg)
		done := delivering(t.Context(), a, &cluster.Envelope{1, 0, "x"})
		h, _, _ := p.Next(time.Second)
		if know, ok := h.Announced(); !ok || !know.Has(wire.CapConfirm) || h.Flags&wire.FlagAckNow == 0 {
			t.Fatalf("it asks with %+v", h)
		}
		ack := wire.Header{AckIncarnation: h.Incarnation, Ack: h.Start}
		for range 10 {
			time.Sleep(cfg.SendTimeout / 8)
			p.Send(0, cfg, ack, nil)
		}
		p.Send(0, cfg, announcing(deliverKnows), nil)
		synctest.Wait()
		if h := nextRecords(t, p); h.Flags&wire.FlagConfirm == 0 {
			t.Errorf("it sends %+v", h)
		}
		a.Close()
		outcome(t, done)
	})
}

// A server of a version that announces nothing acknowledges, and does not answer.
func TestDeliverToAPeerThatAnnouncesNothingIsUnsupported(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.SendTimeout = testcluster.SendTimeout
		p := testcluster.NewFakePeer(t, 1, cfg)
		a := testcluster.Join(t, 0, cfg)
		for i, most := range []time.Duration{cfg.SendTimeout + 2*time.Second, 0} {
			began := time.Now()
			done := delivering(t.Context(), a, &cluster.Envelope{1, 0, "x"})
			var err error
			for waiting := true; waiting; {
				synctest.Wait()
				select {
				case err = <-done:
					waiting = false
				default:
					if h, _, ok := p.Next(time.Millisecond); ok {
						p.Send(0, cfg, wire.Header{AckIncarnation: h.Incarnation, Ack: wire.Position{Seq: 1}}, nil)
					}
				}
			}
			if took := time.Since(began); !errors.Is(err, cluster.ErrUnsupported) || took > most {
				t.Errorf("call %d: %v after %v, want ErrUnsupported after %v at most", i, err, took, most)
			}
		}
		if s := a.Stats().Sent; s.Accepted != 0 {
			t.Errorf("%d messages were accepted", s.Accepted)
		}
	})
}

// The error of several is one list, and not one within another.
func TestTheErrorOfDeliverListsEachServerThatItDidNotReach(t *testing.T) {
	testcluster.Bubble(t, 4, func(t *testing.T, cfg cluster.Config) {
		cfg.SendTimeout = testcluster.SendTimeout
		a := testcluster.Join(t, 0, cfg)
		err := a.Deliver(t.Context(), &cluster.Envelope{cluster.BROADCAST, 0, "x"})
		joined, ok := err.(interface{ Unwrap() []error })
		if !ok {
			t.Fatalf("got %v, want several errors", err)
		}
		var got []int
		for _, err := range joined.Unwrap() {
			p, ok := err.(*cluster.PeerError)
			if !ok || !errors.Is(p, cluster.ErrTimedOut) {
				t.Errorf("%q is among them, want the ErrTimedOut of a server", err)
				continue
			}
			got = append(got, p.Peer)
		}
		if slices.Sort(got); !slices.Equal(got, []int{1, 2, 3}) {
			t.Errorf("servers %v are listed in %q, want 1, 2 and 3", got, err)
		}
	})
}

// The peer's node runs, and its program takes nothing: a Deliver that has the window to itself waits, and beside more than that holds it ends.
func TestDeliverIsUnconfirmedIfMoreIsToBeWrittenThanAStalledPeersWindowHolds(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.InboxSize = 1
		cfg.SendTimeout = testcluster.SendTimeout
		a := testcluster.Join(t, 0, cfg)
		testcluster.Join(t, 1, cfg)
		if err := a.Deliver(t.Context(), &cluster.Envelope{1, 0, "fills Inbox"}); err != nil {
			t.Fatal(err)
		}
		done := delivering(t.Context(), a, &cluster.Envelope{1, 0, "waits"})
		time.Sleep(20 * cfg.SendTimeout)
		select {
		case err := <-done:
			t.Fatalf("Deliver has returned %v with nothing more to be written", err)
		default:
		}
		var err error
		for err == nil {
			err = a.Send(t.Context(), &cluster.Envelope{1, 0, make([]byte, 1<<20)})
		}
		if !errors.Is(err, cluster.ErrTimedOut) && !errors.Is(err, cluster.ErrUnreachable) {
			t.Errorf("Send returns %v", err)
		}
		if err := outcome(t, done); !errors.Is(err, cluster.ErrUnconfirmed) {
			t.Errorf("Deliver returns %v, want ErrUnconfirmed", err)
		}
	})
}

// askedFor counts how often a peer is asked in some time what became of the message that came with h, which it says to have and not to be done with.
func askedFor(p *testcluster.FakePeer, cfg cluster.Config, h wire.Header, d time.Duration) (asked int) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		p.Send(0, cfg, wire.Header{
			Flags: wire.FlagResend, AckIncarnation: h.Incarnation, Ack: h.Start,
			Resend: wire.Resend{Kept: wire.Position{Seq: 1}, Wanted: wire.Position{Seq: h.Start.Seq + 1}, Held: wire.Position{Seq: 1}},
		}, nil)
		if h, _, ok := p.Next(100 * time.Millisecond); ok && h.Bare() && h.Flags&wire.FlagAckNow != 0 {
			asked++
		}
	}
	return asked
}

func TestThePeerIsNotAskedForThoseWhoWaitNoMore(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.SendTimeout = testcluster.SendTimeout
		p := testcluster.NewFakePeer(t, 1, cfg)
		a := testcluster.Join(t, 0, cfg)
		p.Send(0, cfg, announcing(deliverKnows), nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := delivering(ctx, a, &cluster.Envelope{1, 0, "x"})
		synctest.Wait()
		h := nextRecords(t, p)
		if askedFor(p, cfg, h, 2*time.Second) == 0 {
			t.Error("the peer is not asked while Deliver waits")
		}
		cancel()
		if err := outcome(t, done); !errors.Is(err, cluster.ErrUnconfirmed) {
			t.Error(err)
		}
		p.Next(time.Nanosecond) // it may have been asked before
		if n := askedFor(p, cfg, h, 2*time.Second); n > 0 {
			t.Errorf("the peer is asked %d times in 2 s, and nobody waits", n)
		}
		a.Close()
	})
}

// What is sent later has the numbers of what was dropped.
func TestThePeerIsNotAskedForWhatIsSentAfterADeliverWasDropped(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.SendTimeout = testcluster.SendTimeout
		p := testcluster.NewFakePeer(t, 1, cfg)
		a := testcluster.Join(t, 0, cfg)
		p.Send(0, cfg, announcing(deliverKnows), nil)
		synctest.Wait()
		p.Listener.Close()
		if err := a.Deliver(t.Context(), &cluster.Envelope{1, 0, "x"}); err == nil || errors.Is(err, cluster.ErrUnconfirmed) {
			t.Fatalf("got %v, want that it was dropped", err)
		}
		p = testcluster.NewFakePeer(t, 1, cfg)
		p.Send(0, cfg, announcing(deliverKnows), nil)
		time.Sleep(5 * time.Second)
		if err := a.Send(t.Context(), &cluster.Envelope{1, 0, "y"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		h := nextRecords(t, p)
		askedFor(p, cfg, h, time.Second)
		if n := askedFor(p, cfg, h, 2*time.Second); n > 0 {
			t.Errorf("the peer is asked %d times in 2 s, and nobody waits", n)
		}
		a.Close()
	})
}

// Who is not there, or has no room, holds nobody else's messages up.
func TestDeliverToSeveralDoesNotWaitForOneBeforeItSendsToAnother(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		cfg.SendTimeout = testcluster.SendTimeout
		a, c := testcluster.Join(t, 0, cfg), testcluster.Join(t, 2, cfg)
		began := time.Now()
		done := delivering(t.Context(), a, &cluster.Envelope{cluster.BROADCAST, 0, "x"})
		if testcluster.Take(t, c); time.Since(began) > cfg.SendTimeout/2 {
			t.Errorf("the message comes after %v", time.Since(began))
		}
		if err := outcome(t, done); !errors.Is(err, cluster.ErrTimedOut) {
			t.Errorf("got %v, want that 1 is not there", err)
		}
	})
}

// confirm lets p say that it has taken all before a number.
func confirm(p *testcluster.FakePeer, cfg cluster.Config, h wire.Header, before uint64) {
	at := wire.Position{Seq: before}
	p.Send(0, cfg, wire.Header{
		Flags: wire.FlagResend, AckIncarnation: h.Incarnation, Ack: at,
		Resend: wire.Resend{Kept: wire.Position{Seq: 1}, Wanted: at, Held: at},
	}, nil)
}

// Who waits alone reads the network, and whoever waits beside it need not wait until somebody else does.
func TestOfSeveralDeliversEachReturnsWhenItsMessageIsConfirmed(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		p := testcluster.NewFakePeer(t, 1, cfg)
		a := testcluster.Join(t, 0, cfg)
		p.Send(0, cfg, announcing(deliverKnows), nil)
		began := time.Now()
		var done [3]<-chan error
		var h wire.Header
		for i := range done {
			done[i] = delivering(t.Context(), a, &cluster.Envelope{1, 0, "x"})
			synctest.Wait()
			h = nextRecords(t, p)
		}
		for i := range done {
			confirm(p, cfg, h, uint64(2+i))
			synctest.Wait()
			select {
			case err := <-done[i]:
				if err != nil {
					t.Errorf("call %d: %v", i, err)
				}
			default:
				t.Errorf("call %d waits though its message is confirmed", i)
			}
		}
		if took := time.Since(began); took > 100*time.Nanosecond {
			t.Errorf("it took %v", took)
		}
	})
}

// Who takes from Inbox has messages as soon as they come, whoever calls Deliver.
func TestDeliverDoesNotHoldUpWhatIsTakenFromInbox(t *testing.T) {
	for _, before := range []bool{true, false} {
		testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
			a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
			if before {
				a.Inbox()
			}
			for range 3 {
				if err := a.Deliver(t.Context(), &cluster.Envelope{1, 0, "x"}); err != nil {
					t.Fatal(err)
				}
				inbox := a.Inbox()
				began := time.Now()
				if err := b.Send(t.Context(), &cluster.Envelope{0, 0, "y"}); err != nil {
					t.Fatal(err)
				}
				<-inbox
				if took := time.Since(began); took > 0 {
					t.Errorf("asked for Inbox before: %v: the message comes after %v", before, took)
				}
			}
		})
	}
}

// Nobody who closes waits for acknowledgments that others have asked for, nor for those that it has asked for of one that has closed before.
func TestServersThatDeliverAndCloseOneAfterAnotherDoNotWaitForEachOther(t *testing.T) {
	t.Parallel() // it waits more than it works
	for _, c := range []struct {
		name string
		read bool // programs take what comes
		size int
	}{{"large", true, 100_000}, {"small", true, 10}, {"not taken", false, 10}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := testcluster.Config(t, "tcp", 3)
			cfg.SendTimeout, cfg.Linger, cfg.InboxSize = time.Hour, testcluster.Limit, 1
			nodes := testcluster.StartAll(t, cfg)
			var calls sync.WaitGroup
			for _, n := range nodes {
				if c.read {
					testcluster.ReadAll(n)
				}
				for range 20 {
					calls.Go(func() {
						n.Deliver(context.Background(), &cluster.Envelope{cluster.BROADCAST, 0, make([]byte, c.size)})
					})
				}
			}
			for _, n := range nodes {
				testcluster.Eventually(t, "all is written", func() bool { s := n.Stats().Sent; return s.Sent == 40 && s.Queued == 0 })
			}
			for _, n := range nodes {
				if err := n.Close(); err != nil {
					t.Errorf("server %d: %v", n.Pid(), err)
				}
			}
			calls.Wait() // all have come back
		})
	}
}

// Who does not use Deliver sends what it sent before there was that: no flag, and no frame.
func TestWhoDoesNotDeliverSendsNothingOfIt(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		p := testcluster.NewFakePeer(t, 1, cfg)
		a := testcluster.Join(t, 0, cfg)
		p.Send(0, cfg, announcing(deliverKnows), nil)
		for range 10 {
			testcluster.Put(t, a, &cluster.Envelope{1, 0, "x"})
			synctest.Wait()
		}
		records := 0
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
			h, body, ok := p.Next(time.Second)
			if !ok {
				break
			}
			if h.Flags&wire.FlagConfirm != 0 {
				t.Errorf("it was sent %+v", h)
			}
			if records += int(h.Count); h.Bare() && len(body) > 0 {
				t.Errorf("behind a bare frame come %d bytes", len(body))
			}
		}
		if records != 10 {
			t.Errorf("%d records came, want 10", records)
		}
	})
}

// Go begins a goroutine with 2 KiB of stack, and to go on with more it copies that, which takes longer than all else that Deliver
// does. So a goroutine that makes one call has enough, and many that wait take little memory.
func TestAGoroutineThatDeliversNeedsNoMoreStackThanItBeginsWith(t *testing.T) {
	if testcluster.RaceEnabled || testing.CoverMode() != "" {
		t.Skip("what is built so needs more of the stack")
	}
	for name, ctx := range map[string]context.Context{"without an end": context.Background(), "with one": t.Context()} {
		t.Run(name, func(t *testing.T) {
			cfg := testcluster.Config(t, "tcp", 2)
			cfg.InboxSize = 1 // and nobody takes: all wait
			cfg.Linger = time.Millisecond
			near, far := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
			near.Inbox() // nobody reads the network itself, which takes more of the stack
			if err := near.Deliver(t.Context(), &cluster.Envelope{1, 0, "first"}); err != nil {
				t.Fatal(err)
			}
			const many, most = 2000, 1536 // some who wait for a lock need more
			begin := make(chan struct{})
			var calls sync.WaitGroup
			for range many {
				calls.Go(func() {
					<-begin
					near.Deliver(ctx, &cluster.Envelope{1, 0, "x"})
				})
			}
			var before, after runtime.MemStats
			runtime.GC() // where they begin with more, it leaves them as much as they need
			runtime.ReadMemStats(&before)
			close(begin)
			testcluster.Eventually(t, "all is written", func() bool { return near.Stats().Sent.Sent == many+1 })
			runtime.ReadMemStats(&after)
			if grown := (int(after.StackInuse) - int(before.StackInuse)) / many; grown > most {
				t.Errorf("each of them takes %d bytes of stack more than it began with, want at most %d", grown, most)
			} else {
				t.Logf("each takes %d bytes more", grown)
			}
			far.Close()
			near.Close()
			calls.Wait()
		})
	}
}

// BenchmarkDeliver measures Deliver beside what it is to be compared with, in turns: one at a time beside a round trip by
// Send and Receive, to a program that takes by Receive or from Inbox, and 1,000 at a time beside as many that call Send, one that calls
// Send, and as many that call Send and are then parked and woken, which is all that waiting can cost at least; 1,000 that one goroutine has
// under way by StartDelivery beside the first two; and a goroutine for each message, 1,000 at a time, beside the same by Send. The ratios are of the two in one run.
func BenchmarkDeliver(b *testing.B) {
	b.Run("lone", func(b *testing.B) {
		trip := roundTrips(b)
		b.Run("Receive", func(b *testing.B) { inTurns(b, lone(b, true), trip) })
		b.Run("Inbox", func(b *testing.B) { inTurns(b, lone(b, false), trip) })
	})
	b.Run("1000", func(b *testing.B) {
		deliver, send, alone := many(b, 1000, (*cluster.Node).Deliver), many(b, 1000, (*cluster.Node).Send), many(b, 1, (*cluster.Node).Send)
		var p parking
		park := many(b, 1000, func(n *cluster.Node, ctx context.Context, env *cluster.Envelope) error {
			err := n.Send(ctx, env)
			p.park()
			return err
		})
		started := many(b, 1, starting(1000))
		const turn = 100_000
		var took, sends, ones, parks, starts time.Duration
		for n := 0; n < b.N; n += turn {
			took, sends, ones, parks = took+deliver(turn), sends+send(turn), ones+alone(turn), parks+park(turn)
			starts += started(turn)
		}
		b.ReportMetric(float64(sends)/float64(took), "of-Send")
		b.ReportMetric(float64(ones)/float64(took), "of-one-Send")
		b.ReportMetric(float64(parks)/float64(took), "of-Send-and-park")
		b.ReportMetric(float64(sends)/float64(starts), "started-of-Send")
		b.ReportMetric(float64(ones)/float64(starts), "started-of-one-Send")
		b.ReportMetric(took.Seconds()*1e9/float64((b.N+turn-1)/turn*turn), "ns/Deliver")
		b.ReportMetric(0, "ns/op")
	})
	b.Run("each", func(b *testing.B) {
		deliver, send := each(b, 1000, (*cluster.Node).Deliver), each(b, 1000, (*cluster.Node).Send)
		const turn = 20_000
		var took, sends time.Duration
		for n := 0; n < b.N; n += turn {
			took, sends = took+deliver(turn), sends+send(turn)
		}
		b.ReportMetric(float64(sends)/float64(took), "of-Send")
		b.ReportMetric(took.Seconds()*1e9/float64((b.N+turn-1)/turn*turn), "ns/Deliver")
		b.ReportMetric(0, "ns/op")
	})
}

// inTurns reports how long the median of one takes, and of another in parts of that of the first.
func inTurns(b *testing.B, one, other func()) {
	const turn = 200
	var took, others []time.Duration
	for range turn {
		one()
		other()
	}
	time1 := func(f func(), all *[]time.Duration) {
		for range turn {
			began := time.Now()
			f()
			*all = append(*all, time.Since(began))
		}
	}
	for n := 0; n < b.N; n += turn {
		time1(one, &took)
		time1(other, &others)
	}
	slices.Sort(took)
	slices.Sort(others)
	p50, other50 := took[len(took)/2], others[len(others)/2]
	b.ReportMetric(float64(p50.Nanoseconds())/1e3, "p50-µs")
	b.ReportMetric(float64(p50)/float64(other50), "of-round-trip")
	b.ReportMetric(0, "ns/op")
}

// deliverPair joins two servers, of which the first knows that the other confirms.
func deliverPair(b *testing.B) (near, far *cluster.Node) {
	cfg := testcluster.Config(b, "tcp", 2)
	near, far = testcluster.Join(b, 0, cfg), testcluster.Join(b, 1, cfg)
	if err := near.Deliver(b.Context(), &cluster.Envelope{1, 0, "first"}); err != nil {
		b.Fatal(err)
	}
	if _, err := far.Receive(b.Context()); err != nil {
		b.Fatal(err)
	}
	return near, far
}

func lone(b *testing.B, receive bool) func() {
	near, far := deliverPair(b)
	if receive {
		go func() { // It ends when far has closed.
			for {
				if _, err := far.Receive(context.Background()); err != nil {
					return
				}
			}
		}()
	} else {
		testcluster.ReadAll(far)
	}
	return func() {
		if err := near.Deliver(context.Background(), &cluster.Envelope{1, 0, "x"}); err != nil {
			b.Fatal(err)
		}
	}
}

func roundTrips(b *testing.B) func() {
	near, far := deliverPair(b)
	go func() { // It ends when far has closed.
		for {
			e, err := far.Receive(context.Background())
			if err != nil {
				return
			}
			far.Send(context.Background(), &cluster.Envelope{Pid: e.Pid, Msg: e.Msg})
		}
	}()
	return func() {
		near.Send(context.Background(), &cluster.Envelope{1, 0, "x"})
		near.Receive(context.Background())
	}
}

// many has goroutines make a number of calls, and returns how long it takes until all messages have come.
func many(b *testing.B, goroutines int, call func(*cluster.Node, context.Context, *cluster.Envelope) error) func(calls int) time.Duration {
	near, far := deliverPair(b)
	msg := make([]byte, 16)
	return func(calls int) time.Duration {
		began := time.Now()
		all := takes(far, calls)
		var wg sync.WaitGroup
		var n atomic.Int64
		for range goroutines {
			wg.Go(func() {
				for n.Add(1) <= int64(calls) {
					if err := call(near, context.Background(), &cluster.Envelope{1, 0, msg}); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
		<-all
		return time.Since(began)
	}
}

// starting is StartDelivery, with so many under way at most: what it returns waits for the earliest first.
func starting(most int) func(*cluster.Node, context.Context, *cluster.Envelope) error {
	under := make([]*cluster.Delivery, most)
	next := 0
	return func(n *cluster.Node, ctx context.Context, env *cluster.Envelope) (err error) {
		if d := under[next]; d != nil {
			err = d.Wait(ctx)
		}
		under[next] = n.StartDelivery(ctx, env)
		next = (next + 1) % most
		return err
	}
}

// each is many with a goroutine for each call.
func each(b *testing.B, most int, call func(*cluster.Node, context.Context, *cluster.Envelope) error) func(calls int) time.Duration {
	near, far := deliverPair(b)
	msg := make([]byte, 16)
	return func(calls int) time.Duration {
		began := time.Now()
		all := takes(far, calls)
		var wg sync.WaitGroup
		running := make(chan struct{}, most)
		for range calls {
			running <- struct{}{}
			wg.Go(func() {
				if err := call(near, context.Background(), &cluster.Envelope{1, 0, msg}); err != nil {
					b.Error(err)
				}
				<-running
			})
		}
		wg.Wait()
		<-all
		return time.Since(began)
	}
}

// takes takes messages, and closes a channel when so many have come.
func takes(n *cluster.Node, count int) (all chan struct{}) {
	all = make(chan struct{})
	go func() { // It ends when all have come, or the node has closed.
		for range count {
			<-n.Inbox()
		}
		close(all)
	}()
	return all
}

// A parking parks goroutines, each on a channel of its own, until another goroutine has had its turn: that wakes all at once.
type parking struct {
	mu     sync.Mutex
	parked []chan struct{}
	spare  sync.Pool
}

func (p *parking) park() {
	c, _ := p.spare.Get().(chan struct{})
	if c == nil {
		c = make(chan struct{}, 1)
	}
	p.mu.Lock()
	if p.parked = append(p.parked, c); len(p.parked) == 1 {
		go p.wake() // It ends at once.
	}
	p.mu.Unlock()
	<-c
	p.spare.Put(c)
}

func (p *parking) wake() {
	runtime.Gosched()
	p.mu.Lock()
	all := p.parked
	p.parked = nil
	p.mu.Unlock()
	for _, c := range all {
		c <- struct{}{}
	}
}
