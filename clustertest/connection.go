package clustertest

import (
	"slices"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

// A connection carries what one server sends to another, as a ZeroMQ socket's over TCP does: it
// stands after a handshake, has a heartbeat, breaks when that gets no answer or when the other end
// is gone, and is made anew by its sender. The times are those of the transports.
//
// While nothing is wrong a heartbeat changes nothing, so none is sent then: an idle network has no
// timers, time does not go on because of it, and a test that waits for what never comes is found by
// synctest. When a connection will break or stand is worked out whenever the network changes: which is the
// first heartbeat without an answer, which is the first repetition that passes, which attempt to
// connect finds somebody. So it depends on the faults and the messages alone, and not on which goroutine
// runs first.
//
// What is sent into a cut waits in stuck: TCP repeats it for as long as the connection stands.
//
// The network's mu guards it.
type connection struct {
	sender, receiver int    // which lives of its servers it is between; a sender of 0: nobody has wanted it
	way              way    // as it was when it was last looked at
	number           uint64 // of it and of the failed attempts before it, for chance

	stands bool
	since  time.Time // heartbeats are sent each HeartbeatInterval from then on
	// While no answers come:
	silent  time.Time // the first heartbeat without one; zero: they come
	unacked time.Time // when the first message was sent that is not acknowledged; zero: none was
	// What TCP keeps to repeat it, and what a sender that is stopped is to send, in the order of sending.
	stuck  []*parcel
	asleep time.Time // since when its sender has been paused; zero: it is not

	// While it does not stand:
	tried time.Time     // when the latest attempt began, or the next will
	pause time.Duration // after that attempt

	step connectionStep // what comes next, if nothing changes
	due  time.Time      // and when
	turn float64
}

// A way is what becomes of what a server sends to another.
type way uint8

const (
	open    way = iota // it is answered
	refused            // nobody is there for it, and the machine says so
	stopped            // the machine takes it, and the process does not answer
	cutOff             // it is lost, or what answers it is
	dormant            // the sender is stopped, and sends nothing
)

// A connectionStep is what happens to a connection at a moment of its own.
type connectionStep uint8

const (
	noStep     connectionStep = iota
	toStand                   // the handshake is over
	toBreak                   // it breaks
	toBreakOff                // it breaks, since a heartbeat takes too long on a path that passes
	toRepeat                  // TCP repeats what was lost, and it passes
	toLook                    // what comes next is beyond what was worked out
)

const (
	// firstRepeat is after what time TCP repeats what was not acknowledged; each time after that
	// is twice as long (RFC 6298, and the least of Linux).
	firstRepeat = 200 * time.Millisecond
	// lookAhead is for how many heartbeats or attempts it is worked out what becomes of them,
	// where delays are drawn that may be too long.
	lookAhead = 100
	// byBreak is why a message is lost that was on a connection when that broke.
	byBreak = "the connection broke"
)

func (l Link) reverse() Link { return Link{l.To, l.From} }

// wayNow is what becomes of what is sent on a path. The caller holds mu.
func (p *path) wayNow(n *Network) way {
	l, back := p.link, p.link.reverse()
	switch {
	case n.paused[l.From]:
		return dormant
	case n.severed(l) != "", n.severed(back) != "", n.faultsOf(l).Loss >= 1, n.faultsOf(back).Loss >= 1:
		return cutOff
	case !n.listening[l.To], p.stands && p.receiver != n.births[l.To]: // who is there now knows of no such connection
		return refused
	case n.paused[l.To]:
		return stopped
	}
	return open
}

// Listens implements mem.Carrier.
func (c carrier) Listens(endpoint string, yes bool) {
	n := c.Network
	n.mu.Lock()
	defer n.mu.Unlock()
	id, ok := n.idOf(endpoint)
	if !ok {
		return
	}
	if yes {
		n.births[id]++
		for _, p := range n.paths {
			if p.link.To == id {
				p.flows = nil // what came to an earlier life says nothing of this one
			}
		}
	}
	n.listening[id] = yes
	n.lookAll()
}

// lookAll is called after each change of the network. The caller holds mu.
func (n *Network) lookAll() {
	if n.ended {
		return
	}
	for _, p := range n.sortedPaths() {
		p.look(n)
	}
}

// want begins to connect, if the sender has not done so in its life. A receiver that gets a first
// message will have something to say too, and begins then: whether it says it at once, by an
// acknowledgment, is left to chance. The caller holds mu.
func (p *path) want(n *Network) {
	c := &p.connection
	if c.sender == n.births[p.link.From] {
		return
	}
	p.loseStuck(n, byBreak)
	*c = connection{
		sender: n.births[p.link.From], number: c.number,
		tried: time.Now(), pause: transport.ReconnectMin,
	}
	c.way = p.wayNow(n)
	p.dial(n, c.way)
	n.queue(p)
}

// look works out what comes next, after something may have changed. The caller holds mu.
func (p *path) look(n *Network) {
	c := &p.connection
	if why := n.severed(p.link); why != "" && !c.stands && !n.paused[p.link.To] {
		p.loseParcels(n, why) // of a sender that has ended
	}
	if c.sender == 0 {
		n.queue(p)
		return
	}
	was := c.way
	c.way = p.wayNow(n)
	if c.stands {
		p.watch(n, was)
	} else if c.way != was {
		p.dial(n, was)
	}
	n.queue(p)
}

// next makes a step the one that comes next.
func (p *path) next(n *Network, s connectionStep, at time.Time) {
	c := &p.connection
	c.step, c.due = s, latest(at, time.Now())
	c.turn = n.chance("connection", connectionParcel(p.link, c.number))
}

// take does the step that is due.
func (p *path) take(n *Network) {
	c := &p.connection
	step := c.step
	c.step = noStep
	switch step {
	case toStand:
		c.number++
		c.stands, c.since, c.receiver = true, time.Now(), n.births[p.link.To]
		p.watch(n, c.way)
		n.advance(p)
	case toBreak, toBreakOff:
		p.breaks(n, step == toBreakOff)
	case toRepeat:
		c.silent, c.unacked = time.Time{}, time.Time{}
		stuck := c.stuck
		c.stuck = nil
		for _, x := range stuck {
			p.count(x, -1)
			n.depart(x)
		}
		p.watch(n, c.way)
	case toLook:
		if c.stands {
			p.watch(n, c.way)
		} else {
			p.dial(n, c.way)
		}
	}
	n.queue(p)
}

// breaks takes in that the connection is broken. What the receiver's machine has got comes to the
// receiver when it goes on; the rest is lost.
func (p *path) breaks(n *Network, slow bool) {
	c := &p.connection
	why := n.severed(p.link)
	if why == "" {
		why = n.severed(p.link.reverse())
	}
	if why != "" {
		why = byBreak + ": " + why
	} else {
		why = byBreak
	}
	p.loseStuck(n, why)
	for _, x := range p.waiting {
		x.Sent = time.Since(n.start)
		n.sent(x)
		n.lost(x, why)
	}
	p.waiting, p.backlog = nil, 0
	if slow {
		p.loseParcels(n, why)
	}
	now := time.Now()
	*c = connection{
		sender: c.sender, number: c.number,
		tried: now.Add(transport.ReconnectMin), pause: 2 * transport.ReconnectMin,
	}
	c.way = p.wayNow(n)
	n.mem.Broke(n.address(p.link.From), n.address(p.link.To))
	p.dial(n, c.way)
	p.free[1] = earliest(p.free[1], now)
	if p.free[0].After(now) {
		p.free[0] = now // what waited for the line is gone
		p.lineChanged(n)
	}
}

// stick makes all that is on its way wait to be repeated.
func (p *path) stick(n *Network) {
	c := &p.connection
	words := n.takeWords(func(l Link) bool { return l == p.link })
	p.said = [2]moment{}
	for _, x := range p.parcels {
		if x.bare == 0 && c.unacked.IsZero() {
			c.unacked = time.Now()
		}
	}
	c.stuck = slices.Concat(p.parcels, words, c.stuck)
	p.parcels = nil
}

// sticks reports whether something that is sent now does not arrive, and is repeated later.
func (p *path) sticks(n *Network, x *parcel) bool {
	c, now := &p.connection, time.Now()
	severed := n.severed(p.link) != ""
	switch {
	case c.way == dormant, len(c.stuck) > 0:
		return true
	case c.silent.IsZero() && !severed, c.way == stopped, c.way == refused:
		return false
	}
	if x.bare == 0 && c.unacked.IsZero() {
		c.unacked = now
	}
	// Where only acknowledgments are lost, messages pass until TCP begins to repeat the first.
	return severed || c.way == open || !c.unacked.IsZero() && now.Sub(c.unacked) >= firstRepeat
}

// loseStuck loses what would have been repeated.
func (p *path) loseStuck(n *Network, why string) {
	c := &p.connection
	stuck := c.stuck
	c.stuck = nil
	for _, x := range stuck {
		p.count(x, -1)
		n.lost(x, why)
	}
}

// loseParcels loses all that is on its way.
func (p *path) loseParcels(n *Network, why string) {
	for _, x := range p.parcels {
		p.count(x, -1)
		n.lost(x, why)
	}
	p.parcels = nil
}
