package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/wire"
)

// The tests of this file and of closing_test.go are the sentences of the package comment,
// in its order, and use what every program may use. Most run in virtual time: what takes a
// second for the nodes takes none here, and is exact. Sentences that need more than that
// have their tests elsewhere: Receive in receive_test.go, what one peer or message must not
// do to the rest in isolation_test.go, processes that are killed or stopped, connections
// that break, garbage, and keys in internal/scenario. The suite of package clustertest
// holds the same rules over every transport.

// Delivery.

// A note is a message that shares memory with the program that sends it.
type note struct {
	Text  string
	Marks []int
	Votes map[string]*int
}

func init() { cluster.Register("cluster.note", note{}) }

func newNote() *note {
	one := 1
	return &note{Text: "text", Marks: []int{1, 2, 3}, Votes: map[string]*int{"one": &one}}
}

func TestTheLibraryDoesNotChangeWhatIsHandedOver(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		nodes := testcluster.StartAll(t, cfg)
		for to, receivers := range map[int][]int{0: {0}, 1: {1}, cluster.BROADCAST: {1, 2}} {
			e := &cluster.Envelope{to, 0, newNote()}
			testcluster.Put(t, nodes[0], e)
			for _, id := range receivers {
				testcluster.Take(t, nodes[id])
			}
			synctest.Wait()
			if diff := cmp.Diff(&cluster.Envelope{to, 0, newNote()}, e); diff != "" {
				t.Errorf("what was sent to %d has changed (-before +after):\n%s", to, diff)
			}
		}
	})
}

func TestAMsgIdOf0IsReplacedByANewOneAndAnotherIsKept(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		nodes := testcluster.StartAll(t, cfg)
		given := make(map[int64]bool)
		for range 1000 {
			testcluster.Put(t, nodes[0], &cluster.Envelope{1, 0, "x"})
			if id := testcluster.Take(t, nodes[1]).MsgId; id == 0 || given[id] {
				t.Fatalf("got the id %d, and had %d others", id, len(given))
			} else {
				given[id] = true
			}
		}
		for _, id := range []int64{1, 42, -42, math.MaxInt64, math.MinInt64} {
			testcluster.Put(t, nodes[0], &cluster.Envelope{1, id, "x"})
			if got := testcluster.Take(t, nodes[1]).MsgId; got != id {
				t.Errorf("got the id %d, want %d", got, id)
			}
		}
	})
}

func TestWhatOneServerSendsToAnotherArrivesInTheOrderSentAndNeverTwice(t *testing.T) {
	nodes := testcluster.StartAll(t, testcluster.Config(t, "tcp", 4))
	var sent uint64
	var senders []*testcluster.Traffic
	readers := []*testcluster.Reader{testcluster.ReadAll(nodes[0]), testcluster.ReadAll(nodes[1])}
	for _, n := range nodes[2:] {
		senders = append(senders, testcluster.NewTraffic(n))
	}
	for _, part := range []struct{ count, size int }{{5000, 16}, {1000, 1000}, {20, 300_000}, {1000, 16}} {
		for _, s := range senders {
			s.Send([]int{0, 1}, part.count, part.size, 0)
		}
		sent += uint64(part.count)
	}
	for i, r := range readers {
		for from := 2; from < 4; from++ {
			testcluster.Eventually(t, "all messages", func() bool { return r.Tally(from).Count >= int(sent) })
			r.Tally(from).CheckAll(t, fmt.Sprint("server ", i), sent)
		}
	}
}

func TestAReceivedEnvelopeCarriesItsSendersIdInPid(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		nodes := testcluster.StartAll(t, cfg)
		for _, n := range nodes {
			testcluster.Put(t, nodes[2], &cluster.Envelope{Pid: n.Pid(), Msg: "question"})
			env := testcluster.Take(t, n)
			if env.Pid != 2 {
				t.Errorf("server %d received a message of 2 from %d", n.Pid(), env.Pid)
			}
			testcluster.Put(t, n, &cluster.Envelope{Pid: env.Pid, Msg: "answer"})
			if e := testcluster.Take(t, nodes[2]); e.Pid != n.Pid() || e.Msg != "answer" {
				t.Errorf("received %v from %d, want the answer of %d", e.Msg, e.Pid, n.Pid())
			}
		}
	})
}

