package zmtp

import (
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestManyWhoSayNothingKeepNobodyOut(t *testing.T) {
	endpoint := freeEndpoint(t)
	var y tally
	l := listenTelling(t, endpoint, nil, &y)
	came := receive(t, l)
	const others = handshakesMost + 50
	for range others {
		dialRaw(t, endpoint)
	}
	until(t, "the oldest are ended for others", func() bool { return y.of(errEvicted) >= others-handshakesMost })
	send(t, dial(t, endpoint), []byte("x"), nil)
	comes(t, came, "x")
	l.shakes.mu.Lock()
	open := len(l.shakes.open)
	l.shakes.mu.Unlock()
	if open > handshakesMost {
		t.Errorf("%d are in their handshake, want %d at most", open, handshakesMost)
	}
}

func TestTheHostWithTheMostHandshakesMakesRoom(t *testing.T) {
	for range 20 { // the order of hosts is one of chance
		hostMakesRoom(t)
	}
}

func hostMakesRoom(t *testing.T) {
	t.Helper()
	h := newHandshakes()
	h.most, h.fair = 6, 2
	friend := enterFrom(t, h, "friend")
	var many []*halfOpen
	for range 3 {
		many = append(many, enterFrom(t, h, "stranger"))
	}
	others := []*halfOpen{enterFrom(t, h, "another"), enterFrom(t, h, "another")}
	h.cameFurther(many[0])
	late := enterFrom(t, h, "late")
	for _, c := range append(others, friend, late, many[0], many[2]) {
		if h.leave(c) {
			t.Errorf("the wrong one has made room, of %q", c.host.name)
		}
	}
	if !h.leave(many[1]) {
		t.Error("the one of the stranger that has longest come no further has not made room")
	}
	if len(h.open) != 0 || len(h.byHost) != 0 {
		t.Errorf("all have left, and %d connections of %d hosts are known", len(h.open), len(h.byHost))
	}
}

func TestOfManyHostsTheHandshakeThatLongestCameNoFurtherMakesRoom(t *testing.T) {
	h := newHandshakes()
	h.most, h.fair = 5, 2
	good := []*halfOpen{enterFrom(t, h, "good"), enterFrom(t, h, "good")} // which is fair
	var many []*halfOpen
	for i := range 3 {
		many = append(many, enterFrom(t, h, fmt.Sprintf("stranger%d", i)))
	}
	h.cameFurther(good[0])
	h.cameFurther(many[1])
	h.cameFurther(good[1])
	enterFrom(t, h, "late")
	enterFrom(t, h, "later")
	if !h.leave(many[0]) || !h.leave(many[2]) {
		t.Error("those that have done no step have not made room")
	}
	if h.leave(good[0]) || h.leave(good[1]) || h.leave(many[1]) {
		t.Error("one that has come further has made room")
	}
}

func TestAddressesThatOneHasInIPv6AreOneHost(t *testing.T) {
	h := newHandshakes()
	a, b, c := enterFrom(t, h, "[2001:db8::1]"), enterFrom(t, h, "[2001:db8::ffff:2]"), enterFrom(t, h, "[2001:db8:0:1::1]")
	if a.host != b.host || a.host == c.host {
		t.Errorf("they are of the hosts %q, %q and %q", a.host.name, b.host.name, c.host.name)
	}
	if a.origin != "2001:db8::1" {
		t.Errorf("the origin is %q, want the whole address", a.origin)
	}
}

// enterFrom takes a connection from a host.
func enterFrom(t *testing.T, h *handshakes, host string) *halfOpen {
	t.Helper()
	c, other := net.Pipe()
	t.Cleanup(func() { c.Close(); other.Close() })
	return h.enter(fromHost{c, host})
}

// fromHost is a connection from a host.
type fromHost struct {
	net.Conn
	host string
}

func (f fromHost) RemoteAddr() net.Addr { return hostAddr(f.host) }

type hostAddr string

func (hostAddr) Network() string  { return "tcp" }
func (a hostAddr) String() string { return string(a) + ":1" }

// A turn is a connection that waits for its turn.
type turn struct {
	name string
	c    *halfOpen
}

// waitTurns has each of the connections wait for its turn, and returns a channel of the names of those that get it, and
// of those that do not.
func waitTurns(t *testing.T, h *handshakes, turns ...turn) <-chan string {
	t.Helper()
	got := make(chan string, 2*len(turns))
	for _, w := range turns {
		go func() { // It ends when the connection has had its turn or is ended.
			if !h.compute(w.c, func() { got <- w.name }) {
				got <- "not " + w.name
			}
		}()
		until(t, w.name+" waits", func() bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			return w.c.job != nil
		})
	}
	return got
}

