//go:build cgo && !nozmq

package zmq

import (
	"net/netip"
	"strings"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

// What the other end says in a handshake, in bytes: its greeting, and then more, of which WELCOME is where there are keys.
const (
	greetingBytes = 64
	welcomeBytes  = 170
)

// Stalled implements transport.Stalled. ZeroMQ does not say which descriptor the connection has, so that it is found by
// where it leads.
func (c *Conn) Stalled(d time.Duration) bool { return c.stalledTo(c.endpoint, d) }

// Stalled is the same for the address that was dialed last.
func (n *namedConn) Stalled(d time.Duration) bool { return n.stalledTo(n.dialed, d) }

// Flow implements transport.FlowOf.
func (c *Conn) Flow() (transport.Flow, bool) { return flowTo(c.endpoint) }

// Flow is the same for the address that was dialed last.
func (n *namedConn) Flow() (transport.Flow, bool) { return flowTo(n.dialed) }

func flowTo(endpoint string) (transport.Flow, bool) {
	to, err := netip.ParseAddrPort(strings.TrimPrefix(endpoint, "tcp://"))
	if err != nil {
		return transport.Flow{}, false
	}
	return transport.FlowTo(netip.AddrPortFrom(to.Addr().Unmap().WithZone(""), to.Port()))
}

func (c *Conn) stalledTo(endpoint string, d time.Duration) bool {
	to, err := netip.ParseAddrPort(strings.TrimPrefix(endpoint, "tcp://"))
	if err != nil {
		return false // ipc, or nothing was dialed yet
	}
	least := greetingBytes + 1
	if c.keyed {
		least += welcomeBytes
	}
	return transport.StalledTo(netip.AddrPortFrom(to.Addr().Unmap().WithZone(""), to.Port()), least, d)
}
