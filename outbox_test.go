package cluster

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestEachNodeBroadcastsBySendToItsOwnPeers(t *testing.T) {
	bubble(t, 3, func(t *testing.T, cfg Config) {
		const each = 20
		nodes := startAll(t, cfg)
		for i := range each {
			for _, n := range nodes {
				if err := n.Send(context.Background(), &Envelope{BROADCAST, 0, i}); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, n := range nodes {
			for range each * 2 {
				if e := take(t, n); e.Pid == n.Pid() {
					t.Fatalf("server %d has received its own broadcast", n.Pid())
				}
			}
		}
	})
}

// A laborious message takes its time to encode.
type laborious struct{}

func (laborious) MarshalBinary() ([]byte, error) {
	for end := time.Now().Add(20 * time.Microsecond); time.Now().Before(end); {
	}
	return []byte("x"), nil
}

func (*laborious) UnmarshalBinary([]byte) error { return nil }

func init() { Register("cluster.laborious", laborious{}) }

func readers(nodes ...*Node) {
	for _, n := range nodes {
		go func() { // It ends when the node closes.
			for range n.Inbox() {
			}
		}()
	}
}

// shutdownWithin checks that Shutdown ends soon after its context, d.
func shutdownWithin(t *testing.T, n *Node, d time.Duration) {
	t.Helper()
	const slack = 2 * time.Second // of a busy machine
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	began := time.Now()
	if err := n.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if took := time.Since(began); took > d+slack {
		t.Errorf("Shutdown took %v, and its context %v", took, d)
	}
}

func TestShutdownEndsThoughSendersToSeveralNeverStop(t *testing.T) {
	cfg := config(t, "mem", 3)
	nodes := startAll(t, cfg)
	readers(nodes[1:]...)
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for g := range 8 {
		senders.Go(func() {
			for i := g; ; i++ {
				select {
				case nodes[0].Outbox() <- &Envelope{1 + i%2, 0, laborious{}}:
				case <-stop:
					return
				}
			}
		})
	}
	eventually(t, "some were sent", func() bool { return nodes[0].Stats().Sent.Sent > 1000 })
	shutdownWithin(t, nodes[0], 500*time.Millisecond)
	close(stop)
	senders.Wait()
}

func TestShutdownIsBoundedHoweverMuchIsInOutbox(t *testing.T) {
	const count = 200_000 // which take 4 s to encode
	cfg := config(t, "mem", 2)
	cfg.OutboxSize = count
	nodes := startAll(t, cfg)
	readers(nodes[1])
	for range count {
		nodes[0].Outbox() <- &Envelope{1, 0, laborious{}}
	}
	shutdownWithin(t, nodes[0], 100*time.Millisecond)
	if s := nodes[0].Stats().Sent; s.Accepted != count || s.Dropped[ReasonClosed] == 0 {
		t.Errorf("of %d messages in Outbox, %d are accounted for, and %d as closed", count, s.Accepted, s.Dropped[ReasonClosed])
	}
}

// A gated message waits, when it is encoded, until the test lets it go.
type gated struct{ at, on chan struct{} }

func (g gated) MarshalBinary() ([]byte, error) {
	close(g.at)
	<-g.on
	return []byte("gated"), nil
}

func (*gated) UnmarshalBinary([]byte) error { return nil }

func init() { Register("cluster.gated", gated{}) }

func TestABroadcastGoesToAPeerThatWasAddedBeforeIt(t *testing.T) {
	bubble(t, 3, func(t *testing.T, cfg Config) {
		late := cfg.Peers[2]
		c := join(t, 2, cfg)
		cfg.Peers = cfg.Peers[:2]
		a, b := join(t, 0, cfg), join(t, 1, cfg)
		g := gated{make(chan struct{}), make(chan struct{})}
		put(t, a, &Envelope{BROADCAST, 0, g})
		<-g.at // the pump is gathering
		if err := a.Catalog().Put(late); err != nil {
			t.Fatal(err)
		}
		put(t, a, &Envelope{BROADCAST, 0, "for all"})
		close(g.on)
		take(t, b)
		take(t, b)
		if e := take(t, c); e.Msg != "for all" {
			t.Errorf("the new peer received %v, which was sent before it was added", e.Msg)
		}
	})
}

func TestTheLogSaysWhatToDoAboutEachTypeThatCannotBeSent(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		type first struct{ X int }
		type second struct{ X int }
		log := new(lineLog)
		cfg.MaxMessageBytes = 100
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
		n := join(t, 0, cfg)
		for _, msg := range []any{first{}, second{}, first{}, make([]byte, 101)} {
			put(t, n, &Envelope{1, 0, msg})
		}
		synctest.Wait()
		for _, want := range []string{"cluster.Register(", "cluster.first", "cluster.second", "101 bytes encoded, and maxMessageBytes is 100"} {
			if log.count(want) == 0 {
				t.Errorf("%q is missing in the log:\n%s", want, log.text.String())
			}
		}
		if got := log.count("dropped a message"); got != 3 {
			t.Errorf("%d lines for three kinds of messages:\n%s", got, log.text.String())
		}
	})
}

