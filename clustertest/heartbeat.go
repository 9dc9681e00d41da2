package clustertest

import (
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

// watch works out what becomes of a connection that stands.
func (p *path) watch(n *Network, was way) {
	c, now := &p.connection, time.Now()
	if n.severed(p.link) != "" {
		p.stick(n)
	}
	if c.way == dormant {
		if was != dormant {
			c.asleep = now
		}
		c.step = noStep // its timers do not run
		return
	}
	if was == dormant && p.overslept(now) {
		p.breaks(n, false) // before the program that runs there sends anything
		return
	}
	if was == dormant && len(c.stuck) > 0 && c.way == open {
		p.next(n, toRepeat, now) // what it was to send while it was stopped
		return
	}
	if c.silent.IsZero() {
		if c.way == open {
			if c.step != toRepeat {
				p.watchSlow(n, now)
			}
			return
		}
		c.silent = p.firstUnanswered(n, now)
	}
	if was == c.way && (c.step == toBreak || c.step == toRepeat) {
		return
	}
	// TCP itself would give the connection up when nothing was acknowledged for as long as
	// transport.Unacknowledged, which is never sooner.
	end := c.silent.Add(transport.HeartbeatTimeout)
	// What is repeated at the next time is answered, or refused.
	repeat := now
	if was == cutOff {
		repeat = c.repeated(now)
	}
	switch c.way {
	case open:
		if repeat.Add(n.roundTrip(p.link, c.number, "repeat")).Before(end) {
			p.next(n, toRepeat, repeat)
			return
		}
	case refused:
		end = earliest(end, repeat.Add(n.oneWay(p.link.reverse(), c.number, "reset")))
	}
	p.next(n, toBreak, end)
}

// overslept reports whether a sender that was stopped finds its connection broken: it has waited for an
// answer for too long, or its receiver has closed it, having heard nothing for the TTL.
func (p *path) overslept(now time.Time) bool {
	c := &p.connection
	latest := c.since.Add(c.asleep.Sub(c.since) / transport.HeartbeatInterval * transport.HeartbeatInterval)
	missed := !c.silent.IsZero() && !c.silent.Add(transport.HeartbeatTimeout).After(now)
	return missed || now.Sub(latest) > transport.HeartbeatTTL
}

// firstUnanswered is the first heartbeat that gets no answer if none passes from now on.
func (p *path) firstUnanswered(n *Network, now time.Time) time.Time {
	c := &p.connection
	k := now.Sub(c.since)/transport.HeartbeatInterval + 1
	for k > 1 && c.heartbeat(k-1).Add(n.roundTrip(p.link, uint64(k-1), "heartbeat")).After(now) {
		k--
	}
	return c.heartbeat(k)
}

func (c *connection) heartbeat(k time.Duration) time.Time {
	return c.since.Add(k * transport.HeartbeatInterval)
}

// repeated is when TCP next repeats what was lost: at once, if nothing was.
func (c *connection) repeated(now time.Time) time.Time {
	at := c.silent
	if !c.unacked.IsZero() {
		at = earliest(at, c.unacked)
	}
	if at.After(now) {
		return now
	}
	for pause := firstRepeat; at.Before(now); pause *= 2 {
		at = at.Add(pause)
	}
	return at
}

// watchSlow finds the first heartbeat that passes, and takes too long, since delays are long or much
// waits for the line before it.
func (p *path) watchSlow(n *Network, now time.Time) {
	c := &p.connection
	if c.step == toBreakOff && !c.due.Add(-transport.HeartbeatTimeout).After(now) {
		return // it is on its way
	}
	c.step = noStep
	f, g := n.faultsOf(p.link), n.faultsOf(p.link.reverse())
	free := p.free[0]
	if back := n.paths[p.link.reverse()]; back != nil {
		free = latest(free, back.free[0])
	}
	slowest := f.slowest() + g.slowest()
	first := now.Sub(c.since)/transport.HeartbeatInterval + 1
	for k := first; k < first+lookAhead; k++ {
		at := c.heartbeat(k)
		if slowest <= transport.HeartbeatTimeout && !at.Add(transport.HeartbeatTimeout-slowest).Before(free) {
			return
		}
		if max(0, free.Sub(at))+n.roundTrip(p.link, uint64(k), "heartbeat") > transport.HeartbeatTimeout {
			p.next(n, toBreakOff, at.Add(transport.HeartbeatTimeout))
			return
		}
	}
	p.next(n, toLook, c.heartbeat(first+lookAhead))
}

// lineChanged is called when more, or less, waits for the line of a path than before. A heartbeat goes there and its
// answer comes back, so both connections of the two servers may be too slow now; and which of them sends
// first, of two messages that leave at one moment, must not decide that.
func (p *path) lineChanged(n *Network) {
	p.look(n)
	if back := n.paths[p.link.reverse()]; back != nil {
		back.look(n)
	}
}

// slowest is about the longest delay.
func (f Faults) slowest() (d time.Duration) {
	if f.Delay == nil {
		return usualDelay(1)
	}
	for _, p := range []float64{0, 0.5, 1} {
		d = max(d, f.Delay(p))
	}
	return d
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