func TestAReceivedEnvelopeIsFreshAndBelongsToTheReceiver(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		nodes := testcluster.StartAll(t, cfg)
		sent := newNote()
		testcluster.Put(t, nodes[0], &cluster.Envelope{cluster.BROADCAST, 0, sent})
		testcluster.Put(t, nodes[0], &cluster.Envelope{0, 0, sent})
		for _, n := range nodes {
			e := testcluster.Take(t, n)
			got := e.Msg.(note)
			if diff := cmp.Diff(*newNote(), got); diff != "" {
				t.Errorf("server %d sees what another has written (-sent +received):\n%s", n.Pid(), diff)
			}
			got.Marks[0], *got.Votes["one"] = 77, 77
			got.Votes["two"], e.Msg, e.MsgId = nil, nil, 77
		}
		if diff := cmp.Diff(newNote(), sent); diff != "" {
			t.Errorf("the sender sees what receivers have written (-sent +now):\n%s", diff)
		}
	})
}

func TestBROADCASTGoesToEveryOtherServer(t *testing.T) {
	testcluster.Bubble(t, 4, func(t *testing.T, cfg cluster.Config) {
		nodes := testcluster.StartAll(t, cfg)
		for i := range 20 {
			for _, from := range nodes {
				testcluster.Put(t, from, &cluster.Envelope{cluster.BROADCAST, 0, 2 * i})
				if err := from.Send(context.Background(), &cluster.Envelope{cluster.BROADCAST, 0, 2*i + 1}); err != nil {
					t.Fatal(err)
				}
				for _, n := range nodes {
					if n == from {
						continue
					}
					got := make(map[any]int) // what is sent by Send may overtake what is in Outbox
					for range 2 {
						e := testcluster.Take(t, n)
						got[e.Msg] = e.Pid
					}
					if want := (map[any]int{2 * i: from.Pid(), 2*i + 1: from.Pid()}); !maps.Equal(got, want) {
						t.Errorf("server %d received, by message, from %v, want %v", n.Pid(), got, want)
					}
				}
			}
		}
		synctest.Wait()
		for _, n := range nodes {
			if more := len(n.Inbox()); more > 0 {
				t.Errorf("%d more messages came to server %d", more, n.Pid())
			}
		}
	})
}

func TestASendToOnesOwnIdArrivesThroughTheSameEncoding(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		nodes := testcluster.StartAll(t, cfg)
		type unregistered struct{ X int }
		for to, n := range nodes {
			testcluster.Put(t, nodes[0], &cluster.Envelope{to, 0, newNote()})
			if diff := cmp.Diff(any(*newNote()), testcluster.Take(t, n).Msg); diff != "" {
				t.Errorf("to %d: a pointer arrives as its value (-want +got):\n%s", to, diff)
			}
			if err := nodes[0].Send(context.Background(), &cluster.Envelope{to, 0, unregistered{}}); !errors.Is(err, cluster.ErrNotEncodable) {
				t.Errorf("to %d: a type that is not registered: %v", to, err)
			}
		}
	})
}

// The memory that frames come in is used again, and messages must not be in it.
func TestWhatWasReceivedStaysAsItIs(t *testing.T) {
	cfg := testcluster.Config(t, "tcp", 2)
	cfg.InboxSize = 2 // so that frames wait
	a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
	const count = 1200
	sizes := []int{10, 100, 3_000, 5_000, 20_000, 40_000, 200_000}
	message := func(i int) any {
		text := strings.Repeat(fmt.Sprintf("%6d ", i), sizes[i%len(sizes)]/7+1)
		switch i % 3 {
		case 0:
			return []byte(text)
		case 1:
			return text
		}
		return []any{text, []byte(text)}
	}
	go func() { // It ends with its last message.
		for i := range count {
			a.Outbox() <- &cluster.Envelope{1, 0, message(i)}
		}
	}()
	var kept []*cluster.Envelope
	for range count {
		kept = append(kept, testcluster.Take(t, b))
	}
	for i, e := range kept {
		if !reflect.DeepEqual(e.Msg, message(i)) {
			t.Fatalf("message %d is another now", i)
		}
	}
}

