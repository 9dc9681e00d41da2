package cluster

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestContract checks the sentences of the package comment, over each transport.
func TestContract(t *testing.T) {
	rules := []struct {
		name string
		test func(t *testing.T, cfg Config)
	}{
		{"an envelope that was handed over is not changed", testNotChanged},
		{"a MsgId of 0 is given one and another is kept", testMsgID},
		{"what one server sends to another arrives in the order sent and never twice", testFIFO},
		{"a received envelope carries its sender's id so that a reply works", testReply},
		{"a received envelope is fresh", testFresh},
		{"BROADCAST goes to every other server", testBroadcast},
		{"5 servers broadcast 10,000 each and every one is received exactly once and in order", testBroadcastAll},
		{"a send to one's own id arrives through the same encoding", testOwnID},
		{"a group is a multicast address", testGroup},
		{"while a peer takes nothing is dropped", testPaced},
		{"a large message passes a small queue", testLarge},
		{"what cannot be sent is counted by reason and disturbs nothing", testUnsendable},
		{"Send tells the outcome", testSend},
		{"Shutdown delivers what it had accepted", testShutdownDelivers},
		{"closing ends a range over Inbox and closes Done", testClosingEndsRange},
		{"who was blocked on Outbox is let go", testLetGo},
		{"after closing Send returns ErrClosed", testSendAfterClose},
		{"closing Outbox flushes it and receiving goes on", testCloseOutbox},
		{"Close may be called again and concurrently", testCloseAgain},
		{"Shutdown is bounded by its context", testShutdownBounded},
		{"the catalogue counts from the next message on", testCatalog},
	}
	for _, scheme := range []string{"tcp", "ipc", "mem"} {
		t.Run(scheme, func(t *testing.T) {
			for _, r := range rules {
				t.Run(r.name, func(t *testing.T) { r.test(t, config(t, scheme, 5)) })
			}
		})
	}
}

func testNotChanged(t *testing.T, cfg Config) {
	nodes := startAll(t, cfg)
	msg := map[string]any{"a": []int{1, 2}}
	env := &Envelope{BROADCAST, 0, msg}
	put(t, nodes[0], env)
	for _, n := range nodes[1:] {
		take(t, n)
	}
	if env.Pid != BROADCAST || env.MsgId != 0 || fmt.Sprint(env.Msg) != fmt.Sprint(map[string]any{"a": []int{1, 2}}) {
		t.Errorf("the envelope is %v after it was sent", *env)
	}
}

func testMsgID(t *testing.T, cfg Config) {
	nodes := startAll(t, cfg)
	put(t, nodes[0], &Envelope{1, 0, "x"})
	put(t, nodes[0], &Envelope{1, 0, "y"})
	put(t, nodes[0], &Envelope{1, 42, "z"})
	put(t, nodes[0], &Envelope{1, -42, "z"})
	a, b := take(t, nodes[1]).MsgId, take(t, nodes[1]).MsgId
	if a <= 0 || b <= a {
		t.Errorf("assigned ids are %d, %d: want positive ones that grow", a, b)
	}
	for _, want := range []int64{42, -42} {
		if got := take(t, nodes[1]).MsgId; got != want {
			t.Errorf("got id %d, want %d to be kept", got, want)
		}
	}
}

func testFIFO(t *testing.T, cfg Config) {
	const each = 20_000
	nodes := startAll(t, cfg)
	for _, n := range nodes[1:] {
		go func() {
			for i := range each {
				n.Outbox() <- &Envelope{0, 0, i}
			}
		}()
	}
	next := make(map[int]int)
	for range each * (len(nodes) - 1) {
		e := take(t, nodes[0])
		if e.Msg != next[e.Pid] {
			t.Fatalf("from %d got %v, want %d", e.Pid, e.Msg, next[e.Pid])
		}
		next[e.Pid]++
	}
	select {
	case e := <-nodes[0].Inbox():
		t.Errorf("one too many: %v", *e)
	case <-time.After(20 * time.Millisecond):
	}
	if r := nodes[0].Stats().Received; r.Received != each*4 || r.Lost != 0 || r.Missed != 0 || r.RefusedTotal() != 0 {
		t.Errorf("the receiver's books: %+v", r)
	}
}

