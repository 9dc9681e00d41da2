package cluster_test

import (
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/wire"
)

// A chatterer is a peer that says something all the time.
type chatterer struct {
	*testcluster.FakePeer
	cfg  cluster.Config
	says chan wire.Header // what it says from now on
}

// chatter makes the server 1 of cfg one that announces calls, until the test ends. It has to be stopped.
func chatter(t *testing.T, cfg cluster.Config) (p *chatterer, stop func()) {
	p = &chatterer{testcluster.NewFakePeer(t, 1, cfg), cfg, make(chan wire.Header)}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() { // stop ends it, and waits for it.
		defer close(ended)
		h := announcing(wire.CapCalls)
		for {
			p.Send(0, cfg, h, nil)
			select {
			case h = <-p.says:
			case <-time.After(100 * time.Millisecond):
			case <-done:
				return
			}
		}
	}()
	return p, func() {
		close(done)
		<-ended
	}
}

// acking is a header that acknowledges to n what comes before a place, and grants a window.
func acking(n *cluster.Node, seq uint64, window uint32) wire.Header {
	return wire.Header{Start: wire.Position{Seq: 1}, AckIncarnation: n.Stats().Incarnation, Ack: wire.Position{Seq: seq}, Window: window}
}

// The rest of a large request is dropped when the peer takes nothing for SendTimeout. No reply will come, though the peer is there.
func TestACallEndsWhoseRequestIsDroppedHalfway(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		p, stop := chatter(t, cfg)
		defer stop()
		synctest.Wait()
		began := time.Now()
		done := calling(t.Context(), a, 1, make([]byte, 3*stream.PieceBytes)) // more than its window
		synctest.Wait()
		p.says <- acking(a, 1, 1)
		fails(t, result(t, done).err, cluster.ErrTimedOut, false)
		if took := time.Since(began); took > 2*testcluster.SendTimeout {
			t.Errorf("it has taken %v", took)
		}
		if s := a.Stats().Sent; s.Sent != 1 {
			t.Errorf("the books: %+v; want that a part of the request counts as sent", s)
		}
	})
}

// A peer that says it is done with a request of which it has got a part has given it up.
func TestACallEndsWhoseRequestThePeerGivesUpHalfway(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		p, stop := chatter(t, cfg)
		defer stop()
		synctest.Wait()
		done := calling(t.Context(), a, 1, make([]byte, 3*stream.PieceBytes)) // more than its window
		synctest.Wait()
		p.says <- acking(a, 2, 1<<20)
		fails(t, result(t, done).err, cluster.ErrUnreachable, false)
	})
}

// What was queued for one life of a peer may go to the next, which may be of an earlier version.
func TestACallEndsWhenThePeerBeginsAnewWithoutCalls(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		p, stop := chatter(t, cfg)
		synctest.Wait()
		written := calling(t.Context(), a, 1, "x")
		synctest.Wait()
		p.says <- acking(a, 1, 1)
		synctest.Wait()
		queued := calling(t.Context(), a, 1, "y") // the window is closed
		synctest.Wait()
		stop()
		p.Incarnation++
		began := time.Now()
		p.Send(0, cfg, announcing(wire.CapResend), nil)
		fails(t, result(t, written).err, cluster.ErrRestarted, true)
		fails(t, result(t, queued).err, cluster.ErrRestarted, true)
		if took := time.Since(began); took > testcluster.SendTimeout {
			t.Errorf("it has taken %v", took)
		}
	})
}

// The node that called may take less than the other one sends.
func TestACallEndsWhenItsReplyIsTooLarge(t *testing.T) {
	for _, limit := range []int{16 << 10, 1 << 20} {
		testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
			small := cfg
			small.MaxMessageBytes = limit
			a, b := testcluster.Join(t, 0, small), testcluster.Join(t, 1, cfg)
			for _, size := range []int{limit + 1, 3 * limit, limit} {
				done := calling(t.Context(), a, 1, "x")
				if err := request(t, b).Reply(t.Context(), make([]byte, size)); err != nil {
					t.Fatal(err)
				}
				c := result(t, done)
				if size == limit {
					if c.err != nil {
						t.Errorf("a reply of %d bytes: %v", size, c.err)
					}
					continue
				}
				if fails(t, c.err, cluster.ErrTooLarge, true); !strings.Contains(c.err.Error(), "the reply") {
					t.Errorf("got %v, want that it is of the reply", c.err)
				}
			}
			if n := a.Stats().Received.Refused[cluster.RefusedTooLarge]; n != 2 {
				t.Errorf("%d messages were refused as too large, want 2", n)
			}
		})
	}
}

func TestAReplyThatCannotBeReadIsAnErrorThatIsFound(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		done := calling(t.Context(), a, 1, "x")
		if err := request(t, b).Reply(t.Context(), secret{}); err != nil {
			t.Fatal(err)
		}
		fails(t, result(t, done).err, cluster.ErrNotEncodable, true)
	})
}

// A parting message ends the goroutine that encodes it.
type parting struct{}

func (parting) MarshalBinary() ([]byte, error) {
	runtime.Goexit()
	return nil, nil
}
func (*parting) UnmarshalBinary([]byte) error { return nil }

// A counted message counts how often it is encoded.
type counted struct{}

var encodings atomic.Int32

func (counted) MarshalBinary() ([]byte, error) {
	encodings.Add(1)
	return []byte("x"), nil
}
func (*counted) UnmarshalBinary([]byte) error { return nil }

func init() {
	cluster.Register("test.call.parting", parting{})
	cluster.Register("test.call.counted", counted{})
}

