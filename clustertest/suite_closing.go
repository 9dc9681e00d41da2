package clustertest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/abhishekg16/cluster"
)

var closingRules = []rule{
	{
		"Close returns in time and ends a range over Inbox",
		"Close closes Inbox, of which what it holds can still be taken, and returns when nothing of the server runs any more, at the latest a little after Linger.",
		testCloseEndsRange,
	},
	{
		"an address that is taken is an error",
		"A server listens on its address before New returns. If that cannot be, New returns an error, and no server.",
		testTakenAddress,
	},
	{
		"closing Outbox flushes it and receiving goes on",
		"A program that closes Outbox says that it sends no more. What the channel held is sent, and Inbox goes on.",
		testCloseOutbox,
	},
	{
		"Close may be called again and concurrently",
		"All calls wait for the same end, and none of them fails or panics.",
		testCloseAgain,
	},
	{
		"Close delivers what it had accepted",
		"What Outbox had accepted before Close arrives, if its receiver is there and takes it.",
		testCloseDelivers,
	},
	{
		"the address is free after Close",
		"A server may be started again at once, any number of times.",
		testAddressIsFree,
	},
	{
		"who was blocked on Outbox is let go",
		"A goroutine that waits for room in Outbox while the server closes does not wait for ever. What it had put there is dropped.",
		testLetGo,
	},
	{
		"Shutdown delivers what it had accepted",
		"Without an end of its context, Shutdown takes as long as its receivers do, and loses nothing.",
		testShutdownDelivers,
	},
	{
		"Shutdown is bounded by its context",
		"When its context ends Shutdown gives up, drops what could not be sent, and returns the context's error.",
		testShutdownBounded,
	},
	{
		"Done is closed when the server has closed",
		"A sender that may outlive the server selects on Done beside Outbox, which nobody reads any more.",
		testDone,
	},
	{
		"after closing Send returns ErrClosed",
		"A closed server says so, and its other methods still work.",
		testSendAfterClose,
	},
}

type shutter interface {
	Shutdown(ctx context.Context) error
}

// shut closes a server, which must not take long.
func (t *trial) shut(s cluster.Server) {
	t.Helper()
	if err := t.end(s.Pid(), s.(closer).Close); err != nil {
		t.Errorf("closing server %d: %v", s.Pid(), err)
	}
	if *t.stuck {
		t.FailNow()
	}
}

func testTakenAddress(t *trial) {
	t.start(0)
	s, err := t.impl.New(0, t.cfg)
	if err == nil {
		t.Errorf("a second server at the address of the first is no error")
	}
	if c, ok := s.(closer); ok && err == nil {
		c.Close()
	}
}

func testCloseOutbox(t *trial) {
	const count = 1000
	servers := t.startAll(2)
	for i := range count {
		t.send(servers[0], 1, i)
	}
	close(servers[0].Outbox())
	for i := range count {
		t.expect(servers[1], 0, i)
	}
	t.nothing(servers[0]) // for a moment, in which it might close
	t.send(servers[1], 0, "still there?")
	t.expect(servers[0], 1, "still there?")
}

func testCloseEndsRange(t *trial) {
	servers := t.startAll(2)
	need[closer](t, servers[1], "Close() error")
	t.send(servers[0], 1, "x")
	t.eventually("the message is in the Inbox", func() bool { return len(servers[1].Inbox()) == 1 })
	t.shut(servers[1])
	got := 0
	for open := true; open; {
		select {
		case _, open = <-servers[1].Inbox():
			if open {
				got++
			}
		case <-time.After(trialLimit):
			t.Fatalf("Inbox is open %v after Close", trialLimit)
		}
	}
	if got != 1 {
		t.Errorf("got %d messages after Close, want the one that was there", got)
	}
}

