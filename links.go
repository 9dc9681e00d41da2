package cluster

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/abhishekg16/cluster/internal/incoming"
	"github.com/abhishekg16/cluster/internal/outgoing"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/mem"
	"github.com/abhishekg16/cluster/internal/transport/sockets"
	"github.com/abhishekg16/cluster/internal/wire"
)

// eachLink calls f for all links, one after the other.
func (n *Node) eachLink(f func(*outgoing.Link)) {
	n.mu.Lock()
	all := slices.AppendSeq(make([]*peerLink, 0, len(n.links)), maps.Values(n.links))
	n.mu.Unlock()
	for _, l := range all {
		f(l.Link)
	}
}

// lingerLeft is how long a link that ends may wait for its connection to be
// flushed: as long as all Shutdowns have, and no longer than lingerMost.
func (n *Node) lingerLeft() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.deadline.IsZero() {
		return lingerMost
	}
	return min(time.Until(n.deadline), lingerMost)
}

// lingerMost is enough for the few frames that a connection holds to reach a
// peer that takes them.
const lingerMost = 2 * time.Second

// A peerLink is the link to a peer, and the version of the catalogue that it was told of.
type peerLink struct {
	*outgoing.Link
	version uint64 // guarded by the node's mu
}

// link returns the link to the peer id, and makes it at first use. If there is
// none it says why.
func (n *Node) link(id int) (*outgoing.Link, Reason) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.links[id]
	if l == nil {
		switch {
		case !n.catalog.Has(id):
			return nil, ReasonUnknownPeer
		case n.ended:
			return nil, ReasonClosed
		}
		l = &peerLink{Link: outgoing.NewLink(&n.out, id)}
		n.links[id] = l
		n.follow(l)
		l.Start() // close finishes or abandons it, and waits for Finished.
	} else {
		n.follow(l)
	}
	return l.Link, 0
}

// linkFor is the link to the peer id for acknowledgments; nil if there is none. With create
// it is made at first use.
func (n *Node) linkFor(id int, create bool) incoming.Link {
	if create {
		if l, _ := n.link(id); l != nil {
			return l
		}
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if l := n.links[id]; l != nil {
		return l.Link
	}
	return nil
}

// urgentFor is linkFor for the acknowledgments of the urgent stream.
func (n *Node) urgentFor(id int, create bool) incoming.Link {
	if l, ok := n.linkFor(id, create).(*outgoing.Link); ok {
		return l.Urgent()
	}
	return nil
}

// follow tells the link where the catalogue has its peer now. The caller holds
// mu.
func (n *Node) follow(l *peerLink) {
	version := n.catalog.Version()
	if l.version == version {
		return
	}
	l.version = version
	peer, _ := n.catalog.Get(l.ID())
	l.Redirect(peer.DialEndpoint(), peer.Keys())
}

// watch is the goroutine that makes the links and the streams follow each change of
// the catalogue.
func (n *Node) watch() {
	defer close(n.watched)
	for {
		changed := n.catalog.Changed()
		n.mu.Lock()
		for _, l := range n.links {
			n.follow(l)
		}
		n.mu.Unlock()
		n.in.Release()
		for _, id := range n.lookout.lists(n.catalog, n.pid) {
			n.tellStanding(id)
		}
		if n.cfg.Watch {
			for _, id := range n.others(n.catalog.IDs()) {
				n.link(id)
			}
		}
		select {
		case <-changed:
		case <-n.drained:
			return
		}
	}
}

// tellStanding tells the lookout how the link to the peer id stands, if there is one.
func (n *Node) tellStanding(id int) {
	n.mu.Lock()
	l := n.links[id]
	n.mu.Unlock()
	if l != nil {
		l.Tell()
	}
}

// dial sets up the connection of a link.
func (n *Node) dial(id int, to outgoing.Target) (transport.Conn, error) {
	if id == n.pid {
		return n.in.Loopback(), nil
	}
	self, _ := n.catalog.Get(n.pid)
	return transport.Dial(n.networkOf(to.Endpoint).Network, self.DialEndpoint(), to.Endpoint, n.security, to.Key)
}

// encrypts reports whether what goes to and comes from the server id is encrypted.
func (n *Node) encrypts(id int) bool { return n.security != nil && id != n.pid }

// networkOf is the transport for an endpoint.
func (n *Node) networkOf(endpoint string) sockets.Transport {
	if strings.HasPrefix(endpoint, "mem://") {
		return sockets.Transport{Network: mem.Of(endpoint), Name: "mem"}
	}
	return n.sockets
}

// knowledge is what a node announces to others.
const knowledge = wire.CapValues | wire.CapResend | wire.CapConfirm | wire.CapCalls | wire.CapUrgent

// carried reports whether something for tests stands between the servers of the endpoint's network.
func carried(endpoint string) bool {
	return strings.HasPrefix(endpoint, "mem://") && mem.Of(endpoint).Carrier != nil
}
