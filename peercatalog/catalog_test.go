package peercatalog_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster/peercatalog"
)

func peer(id int) peercatalog.Peer {
	return peercatalog.Peer{ID: id, Address: fmt.Sprintf("127.0.0.1:%d", id+1)}
}

func catalog(tb testing.TB, ids ...int) *peercatalog.Catalog {
	tb.Helper()
	var peers []peercatalog.Peer
	for _, id := range ids {
		peers = append(peers, peer(id))
	}
	c, err := peercatalog.New(peers...)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// checkIDs checks everything that tells which peers there are.
func checkIDs(t *testing.T, c *peercatalog.Catalog, want ...int) {
	t.Helper()
	if got := c.IDs(); !slices.Equal(got, want) {
		t.Errorf("ids %v, want %v", got, want)
	}
	if got := c.Len(); got != len(want) {
		t.Errorf("length %d, want %d", got, len(want))
	}
	for _, id := range want {
		if p, ok := c.Get(id); !ok || p.ID != id || !c.Has(id) {
			t.Errorf("peer %d: got %v, %v, %v", id, p, ok, c.Has(id))
		}
	}
}

// fails checks that an operation has this error and changes nothing.
func fails(t *testing.T, c *peercatalog.Catalog, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestNewHoldsThePeersInTheOrderOfTheirIDs(t *testing.T) {
	checkIDs(t, catalog(t, 5, 0, 3), 0, 3, 5)
	checkIDs(t, catalog(t))
}

func TestNewReportsAllFaultsAtOnce(t *testing.T) {
	c, err := peercatalog.New(
		peer(1), peer(1),
		peercatalog.Peer{ID: -1, Address: "a"},
		peercatalog.Peer{ID: 2, Address: "TCP://127.0.0.1:02"},
		peercatalog.Peer{ID: 3, Address: "a:1", Bind: "b"},
	)
	want := []string{
		"peercatalog: the id exists: peer 1 is given twice",
		"peercatalog: peer -1: id -1 is out of range: want 0 to 65535",
		`peercatalog: peer -1: address "a": no port: want host:port, for example 127.0.0.1:8081`,
		`peercatalog: peer 2: address "TCP://127.0.0.1:02" is also that of peer 1`,
		`peercatalog: peer 3: bind "b": no port: want host:port or *:port, for example *:8081`,
	}
	if err == nil || c != nil {
		t.Fatalf("got %v, %v", c, err)
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if !errors.Is(err, peercatalog.ErrExists) {
		t.Error("the error is not ErrExists")
	}
}

func TestGetTellsWhetherThePeerExists(t *testing.T) {
	c := catalog(t, 1)
	if p, ok := c.Get(1); !ok || cmp.Diff(peer(1), p) != "" {
		t.Errorf("got %v, %v", p, ok)
	}
	if p, ok := c.Get(2); ok || cmp.Diff(peercatalog.Peer{}, p) != "" || c.Has(2) {
		t.Errorf("got %v, %v for a peer that is not there", p, ok)
	}
}

func TestCreateAddsAPeerThatIsNotThere(t *testing.T) {
	c := catalog(t, 1, 3)
	if err := c.Create(peer(2)); err != nil {
		t.Fatal(err)
	}
	checkIDs(t, c, 1, 2, 3)
	before := c.Version()
	err := c.Create(peercatalog.Peer{ID: 2, Address: "other:1"})
	fails(t, c, err, "peercatalog: the id exists: peer 2")
	if !errors.Is(err, peercatalog.ErrExists) {
		t.Error("the error is not ErrExists")
	}
	err = c.Create(peercatalog.Peer{ID: 4, Address: "127.0.0.1:2"})
	fails(t, c, err, `peercatalog: peer 4: address "127.0.0.1:2" is also that of peer 1`)
	if errors.Is(err, peercatalog.ErrExists) {
		t.Error("another's address is ErrExists")
	}
	fails(t, c, c.Create(peercatalog.Peer{ID: 70000, Address: "a:0"}), "peercatalog: peer 70000: id 70000 is out of range: want 0 to 65535\n"+
		`peercatalog: peer 70000: address "a:0": the port 0 is not from 1 to 65535: want host:port, for example 127.0.0.1:8081`)
	checkIDs(t, c, 1, 2, 3)
	if got := c.Version(); got != before {
		t.Errorf("version %d after errors, want %d", got, before)
	}
}

func TestPutAddsOrReplaces(t *testing.T) {
	c := catalog(t, 1, 3)
	if err := c.Put(peer(2)); err != nil {
		t.Fatal(err)
	}
	checkIDs(t, c, 1, 2, 3)
	moved := peercatalog.Peer{ID: 2, Address: "moved:1", Bind: "*:1"}
	if err := c.Put(moved); err != nil {
		t.Fatal(err)
	}
	checkIDs(t, c, 1, 2, 3)
	if p, _ := c.Get(2); cmp.Diff(moved, p) != "" {
		t.Errorf("got %v, want %v", p, moved)
	}
	fails(t, c, c.Put(peercatalog.Peer{ID: 3, Address: "MOVED:1"}), `peercatalog: peer 3: address "MOVED:1" is also that of peer 2`)
	if p, _ := c.Get(3); cmp.Diff(peer(3), p) != "" {
		t.Errorf("an error changed peer 3 to %v", p)
	}
	// The old address is free.
	if err := c.Put(peercatalog.Peer{ID: 3, Address: peer(2).Address}); err != nil {
		t.Error(err)
	}
	// One's own in another spelling is no other's.
	if err := c.Put(peercatalog.Peer{ID: 2, Address: "tcp://Moved:1"}); err != nil {
		t.Error(err)
	}
	fails(t, c, c.Put(peercatalog.Peer{ID: 4, Address: "moved:1"}), `peercatalog: peer 4: address "moved:1" is also that of peer 2`)
}

func TestRemoveTellsWhetherThereWasAPeer(t *testing.T) {
	c := catalog(t, 1, 2, 3)
	if !c.Remove(2) || c.Remove(2) || c.Remove(7) {
		t.Error("want one removal of a peer that is there")
	}
	checkIDs(t, c, 1, 3)
	if c.Has(2) {
		t.Error("peer 2 is still there")
	}
	// Its address is free.
	if err := c.Create(peercatalog.Peer{ID: 9, Address: peer(2).Address}); err != nil {
		t.Error(err)
	}
	checkIDs(t, c, 1, 3, 9)
	for _, id := range c.IDs() {
		c.Remove(id)
	}
	checkIDs(t, c)
}

func TestVersionGrowsWithEachChange(t *testing.T) {
	c := catalog(t, 1)
	last := c.Version()
	if last == 0 {
		t.Error("the first version is 0")
	}
	for _, step := range []struct {
		name   string
		do     func()
		change bool
	}{
		{"create", func() { c.Create(peer(2)) }, true},
		{"create again", func() { c.Create(peer(2)) }, false},
		{"put", func() { c.Put(peer(3)) }, true},
		{"put the same", func() { c.Put(peer(3)) }, false},
		{"put with a field", func() {
			c.Put(peercatalog.Peer{ID: 3, Address: peer(3).Address, Extra: map[string]json.RawMessage{"a": json.RawMessage("1")}})
		}, true},
		{"put with another value", func() {
			c.Put(peercatalog.Peer{ID: 3, Address: peer(3).Address, Extra: map[string]json.RawMessage{"a": json.RawMessage("2")}})
		}, true},
		{"put with another name", func() {
			c.Put(peercatalog.Peer{ID: 3, Address: peer(3).Address, Extra: map[string]json.RawMessage{"b": json.RawMessage("2")}})
		}, true},
		{"put with a bind", func() { c.Put(peercatalog.Peer{ID: 3, Address: peer(3).Address, Bind: "*:1"}) }, true},
		{"put what is wrong", func() { c.Put(peercatalog.Peer{ID: 3}) }, false},
		{"remove", func() { c.Remove(3) }, true},
		{"remove again", func() { c.Remove(3) }, false},
	} {
		changed := c.Changed()
		step.do()
		if got := c.Version() > last; got != step.change {
			t.Errorf("%s: from version %d to %d, want a change: %v", step.name, last, c.Version(), step.change)
		}
		last = c.Version()
		select {
		case <-changed:
			if !step.change {
				t.Errorf("%s: a change is announced", step.name)
			}
		default:
			if step.change {
				t.Errorf("%s: the change is not announced", step.name)
			}
		}
	}
}

func TestWhoWaitsForChangesMissesNone(t *testing.T) {
	c := catalog(t)
	const last = 2000
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			deadline := time.After(30 * time.Second)
			for {
				changed := c.Changed()
				if c.Has(last) {
					return
				}
				select {
				case <-changed:
				case <-deadline:
					t.Errorf("no notice of peer %d", last)
					return
				}
			}
		})
	}
	for id := range last + 1 {
		if err := c.Put(peer(id)); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}

func TestWhatGoesInAndComesOutAreCopies(t *testing.T) {
	fields := func() map[string]json.RawMessage {
		return map[string]json.RawMessage{"a": json.RawMessage("1")}
	}
	want := peercatalog.Peer{ID: 1, Address: "a:1", Extra: fields()}
	spoil := func(p peercatalog.Peer) {
		p.Extra["a"][0] = '9'
		p.Extra["b"] = nil
	}
	given := peercatalog.Peer{ID: 1, Address: "a:1", Extra: fields()}
	c, err := peercatalog.New(given)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string) {
		t.Helper()
		got, _ := c.Get(1)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("after %s, -want +got:\n%s", what, diff)
		}
	}
	spoil(given)
	check("a change of what New was given")
	got, _ := c.Get(1)
	spoil(got)
	check("a change of what Get returned")

	given = peercatalog.Peer{ID: 1, Address: "b:1", Extra: fields()}
	want.Address = "b:1"
	if err := c.Put(given); err != nil {
		t.Fatal(err)
	}
	spoil(given)
	check("a change of what Put was given")

	c.Remove(1)
	given.Extra = fields()
	if err := c.Create(given); err != nil {
		t.Fatal(err)
	}
	spoil(given)
	check("a change of what Create was given")

	ids := c.IDs()
	ids[0] = 77
	checkIDs(t, c, 1)

	empty := peercatalog.Peer{Extra: map[string]json.RawMessage{}}
	if empty.Clone().Extra != nil {
		t.Error("a copy of an empty Extra is not nil")
	}
}

