package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

func TestShutdownDeliversWhatItHadAccepted(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.QueueBytes, cfg.InboxSize, cfg.OutboxSize = testcluster.MinQueueBytes, 1, 1000
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		const count = 1000
		for i := range count {
			testcluster.Put(t, a, &cluster.Envelope{1, 0, append(make([]byte, 4000), byte(i), byte(i>>8))})
		}
		ended := make(chan error, 1)
		go func() { ended <- a.Shutdown(context.Background()) }()
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("Shutdown has returned %v before its messages could be delivered", err)
		default:
		}
		for i := range count {
			if e := testcluster.Take(t, b).Msg.([]byte); e[4000] != byte(i) || e[4001] != byte(i>>8) {
				t.Fatalf("the %d. message is another", i)
			}
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if s := a.Stats().Sent; s.Sent != count {
			t.Errorf("%d are counted as sent, want %d", s.Sent, count)
		}
	})
}

func TestShutdownDropsWhatIsLeftWhenItsContextEnds(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.SendTimeout = time.Hour
		a := testcluster.Join(t, 0, cfg) // 1 is not there
		testcluster.Put(t, a, &cluster.Envelope{1, 0, "x"})
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		if err := a.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown returns %v", err)
		}
		if took := time.Since(start); took > 50*time.Millisecond+cluster.DrainTime {
			t.Errorf("Shutdown took %v", took)
		}
		if s := a.Stats().Sent; s.Dropped[cluster.ReasonClosed] != 1 {
			t.Errorf("dropped %v, want one as closed", s.Dropped)
		}
	})
}

func TestShutdownClosesInboxSoThatARangeOverItEnds(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		nodes := testcluster.StartAll(t, cfg)
		for i := range 3 {
			testcluster.Put(t, nodes[0], &cluster.Envelope{1, 0, i})
		}
		synctest.Wait()
		if err := nodes[1].Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		got := 0
		for e := range nodes[1].Inbox() {
			if e.Msg != got {
				t.Errorf("received %v, want %d", e.Msg, got)
			}
			got++
		}
		if got != 3 {
			t.Errorf("%d messages were left in Inbox, want 3", got)
		}
	})
}

func TestWhoIsBlockedOnOutboxIsLetGo(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.OutboxSize, cfg.QueueBytes, cfg.SendTimeout = 1, testcluster.MinQueueBytes, time.Hour
		a := testcluster.Join(t, 0, cfg) // 1 is not there
		var blocked atomic.Int64
		var senders sync.WaitGroup
		for range 20 {
			blocked.Add(1)
			senders.Go(func() {
				a.Outbox() <- &cluster.Envelope{1, 0, make([]byte, testcluster.MinQueueBytes)}
				blocked.Add(-1)
			})
		}
		synctest.Wait()
		if blocked.Load() < 10 {
			t.Fatalf("%d senders are blocked: the test tests nothing", blocked.Load())
		}
		a.Shutdown(testcluster.AlreadyDone())
		senders.Wait() // a sender that is still blocked would be a deadlock of the bubble
	})
}

func TestAfterShutdownSendReturnsErrClosedAndDoneIsClosed(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		select {
		case <-a.Done():
			t.Error("Done is closed while the node runs")
		default:
		}
		if err := a.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		<-a.Done()
		for _, to := range []int{0, 1, cluster.BROADCAST} {
			if err := a.Send(context.Background(), &cluster.Envelope{to, 0, "x"}); !errors.Is(err, cluster.ErrClosed) {
				t.Errorf("Send to %d returns %v", to, err)
			}
		}
		before := a.Stats().Sent.Accepted
		a.Outbox() <- &cluster.Envelope{1, 0, "there is room, and nobody reads it"}
		synctest.Wait()
		if len(a.Outbox()) != 1 || a.Stats().Sent.Accepted != before {
			t.Errorf("%d messages wait in Outbox, want 1, and %d were accepted since", len(a.Outbox()), a.Stats().Sent.Accepted-before)
		}
	})
}