// Slow, stalled and dead peers.

func TestASlowReaderIsPacedForAnyTime(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.InboxSize, cfg.OutboxSize = 1, 1
		cfg.QueueBytes = testcluster.MinQueueBytes
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; i < 20_000; i++ {
				a.Outbox() <- &cluster.Envelope{1, 0, i}
			}
		}()
		// One message in nine tenths of the timeout, for hours.
		for i := range 20_000 {
			select {
			case e := <-b.Inbox():
				if e.Msg != i {
					t.Fatalf("got %v, want %d:\n%v", e.Msg, i, a.Stats())
				}
			case <-time.After(testcluster.Limit):
				t.Fatalf("nothing came:\n%+v\n%+v", a.Stats().Peers, b.Stats().Peers)
			}
			time.Sleep(testcluster.SendTimeout * 9 / 10)
		}
		<-done
		if s := a.Stats().Sent; s.DroppedTotal() != 0 {
			t.Errorf("dropped %v", s.Dropped)
		}
	})
}

// The reader takes one message each 200 ms, so each of six senders waits for more
// than SendTimeout until one of its own is taken.
func TestASlowReaderOfSeveralSendersPacesThemAll(t *testing.T) {
	testcluster.Bubble(t, 7, func(t *testing.T, cfg cluster.Config) {
		cfg.QueueBytes, cfg.InboxSize, cfg.Linger = testcluster.MinQueueBytes, 4, 100*time.Millisecond
		nodes := testcluster.StartAll(t, cfg)
		var senders sync.WaitGroup
		for _, n := range nodes[1:] {
			senders.Go(func() {
				for {
					select {
					case n.Outbox() <- &cluster.Envelope{0, 0, make([]byte, 4000)}:
						time.Sleep(time.Millisecond) // what is dropped takes no time
					case <-n.Done():
						return
					}
				}
			})
		}
		for range 300 {
			testcluster.Take(t, nodes[0])
			time.Sleep(200 * time.Millisecond)
		}
		for _, n := range nodes[1:] {
			if s := n.Stats().Sent; s.DroppedTotal() > 0 {
				t.Errorf("server %d has dropped %v", n.Pid(), s.Dropped)
			}
		}
		for _, n := range nodes[1:] {
			n.Shutdown(testcluster.AlreadyDone())
		}
		senders.Wait()
	})
}

func TestDroppedAfterSendTimeoutAndAtOnceFromThenOn(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		testcluster.Put(t, a, &cluster.Envelope{1, 0, "x"})
		time.Sleep(testcluster.SendTimeout - time.Millisecond)
		synctest.Wait()
		if s := a.Stats().Sent; s.Queued != 1 || testcluster.StatsOf(a, 1).State != cluster.LinkConnecting {
			t.Errorf("just before the timeout: %+v, link %v", s, testcluster.StatsOf(a, 1).State)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if s := a.Stats().Sent; s.Dropped[cluster.ReasonTimedOut] != 1 || testcluster.StatsOf(a, 1).State != cluster.LinkDown {
			t.Errorf("just after the timeout: %+v, link %v", s, testcluster.StatsOf(a, 1).State)
		}
		start := time.Now()
		for range 10 * testcluster.OutboxSize {
			testcluster.Put(t, a, &cluster.Envelope{1, 0, "y"})
		}
		synctest.Wait()
		if s := a.Stats().Sent; s.Dropped[cluster.ReasonUnreachable] != 10*testcluster.OutboxSize || time.Since(start) != 0 {
			t.Errorf("while the link is down, after %v: %+v", time.Since(start), s)
		}
	})
}

