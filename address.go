package cluster

import (
	"context"
	"net/netip"
	"slices"

	"github.com/abhishekg16/cluster/internal/names"
	"github.com/abhishekg16/cluster/peercatalog"
)

// checkAddress warns if the name that this server listens on stands for loopback addresses here
// while those of another server do not: nobody else can reach it then. It looks the names up
// beside the node, until what it returns is called, which waits for the end of that.
func (n *Node) checkAddress(self peercatalog.Peer) (stop func()) {
	host, _, ok := names.Split(self.BindEndpoint())
	if !ok || !names.IsName(host) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // stop ends it, and waits for it.
		defer close(done)
		if other, addrs, yes := n.onlyHere(ctx, host, names.Lookup); yes {
			n.logs.mistakes.Warn("cluster: listening where the others cannot connect to: the name stands for loopback addresses on this machine, and that of another server does not; give the server an address that the others reach, or say in \"bind\" where to listen",
				"name", host, "addresses", addrs, "peer", other)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// onlyHere reports whether host stands for loopback addresses alone, which it returns, and names
// another server for which that is not so.
func (n *Node) onlyHere(ctx context.Context, host string, lookup func(context.Context, string) ([]netip.Addr, error)) (other int, own []netip.Addr, yes bool) {
	own, err := lookup(ctx, host)
	if err != nil || slices.ContainsFunc(own, func(a netip.Addr) bool { return !a.IsLoopback() }) {
		return 0, nil, false // the others' names need not be looked up
	}
	for _, id := range n.others(n.catalog.IDs()) {
		peer, _ := n.catalog.Get(id)
		host, _, ok := names.Split(peer.DialEndpoint())
		if !ok {
			continue
		}
		// A name that cannot be looked up says nothing, and the link tells of it.
		if addrs, err := lookup(ctx, host); err == nil && names.OnlyLoopback(own, addrs) {
			return id, own, true
		}
	}
	return 0, nil, false
}
