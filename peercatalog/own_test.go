package peercatalog_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/abhishekg16/cluster/internal/peerrules"
	"github.com/abhishekg16/cluster/peercatalog"
)

func TestANodesOwnEntrySaysWhereTheNodeListens(t *testing.T) {
	key, next := newKey(t), newKey(t)
	plain := peer(1) // 127.0.0.1:2
	bound := plain
	bound.Bind = "*:7000"
	for _, c := range []struct {
		name       string
		own        peercatalog.Peer
		change     func(p *peercatalog.Peer)
		impossible string // where the error says that the server cannot go; none if empty
	}{
		{"another address", plain, func(p *peercatalog.Peer) { p.Address = "127.0.0.1:99" }, "tcp://127.0.0.1:99"},
		{"another address and bind", bound, func(p *peercatalog.Peer) { p.Address, p.Bind = "127.0.0.1:99", "*:7001" }, "tcp://*:7001"},
		{"a bind where there was none", plain, func(p *peercatalog.Peer) { p.Bind = "*:2" }, "tcp://*:2"},
		{"no bind where there was one", bound, func(p *peercatalog.Peer) { p.Bind = "" }, "tcp://127.0.0.1:2"},
		{"the address in another spelling", plain, func(p *peercatalog.Peer) { p.Address = "TCP://127.0.0.1:02" }, ""},
		{"the address itself as bind", plain, func(p *peercatalog.Peer) { p.Bind = p.Address }, ""},
		// The others reach it elsewhere now, by a translated address, say.
		{"another address with the same bind", bound, func(p *peercatalog.Peer) { p.Address = "127.0.0.1:99" }, ""},
		{"a field of the program", plain, func(p *peercatalog.Peer) {
			p.Extra = map[string]json.RawMessage{"role": json.RawMessage(`"voter"`)}
		}, ""},
		{"another key", secured(1, key), func(p *peercatalog.Peer) { p.PublicKey, p.PreviousPublicKey = next, key }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			catalog, err := peercatalog.New(c.own)
			if err != nil {
				t.Fatal(err)
			}
			peerrules.Own(catalog, c.own.ID)
			changed := c.own
			c.change(&changed)
			for _, removed := range []bool{false, true} {
				if removed {
					catalog.Remove(c.own.ID)
				}
				version := catalog.Version()
				err := catalog.Put(changed)
				if c.impossible == "" {
					if err != nil {
						t.Errorf("removed: %v: %v", removed, err)
					}
					continue
				}
				if err == nil {
					t.Fatalf("removed: %v: no error", removed)
				}
				for _, want := range []string{"peer 1", "listens on " + c.own.BindEndpoint(), c.impossible, "restart it"} {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("got %v, want %q in it", err, want)
					}
				}
				if catalog.Version() != version {
					t.Error("an error has changed the catalogue")
				}
			}
		})
	}
}

func TestACatalogueOfNobodyTakesAnyAddress(t *testing.T) {
	owned, free := catalog(t, 1, 2), catalog(t, 1, 2)
	peerrules.Own(owned, 1)
	moved := peercatalog.Peer{ID: 1, Address: "127.0.0.1:99"}
	if err := free.Put(moved); err != nil {
		t.Errorf("a catalogue that no node owns: %v", err)
	}
	if err := owned.Put(moved); err == nil {
		t.Error("the node's own entry moves")
	}
	moved.ID = 2
	if err := owned.Put(moved); err != nil {
		t.Errorf("another's entry: %v", err)
	}
}