func TestServersMayStartInAnyOrderWithinSendTimeout(t *testing.T) {
	testcluster.Bubble(t, 5, func(t *testing.T, cfg cluster.Config) {
		var nodes []*cluster.Node
		for i := range 5 {
			nodes = append(nodes, testcluster.Join(t, i, cfg))
			testcluster.Put(t, nodes[i], &cluster.Envelope{cluster.BROADCAST, 0, i})
			time.Sleep(testcluster.SendTimeout / 5)
		}
		for _, n := range nodes {
			sum := 0
			for range 4 {
				sum += testcluster.Take(t, n).Msg.(int)
			}
			if want := 0 + 1 + 2 + 3 + 4 - n.Pid(); sum != want {
				t.Errorf("server %d received ids that add up to %d, want %d", n.Pid(), sum, want)
			}
		}
	})
}

func TestAPeerThatWasDownGetsNothingStale(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		a := testcluster.Join(t, 0, cfg)
		for i := range 100 {
			testcluster.Put(t, a, &cluster.Envelope{1, 0, i})
			time.Sleep(50 * time.Millisecond)
		}
		b := testcluster.Join(t, 1, cfg)
		synctest.Wait()
		if got := testcluster.StatsOf(a, 1).State; got != cluster.LinkUp {
			t.Errorf("the link is %v as soon as the peer is there", got)
		}
		testcluster.Put(t, a, &cluster.Envelope{1, 0, "fresh"})
		if e := testcluster.Take(t, b); e.Msg != "fresh" {
			t.Errorf("got %v first", e.Msg)
		}
		if s := a.Stats().Sent; s.DroppedTotal() != 100 {
			t.Errorf("dropped %v, want 100 in all", s.Dropped)
		}
	})
}

func TestAStalledPeerDelaysTheOthersByOneSendTimeoutPerStall(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		cfg.QueueBytes = testcluster.MinQueueBytes
		cfg.OutboxSize = 1
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		testcluster.NewFakePeer(t, 2, cfg) // it listens, and reads nothing
		var worst time.Duration
		go func() {
			for range 1000 {
				a.Outbox() <- &cluster.Envelope{cluster.BROADCAST, 0, make([]byte, 4000)}
			}
		}()
		for range 1000 {
			start := time.Now()
			testcluster.Take(t, b)
			worst = max(worst, time.Since(start))
		}
		if worst > testcluster.SendTimeout {
			t.Errorf("a healthy peer waited for %v", worst)
		}
		if worst == 0 {
			t.Error("the stalled peer delayed nothing: the test tests nothing")
		}
		if got := testcluster.StatsOf(a, 2).State; got == cluster.LinkUp || got == cluster.LinkConnecting {
			t.Errorf("the link to the stalled peer is %v", got)
		}
	})
}

func TestANegativeSendTimeoutNeverWaits(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.SendTimeout = -1
		cfg.QueueBytes = testcluster.MinQueueBytes
		a := testcluster.Join(t, 0, cfg)
		start := time.Now()
		for range 100 {
			testcluster.Put(t, a, &cluster.Envelope{1, 0, make([]byte, 4000)})
		}
		synctest.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("sending took %v", took)
		}
		s := a.Stats().Sent
		if s.Dropped[cluster.ReasonTimedOut] == 0 || s.Queued == 0 {
			t.Errorf("a full queue should hold some and drop the others: %+v", s)
		}
		if err := a.Send(context.Background(), &cluster.Envelope{1, 0, make([]byte, 4000)}); !errors.Is(err, cluster.ErrTimedOut) {
			t.Errorf("Send with a full queue: %v", err)
		}
	})
}