func TestAMethodThatEndsTheGoroutineOfACallLeavesNothingOfIt(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		nodes := testcluster.StartAll(t, cfg)
		for name, call := range map[string]func(){
			"Call": func() { nodes[0].Call(t.Context(), 1, parting{}) },
			"CallAll": func() {
				for range nodes[0].CallAll(t.Context(), cluster.BROADCAST, parting{}) {
				}
			},
		} {
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				call()
			}()
			select {
			case <-ended:
			case <-time.After(testcluster.Limit):
				t.Fatalf("%s waits for a request that nobody has sent", name)
			}
			if n := cluster.OpenCalls(nodes[0], 1); n != 0 {
				t.Errorf("%s leaves %d calls", name, n)
			}
		}
		if n := nodes[0].Stats().Sent.Dropped[cluster.ReasonNotEncodable]; n != 2 {
			t.Errorf("%d messages were dropped as not encodable, want 2", n)
		}
		done := calling(t.Context(), nodes[0], 1, "x")
		r := request(t, nodes[1])
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			r.Reply(t.Context(), parting{})
		}()
		<-ended
		if err := r.Fail(t.Context(), errors.New("it has left")); err != nil {
			t.Errorf("after a Reply that did not return: %v", err)
		}
		var remote *cluster.RemoteError
		if c := result(t, done); !errors.As(c.err, &remote) || remote.Text != "it has left" {
			t.Errorf("got %v", c)
		}
	})
}

// The message is one value, which its methods may not be used to be asked at a time.
func TestCallAllEncodesItsMessageOnce(t *testing.T) {
	testcluster.Bubble(t, 5, func(t *testing.T, cfg cluster.Config) {
		nodes := testcluster.StartAll(t, cfg)
		for _, n := range nodes[1:] {
			go echo(n) // It ends when n has closed.
		}
		for round := range 2 { // Of the first, the requests have to wait.
			encodings.Store(0)
			replies := 0
			for env, err := range nodes[0].CallAll(t.Context(), cluster.BROADCAST, counted{}) {
				if err != nil || env.Msg != (counted{}) {
					t.Errorf("got %v, %v", env, err)
				}
				replies++
			}
			// Each reply is encoded, too.
			if n := encodings.Load(); replies != 4 || n != 4+1 {
				t.Errorf("round %d: %d replies, and encoded %d times", round, replies, n)
			}
		}
		var failed []int
		for _, err := range nodes[0].CallAll(t.Context(), cluster.BROADCAST, make(chan int)) {
			var c *cluster.CallError
			if fails(t, err, cluster.ErrNotEncodable, false); errors.As(err, &c) {
				failed = append(failed, c.Pid)
			}
		}
		if len(failed) != 4 {
			t.Errorf("a message that cannot be sent has failed for %v, want one error for each server", failed)
		}
	})
}

// A large message goes to each server with the number of its own call.
func TestCallAllSendsLargeMessages(t *testing.T) {
	testcluster.Bubble(t, 4, func(t *testing.T, cfg cluster.Config) {
		nodes := testcluster.StartAll(t, cfg)
		for _, n := range nodes[1:] {
			go echo(n) // It ends when n has closed.
		}
		for range 2 {
			large := strings.Repeat("x", 300<<10)
			replies := 0
			for env, err := range nodes[0].CallAll(t.Context(), cluster.BROADCAST, large) {
				if err != nil || env.Msg != large {
					t.Errorf("got %.40v, %v", env, err)
				}
				replies++
			}
			if replies != 3 {
				t.Errorf("%d replies, want 3", replies)
			}
		}
	})
}

// Whoever breaks off a CallAll at a majority has late replies all the time.
func TestALateReplyIsNoWarning(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		log := new(testcluster.LineLog)
		logged := cfg
		logged.Logger = slog.New(slog.NewTextHandler(log, nil))
		a := testcluster.Join(t, 0, logged)
		others := []*cluster.Node{testcluster.Join(t, 1, cfg), testcluster.Join(t, 2, cfg)}
		go echo(others[0]) // It ends when its node has closed.
		var r *cluster.Request
		for _, err := range a.CallAll(t.Context(), cluster.BROADCAST, "x") {
			if err != nil {
				t.Error(err)
			}
			r = request(t, others[1])
			break
		}
		if err := r.Reply(t.Context(), "y"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if n := a.Stats().Received.Refused[cluster.RefusedLate]; n != 1 || log.Count("late reply") != 1 || log.Count("level=WARN") != 0 {
			t.Errorf("%d replies were late, and the log has:\n%v", n, log)
		}
	})
}

// A request that is so short that it has no number cannot be answered.
func TestARequestWithoutANumberIsNotAnswered(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		p := testcluster.NewFakePeer(t, 1, cfg)
		a := testcluster.Join(t, 0, cfg)
		body := append(wire.AppendRecordHeader(nil, 1, uint8(codec.Request), 4), "1234"...)
		body = append(wire.AppendRecordHeader(body, 2, uint8(codec.Request), 9), "12345678\x63"...)
		p.Send(0, cfg, wire.Header{Count: 2}, body)
		synctest.Wait()
		answers := 0
		for range 20 {
			h, body, ok := p.Next(100 * time.Millisecond)
			if !ok || h.Bare() {
				continue
			}
			for ; len(body) > 0; answers++ {
				r, rest := wire.NextRecord(body, 0)
				if number, ok := codec.CallNumber(r.Payload); codec.Kind(r.Kind) != codec.Failure || !ok || number == 0 {
					t.Errorf("it was sent %+v", r)
				}
				body = rest
			}
		}
		if n := a.Stats().Received.Refused[cluster.RefusedUndecodable]; n != 2 || answers != 1 {
			t.Errorf("%d requests were refused, and %d answered; want 2, and that with the number", n, answers)
		}
	})
}