func testReply(t *testing.T, cfg Config) {
	nodes := startAll(t, cfg)
	put(t, nodes[3], &Envelope{2, 0, "ping"})
	e := take(t, nodes[2])
	if e.Pid != 3 || e.Msg != "ping" {
		t.Fatalf("got %v, want a ping from 3", *e)
	}
	put(t, nodes[2], &Envelope{Pid: e.Pid, Msg: "pong"})
	if e := take(t, nodes[3]); e.Pid != 2 || e.Msg != "pong" {
		t.Errorf("got %v, want a pong from 2", *e)
	}
}

func testFresh(t *testing.T, cfg Config) {
	nodes := startAll(t, cfg)
	for _, size := range []int{3, blobBytes + 1, pieceBytes + 1} {
		group, err := nodes[0].Group(0, 1, 2)
		if err != nil {
			t.Fatal(err)
		}
		sent := make([]byte, size)
		put(t, nodes[0], &Envelope{group, 0, sent})
		for i, n := range nodes[:3] {
			got := take(t, n).Msg.([]byte)
			if slices.Max(got) != 0 {
				t.Errorf("%d bytes: server %d sees what another receiver wrote", size, i)
			}
			got[0], got[size-1] = 1, 1
		}
		if slices.Max(sent) != 0 {
			t.Errorf("%d bytes: a receiver wrote into what was sent", size)
		}
	}
}

func testBroadcast(t *testing.T, cfg Config) {
	nodes := startAll(t, cfg)
	put(t, nodes[2], &Envelope{BROADCAST, 0, "all"})
	for i, n := range nodes {
		if i == 2 {
			continue
		}
		if e := take(t, n); e.Pid != 2 || e.Msg != "all" {
			t.Errorf("server %d got %v", i, *e)
		}
	}
	select {
	case e := <-nodes[2].Inbox():
		t.Errorf("the sender received %v", *e)
	case <-time.After(20 * time.Millisecond):
	}
}

func testBroadcastAll(t *testing.T, cfg Config) {
	const each = 10_000
	nodes := startAll(t, cfg)
	var receivers sync.WaitGroup
	for _, n := range nodes {
		go func() {
			for i := range each {
				n.Outbox() <- &Envelope{BROADCAST, 0, i}
			}
		}()
		receivers.Go(func() {
			next := make(map[int]int)
			for range each * (len(nodes) - 1) {
				select {
				case e := <-n.Inbox():
					if e.Msg != next[e.Pid] {
						t.Errorf("server %d got %v from %d, want %d", n.Pid(), e.Msg, e.Pid, next[e.Pid])
						return
					}
					next[e.Pid]++
				case <-time.After(limit):
					t.Errorf("server %d has %v of %d each:\n%v", n.Pid(), next, each, n.Stats())
					return
				}
			}
		})
	}
	receivers.Wait()
}

func testOwnID(t *testing.T, cfg Config) {
	n := join(t, 0, cfg)
	type point struct{ X, Y int }
	Register("contract.point", point{})
	p := &point{1, 2}
	put(t, n, &Envelope{0, 7, p})
	if e := take(t, n); e.Pid != 0 || e.MsgId != 7 || e.Msg != (point{1, 2}) {
		t.Errorf("got %v, want the value of the point from 0", *e)
	}
	const count = 50_000
	go func() {
		for i := range count {
			n.Outbox() <- &Envelope{0, 0, i}
		}
	}()
	for i := range count {
		if e := take(t, n); e.Msg != i {
			t.Fatalf("got %v, want %d", e.Msg, i)
		}
	}
}

func testGroup(t *testing.T, cfg Config) {
	nodes := startAll(t, cfg)
	g, err := nodes[0].Group(3, 1, 0, 3)
	if err != nil || g > -2 {
		t.Fatalf("Group: %d, %v", g, err)
	}
	if again, _ := nodes[0].Group(0, 1, 3); again != g {
		t.Errorf("the same set has the addresses %d and %d", g, again)
	}
	if other, _ := nodes[0].Group(1, 3); other == g {
		t.Errorf("another set has the address %d as well", g)
	}
	put(t, nodes[0], &Envelope{g, 0, "some"})
	put(t, nodes[0], &Envelope{BROADCAST, 0, "end"})
	put(t, nodes[0], &Envelope{0, 0, "end"})
	for i, want := range []string{"some end", "some end", "end", "some end", "end"} {
		got := []string{take(t, nodes[i]).Msg.(string)}
		if got[0] != "end" {
			got = append(got, take(t, nodes[i]).Msg.(string))
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("server %d got %q, want %q", i, g, want)
		}
	}
	if _, err := nodes[0].Group(1, 99); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("a group with an unknown member: %v", err)
	}
	if _, err := nodes[0].Group(); err == nil {
		t.Error("a group without members is no error")
	}
}