func TestAnyPositiveSendTimeoutEnds(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.SendTimeout = 1
		n := testcluster.Join(t, 0, cfg)
		testcluster.Put(t, n, &cluster.Envelope{1, 0, "x"})
		time.Sleep(time.Second)
		synctest.Wait()
		if got := testcluster.StatsOf(n, 1).State; got != cluster.LinkDown {
			t.Errorf("the link is %v a second after SendTimeout, %v", got, cfg.SendTimeout)
		}
	})
}

func TestALinkThatIsDownIsUpWhenItsPeerTakesAgain(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.QueueBytes, cfg.InboxSize = testcluster.MinQueueBytes, 1
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		stop := sendOn(a, cluster.Envelope{1, 0, make([]byte, 4000)})
		time.Sleep(3 * testcluster.SendTimeout) // b's program does not read
		stop()
		synctest.Wait()
		if p := testcluster.StatsOf(a, 1); p.State != cluster.LinkStalled || p.Sent.Dropped[cluster.ReasonUnreachable] == 0 {
			t.Fatalf("while the peer takes nothing the link is %v, and dropped %v", p.State, p.Sent.Dropped)
		}
		fresh := make(chan struct{})
		go func() { // It ends when b closes.
			for e := range b.Inbox() {
				if e.Msg == "fresh" {
					close(fresh)
				}
			}
		}()
		time.Sleep(testcluster.SendTimeout)
		synctest.Wait()
		before := testcluster.StatsOf(a, 1)
		if before.State != cluster.LinkUp {
			t.Errorf("once it takes again the link is %v", before.State)
		}
		testcluster.Put(t, a, &cluster.Envelope{1, 0, "fresh"})
		<-fresh
		if now := testcluster.StatsOf(a, 1); now.Sent.DroppedTotal() != before.Sent.DroppedTotal() {
			t.Errorf("dropped %v, and %v before it took again", now.Sent.Dropped, before.Sent.Dropped)
		}
	})
}

// Accounts.

func TestAcceptedIsSentAndQueuedAndDroppedByReason(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		cfg.MaxMessageBytes = 1000
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg) // 2 is not there
		check := func(when string, who string, got cluster.SentStats, accepted, sent, queued uint64, dropped map[cluster.Reason]uint64) {
			t.Helper()
			testcluster.CheckBooks(t, a)
			if got.Accepted != accepted || got.Sent != sent || got.Queued != queued || fmt.Sprint(got.Dropped) != fmt.Sprint(dropped) {
				t.Errorf("%s, for %s: accepted %d, sent %d, queued %d, dropped %v; want %d, %d, %d, %v",
					when, who, got.Accepted, got.Sent, got.Queued, got.Dropped, accepted, sent, queued, dropped)
			}
		}
		type unregistered struct{ X int }
		for range 3 {
			testcluster.Put(t, a, &cluster.Envelope{cluster.BROADCAST, 0, "x"})
		}
		testcluster.Put(t, a, &cluster.Envelope{99, 0, "nobody has this id"})
		testcluster.Put(t, a, &cluster.Envelope{1, 0, unregistered{}})
		testcluster.Put(t, a, &cluster.Envelope{1, 0, make([]byte, 1001)})
		synctest.Wait()
		none := map[cluster.Reason]uint64{}
		check("at first", "1", testcluster.StatsOf(a, 1).Sent, 3, 3, 0, none)
		check("at first", "2", testcluster.StatsOf(a, 2).Sent, 3, 0, 3, none)
		check("at first", "nobody", a.Stats().Unaddressed, 3, 0, 0,
			map[cluster.Reason]uint64{cluster.ReasonUnknownPeer: 1, cluster.ReasonNotEncodable: 1, cluster.ReasonTooLarge: 1})
		time.Sleep(2 * testcluster.SendTimeout)
		testcluster.Put(t, a, &cluster.Envelope{cluster.BROADCAST, 0, "y"})
		synctest.Wait()
		check("later", "1", testcluster.StatsOf(a, 1).Sent, 4, 4, 0, none)
		check("later", "2", testcluster.StatsOf(a, 2).Sent, 4, 0, 0,
			map[cluster.Reason]uint64{cluster.ReasonTimedOut: 3, cluster.ReasonUnreachable: 1})
		if r := testcluster.StatsOf(b, 0).Received; r.Received != 4 || r.Lost != 0 || r.RefusedTotal() != 0 {
			t.Errorf("the receiver counts %+v", r)
		}
	})
}