func TestReadersAndWritersAtOnce(t *testing.T) {
	const ids = 50
	c := catalog(t, 1000)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	done := make(chan struct{})
	var readers, writers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			var version uint64
			for {
				select {
				case <-done:
					return
				default:
				}
				v := c.Version()
				if v < version {
					t.Errorf("version %d after %d", v, version)
				}
				version = v
				all := c.IDs()
				if !slices.IsSorted(all) || !slices.Contains(all, 1000) {
					t.Errorf("ids %v", all)
				}
				for _, id := range all {
					if p, ok := c.Get(id); ok && (p.ID != id || string(p.Extra["n"]) != fmt.Sprint(id) && id != 1000) {
						t.Errorf("peer %d: %v", id, p)
					}
				}
			}
		})
	}
	var announced, changes uint64
	readers.Go(func() {
		for {
			changed := c.Changed()
			announced = c.Version()
			select {
			case <-changed:
			case <-done:
				announced = c.Version()
				return
			}
		}
	})
	first := c.Version()
	var count sync.Mutex
	for w := range uint64(4) {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(seed, w))
			for range 500 {
				id := random.IntN(ids)
				p := peer(id)
				p.Extra = map[string]json.RawMessage{"n": json.RawMessage(fmt.Sprint(id))}
				did := false
				if random.IntN(2) == 0 {
					did = c.Create(p) == nil
				} else {
					did = c.Remove(id)
				}
				if did {
					count.Lock()
					changes++
					count.Unlock()
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	if got := c.Version() - first; got != changes || announced != c.Version() {
		t.Errorf("the version grew by %d in %d changes; announced %d of %d", got, changes, announced, c.Version())
	}
}

func TestReadingDoesNotAllocate(t *testing.T) {
	c := catalog(t, 1, 2, 3)
	if n := testing.AllocsPerRun(100, func() {
		c.Get(2)
		c.Has(2)
		c.Len()
		c.Version()
		c.Changed()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func benchmarkPeers(b *testing.B, f func(c *peercatalog.Catalog, id int)) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var ids []int
			for id := range n {
				ids = append(ids, id)
			}
			c := catalog(b, ids...)
			b.ReportAllocs()
			id := 0
			for b.Loop() {
				f(c, id)
				id = (id + 7) % n
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	benchmarkPeers(b, func(c *peercatalog.Catalog, id int) { c.Get(id) })
}

func BenchmarkHas(b *testing.B) {
	benchmarkPeers(b, func(c *peercatalog.Catalog, id int) { c.Has(id) })
}

func BenchmarkIDs(b *testing.B) {
	benchmarkPeers(b, func(c *peercatalog.Catalog, id int) { c.IDs() })
}

func BenchmarkPut(b *testing.B) {
	benchmarkPeers(b, func(c *peercatalog.Catalog, id int) {
		p, _ := c.Get(id)
		if p.Bind == "" {
			p.Bind = "*:1"
		} else {
			p.Bind = ""
		}
		c.Put(p)
	})
}