func testPaced(t *testing.T, cfg Config) {
	cfg.QueueBytes = minQueueBytes
	cfg.InboxSize, cfg.OutboxSize = 1, 1
	cfg.SendTimeout = 500 * time.Millisecond
	nodes := startAll(t, cfg)
	const count, size = 300, 5_000
	go func() {
		b := make([]byte, size)
		for range count {
			nodes[0].Outbox() <- &Envelope{1, 0, b}
		}
	}()
	// Several times the timeout passes, and much more than all windows hold.
	for range count {
		take(t, nodes[1])
		time.Sleep(5 * time.Millisecond)
		if s := nodes[0].Stats().Sent; s.QueueBytes > cfg.QueueBytes {
			t.Fatalf("%d bytes are queued, and queueBytes is %d", s.QueueBytes, cfg.QueueBytes)
		}
	}
	if s := nodes[0].Stats(); s.Sent.DroppedTotal() != 0 {
		t.Errorf("dropped:\n%v", s)
	}
}

func testLarge(t *testing.T, cfg Config) {
	cfg.QueueBytes = minQueueBytes
	nodes := startAll(t, cfg)
	sizes := []int{0, 1, blobBytes - 1, blobBytes, blobBytes + 1, pieceBytes - 1, pieceBytes, pieceBytes + 1, 3*pieceBytes + 5, 9 << 20}
	go func() {
		for _, size := range sizes {
			b := make([]byte, size)
			for i := range b {
				b[i] = byte(i * 7 / 5)
			}
			nodes[0].Outbox() <- &Envelope{1, 0, b}
			nodes[0].Outbox() <- &Envelope{1, 0, string(b)}
			nodes[0].Outbox() <- &Envelope{1, 0, []any{b, "x"}}
		}
	}()
	for _, size := range sizes {
		want := make([]byte, size)
		for i := range want {
			want[i] = byte(i * 7 / 5)
		}
		if got := take(t, nodes[1]).Msg.([]byte); !slices.Equal(got, want) {
			t.Errorf("%d bytes arrive as %d others", size, len(got))
		}
		if got := take(t, nodes[1]).Msg.(string); got != string(want) {
			t.Errorf("a string of %d bytes arrives as another", size)
		}
		if got := take(t, nodes[1]).Msg.([]any); !slices.Equal(got[0].([]byte), want) || got[1] != "x" {
			t.Errorf("a value with %d bytes in it arrives as another", size)
		}
	}
}

func testUnsendable(t *testing.T, cfg Config) {
	cfg.MaxMessageBytes = 1000
	nodes := startAll(t, cfg)
	type stranger struct{ X int }
	put(t, nodes[0], &Envelope{99, 0, "x"})
	put(t, nodes[0], &Envelope{-99, 0, "x"})
	put(t, nodes[0], &Envelope{1, 0, make([]byte, 1001)})
	put(t, nodes[0], &Envelope{BROADCAST, 0, strings.Repeat("x", 100_000)})
	put(t, nodes[0], &Envelope{1, 0, stranger{1}})
	put(t, nodes[0], &Envelope{1, 0, make(chan int)})
	put(t, nodes[0], nil)
	put(t, nodes[0], &Envelope{1, 0, make([]byte, 1000)})
	if got := len(take(t, nodes[1]).Msg.([]byte)); got != 1000 {
		t.Errorf("got %d bytes, want the 1000 that are allowed", got)
	}
	got := nodes[0].Stats().Unaddressed.Dropped
	for r, want := range map[Reason]uint64{ReasonUnknownPeer: 2, ReasonTooLarge: 2, ReasonNotEncodable: 3} {
		if got[r] != want {
			t.Errorf("dropped as %v: %d, want %d", r, got[r], want)
		}
	}
}