func TestStatsPrintAsATableAndMarshalToJSON(t *testing.T) {
	cfg := testcluster.Config(t, "mem", 3)
	cfg.SendTimeout = 1
	a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
	testcluster.Put(t, b, &cluster.Envelope{0, 0, "x"})
	testcluster.Take(t, a)
	testcluster.Put(t, a, &cluster.Envelope{2, 0, "x"})
	testcluster.Put(t, a, &cluster.Envelope{99, 0, "x"})
	testcluster.Eventually(t, "the books of both drops", func() bool { return a.Stats().Sent.DroppedTotal() == 2 })
	s := a.Stats()
	table := s.String()
	for _, want := range []string{"server 0", "down", "total", "dropped for 2: timed out 1", "dropped for none: unknown peer 1"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	js, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Peers []struct {
			ID    int
			State string
			Sent  struct{ Dropped map[string]int }
		}
	}
	if err := json.Unmarshal(js, &back); err != nil {
		t.Fatal(err)
	}
	if p := back.Peers[1]; p.ID != 2 || p.State != "down" || p.Sent.Dropped["timed out"] != 1 {
		t.Errorf("got %+v from\n%s", p, js)
	}
	// A copy is a copy.
	s.Peers[0].Received.Received = 77
	s.Sent.Dropped[cluster.ReasonTimedOut] = 77
	if again := a.Stats(); again.Peers[0].Received.Received != 1 || again.Sent.Dropped[cluster.ReasonTimedOut] != 1 {
		t.Error("the node sees what was done to a copy of its stats")
	}
	if got := fmt.Sprint(cluster.Reason(99), cluster.Refusal(-1), cluster.LinkState(7)); got != "99 -1 7" {
		t.Errorf("unknown values print as %q", got)
	}
}

func TestStatsThatWereWrittenAsJSONCanBeReadBack(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
		testcluster.Put(t, a, &cluster.Envelope{1, 0, "x"})
		testcluster.Put(t, a, &cluster.Envelope{2, 0, "nobody is there"})
		testcluster.Put(t, a, &cluster.Envelope{9, 0, "nor there"})
		testcluster.Take(t, b)
		testcluster.NewFakePeer(t, 2, cfg).Send(0, cfg, wire.Header{Count: 1}, []byte("malformed"))
		time.Sleep(2 * testcluster.SendTimeout)
		synctest.Wait()
		want := a.Stats()
		for i := range want.Peers {
			want.Peers[i].Since = want.Peers[i].Since.Round(0)
		}
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got cluster.Stats
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("read back (-want +got):\n%s", diff)
		}
	})
}

// Bounds.

func TestALinkQueuesAtMostQueueBytesOrOneMessageThatIsLarger(t *testing.T) {
	for _, size := range []int{16, 4000, testcluster.MinQueueBytes - 100, 2 * testcluster.MinQueueBytes, 1 << 20} {
		t.Run(fmt.Sprint(size, " bytes"), func(t *testing.T) {
			testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
				cfg.QueueBytes, cfg.SendTimeout = testcluster.MinQueueBytes, -1
				a := testcluster.Join(t, 0, cfg) // 1 is not there
				for range 2 + 2*testcluster.MinQueueBytes/size {
					testcluster.Put(t, a, &cluster.Envelope{1, 0, make([]byte, size)})
				}
				synctest.Wait()
				s := a.Stats().Sent
				if s.Queued == 0 || s.DroppedTotal() == 0 {
					t.Fatalf("queued %d, and dropped %v: the test tests nothing", s.Queued, s.Dropped)
				}
				if s.Queued > 1 && s.QueueBytes > cfg.QueueBytes {
					t.Errorf("%d messages of %d bytes are queued, %d bytes in all, want at most %d", s.Queued, size, s.QueueBytes, cfg.QueueBytes)
				}
				if least := min(cfg.QueueBytes/2, size); s.QueueBytes < least {
					t.Errorf("%d bytes are queued, want at least %d", s.QueueBytes, least)
				}
			})
		})
	}
}