func testCloseAgain(t *trial) {
	servers := t.startAll(2)
	need[closer](t, servers[0], "Close() error")
	t.send(servers[0], 1, "x")
	t.take(servers[1])
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if err := servers[0].(closer).Close(); err != nil {
				t.Error(err)
			}
			if s, ok := servers[0].(shutter); ok {
				if err := s.Shutdown(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if !within(trialLimit, all.Wait) {
		t.Fatalf("the calls have not all returned in %v", trialLimit)
	}
	t.shut(servers[0])
}

func testCloseDelivers(t *trial) {
	const count = 5_000
	// So that most waits at the sender: windows and Inbox are small.
	t.cfg.OutboxSize, t.cfg.InboxSize, t.cfg.QueueBytes = 2*count, 1, 64<<10
	t.cfg.Peers = t.cfg.Peers[:3]
	servers := t.startAll(3)
	need[closer](t, servers[0], "Close() error")
	for i := range count {
		t.send(servers[0], 1, filled(i))
	}
	manners := t.manners(servers[0], 1, []int{1, 2})
	for i, m := range manners {
		t.send(servers[0], m.to, m.message(i))
	}
	closed := make(chan struct{})
	go func() { // It ends with Close, for which the end of this test waits.
		defer close(closed)
		if err := t.end(0, servers[0].(closer).Close); err != nil {
			t.Errorf("closing server 0: %v", err)
		}
	}()
	defer func() { <-closed }()
	for i := range count {
		t.expect(servers[1], 0, filled(i))
	}
	for i, m := range manners {
		for _, id := range m.all {
			if e := t.take(servers[id]); number(e.Msg) != i {
				t.Fatalf("server %d received message %d instead of %d, a %s, which was sent before Close", id, number(e.Msg), i, m.name)
			}
		}
	}
}

// filled is a message of 100 bytes: so many do not all fit into queues and windows.
func filled(i int) string { return fmt.Sprintf("%0100d", i) }

func testAddressIsFree(t *trial) {
	need[closer](t, t.start(1), "Close() error")
	for range 20 {
		t.shut(t.start(0))
	}
}

func testLetGo(t *trial) {
	const senders = 50
	t.cfg.OutboxSize, t.cfg.QueueBytes = 1, 64<<10
	t.cfg.SendTimeout, t.cfg.Linger = time.Hour, 50*time.Millisecond
	s := t.start(0) // 1 is not there
	c := need[closer](t, s, "Close() error")
	var all sync.WaitGroup
	for range senders {
		all.Go(func() {
			select {
			case s.Outbox() <- &cluster.Envelope{Pid: 1, Msg: make([]byte, 64<<10)}:
			case <-time.After(trialLimit):
				t.Error("a sender is still blocked")
			}
		})
	}
	t.eventually("all senders are blocked, but for those whose envelopes were taken", func() bool {
		return blocked("testLetGo.") >= senders-3
	})
	var err error
	if !within(trialLimit, func() { err = c.Close() }) {
		t.Fatalf("Close has not returned in %v, and Linger is %v", trialLimit, t.cfg.Linger)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close returns %v, want an error, since messages were dropped", err)
	}
	all.Wait()
}

// blocked counts the goroutines that wait in a select of the function.
func blocked(function string) (count int) {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for g := range strings.SplitSeq(string(stacks), "\n\n") {
		head, rest, _ := strings.Cut(g, "\n")
		if strings.Contains(head, "[select") && strings.HasPrefix(rest, "github.com/abhishekg16/cluster/clustertest."+function) {
			count++
		}
	}
	return count
}

func testShutdownDelivers(t *trial) {
	const count = 20_000
	t.cfg.OutboxSize, t.cfg.InboxSize, t.cfg.QueueBytes = count, 1, 64<<10 // as above
	servers := t.startAll(2)
	s := need[shutter](t, servers[0], "Shutdown(context.Context) error")
	for i := range count {
		t.send(servers[0], 1, filled(i))
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(context.Background()) }() // It ends with Shutdown, for which the end of this test waits.
	for i := range count {
		t.expect(servers[1], 0, filled(i))
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(trialLimit):
		t.Error("Shutdown does not return")
	}
	if c, ok := servers[0].(counter); ok {
		if got := c.Stats().Sent.Sent; got != count {
			t.Errorf("counted as sent: %d, want %d", got, count)
		}
	}
}

func testShutdownBounded(t *trial) {
	t.cfg.SendTimeout, t.cfg.QueueBytes, t.cfg.InboxSize = time.Hour, 64<<10, 1
	server := t.start(0)
	s := need[shutter](t, server, "Shutdown(context.Context) error")
	t.send(server, 1, "nobody is there")
	t.givesUp("nobody is there", s, 50*time.Millisecond)
	if c, ok := server.(counter); ok {
		if got := c.Stats().Sent.Dropped[cluster.ReasonClosed]; got != 1 {
			t.Errorf("dropped as closed: %d, want 1", got)
		}
	}
	full, reader := t.start(2), t.start(3)
	t.feed(full, 300, func(i int) *cluster.Envelope { return &cluster.Envelope{Pid: 3, Msg: make([]byte, 5_000)} })
	t.eventually("the Inbox is full", func() bool { return len(reader.Inbox()) == 1 })
	t.moment()
	t.givesUp("its receiver's program takes nothing", full.(shutter), 50*time.Millisecond)
	over := t.start(4)
	t.send(over, 1, "nobody is there")
	t.givesUp("its context had ended before", over.(shutter), -time.Second)
	// The earliest end of a context counts.
	again := t.start(0)
	t.send(again, 1, "nobody is there")
	first := make(chan struct{})
	go func() { // It ends with Shutdown, for which the end of this test waits.
		defer close(first)
		again.(shutter).Shutdown(context.Background())
	}()
	t.moment()
	t.givesUp("another call has a context that does not end", again.(shutter), 50*time.Millisecond)
	select {
	case <-first:
	case <-time.After(trialLimit):
		t.Errorf("the first of two calls of Shutdown has not returned %v after the second", trialLimit)
	}
}

// givesUp calls Shutdown with a context that ends before all is sent; why says what it would wait for. In virtual time nothing makes it late
// but itself: what it may wait for longer is two seconds for a connection.
func (t *trial) givesUp(why string, s shutter, after time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), after)
	defer cancel()
	limit := trialLimit / 2
	if t.impl.Bubble {
		limit = 2*time.Second + trialSlack
	}
	var err error
	if !within(max(0, after)+limit, func() { err = s.Shutdown(ctx) }) {
		t.Fatalf("%s: Shutdown has not returned %v after its context ended", why, limit)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%s: got %v, want %v", why, err, context.DeadlineExceeded)
	}
}

func testDone(t *trial) {
	s := t.start(0)
	need[closer](t, s, "Close() error")
	done := need[interface{ Done() <-chan struct{} }](t, s, "Done() <-chan struct{}").Done()
	select {
	case <-done:
		t.Error("Done is closed before the server is")
	default:
	}
	t.shut(s)
	select {
	case <-done:
	default:
		t.Error("Done is open after Close")
	}
}

func testSendAfterClose(t *trial) {
	s := t.start(0)
	need[closer](t, s, "Close() error")
	a := need[sender](t, s, "Send(context.Context, *cluster.Envelope) error")
	t.shut(s)
	if err := a.Send(context.Background(), &cluster.Envelope{Pid: 1, Msg: "x"}); !errors.Is(err, cluster.ErrClosed) {
		t.Errorf("got %v, want %v", err, cluster.ErrClosed)
	}
	if s.Pid() != 0 || len(s.Peers()) != trialServers-1 {
		t.Errorf("a closed server has forgotten its id or its peers: %d, %v", s.Pid(), s.Peers())
	}
	books(s)
}
