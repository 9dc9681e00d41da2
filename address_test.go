package cluster

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/abhishekg16/cluster/peercatalog"
)

func TestANodeThatOnlyItsOwnMachineReachesKnowsIt(t *testing.T) {
	zone := map[string]string{"me": "127.0.1.1", "here": "127.0.0.1", "there": "192.0.2.2", "both": "127.0.0.1"}
	lookup := func(_ context.Context, host string) ([]netip.Addr, error) {
		if a, err := netip.ParseAddr(host); err == nil {
			return []netip.Addr{a}, nil
		}
		text, ok := zone[host]
		if !ok {
			return nil, errors.New("no such host")
		}
		return []netip.Addr{netip.MustParseAddr(text)}, nil
	}
	for _, c := range []struct {
		name, host string
		others     []string
		want       int // the other server that shows it; 0: none
	}{
		{"another machine by name", "me", []string{"here:1", "there:1"}, 2},
		{"another machine by number", "me", []string{"192.0.2.9:1"}, 1},
		{"all are here", "me", []string{"here:1", "127.0.0.1:2", "ipc://x"}, 0},
		{"it can be reached", "there", []string{"192.0.2.9:1"}, 0},
		{"the other's name does not resolve", "me", []string{"nowhere:1"}, 0},
		{"its own does not resolve", "nowhere", []string{"there:1"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			peers := []peercatalog.Peer{{ID: 0, Address: c.host + ":9"}}
			for i, a := range c.others {
				peers = append(peers, peercatalog.Peer{ID: i + 1, Address: a})
			}
			catalog, err := peercatalog.New(peers...)
			if err != nil {
				t.Fatal(err)
			}
			n := &Node{catalog: catalog}
			other, own, yes := n.onlyHere(t.Context(), c.host, lookup)
			if yes != (c.want != 0) || other != c.want || yes && len(own) != 1 {
				t.Errorf("%v because of server %d, with the addresses %v; want server %d", yes, other, own, c.want)
			}
		})
	}
}
