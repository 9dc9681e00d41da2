package cluster

import (
	"fmt"
	"slices"
	"sync"
)

// firstGroup is the address of a node's first group; the following ones go
// downwards.
const firstGroup = -2

// groups are the multicast addresses of one node.
type groups struct {
	mu    sync.RWMutex
	lists [][]int // the members of firstGroup, firstGroup-1, ...
}

// Group returns a multicast address, to be used as Envelope.Pid: what is sent
// there goes to each of pids once, and so to this node itself if it is among
// them. The same set of ids has the same address, whatever their order. It means
// something on this node only. An id that is not in the catalogue, or no ids at
// all, is an error.
func (n *Node) Group(pids ...int) (int, error) {
	members := slices.Clone(pids)
	slices.Sort(members)
	members = slices.Compact(members)
	if len(members) == 0 {
		return 0, fmt.Errorf("cluster: a group needs members")
	}
	for _, id := range members {
		if !n.catalog.Has(id) {
			return 0, fmt.Errorf("cluster: group: peer %d: %w", id, ErrUnknownPeer)
		}
	}
	return n.groups.address(members), nil
}

func (g *groups) address(members []int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.IndexFunc(g.lists, func(l []int) bool { return slices.Equal(l, members) })
	if i < 0 {
		i = len(g.lists)
		g.lists = append(g.lists, members)
	}
	return firstGroup - i
}

func (g *groups) members(address int) ([]int, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if i := firstGroup - address; i < len(g.lists) {
		return g.lists[i], nil
	}
	return nil, fmt.Errorf("cluster: %d is no group of this node: %w", address, ErrUnknownPeer)
}
