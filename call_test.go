package cluster_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/wire"
)

// A called is what came of a call.
type called struct {
	env *cluster.Envelope
	err error
}

// calling calls, and returns where the outcome will come.
func calling(ctx context.Context, n *cluster.Node, pid int, msg any) <-chan called {
	done := make(chan called, 1)
	go func() { // It ends when the node has closed at the latest.
		env, err := n.Call(ctx, pid, msg)
		done <- called{env, err}
	}()
	return done
}

// result takes the outcome of a call.
func result(t testing.TB, done <-chan called) called {
	t.Helper()
	select {
	case c := <-done:
		return c
	case <-time.After(testcluster.Limit):
		t.Fatalf("Call has not returned within %v", testcluster.Limit)
		return called{}
	}
}

// request takes the next envelope of n, which is to be a request.
func request(t testing.TB, n *cluster.Node) *cluster.Request {
	t.Helper()
	e := testcluster.Take(t, n)
	r, ok := e.Msg.(*cluster.Request)
	if !ok {
		t.Fatalf("%v came, want a request", e)
	}
	return r
}

// fails checks what a call has failed with.
func fails(t testing.TB, err, want error, seen bool) {
	t.Helper()
	var c *cluster.CallError
	if !errors.Is(err, want) || !errors.As(err, &c) || c.MaybeSeen != seen {
		t.Errorf("got %v, want %v, and that it may have been seen: %v", err, want, seen)
	}
}

// echo answers all requests with what they are, until the node closes.
func echo(n *cluster.Node) {
	for {
		e, err := n.Receive(context.Background())
		if err != nil {
			return
		}
		if r, ok := e.Msg.(*cluster.Request); ok {
			r.Reply(context.Background(), r.Msg)
		}
	}
}

func TestACallReturnsTheReplyWhichGoesToNobodyElse(t *testing.T) {
	for _, scheme := range []string{"tcp", "ipc", "mem", "keys"} {
		for _, inbox := range []bool{false, true} {
			t.Run(fmt.Sprint(scheme, " inbox=", inbox), func(t *testing.T) {
				cfg := testcluster.Config(t, strings.Replace(scheme, "keys", "tcp", 1), 2)
				cfg.SendTimeout = testcluster.Limit
				if scheme == "keys" {
					cfg = testcluster.Keyed(t, cfg)
				}
				a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
				if inbox {
					a.Inbox()
				}
				go echo(b) // It ends when b has closed.
				ctx, cancel := context.WithTimeout(t.Context(), testcluster.Limit)
				defer cancel()
				large := strings.Repeat("x", 300<<10)
				for _, msg := range []any{"hello", 7, nil, callNote{"n"}, large, []byte(large)} {
					env, err := a.Call(ctx, 1, msg)
					if err != nil {
						t.Fatal(err)
					}
					if env.Pid != 1 || fmt.Sprintf("%T%v", env.Msg, env.Msg) != fmt.Sprintf("%T%v", msg, msg) {
						t.Errorf("called with %.40v, got %.40v", msg, env)
					}
				}
				if n := len(a.Inbox()); n > 0 {
					t.Errorf("%d messages are in the Inbox of who called", n)
				}
			})
		}
	}
}

type callNote struct{ Text string }

// A leaving message ends the goroutine that decodes it.
type leaving struct{}

func (leaving) MarshalBinary() ([]byte, error)  { return []byte("x"), nil }
func (*leaving) UnmarshalBinary(b []byte) error { runtime.Goexit(); return nil }

func init() {
	cluster.Register("test.call.note", callNote{})
	cluster.Register("test.call.leaving", leaving{})
}

func TestTheReplyHasTheMessageIdOfItsRequest(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		done := calling(t.Context(), a, 1, "question")
		e := testcluster.Take(t, b)
		r := e.Msg.(*cluster.Request)
		if e.Pid != 0 || e.MsgId <= 0 || r.Msg != "question" || fmt.Sprint(r) != "request question" {
			t.Errorf("got %v", e)
		}
		if err := r.Reply(t.Context(), "answer"); err != nil {
			t.Fatal(err)
		}
		if c := result(t, done); c.err != nil || c.env.MsgId != e.MsgId || c.env.Msg != "answer" {
			t.Errorf("got %v, want the id %d", c, e.MsgId)
		}
	})
}

