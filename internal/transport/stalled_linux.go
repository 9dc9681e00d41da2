package transport

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	// What a busy machine, or one that waits for more to acknowledge, may take to answer.
	stalledLeast = 200 * time.Millisecond
	established  = 1 // TCP_ESTABLISHED
)

// StalledTCP is Stalled for the descriptor of a TCP connection on which the other end says so many bytes or more in its
// handshake. The descriptor may be closed meanwhile by somebody else.
func StalledTCP(fd, handshake int, d time.Duration) bool {
	c, ok := connectionOf(fd)
	return ok && c.isStalled(handshake, d)
}

func (c *connection) isStalled(handshake int, d time.Duration) bool {
	info := &c.info
	if info.State != established {
		return true
	}
	trip := time.Duration(info.Rtt+4*info.Rttvar) * time.Microsecond
	if time.Duration(info.Last_ack_recv)*time.Millisecond < max(d, stalledLeast, 2*trip) {
		return false
	}
	// What cannot even leave, since there is no route from the connection's own address any more, is not on its way;
	// neither is what the other end has no room for.
	stuck := info.Notsent_bytes > 0 && info.Snd_wnd >= info.Snd_mss
	return info.Unacked > 0 || stuck || info.Bytes_received < uint64(handshake)
}

// StalledTo is the same for a TCP connection of this process to an address, whose descriptor is not known. Where there is more than
// one it is stalled if all are.
func StalledTo(to netip.AddrPort, handshake int, d time.Duration) bool {
	all, now, err := connectionsTo(leads{addr: to})
	if err != nil || len(all) == 0 && !now {
		return false
	}
	for i := range all {
		if !all[i].isStalled(handshake, d) {
			return false
		}
	}
	return true
}

// FlowOfTCP is FlowOf for the descriptor of a TCP connection.
func FlowOfTCP(fd int) (Flow, bool) {
	c, ok := connectionOf(fd)
	return c.flow(), ok
}

func (c *connection) flow() Flow { return Flow{c.info.Bytes_acked, uint64(c.waits)} }

// FlowTo is the same for all TCP connections of this process to an address, whose descriptors are not known. One on which the other end
// has said nothing yet has taken no more than a handshake, which is no sign that anything that waits comes: it may be one that is to take the
// place of another, and lead to a process that is stopped.
func FlowTo(to netip.AddrPort) (all Flow, known bool) {
	mine, _, _ := connectionsTo(leads{addr: to})
	for i := range mine {
		if f := mine[i].flow(); mine[i].info.Bytes_received > 0 {
			all = Flow{all.Came + f.Came, all.Waits + f.Waits}
		}
	}
	return all, len(mine) > 0
}

// Connected reports whether this process has an established connection to an endpoint, tcp:// with an address, or ipc://: true where that is
// not known.
func Connected(endpoint string) bool {
	path, ipc := strings.CutPrefix(endpoint, "ipc://")
	to, err := netip.ParseAddrPort(strings.TrimPrefix(endpoint, "tcp://"))
	if !ipc && err != nil {
		return true
	}
	where := leads{path: path}
	if !ipc {
		where = leads{addr: netip.AddrPortFrom(to.Addr().Unmap().WithZone(""), to.Port())}
	}
	stands := func(all []int) bool {
		return slices.ContainsFunc(all, func(fd int) bool {
			if is, ok := leadsTo(fd); !ok || is != where {
				return false // it was closed since
			}
			c, tcp := connectionOf(fd)
			return ipc || tcp && c.info.State == established
		})
	}
	if stands(knownTo(where)) {
		return true
	}
	all, err := descriptorsTo(where)
	return err != nil || stands(all)
}