func TestAProgramThatClosesOutboxGoesOnReceiving(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		nodes := testcluster.StartAll(t, cfg)
		testcluster.Put(t, nodes[0], &cluster.Envelope{1, 0, "the last"})
		close(nodes[0].Outbox())
		if e := testcluster.Take(t, nodes[1]); e.Msg != "the last" {
			t.Errorf("received %v", e.Msg)
		}
		time.Sleep(time.Hour)
		testcluster.Put(t, nodes[1], &cluster.Envelope{0, 0, "still there?"})
		if e := testcluster.Take(t, nodes[0]); e.Msg != "still there?" {
			t.Errorf("received %v", e.Msg)
		}
	})
}

func TestShutdownIsBoundedAlsoForLinksThatAreNew(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		cfg.QueueBytes, cfg.SendTimeout, cfg.Linger = testcluster.MinQueueBytes, time.Hour, 50*time.Millisecond
		a, err := cluster.NewFromConfig(0, cfg)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			testcluster.Put(t, a, &cluster.Envelope{1, 0, make([]byte, 30000)})
		}
		testcluster.Put(t, a, &cluster.Envelope{2, 0, "the first to 2"})
		synctest.Wait()
		start := time.Now()
		a.Close()
		if took := time.Since(start); took > cfg.Linger+cluster.DrainTime {
			t.Errorf("Close took %v", took)
		}
		testcluster.CheckBooks(t, a)
	})
}