func TestRequestsKeepTheirOrderAmongOtherMessages(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for i := range 10 {
			if err := a.Send(ctx, &cluster.Envelope{1, 0, 2 * i}); err != nil {
				t.Fatal(err)
			}
			calling(ctx, a, 1, 2*i+1)
			synctest.Wait()
			time.Sleep(time.Second) // until the peer has said that it takes calls
		}
		for i := range 20 {
			msg := testcluster.Take(t, b).Msg
			if r, ok := msg.(*cluster.Request); ok {
				msg = r.Msg
			}
			if msg != i {
				t.Fatalf("%v came, want %d", msg, i)
			}
		}
	})
}

func TestTheErrorsOfTheOtherSideTravelAsErrors(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		small := cfg
		small.MaxMessageBytes = 1 << 20
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, small)
		for text, err := range map[string]error{"no such key": errors.New("no such key"), "no error": nil, strings.Repeat("x", 4096): errors.New(strings.Repeat("x", 1<<20))} {
			done := calling(t.Context(), a, 1, "x")
			if err := request(t, b).Fail(t.Context(), err); err != nil {
				t.Fatal(err)
			}
			c := result(t, done)
			var remote *cluster.RemoteError
			if !errors.As(c.err, &remote) || remote.Text != text || remote.Pid != 1 {
				t.Errorf("got %.80v, want %.40q", c.err, text)
			}
			fails(t, c.err, remote, true)
		}
		for _, c := range []struct {
			name string
			msg  any
			want error
		}{
			{"unreadable", secret{}, cluster.ErrNotEncodable},
			{"its method ends the goroutine", leaving{}, cluster.ErrNotEncodable},
			{"too large", make([]byte, 1<<20+1), cluster.ErrTooLarge},
			{"too large, in pieces", make([]byte, 3<<20), cluster.ErrTooLarge},
		} {
			_, err := a.Call(t.Context(), 1, c.msg)
			var refused *cluster.RefusedError
			if !errors.As(err, &refused) {
				t.Errorf("%s: %v", c.name, err)
			}
			fails(t, err, c.want, false)
		}
		if got := len(b.Inbox()); got > 0 {
			t.Errorf("%d refused requests were delivered", got)
		}
		done := calling(t.Context(), a, 1, make([]byte, 1<<20))
		if err := request(t, b).Reply(t.Context(), secret{}); err != nil {
			t.Fatal(err)
		}
		if c := result(t, done); c.err == nil || !strings.Contains(c.err.Error(), "does not take these 1 bytes") {
			t.Errorf("a reply that cannot be read: %v", c.err)
		}
	})
}

func TestARequestIsAnsweredOnceFromAnyGoroutine(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		done := calling(t.Context(), a, 1, "x")
		r := request(t, b)
		if err := r.Reply(t.Context(), make(chan int)); !errors.Is(err, cluster.ErrNotEncodable) {
			t.Errorf("a reply that cannot be sent: %v", err)
		}
		errs := make(chan error, 10)
		for i := range 10 {
			go func() { errs <- r.Reply(t.Context(), i) }()
		}
		answered := 0
		for range 10 {
			switch err := <-errs; err {
			case nil:
				answered++
			case cluster.ErrAnswered:
			default:
				t.Error(err)
			}
		}
		if c := result(t, done); answered != 1 || c.err != nil {
			t.Errorf("answered %d times: %v", answered, c)
		}
		if err := r.Fail(t.Context(), nil); err != cluster.ErrAnswered {
			t.Errorf("once more: %v", err)
		}
		if err := new(cluster.Request).Reply(t.Context(), 1); err == nil {
			t.Error("a request that never came was answered")
		}
		if n := a.Stats().Received.RefusedTotal(); n > 0 {
			t.Errorf("%d replies were refused", n)
		}
	})
}

func TestALateReplyIsCountedAndGoesNowhere(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		done := calling(ctx, a, 1, "x")
		late := request(t, b)
		fails(t, result(t, done).err, context.DeadlineExceeded, true)
		next := calling(t.Context(), a, 1, "y")
		r := request(t, b)
		for _, r := range []*cluster.Request{late, r} {
			if err := r.Reply(t.Context(), r.Msg); err != nil {
				t.Fatal(err)
			}
		}
		if c := result(t, next); c.err != nil || c.env.Msg != "y" {
			t.Errorf("the next call got %v", c)
		}
		s := testcluster.StatsOf(a, 1).Received
		if s.Refused[cluster.RefusedLate] != 1 || s.RefusedTotal() != 1 || s.Received != 1 || len(a.Inbox()) > 0 {
			t.Errorf("got %+v", s)
		}
		if _, err := a.Call(testcluster.AlreadyDone(), 1, "x"); !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %v", err)
		}
	})
}

