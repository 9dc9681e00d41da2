package cluster_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

// leaseTime is how long the network is left to the next Receive, once or twice.
const leaseTime = time.Millisecond

func TestReceiveAndInboxShareWhatComesInOrder(t *testing.T) {
	for _, scheme := range []string{"mem", "tcp", "ipc"} {
		t.Run(scheme, func(t *testing.T) {
			nodes := testcluster.StartAll(t, testcluster.Config(t, scheme, 2))
			const count = 5000
			go func() { // It ends with its last message.
				for i := range count {
					nodes[0].Outbox() <- &cluster.Envelope{1, 0, i}
					if i%500 == 0 {
						time.Sleep(3 * leaseTime) // so that the other has to wait, and the lease goes back
					}
				}
			}()
			for i := range count {
				from := testcluster.Receive
				if i/100%3 == 0 {
					from = testcluster.Take
				}
				if e := from(t, nodes[1]); e.Msg != i || e.Pid != 0 {
					t.Fatalf("received %v from %d, want %d", e.Msg, e.Pid, i)
				}
			}
		})
	}
}

func TestReceivesAtOnceGetEachMessageOnce(t *testing.T) {
	nodes := testcluster.StartAll(t, testcluster.Config(t, "tcp", 2))
	const receivers, count = 8, 20_000
	var mu sync.Mutex
	seen := make(map[int]bool)
	var all sync.WaitGroup
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Limit)
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
		testcluster.Put(t, nodes[0], &cluster.Envelope{1, 0, i})
		if i%1000 == 0 {
			time.Sleep(2 * leaseTime)
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
			nodes := testcluster.StartAll(t, testcluster.Config(t, scheme, 2))
			for range 3 {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
				began := time.Now()
				if e, err := nodes[1].Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("got %v and %v", e, err)
				}
				cancel()
				if took := time.Since(began); took > testcluster.Limit/2 {
					t.Errorf("it took %v", took)
				}
				if _, err := nodes[1].Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("with a context that has ended: %v", err)
				}
				testcluster.Put(t, nodes[0], &cluster.Envelope{1, 0, "next"})
				testcluster.Take(t, nodes[1]) // somebody reads the network again
			}
			testcluster.Put(t, nodes[0], &cluster.Envelope{1, 0, "last"})
			testcluster.Eventually(t, "the message is there", func() bool { return len(nodes[1].Inbox()) == 1 })
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
			nodes := testcluster.StartAll(t, testcluster.Config(t, scheme, 2))
			errs := make(chan error, 4)
			for range 4 {
				go func() { // It ends when the node has closed.
					_, err := nodes[1].Receive(context.Background())
					errs <- err
				}()
			}
			testcluster.Eventually(t, "all wait", func() bool { return nodes[1].Lease().Wanting() == 4 })
			if err := nodes[1].Close(); err != nil {
				t.Error(err)
			}
			for range 4 {
				select {
				case err := <-errs:
					if !errors.Is(err, cluster.ErrClosed) {
						t.Errorf("got %v", err)
					}
				case <-time.After(testcluster.Limit):
					t.Fatal("a Receive does not end")
				}
			}
			testcluster.Put(t, nodes[0], &cluster.Envelope{0, 0, "to itself"})
			testcluster.Eventually(t, "the message is there", func() bool { return len(nodes[0].Inbox()) == 1 })
			if err := nodes[0].Close(); err != nil {
				t.Error(err)
			}
			if e := testcluster.Receive(t, nodes[0]); e.Msg != "to itself" {
				t.Errorf("received %v", e.Msg)
			}
			if _, err := nodes[0].Receive(context.Background()); !errors.Is(err, cluster.ErrClosed) {
				t.Errorf("after the last: %v", err)
			}
		})
	}
}

func TestReceiveHasWhatTheNodeSendsToItself(t *testing.T) {
	for _, scheme := range []string{"mem", "tcp"} {
		t.Run(scheme, func(t *testing.T) {
			n := testcluster.StartAll(t, testcluster.Config(t, scheme, 2))[0]
			for i := range 100 {
				go func() { // It ends when the message is in Outbox.
					time.Sleep(time.Millisecond)
					n.Outbox() <- &cluster.Envelope{0, 0, i}
				}()
				if e := testcluster.Receive(t, n); e.Msg != i {
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
			cfg := testcluster.Config(t, scheme, 2)
			cfg.InboxSize = 1
			nodes := testcluster.StartAll(t, cfg)
			const count = 2000
			go func() { // It ends with its last message.
				for i := range count {
					nodes[0].Outbox() <- &cluster.Envelope{1, 0, i}
				}
			}()
			for i := range count {
				if e := testcluster.Receive(t, nodes[1]); e.Msg != i {
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
	cluster.Register("receiveSlow", receiveSlow{})
	for _, to := range []int{0, 1} {
		for _, size := range []int{1, 4, 1000} {
			testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
				cfg.InboxSize = size
				nodes := []*cluster.Node{testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)}
				first, last := make(chan time.Time, 1), make(chan time.Time, 1)
				const count = 200
				go func() { // It ends with the last message, which the test waits for.
					for i := range count {
						if e := testcluster.Receive(t, nodes[to]); e.Msg.(receiveSlow).n != i {
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
					testcluster.Put(t, nodes[0], &cluster.Envelope{to, 0, receiveSlow{i}})
				}
				if took := (<-first).Sub(began); took > 2*16*receiveSlowTime {
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
			nodes := testcluster.StartAll(t, testcluster.Config(t, scheme, 2))
			for range 20 {
				testcluster.Put(t, nodes[0], &cluster.Envelope{1, 0, "first"})
				testcluster.Receive(t, nodes[1])
				testcluster.Put(t, nodes[0], &cluster.Envelope{1, 0, "second"})
				testcluster.Eventually(t, "the second is there", func() bool { return len(nodes[1].Inbox()) == 1 })
				testcluster.Take(t, nodes[1])
			}
		})
	}
}

// A Receive that waits costs nothing: no timer runs.
func TestAReceiveThatWaitsIsIdle(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		n := testcluster.Join(t, 0, cfg)
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		time.Sleep(time.Millisecond) // run reads, and has to be told
		go n.Receive(ctx)            // The test waits for it below.
		time.Sleep(10 * leaseTime)
		synctest.Wait()
		if s := n.Lease(); s.Timed() || s.ByRun() || s.Wanting() != 1 {
			t.Errorf("timed %v, Run has the lease %v, %d want it", s.Timed(), s.ByRun(), s.Wanting())
		}
		cancel()
		time.Sleep(10 * leaseTime)
		synctest.Wait()
		if s := n.Lease(); s.Timed() || !s.ByRun() || s.Wanting() != 0 {
			t.Errorf("afterwards: timed %v, Run has the lease %v, %d want it", s.Timed(), s.ByRun(), s.Wanting())
		}
	})
}