func testSend(t *testing.T, cfg Config) {
	cfg.MaxMessageBytes = 1000
	cfg.SendTimeout = 50 * time.Millisecond
	a, _ := join(t, 0, cfg), join(t, 1, cfg) // 2, 3 and 4 are not up
	type stranger struct{ X int }
	ctx := context.Background()
	for _, c := range []struct {
		name string
		env  *Envelope
		want error
	}{
		{"to a peer that is up", &Envelope{1, 0, "x"}, nil},
		{"to oneself", &Envelope{0, 0, "x"}, nil},
		{"unknown peer", &Envelope{99, 0, "x"}, ErrUnknownPeer},
		{"unknown group", &Envelope{-7, 0, "x"}, ErrUnknownPeer},
		{"too large", &Envelope{1, 0, make([]byte, 1001)}, ErrTooLarge},
		{"unregistered", &Envelope{1, 0, stranger{1}}, ErrNotEncodable},
		{"no envelope", nil, ErrNotEncodable},
	} {
		if err := a.Send(ctx, c.env); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	if err := a.Send(ctx, &Envelope{1, 0, stranger{1}}); err == nil || !strings.Contains(err.Error(), "Register(") {
		t.Errorf("the error for an unregistered type does not say what to call: %v", err)
	}
	if err := a.Send(ctx, &Envelope{2, 0, "x"}); err != nil {
		t.Errorf("to a peer that may still come up: %v", err)
	}
	eventually(t, "the link to 2 is down", func() bool { return a.Stats().Peers[2].State == LinkDown })
	err := a.Send(ctx, &Envelope{2, 0, "x"})
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "peer 2") {
		t.Errorf("to a peer that is down: %v", err)
	}
	for _, id := range []int{3, 4} {
		a.Send(ctx, &Envelope{id, 0, "x"})
		eventually(t, "the link is down", func() bool { return a.Stats().Peers[id].State == LinkDown })
	}
	if err := a.Send(ctx, &Envelope{BROADCAST, 0, "x"}); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "peer 4") {
		t.Errorf("a broadcast of which three are not reached: %v", err)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if err := a.Send(done, &Envelope{1, 0, "x"}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is done: %v", err)
	}
}

func testShutdownDelivers(t *testing.T, cfg Config) {
	const count = 20_000
	cfg.OutboxSize = count
	a, b := join(t, 0, cfg), join(t, 1, cfg)
	for i := range count {
		put(t, a, &Envelope{1, 0, i})
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Shutdown(context.Background()) }()
	for i := range count {
		if e := take(t, b); e.Msg != i {
			t.Fatalf("got %v, want %d", e.Msg, i)
		}
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(limit):
		t.Error("Shutdown does not return")
	}
	if s := a.Stats().Sent; s.Sent != count {
		t.Errorf("sent %d, want %d", s.Sent, count)
	}
}

func testClosingEndsRange(t *testing.T, cfg Config) {
	a, b := join(t, 0, cfg), join(t, 1, cfg)
	put(t, a, &Envelope{1, 0, "x"})
	eventually(t, "the message is in the inbox", func() bool { return len(b.Inbox()) == 1 })
	select {
	case <-b.Done():
		t.Error("Done is closed before the node is")
	default:
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-b.Done():
	default:
		t.Error("Done is open after Close")
	}
	got := 0
	for range b.Inbox() {
		got++
	}
	if got != 1 {
		t.Errorf("got %d messages after Close, want the one that was there", got)
	}
}

func testLetGo(t *testing.T, cfg Config) {
	cfg.OutboxSize = 1
	cfg.QueueBytes = minQueueBytes
	cfg.SendTimeout = time.Hour
	cfg.Linger = 50 * time.Millisecond
	a, err := NewFromConfig(0, cfg)
	if err != nil {
		t.Fatal(err)
	}
	var senders sync.WaitGroup
	for range 50 {
		senders.Go(func() {
			select {
			case a.Outbox() <- &Envelope{1, 0, make([]byte, minQueueBytes)}:
			case <-time.After(limit):
				t.Error("a sender is still blocked")
			}
		})
	}
	eventually(t, "all senders are blocked, but for the three whose envelopes were taken", func() bool {
		return blocked("testLetGo.func1") >= 47
	})
	if err := a.Close(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v, want an error since messages were dropped", err)
	}
	senders.Wait()
	s := a.Stats()
	if s.Sent.Dropped[ReasonClosed] < 2 {
		t.Errorf("dropped as closed: %d\n%v", s.Sent.Dropped[ReasonClosed], s)
	}
	checkBooks(t, a)
}