func TestACallEndsWhenItsPeerDoesOrIsNotHeard(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(a, b *cluster.Node)
		want error
		soon bool // at once
	}{
		{"the peer closes", func(_, b *cluster.Node) { b.Close() }, cluster.ErrUnreachable, false},
		{"the peer is removed", func(a, _ *cluster.Node) { a.Catalog().Remove(1) }, cluster.ErrUnknownPeer, true},
		{"the node closes", func(a, _ *cluster.Node) { a.Close() }, cluster.ErrClosed, true},
	} {
		for _, inbox := range []bool{false, true} {
			t.Run(fmt.Sprint(c.name, " inbox=", inbox), func(t *testing.T) {
				testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
					a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
					if inbox {
						a.Inbox()
					}
					var done []<-chan called
					for range 3 {
						done = append(done, calling(t.Context(), a, 1, "x"))
						request(t, b)
					}
					time.Sleep(20 * testcluster.SendTimeout) // A peer that answers nothing is waited for.
					began := time.Now()
					c.end(a, b)
					for _, d := range done {
						fails(t, result(t, d).err, c.want, true)
					}
					if took := time.Since(began); c.soon && took > 0 || took > 5*testcluster.SendTimeout {
						t.Errorf("it has taken %v", took)
					}
				})
			})
		}
	}
}

func TestACallEndsWhenItsPeerBeginsAnew(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		done := calling(t.Context(), a, 1, "x")
		old := request(t, b)
		b.Close()
		b = testcluster.Join(t, 1, cfg)
		began := time.Now()
		fails(t, result(t, done).err, cluster.ErrRestarted, true)
		if took := time.Since(began); took > testcluster.SendTimeout {
			t.Errorf("it has taken %v", took)
		}
		if err := old.Reply(t.Context(), "y"); !errors.Is(err, cluster.ErrClosed) {
			t.Errorf("a reply of the node that has closed: %v", err)
		}
		done = calling(t.Context(), a, 1, "y")
		request(t, b).Reply(t.Context(), "z")
		if c := result(t, done); c.err != nil || c.env.Msg != "z" {
			t.Errorf("the next call: %v", c)
		}
	})
}

// A reply to an earlier life of who has called is for nobody.
func TestAReplyToAnEarlierLifeIsLate(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		done := calling(t.Context(), a, 1, "x")
		old := request(t, b)
		a.Close()
		fails(t, result(t, done).err, cluster.ErrClosed, true)
		a = testcluster.Join(t, 0, cfg)
		done = calling(t.Context(), a, 1, "y")
		r := request(t, b)
		for _, r := range []*cluster.Request{old, r} {
			if err := r.Reply(t.Context(), r.Msg); err != nil {
				t.Fatal(err)
			}
		}
		if c := result(t, done); c.err != nil || c.env.Msg != "y" {
			t.Errorf("got %v", c)
		}
		if n := a.Stats().Received.Refused[cluster.RefusedLate]; n != 1 {
			t.Errorf("%d replies were late, want 1", n)
		}
	})
}

func TestACallToAPeerThatHasNotAnnouncedCallsSendsNothing(t *testing.T) {
	for _, c := range []struct {
		name  string
		knows wire.Capabilities
		acks  bool // it acknowledges instead of announcing
		took  time.Duration
	}{
		{"it has announced other things", wire.CapValues | wire.CapResend | wire.CapConfirm, false, 0},
		{"it announces nothing", 0, true, 4 * testcluster.SendTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
				p := testcluster.NewFakePeer(t, 1, cfg)
				a := testcluster.Join(t, 0, cfg)
				h := wire.Header{Start: wire.Position{Seq: 1}}
				if h.Announce(c.knows); c.acks {
					h.AckIncarnation, h.Ack = a.Stats().Incarnation, wire.Position{Seq: 1}
				}
				stop := make(chan struct{})
				go func() { // It ends with the test.
					for {
						p.Send(0, cfg, h, nil)
						select {
						case <-time.After(50 * time.Millisecond):
						case <-stop:
							return
						}
					}
				}()
				synctest.Wait()
				began := time.Now()
				_, err := a.Call(t.Context(), 1, "x")
				fails(t, err, cluster.ErrNoCalls, false)
				if took := time.Since(began); took > c.took {
					t.Errorf("it has taken %v", took)
				}
				close(stop)
				synctest.Wait()
				for range 20 { // It goes on asking.
					if h, _, ok := p.Next(time.Second); ok && !h.Bare() {
						t.Errorf("it was sent %+v", h)
					}
				}
				if s := a.Stats().Sent; s.Accepted != 0 {
					t.Errorf("%d messages were accepted", s.Accepted)
				}
			})
		})
	}
}

