package clustertest

import (
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

// dial works out when an attempt to connect will succeed. Those so far have met with what the way
// was.
func (p *path) dial(n *Network, was way) {
	c := &p.connection
	c.step = noStep
	if !n.listening[p.link.From] {
		return // it has ended
	}
	now := time.Now()
	if was == open {
		was = c.way // the latest has not come to an end
	}
	switch {
	case was == dormant, was == stopped: // the connect itself has succeeded, and the handshake goes on
		c.tried = latest(c.tried, now)
	case was == cutOff:
		c.skip(now, transport.ConnectTimeout)
	default:
		c.skip(now, 0)
	}
	if c.way != open {
		return
	}
	for range lookAhead {
		took, ok := n.handshake(p.link, c.number)
		if ok {
			p.next(n, toStand, c.tried.Add(took))
			return
		}
		c.number++
		c.skip(c.tried.Add(1), took)
	}
	p.next(n, toLook, c.tried)
}

// skip goes on to the first attempt that begins at a time or later, when each takes that long.
func (c *connection) skip(until time.Time, took time.Duration) {
	for c.tried.Before(until) {
		if c.pause == transport.ReconnectMax {
			each := took + c.pause
			c.tried = c.tried.Add((until.Sub(c.tried) + each - 1) / each * each)
			return
		}
		c.tried = c.tried.Add(took + c.pause)
		c.pause = min(2*c.pause, transport.ReconnectMax)
	}
}

// handshake is how long it takes: a round trip of TCP's and two of ZMTP's. If one of the two takes too long, it fails after that
// time.
func (n *Network) handshake(l Link, number uint64) (took time.Duration, ok bool) {
	connect := n.roundTrip(l, number, "connect")
	if connect > transport.ConnectTimeout {
		return transport.ConnectTimeout, false
	}
	shake := n.roundTrip(l, number, "greeting") + n.roundTrip(l, number, "ready")
	if shake > transport.HandshakeTimeout {
		return connect + transport.HandshakeTimeout, false
	}
	return connect + shake, true
}

// roundTrip is how long something of a connection takes, with the answer.
func (n *Network) roundTrip(l Link, number uint64, what string) time.Duration {
	return n.oneWay(l, number, what) + n.oneWay(l.reverse(), number, what+" answered")
}

func (n *Network) oneWay(l Link, number uint64, what string) time.Duration {
	return n.delay(n.faultsOf(l), connectionParcel(l, number), what)
}

// connectionParcel has what chance draws from, for what is no message.
func connectionParcel(l Link, number uint64) *parcel {
	return &parcel{Message: Message{From: l.From, To: l.To}, bare: number}
}
