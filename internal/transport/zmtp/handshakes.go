package zmtp

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"

	"github.com/abhishekg16/cluster/internal/transport"
)

const (
	// handshakesMost is how many connections to a listener may be in their handshake.
	handshakesMost = 256
	// handshakesFair is how many of them a host may have that are not taken for too many.
	handshakesFair = 16
)

var errEvicted = fmt.Errorf("%w: there were %d others that had not ended their handshake, and it had longest said nothing of those of its host, which had the most, or of all where no host had more than %d",
	transport.ErrUnfinished, handshakesMost, handshakesFair)

// handshakes are the connections to a listener that are in their handshake. If there are too many
// for another one, one is ended. If a host has more than is fair it is one of the host that has the
// most: who opens many holds up nobody else. Otherwise it is one of them all, since an attacker may have many
// addresses. Of these it is the one that has longest not come further: a handshake that is going on takes less
// time than one that somebody leaves lying.
//
// They also take turns at what has to be computed for them, so that those who ask for much leave
// processors to what else the program does.
type handshakes struct {
	most, fair int

	mu     sync.Mutex  // guards what follows
	ended  bool        // no other is taken
	open   []*halfOpen // in the order in which they last came further
	byHost map[string]*host
	free   int // how many more goroutines may compute

	workers sync.WaitGroup // the goroutines that compute
}

// A host is the connections that come from one address.
type host struct {
	name  string
	open  int
	turns int // that they have had, as long as there were always some
}

// A halfOpen is a connection in its handshake.
type halfOpen struct {
	net.Conn
	origin string // the peer's host; empty for what has none

	// Guarded by mu of the handshakes.
	host     *host
	steps    int           // how far it has come
	evicted  bool          // it was ended for another
	job      func()        // what is to be computed for it; nil: nothing, or that has begun
	done     chan struct{} // closed when that is done, or will not be
	computed bool          // it is not the latter
}

func newHandshakes() *handshakes {
	return &handshakes{most: handshakesMost, fair: handshakesFair, byHost: make(map[string]*host), free: max(1, runtime.GOMAXPROCS(0)/2)}
}

// enter takes a connection; nil after endAll.
func (h *handshakes) enter(nc net.Conn) *halfOpen {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return nil
	}
	if len(h.open) >= h.most {
		h.makeRoom()
	}
	c := &halfOpen{Conn: nc, origin: originOf(nc)}
	c.host = h.host(c.origin)
	c.host.open++
	h.open = append(h.open, c)
	return c
}

// host is the host with an address. The caller holds mu.
func (h *handshakes) host(address string) *host {
	if a, err := netip.ParseAddr(address); err == nil && a.Is6() && !a.Is4In6() {
		// Who has one address of IPv6 has as a rule all that begin with the same 64 bits.
		address = netip.PrefixFrom(a, 64).Masked().String()
	}
	from := h.byHost[address]
	if from == nil {
		from = &host{name: address}
		h.byHost[address] = from
	}
	return from
}

// makeRoom ends a connection. The caller holds mu.
func (h *handshakes) makeRoom() {
	var most *host // nil: none has more than is fair
	for _, from := range h.byHost {
		if from.open > h.fair && (most == nil || from.open > most.open) {
			most = from
		}
	}
	for _, c := range h.open {
		if most == nil || c.host == most {
			c.evicted = true
			c.end()
			h.remove(c)
			return
		}
	}
}

// end ends a connection, and its waiting for its turn. The caller holds mu of the handshakes.
func (c *halfOpen) end() {
	c.Close()
	if c.job != nil {
		c.job, c.computed = nil, false
		close(c.done)
	}
}

// remove forgets a connection, which may have been forgotten before. The caller holds mu.
func (h *handshakes) remove(c *halfOpen) {
	i := slices.Index(h.open, c)
	if i < 0 {
		return
	}
	h.open = slices.Delete(h.open, i, i+1)
	if c.host.open--; c.host.open == 0 {
		delete(h.byHost, c.host.name)
	}
}

// cameFurther notes that the peer has done the next step of a handshake.
func (h *handshakes) cameFurther(c *halfOpen) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.steps++
	if i := slices.Index(h.open, c); i >= 0 {
		h.open = append(slices.Delete(h.open, i, i+1), c)
	}
}

// compute calls f when it is the connection's turn, and waits for that. It reports false if the connection has
// ended before.
func (h *handshakes) compute(c *halfOpen, f func()) bool {
	h.mu.Lock()
	if h.ended || c.evicted {
		h.mu.Unlock()
		return false
	}
	done := make(chan struct{})
	c.job, c.done = f, done
	if h.free > 0 {
		h.free--
		h.workers.Go(h.work) // It ends when there is nothing to compute; the listener's Close waits for it.
	}
	h.mu.Unlock()
	<-done
	h.mu.Lock()
	defer h.mu.Unlock()
	return c.computed
}

// work computes until there is nothing to be computed.
func (h *handshakes) work() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := h.next(); c != nil; c = h.next() {
		f, done := c.job, c.done
		c.job, c.computed = nil, true
		c.host.turns++
		h.mu.Unlock()
		f()
		close(done)
		h.mu.Lock()
	}
	h.free++
}

// next is the connection for which is computed next: one that has come furthest, since with that its
// handshake is over, and what was computed before is not lost. Of these it is one of the host that has had the fewest
// turns. The caller holds mu.
func (h *handshakes) next() (next *halfOpen) {
	for _, c := range h.open {
		if c.job != nil && (next == nil || c.steps > next.steps || c.steps == next.steps && c.host.turns < next.host.turns) {
			next = c
		}
	}
	return next
}

// leave is called when the handshake of a connection has ended. It reports whether that was since
// there were too many.
func (h *handshakes) leave(c *halfOpen) (evicted bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(c)
	return c.evicted
}

// endAll ends all connections, and takes no other.
func (h *handshakes) endAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	for _, c := range h.open {
		c.end()
	}
}

// over reports whether endAll was called.
func (h *handshakes) over() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ended
}