func TestTheFirstCallWaitsForThePeerForSendTimeout(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		began := time.Now()
		_, err := a.Call(t.Context(), 1, "x")
		fails(t, err, cluster.ErrUnreachable, false)
		if took := time.Since(began); took != testcluster.SendTimeout {
			t.Errorf("it has taken %v, want %v", took, testcluster.SendTimeout)
		}
		_, err = a.Call(t.Context(), 9, "x")
		fails(t, err, cluster.ErrUnknownPeer, false)
		_, err = a.Call(t.Context(), cluster.BROADCAST, "x")
		fails(t, err, cluster.ErrUnknownPeer, false)
		done := calling(t.Context(), a, 1, "x")
		time.Sleep(testcluster.SendTimeout / 2)
		b := testcluster.Join(t, 1, cfg)
		request(t, b).Reply(t.Context(), "y")
		if c := result(t, done); c.err != nil {
			t.Error(c.err)
		}
		a.Close()
		_, err = a.Call(t.Context(), 1, "x")
		fails(t, err, cluster.ErrClosed, false)
	})
}

// Of two calls to a peer that grants no window, the first is written, and the second is not.
func TestACallThatWasNotWrittenWasNotSeen(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		p := testcluster.NewFakePeer(t, 1, cfg)
		a := testcluster.Join(t, 0, cfg)
		h := wire.Header{Start: wire.Position{Seq: 1}}
		h.Announce(wire.CapCalls)
		first := calling(t.Context(), a, 1, "x")
		synctest.Wait()
		p.Send(0, cfg, h, nil)
		synctest.Wait()
		h.AckIncarnation, h.Ack, h.Window = a.Stats().Incarnation, wire.Position{Seq: 1}, 1
		p.Send(0, cfg, h, nil)
		synctest.Wait()
		second := calling(t.Context(), a, 1, "y")
		fails(t, result(t, second).err, cluster.ErrTimedOut, false)
		fails(t, result(t, first).err, cluster.ErrUnreachable, true)
		_, err := a.Call(t.Context(), 1, "z")
		fails(t, err, cluster.ErrUnreachable, false)
	})
}

func TestThousandsOfCallsWaitAtATime(t *testing.T) {
	cfg := testcluster.Config(t, "tcp", 2)
	cfg.SendTimeout = testcluster.Limit
	a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
	const count = 3000
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Limit)
	defer cancel()
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() {
			if env, err := a.Call(ctx, 1, i); err != nil || env.Msg != -i {
				t.Errorf("call %d: %v, %v", i, env, err)
			}
		})
	}
	var requests []*cluster.Request
	for range count {
		requests = append(requests, request(t, b))
	}
	rand.Shuffle(count, func(i, j int) { requests[i], requests[j] = requests[j], requests[i] })
	for _, r := range requests {
		if err := r.Reply(ctx, -r.Msg.(int)); err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
	if n := a.Stats().Received; n.Received != count || n.RefusedTotal() != 0 {
		t.Errorf("got %+v", n)
	}
}

// Who waits for the reply may be who is to make room in Inbox.
func TestAReplyDoesNotWaitForRoomInInbox(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.InboxSize = 1
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		for _, reply := range []any{"short", make([]byte, 300<<10), make([]byte, 2<<20)} {
			done := calling(t.Context(), a, 1, "x")
			r := request(t, b)
			for i := range 100 {
				if err := b.Send(t.Context(), &cluster.Envelope{0, 0, i}); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.Reply(t.Context(), reply); err != nil {
				t.Fatal(err)
			}
			if c := result(t, done); c.err != nil || len(fmt.Sprint(c.env.Msg)) != len(fmt.Sprint(reply)) {
				t.Errorf("got %.100v", c)
			}
			for i := range 100 {
				if e := testcluster.Take(t, a); e.Msg != i {
					t.Fatalf("%v came, want %d", e.Msg, i)
				}
			}
		}
		s := testcluster.StatsOf(a, 1).Received
		if s.Received != 303 || s.RefusedTotal() != 0 {
			t.Errorf("got %+v", s)
		}
	})
}