// blocked counts the goroutines that wait in a select of the function.
func blocked(function string) int {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	count := 0
	for _, g := range strings.Split(string(stacks), "\n\n") {
		head, rest, _ := strings.Cut(g, "\n")
		if strings.Contains(head, "[select") && strings.HasPrefix(rest, "github.com/abhishekg16/cluster."+function) {
			count++
		}
	}
	return count
}

func testSendAfterClose(t *testing.T, cfg Config) {
	a := join(t, 0, cfg)
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if err := a.Send(context.Background(), &Envelope{1, 0, "x"}); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want %v", err, ErrClosed)
	}
	a.Peers()
	a.Stats()
	a.Catalog()
	if a.Pid() != 0 {
		t.Error("a closed node has forgotten its id")
	}
}

func testCloseOutbox(t *testing.T, cfg Config) {
	a, b := join(t, 0, cfg), join(t, 1, cfg)
	const count = 1000
	for i := range count {
		put(t, a, &Envelope{1, 0, i})
	}
	close(a.Outbox())
	for i := range count {
		if e := take(t, b); e.Msg != i {
			t.Fatalf("got %v, want %d", e.Msg, i)
		}
	}
	put(t, b, &Envelope{0, 0, "still there?"})
	if e := take(t, a); e.Msg != "still there?" {
		t.Errorf("got %v", e.Msg)
	}
}

func testCloseAgain(t *testing.T, cfg Config) {
	a, b := join(t, 0, cfg), join(t, 1, cfg)
	put(t, a, &Envelope{1, 0, "x"})
	take(t, b)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			if err := a.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

func testShutdownBounded(t *testing.T, cfg Config) {
	cfg.SendTimeout = time.Hour
	a := join(t, 0, cfg)
	put(t, a, &Envelope{1, 0, "nobody is there"})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := a.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	if took := time.Since(start); took > limit/2 {
		t.Errorf("Shutdown took %v", took)
	}
	if got := a.Stats().Sent.Dropped[ReasonClosed]; got != 1 {
		t.Errorf("dropped as closed: %d, want 1", got)
	}
}

func testCatalog(t *testing.T, cfg Config) {
	later := cfg.Peers[4]
	cfg.Peers = cfg.Peers[:2]
	a, b := join(t, 0, cfg), join(t, 1, cfg)
	late := cfg
	late.Peers = append(slices.Clone(cfg.Peers), later)
	c := join(t, 4, late)
	if err := a.Send(context.Background(), &Envelope{4, 0, "x"}); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("to a peer that is not in the catalogue: %v", err)
	}
	if err := a.Catalog().Create(later); err != nil {
		t.Fatal(err)
	}
	if got := a.Peers(); !slices.Equal(got, []int{1, 4}) {
		t.Errorf("peers are %v after one was added", got)
	}
	put(t, a, &Envelope{BROADCAST, 0, "hello"})
	take(t, b)
	take(t, c)
	put(t, c, &Envelope{BROADCAST, 0, "hello"})
	take(t, a)
	eventually(t, "b refuses whom it does not know", func() bool { return b.Stats().Refused[RefusedSender] == 1 })

	if !a.Catalog().Remove(4) {
		t.Fatal("4 is not there")
	}
	put(t, a, &Envelope{4, 0, "are you gone?"})
	put(t, a, &Envelope{BROADCAST, 0, "4 is gone"})
	take(t, b)
	if got := a.Stats().Sent.Dropped[ReasonUnknownPeer]; got != 2 {
		t.Errorf("dropped for an unknown peer: %d, want 2", got)
	}
	// The same peer again: its sequence goes on.
	if err := a.Catalog().Put(later); err != nil {
		t.Fatal(err)
	}
	put(t, a, &Envelope{4, 0, "back"})
	if e := take(t, c); e.Msg != "back" {
		t.Errorf("got %v", e.Msg)
	}
	if r := c.Stats().Received; r.Lost != 0 || r.RefusedTotal() != 0 {
		t.Errorf("the returned peer's books: %+v", r)
	}
}