// nextOf is the next name.
func nextOf(t *testing.T, got <-chan string) string {
	t.Helper()
	select {
	case name := <-got:
		return name
	case <-time.After(limit):
		t.Fatalf("nobody gets a turn within %v", limit)
		return ""
	}
}

func TestWhoHasComeFurthestHasTheNextTurnAndThenTheHostThatHasHadTheFewest(t *testing.T) {
	h := newHandshakes()
	h.free = 1
	much, other, second, further := enterFrom(t, h, "much"), enterFrom(t, h, "other"), enterFrom(t, h, "much"), enterFrom(t, h, "much")
	h.cameFurther(further)
	for range 3 {
		if !h.compute(much, func() {}) {
			t.Fatal("there is no turn")
		}
	}
	h.workers.Wait()
	ends, begun := make(chan struct{}), make(chan struct{})
	first := enterFrom(t, h, "first")
	go h.compute(first, func() { // Closing ends ends it.
		close(begun)
		<-ends
	})
	<-begun
	got := waitTurns(t, h, turn{"of who asks for much", much}, turn{"of another", other}, turn{"the second of who asks for much", second}, turn{"further", further})
	close(ends)
	var order []string
	for range 4 {
		order = append(order, nextOf(t, got))
	}
	if d := cmp.Diff([]string{"further", "of another", "of who asks for much", "the second of who asks for much"}, order); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if h.workers.Wait(); h.free != 1 {
		t.Errorf("%d more may compute in the end, want 1", h.free)
	}
}

func TestWhoIsEndedWaitsForNoTurn(t *testing.T) {
	for name, end := range map[string]func(h *handshakes){
		"for another":            func(h *handshakes) { enterFrom(t, h, "late") },
		"as the listener closes": func(h *handshakes) { h.endAll() },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHandshakes()
			h.free, h.most = 0, 1
			c := enterFrom(t, h, "host")
			got := waitTurns(t, h, turn{"it", c})
			end(h)
			if name := nextOf(t, got); name != "not it" {
				t.Errorf("got %q", name)
			}
			if h.compute(c, func() {}) {
				t.Error("it has another turn")
			}
		})
	}
}

// To ask for a handshake costs a stranger nothing, and to compute it some time of a processor.
func TestHalfOfTheProcessorsAtMostComputeHandshakes(t *testing.T) {
	most := int32(max(1, runtime.GOMAXPROCS(0)/2))
	var now, worst atomic.Int32
	server := securityOf(t, func(string) bool { // as a part of what is computed
		for n := now.Add(1); ; {
			if w := worst.Load(); n <= w || worst.CompareAndSwap(w, n) {
				break
			}
		}
		time.Sleep(10 * time.Millisecond)
		now.Add(-1)
		return true
	})
	endpoint := freeEndpoint(t)
	listenTelling(t, endpoint, server, new(tally))
	var all sync.WaitGroup
	for range 4 * most {
		self := securityOf(t, everybody)
		all.Go(func() { // Its Wait has a deadline.
			c, err := Network{}.Dial(endpoint, self, server.Public)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close(0)
			if err := c.Wait(time.Now().Add(limit)); err != nil {
				t.Errorf("it does not get its turn: %v", err)
			}
		})
	}
	all.Wait()
	if worst.Load() > most {
		t.Errorf("%d were computed at a time, want %d at most", worst.Load(), most)
	}
}