func TestShutdownEndsThoughSendersNeverStop(t *testing.T) {
	cfg := testcluster.Config(t, "mem", 2)
	cfg.OutboxSize = 4
	a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
	testcluster.ReadAll(b)
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for {
				select {
				case a.Outbox() <- &cluster.Envelope{1, 0, "more"}:
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
	case <-time.After(testcluster.Limit / 4):
		t.Error("Shutdown goes on as long as somebody sends")
	}
	close(stop)
	senders.Wait()
}

// A laborious message takes its time to encode.
type laborious struct{}

func (laborious) MarshalBinary() ([]byte, error) {
	for end := time.Now().Add(20 * time.Microsecond); time.Now().Before(end); {
	}
	return []byte("x"), nil
}

func (*laborious) UnmarshalBinary([]byte) error { return nil }

func init() { cluster.Register("cluster.laborious", laborious{}) }

// shutdownWithin checks that Shutdown ends soon after its context, d, and that the books
// close then.
func shutdownWithin(t *testing.T, n *cluster.Node, d time.Duration) {
	t.Helper()
	const slack = 10 * time.Second // of a busy machine
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	began := time.Now()
	if err := n.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if took := time.Since(began); took > d+slack {
		t.Errorf("Shutdown took %v, and its context %v", took, d)
	}
	testcluster.CheckBooks(t, n)
}

func TestShutdownEndsThoughSendersToSeveralNeverStop(t *testing.T) {
	cfg := testcluster.Config(t, "mem", 3)
	nodes := testcluster.StartAll(t, cfg)
	for _, n := range nodes[1:] {
		testcluster.ReadAll(n)
	}
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for g := range 8 {
		senders.Go(func() {
			for i := g; ; i++ {
				select {
				case nodes[0].Outbox() <- &cluster.Envelope{1 + i%2, 0, laborious{}}:
				case <-stop:
					return
				}
			}
		})
	}
	testcluster.Eventually(t, "some were sent", func() bool { return nodes[0].Stats().Sent.Sent > 1000 })
	shutdownWithin(t, nodes[0], 500*time.Millisecond)
	close(stop)
	senders.Wait()
}

func TestShutdownIsBoundedHoweverMuchIsInOutbox(t *testing.T) {
	const count = 200_000 // which take 4 s to encode: some are dropped
	cfg := testcluster.Config(t, "mem", 2)
	cfg.OutboxSize = count
	nodes := testcluster.StartAll(t, cfg)
	testcluster.ReadAll(nodes[1])
	for range count {
		nodes[0].Outbox() <- &cluster.Envelope{1, 0, laborious{}}
	}
	shutdownWithin(t, nodes[0], 100*time.Millisecond)
	if s := nodes[0].Stats().Sent; s.Accepted != count || s.Dropped[cluster.ReasonClosed] == 0 {
		t.Errorf("of %d messages in Outbox, %d are accounted for, and %d as closed", count, s.Accepted, s.Dropped[cluster.ReasonClosed])
	}
}

// A slowly encoded value takes its time, and so does one that is slowly decoded.
type (
	slowlyEncoded struct{}
	slowlyDecoded struct{}
)

const slowness = time.Millisecond

func (slowlyEncoded) MarshalBinary() ([]byte, error) { time.Sleep(slowness); return []byte("x"), nil }

func (*slowlyEncoded) UnmarshalBinary([]byte) error { return nil }

func (slowlyDecoded) MarshalBinary() ([]byte, error) { return []byte("x"), nil }

func (*slowlyDecoded) UnmarshalBinary([]byte) error { time.Sleep(3 * slowness); return nil }

func init() {
	cluster.Register("slowlyEncoded", slowlyEncoded{})
	cluster.Register("slowlyDecoded", slowlyDecoded{})
}

func TestShutdownIsBoundedThoughEncodingIsSlow(t *testing.T) {
	testcluster.Bubble(t, 5, func(t *testing.T, cfg cluster.Config) {
		cfg.OutboxSize = 60_000 // which take 15 s to encode
		nodes := testcluster.StartAll(t, cfg)
		for _, n := range nodes[1:] {
			testcluster.ReadAll(n)
		}
		for i := range cfg.OutboxSize {
			testcluster.Put(t, nodes[0], &cluster.Envelope{1 + i%4, 0, slowlyEncoded{}})
		}
		time.Sleep(10 * time.Millisecond)
		shutdownWithin(t, nodes[0], 100*time.Millisecond)
	})
}

func TestShutdownIsBoundedThoughDecodingIsSlow(t *testing.T) {
	for _, waits := range []bool{false, true} {
		t.Run(fmt.Sprint("backlog ", waits), func(t *testing.T) {
			cfg := testcluster.Config(t, "mem", 2)
			cfg.OutboxSize, cfg.InboxSize = 10_000, 16 // which take 30 s to decode
			nodes := testcluster.StartAll(t, cfg)
			if !waits {
				testcluster.ReadAll(nodes[1])
			}
			for range cfg.OutboxSize {
				testcluster.Put(t, nodes[0], &cluster.Envelope{1, 0, slowlyDecoded{}})
			}
			time.Sleep(200 * time.Millisecond)
			if waits { // so there is a backlog
				testcluster.ReadAll(nodes[1])
				time.Sleep(20 * time.Millisecond)
			}
			shutdownWithin(t, nodes[1], 100*time.Millisecond)
		})
	}
}

func TestServersThatCloseOneAfterAnotherDoNotWaitForEachOther(t *testing.T) {
	t.Parallel() // it waits more than it works
	cfg := testcluster.Config(t, "tcp", 3)
	cfg.SendTimeout, cfg.Linger = time.Hour, testcluster.Limit
	nodes := testcluster.StartAll(t, cfg)
	for range 20 {
		for _, n := range nodes {
			testcluster.Put(t, n, &cluster.Envelope{Pid: cluster.BROADCAST, Msg: make([]byte, 100_000)})
		}
	}
	for _, n := range nodes {
		testcluster.Eventually(t, "all is written", func() bool { s := n.Stats().Sent; return s.Sent == 40 && s.Queued == 0 })
	}
	// Some of it is still on its way, and not acknowledged by a server that closes before.
	for _, n := range nodes {
		if err := n.Close(); err != nil {
			t.Errorf("server %d: %v", n.Pid(), err)
		}
	}
}
