package cluster

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// receive is take by Receive.
func receive(t testing.TB, n *Node) *Envelope {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	e, err := n.Receive(ctx)
	if err != nil {
		t.Fatalf("server %d: %v:\n%v", n.Pid(), err, n.Stats())
	}
	return e
}

func TestReceiveAndInboxShareWhatComesInOrder(t *testing.T) {
	for _, scheme := range []string{"mem", "tcp", "ipc"} {
		t.Run(scheme, func(t *testing.T) {
			nodes := startAll(t, config(t, scheme, 2))
			const count = 5000
			go func() { // It ends with its last message.
				for i := range count {
					nodes[0].Outbox() <- &Envelope{1, 0, i}
					if i%500 == 0 {
						time.Sleep(3 * seatTime) // so that the other has to wait, and the seat goes back
					}
				}
			}()
			for i := range count {
				from := receive
				if i/100%3 == 0 {
					from = take
				}
				if e := from(t, nodes[1]); e.Msg != i || e.Pid != 0 {
					t.Fatalf("received %v from %d, want %d", e.Msg, e.Pid, i)
				}
			}
		})
	}
}

func TestReceivesAtOnceGetEachMessageOnce(t *testing.T) {
	nodes := startAll(t, config(t, "tcp", 2))
	const receivers, count = 8, 20_000
	var mu sync.Mutex
	seen := make(map[int]bool)
	var all sync.WaitGroup
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for range receivers {
		all.Go(func() {
			last := -1
			for {
				e, err := nodes[1].Receive(ctx)
				if err != nil {
					return
				}
				i := e.Msg.(int)
				if i < last {
					t.Errorf("%d came after %d", i, last)
				}
				last = i
				mu.Lock()
				if seen[i] {
					t.Errorf("%d came twice", i)
				}
				seen[i] = true
				if len(seen) == count {
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	for i := range count {
		put(t, nodes[0], &Envelope{1, 0, i})
		if i%1000 == 0 {
			time.Sleep(2 * seatTime)
		}
	}
	all.Wait()
	if len(seen) != count {
		t.Errorf("%d of %d messages came", len(seen), count)
	}
}

func TestReceiveEndsWithItsContext(t *testing.T) {
	for _, scheme := range []string{"mem", "tcp"} {
		t.Run(scheme, func(t *testing.T) {
			nodes := startAll(t, config(t, scheme, 2))
			for range 3 {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
				began := time.Now()
				if e, err := nodes[1].Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("got %v and %v", e, err)
				}
				cancel()
				if took := time.Since(began); took > limit/2 {
					t.Errorf("it took %v", took)
				}
				if _, err := nodes[1].Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("with a context that has ended: %v", err)
				}
				put(t, nodes[0], &Envelope{1, 0, "next"})
				take(t, nodes[1]) // somebody reads the network again
			}
			put(t, nodes[0], &Envelope{1, 0, "last"})
			eventually(t, "the message is there", func() bool { return len(nodes[1].Inbox()) == 1 })
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			if e, err := nodes[1].Receive(ended); err != nil || e.Msg != "last" {
				t.Errorf("what is there, with a context that has ended: %v, %v", e, err)
			}
		})
	}
}

func TestReceiveEndsWhenTheNodeHasClosed(t *testing.T) {
	for _, scheme := range []string{"mem", "tcp"} {
		t.Run(scheme, func(t *testing.T) {
			nodes := startAll(t, config(t, scheme, 2))
			errs := make(chan error, 4)
			for range 4 {
				go func() { // It ends when the node has closed.
					_, err := nodes[1].Receive(context.Background())
					errs <- err
				}()
			}
			eventually(t, "all wait", func() bool { return nodes[1].inbox.seat.inside.Load() == 4 })
			if err := nodes[1].Close(); err != nil {
				t.Error(err)
			}
			for range 4 {
				select {
				case err := <-errs:
					if !errors.Is(err, ErrClosed) {
						t.Errorf("got %v", err)
					}
				case <-time.After(limit):
					t.Fatal("a Receive does not end")
				}
			}
			put(t, nodes[0], &Envelope{0, 0, "to itself"})
			eventually(t, "the message is there", func() bool { return len(nodes[0].Inbox()) == 1 })
			if err := nodes[0].Close(); err != nil {
				t.Error(err)
			}
			if e := receive(t, nodes[0]); e.Msg != "to itself" {
				t.Errorf("received %v", e.Msg)
			}
			if _, err := nodes[0].Receive(context.Background()); !errors.Is(err, ErrClosed) {
				t.Errorf("after the last: %v", err)
			}
		})
	}
}

func TestReceiveHasWhatTheNodeSendsToItself(t *testing.T) {
	for _, scheme := range []string{"mem", "tcp"} {
		t.Run(scheme, func(t *testing.T) {
			n := startAll(t, config(t, scheme, 2))[0]
			for i := range 100 {
				go func() { // It ends when the message is in Outbox.
					time.Sleep(time.Millisecond)
					n.Outbox() <- &Envelope{0, 0, i}
				}()
				if e := receive(t, n); e.Msg != i {
					t.Fatalf("received %v, want %d", e.Msg, i)
				}
			}
		})
	}
}

// What there was no room for is delivered by a goroutine of its own.
func TestReceiveHasWhatWaitedForRoom(t *testing.T) {
	for _, scheme := range []string{"mem", "tcp"} {
		t.Run(scheme, func(t *testing.T) {
			cfg := config(t, scheme, 2)
			cfg.InboxSize = 1
			nodes := startAll(t, cfg)
			const count = 2000
			go func() { // It ends with its last message.
				for i := range count {
					nodes[0].Outbox() <- &Envelope{1, 0, i}
				}
			}()
			for i := range count {
				if e := receive(t, nodes[1]); e.Msg != i {
					t.Fatalf("received %v, want %d", e.Msg, i)
				}
			}
		})
	}
}

// receiveSlow takes its time to be decoded.
type receiveSlow struct{ n int }

const receiveSlowTime = 100 * time.Microsecond

func (s receiveSlow) MarshalBinary() ([]byte, error) { return []byte{byte(s.n)}, nil }

func (s *receiveSlow) UnmarshalBinary(b []byte) error {
	time.Sleep(receiveSlowTime)
	s.n = int(b[0])
	return nil
}

// A Receive that reads the network has at once what another goroutine delivers meanwhile:
// what there was no room for, and what the node sends to itself.
func TestReceiveHasAtOnceWhatOthersDeliver(t *testing.T) {
	Register("receiveSlow", receiveSlow{})
	for _, to := range []int{0, 1} {
		for _, size := range []int{1, 4, 1000} {
			bubble(t, 2, func(t *testing.T, cfg Config) {
				cfg.InboxSize = size
				nodes := []*Node{join(t, 0, cfg), join(t, 1, cfg)}
				first, last := make(chan time.Time, 1), make(chan time.Time, 1)
				const count = 200
				go func() { // It ends with the last message, which the test waits for.
					for i := range count {
						if e := receive(t, nodes[to]); e.Msg.(receiveSlow).n != i {
							t.Errorf("%v came instead of %d", e.Msg, i)
						}
						if i == 0 {
							first <- time.Now()
						}
					}
					last <- time.Now()
				}()
				time.Sleep(10 * time.Millisecond)
				began := time.Now()
				for i := range count {
					put(t, nodes[0], &Envelope{to, 0, receiveSlow{i}})
				}
				if took := (<-first).Sub(began); took > 2*readyMost*receiveSlowTime {
					t.Errorf("to %d, with an inbox of %d: the first came after %v", to, size, took)
				}
				if took := (<-last).Sub(began); took > 2*count*receiveSlowTime {
					t.Errorf("to %d, with an inbox of %d: the last came after %v", to, size, took)
				}
			})
		}
	}
}

// After the last Receive the network is read again for Inbox, and for what the peers have to
// know.
func TestTheNetworkIsReadAfterTheLastReceive(t *testing.T) {
	for _, scheme := range []string{"mem", "tcp"} {
		t.Run(scheme, func(t *testing.T) {
			nodes := startAll(t, config(t, scheme, 2))
			for range 20 {
				put(t, nodes[0], &Envelope{1, 0, "first"})
				receive(t, nodes[1])
				put(t, nodes[0], &Envelope{1, 0, "second"})
				eventually(t, "the second is there", func() bool { return len(nodes[1].Inbox()) == 1 })
				take(t, nodes[1])
			}
		})
	}
}

// A Receive that waits costs nothing: no timer runs.
func TestAReceiveThatWaitsIsIdle(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		n := join(t, 0, cfg)
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		time.Sleep(time.Millisecond) // run reads, and has to be told
		go n.Receive(ctx)            // The test waits for it below.
		time.Sleep(10 * seatTime)
		synctest.Wait()
		if s := n.inbox.seat; s.armed.Load() || s.byRun.Load() || s.inside.Load() != 1 {
			t.Errorf("armed %v, run has the seat %v, %d inside", s.armed.Load(), s.byRun.Load(), s.inside.Load())
		}
		cancel()
		time.Sleep(10 * seatTime)
		synctest.Wait()
		if s := n.inbox.seat; s.armed.Load() || !s.byRun.Load() || s.inside.Load() != 0 {
			t.Errorf("afterwards: armed %v, run has the seat %v, %d inside", s.armed.Load(), s.byRun.Load(), s.inside.Load())
		}
	})
}