func TestACallToOneselfAndToAnObserver(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.Peers[1].Observer = true
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		go echo(b) // It ends when b has closed.
		if env, err := a.Call(t.Context(), 1, "x"); err != nil || env.Msg != "x" {
			t.Errorf("to an observer: %v, %v", env, err)
		}
		if env, err := b.Call(t.Context(), 1, "x"); err != nil || env.Msg != "x" {
			t.Errorf("to oneself: %v, %v", env, err)
		}
	})
}

func TestRecordsOfCallsThatAreMalformedAreRefusedAlone(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		p := testcluster.NewFakePeer(t, 1, cfg)
		a := testcluster.Join(t, 0, cfg)
		var body []byte
		count := uint32(0)
		for _, kind := range []codec.Kind{codec.Request, codec.Reply, codec.Failure} {
			for _, payload := range []string{"", "12345678", "12345678\x00", "12345678\x16", "12345678\x17123456789", "12345678\x13", "12345678\x04abc"} {
				body = append(wire.AppendRecordHeader(body, int64(count+1), uint8(kind), len(payload)), payload...)
				count++
			}
		}
		body = append(wire.AppendRecordHeader(body, int64(count+1), uint8(codec.String), 3), "end"...)
		p.Send(0, cfg, wire.Header{Count: count + 1}, body)
		if e := testcluster.Take(t, a); e.Msg != "end" {
			t.Errorf("got %v", e)
		}
		s := testcluster.StatsOf(a, 1).Received
		if u, l := s.Refused[cluster.RefusedUndecodable], s.Refused[cluster.RefusedLate]; u != 7+2+2 || l != 5+5 {
			t.Errorf("got %v, want 11 that are undecodable, and 10 replies to no call", s.Refused)
		}
	})
}

// A server cannot answer what another was asked, though the numbers of calls can be known: they follow the caller's incarnation.
func TestAReplyCountsFromTheServerThatWasCalledAlone(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		p := testcluster.NewFakePeer(t, 2, cfg)
		done := calling(t.Context(), a, 1, "x")
		r := request(t, b)
		const guesses = 100
		var body []byte
		for i := range uint64(guesses) {
			payload := binary.LittleEndian.AppendUint64(nil, a.Stats().Incarnation-guesses/2+i)
			payload = append(payload, byte(codec.String), 'n', 'o')
			body = append(wire.AppendRecordHeader(body, int64(i+1), uint8(codec.Reply), len(payload)), payload...)
		}
		p.Send(0, cfg, wire.Header{Count: guesses}, body)
		synctest.Wait()
		if n := testcluster.StatsOf(a, 2).Received.Refused[cluster.RefusedLate]; n != guesses {
			t.Errorf("%d replies were refused, want %d", n, guesses)
		}
		if err := r.Reply(t.Context(), "yes"); err != nil {
			t.Fatal(err)
		}
		if c := result(t, done); c.err != nil || c.env.Msg != "yes" || c.env.Pid != 1 {
			t.Errorf("got %v", c)
		}
	})
}

// Who does not call sends what it sent before there were calls, also to a peer that takes them.
func TestWhoDoesNotCallSendsNothingOfIt(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		p := testcluster.NewFakePeer(t, 1, cfg)
		a := testcluster.Join(t, 0, cfg)
		h := wire.Header{Start: wire.Position{Seq: 1}}
		h.Announce(wire.CapCalls)
		for range 10 {
			testcluster.Put(t, a, &cluster.Envelope{1, 0, "x"})
			synctest.Wait()
			p.Send(0, cfg, h, nil)
		}
		for frames := 0; frames < 10; {
			h, body, ok := p.Next(testcluster.Limit)
			if !ok {
				t.Fatalf("%d frames with messages came, want 10", frames)
			}
			if h.Bare() {
				continue
			}
			frames++
			r, _ := wire.NextRecord(body, 0)
			if codec.Kind(r.Kind) != codec.String || h.Flags&^(wire.FlagAckNow|wire.FlagResend) != 0 {
				t.Errorf("it was sent %+v, %+v", h, r)
			}
		}
	})
}