func TestInboxHoldsInboxSizeEnvelopesAndAboutQueueBytesOrOneMessage(t *testing.T) {
	for _, c := range []struct{ inboxSize, size, least, most int }{
		{4, 16, 4, 4},
		{1000, 10_000, testcluster.MinQueueBytes / 10_000, testcluster.MinQueueBytes/10_000 + 1},
		{1000, 1 << 20, 1, 1},
	} {
		t.Run(fmt.Sprintf("%d envelopes of %d bytes", c.inboxSize, c.size), func(t *testing.T) {
			testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
				cfg.QueueBytes, cfg.InboxSize, cfg.SendTimeout = testcluster.MinQueueBytes, c.inboxSize, -1
				a, b := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
				for range 100 {
					testcluster.Put(t, a, &cluster.Envelope{1, 0, make([]byte, c.size)})
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if got := len(b.Inbox()); got < c.least || got > c.most {
					t.Errorf("Inbox holds %d, want %d to %d", got, c.least, c.most)
				}
			})
		})
	}
}

func TestAMessageLargerThanMaxMessageBytesIsRefusedBySenderAndReceiver(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.MaxMessageBytes = 1000
		a := testcluster.Join(t, 0, cfg)
		cfg.MaxMessageBytes = 100
		b := testcluster.Join(t, 1, cfg)
		if err := a.Send(context.Background(), &cluster.Envelope{1, 0, make([]byte, 1001)}); !errors.Is(err, cluster.ErrTooLarge) {
			t.Errorf("the sender's limit is 1000, and Send of 1001 bytes returns %v", err)
		}
		for _, size := range []int{1000, 101, 100} {
			if err := a.Send(context.Background(), &cluster.Envelope{1, 0, make([]byte, size)}); err != nil {
				t.Fatal(err)
			}
		}
		if got := len(testcluster.Take(t, b).Msg.([]byte)); got != 100 {
			t.Errorf("the receiver's limit is 100, and it delivers %d bytes", got)
		}
		if got := b.Stats().Received.Refused[cluster.RefusedTooLarge]; got != 2 {
			t.Errorf("the receiver counts %d messages as too large, want 2", got)
		}
	})
}

func TestAMessageThatTakesMoreThanEightTimesAsMuchMemoryIsRefusedBySenderAndReceiver(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		cfg.MaxMessageBytes = 150_000
		b := testcluster.Join(t, 1, cfg)
		spacious := make([]any, 100_000) // a byte each, and 16 in memory
		small := testcluster.Join(t, 0, cfg)
		if err := small.Send(context.Background(), &cluster.Envelope{1, 0, spacious}); !errors.Is(err, cluster.ErrTooLarge) {
			t.Errorf("Send returns %v", err)
		}
		if err := small.Close(); err != nil {
			t.Error(err)
		}
		cfg.MaxMessageBytes = 0
		large := testcluster.Join(t, 0, cfg)
		for _, msg := range []any{spacious, spacious[:10_000]} {
			if err := large.Send(context.Background(), &cluster.Envelope{1, 0, msg}); err != nil {
				t.Fatal(err)
			}
		}
		if got := len(testcluster.Take(t, b).Msg.([]any)); got != 10_000 {
			t.Errorf("a slice of %d arrives", got)
		}
		if got := b.Stats().Received.Refused[cluster.RefusedTooLarge]; got != 1 {
			t.Errorf("the receiver counts %d messages as too large, want 1", got)
		}
	})
}