// A broadcast that has to wait for one peer is with the others already.
func TestABroadcastDoesNotWaitForAPeerThatIsBehind(t *testing.T) {
	bubble(t, 3, func(t *testing.T, cfg Config) {
		cfg.QueueBytes = minQueueBytes
		a, c := join(t, 0, cfg), join(t, 2, cfg) // 1 is not there
		put(t, a, &Envelope{1, 0, make([]byte, minQueueBytes-30)})
		start := time.Now()
		put(t, a, &Envelope{BROADCAST, 0, "for all"})
		if e := take(t, c); e.Msg != "for all" || time.Since(start) != 0 {
			t.Errorf("received %v after %v, want the broadcast at once", e.Msg, time.Since(start))
		}
		synctest.Wait()
		if s := a.Stats().Sent; s.DroppedTotal() != 0 {
			t.Errorf("dropped %v: nothing should wait for long enough yet", s.Dropped)
		}
		time.Sleep(2 * defaultSendTimeout)
		synctest.Wait()
		if s := a.Stats().Sent; s.DroppedTotal() != 2 || s.Sent != 1 {
			t.Errorf("later: %+v, want 1 message sent and 2 dropped", s)
		}
	})
}

// What waits for one peer stays as it is while the others' copies come and go.
func TestABroadcastThatWaitsForAPeerReachesItUnchanged(t *testing.T) {
	bubble(t, 3, func(t *testing.T, cfg Config) {
		cfg.QueueBytes = minQueueBytes
		a, c := join(t, 0, cfg), join(t, 2, cfg)
		put(t, a, &Envelope{1, 0, make([]byte, minQueueBytes-30)})
		put(t, a, &Envelope{BROADCAST, 0, "for all"})
		for range 50 {
			take(t, c)
			if err := a.Send(context.Background(), &Envelope{2, 0, "another"}); err != nil {
				t.Fatal(err)
			}
		}
		b := join(t, 1, cfg)
		take(t, b)
		if e := take(t, b); e.Msg != "for all" {
			t.Errorf("received %q", e.Msg)
		}
	})
}

// Whatever goes to one server keeps its order, though it went by different addresses, and
// more of it than is gathered at a time.
func TestOneServerAndManyAreSentToInOrder(t *testing.T) {
	bubble(t, 12, func(t *testing.T, cfg Config) {
		nodes := startAll(t, cfg)
		from, count := nodes[0], 20_000
		few, err := from.Group(1, 2, 3)
		if err != nil {
			t.Fatal(err)
		}
		others, err := from.Group(3, 4, 5)
		if err != nil {
			t.Fatal(err)
		}
		want := make([][]int, len(nodes))
		random := rand.New(rand.NewPCG(1, 2))
		to := make([]int, count)
		for i := range to {
			var reached []int
			switch r := random.IntN(300); {
			case r == 0:
				to[i], reached = BROADCAST, from.Peers()
			case r == 1:
				to[i], reached = few, []int{1, 2, 3}
			case r == 2:
				to[i], reached = others, []int{3, 4, 5}
			default:
				to[i] = 1 + r%11
				reached = []int{to[i]}
			}
			for _, id := range reached {
				want[id] = append(want[id], i)
			}
		}
		go func() { // It ends with its last message.
			for i, pid := range to {
				from.Outbox() <- &Envelope{pid, 0, i}
			}
		}()
		for id, n := range nodes {
			for at, i := range want[id] {
				if e := take(t, n); e.Msg != i {
					t.Fatalf("server %d received %v as its %d., want %d", id, e.Msg, at+1, i)
				}
			}
		}
	})
}

// Message ids in a row are not written one by one. They arrive all the same, also when what
// was encoded together is split because the queue is full.
func TestMessageIdsArriveAsTheyWereGiven(t *testing.T) {
	for _, scheme := range []string{"mem", "tcp"} {
		t.Run(scheme, func(t *testing.T) {
			cfg := config(t, scheme, 2)
			cfg.QueueBytes, cfg.SendTimeout = minQueueBytes, limit
			a := join(t, 0, cfg) // the queue is full before 1 is there
			const count = 20_000
			random := rand.New(rand.NewPCG(1, 2))
			want := make([]Envelope, count)
			id := int64(math.MaxInt64 - 10)
			for i := range want {
				switch random.IntN(50) {
				case 0:
					if id = int64(random.Uint64()); random.IntN(3) == 0 {
						id = math.MaxInt64 - 2
					}
				case 1:
					id-- // which makes the next a repetition
				}
				if id++; id == 0 {
					id++
				}
				want[i] = Envelope{0, id, make([]byte, random.IntN(100))}
				if random.IntN(1000) == 0 {
					want[i].Msg = make([]byte, blobBytes-1+random.IntN(3))
				}
			}
			go func() { // It ends with its last message.
				for _, e := range want {
					a.Outbox() <- &Envelope{1, e.MsgId, e.Msg}
				}
			}()
			eventually(t, "the queue is full", func() bool {
				return a.Stats().Sent.QueueBytes > minQueueBytes/2 && len(a.outbox) == cap(a.outbox)
			})
			b := join(t, 1, cfg)
			for i := range want {
				if e := take(t, b); e.MsgId != want[i].MsgId || len(e.Msg.([]byte)) != len(want[i].Msg.([]byte)) {
					t.Fatalf("message %d arrived with the id %d and %d bytes, want %d and %d",
						i, e.MsgId, len(e.Msg.([]byte)), want[i].MsgId, len(want[i].Msg.([]byte)))
				}
			}
			eventually(t, "the queue is empty", func() bool {
				s := a.Stats().Sent
				return s.Queued == 0 && s.QueueBytes == 0
			})
		})
	}
}
