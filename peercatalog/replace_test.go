package peercatalog_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster/internal/peerrules"
	"github.com/abhishekg16/cluster/peercatalog"
)

func TestReplaceTellsWhatItHasChanged(t *testing.T) {
	moved := peercatalog.Peer{ID: 2, Address: "moved:1"}
	role := peer(2)
	role.Extra = map[string]json.RawMessage{"role": json.RawMessage("1")}
	observer := peer(2)
	observer.Observer = true
	for _, c := range []struct {
		name string
		with []peercatalog.Peer
		want peercatalog.Change
	}{
		{"the same", []peercatalog.Peer{peer(3), peer(2), peer(1)}, peercatalog.Change{}},
		{"one more", []peercatalog.Peer{peer(1), peer(2), peer(3), peer(0)}, peercatalog.Change{Added: []int{0}}},
		{"one fewer", []peercatalog.Peer{peer(1), peer(3)}, peercatalog.Change{Removed: []int{2}}},
		{"another address", []peercatalog.Peer{peer(1), moved, peer(3)}, peercatalog.Change{Changed: []int{2}}},
		{"another field of the program", []peercatalog.Peer{peer(1), role, peer(3)}, peercatalog.Change{Changed: []int{2}}},
		{"an observer", []peercatalog.Peer{peer(1), observer, peer(3)}, peercatalog.Change{Changed: []int{2}}},
		{"all at once", []peercatalog.Peer{peer(9), moved, peer(8)}, peercatalog.Change{Added: []int{8, 9}, Changed: []int{2}, Removed: []int{1, 3}}},
		// A Put of one after the other would find the address taken.
		{"an address changes hands", []peercatalog.Peer{{ID: 1, Address: peer(2).Address}, {ID: 2, Address: peer(1).Address}, peer(3)}, peercatalog.Change{Changed: []int{1, 2}}},
		{"nobody", nil, peercatalog.Change{Removed: []int{1, 2, 3}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			catalog := catalog(t, 1, 2, 3)
			version, changed := catalog.Version(), catalog.Changed()
			got, err := catalog.Replace(c.with...)
			if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
				t.Fatalf("%v; -want +got:\n%s", err, diff)
			}
			steps := uint64(0)
			if !c.want.IsZero() {
				steps = 1
			}
			if got := catalog.Version() - version; got != steps {
				t.Errorf("the version grew by %d, want %d", got, steps)
			}
			select {
			case <-changed:
				if steps == 0 {
					t.Error("a change is announced")
				}
			default:
				if steps > 0 {
					t.Error("no change is announced")
				}
			}
			var ids []int
			for _, p := range c.with {
				ids = append(ids, p.ID)
				if got, _ := catalog.Get(p.ID); cmp.Diff(p, got) != "" {
					t.Errorf("peer %d is %v, want %v", p.ID, got, p)
				}
			}
			slices.Sort(ids)
			checkIDs(t, catalog, ids...)
		})
	}
}

func TestAChangeIsToldInAFewWords(t *testing.T) {
	for want, c := range map[string]peercatalog.Change{
		"nothing":                          {},
		"added 3":                          {Added: []int{3}},
		"changed 2; removed 1, 7":          {Changed: []int{2}, Removed: []int{1, 7}},
		"added 3, 4; changed 2; removed 1": {Added: []int{3, 4}, Changed: []int{2}, Removed: []int{1}},
	} {
		if got := c.String(); got != want {
			t.Errorf("%#v is told as %q, want %q", c, got, want)
		}
		copied := c.Clone()
		if diff := cmp.Diff(c, copied); diff != "" {
			t.Errorf("the copy differs:\n%s", diff)
		}
		for _, ids := range [][]int{copied.Added, copied.Changed, copied.Removed} {
			for i := range ids {
				ids[i] = -1
			}
		}
		if c.String() != want {
			t.Errorf("a copy of %q shares its ids", want)
		}
	}
}

func TestReplaceChangesNothingIfAnythingIsWrong(t *testing.T) {
	key := newKey(t)
	for _, c := range []struct {
		name string
		with []peercatalog.Peer
		want []string
	}{
		{"twice", []peercatalog.Peer{peer(1), peer(4), peer(4)}, []string{"peer 4 is given twice"}},
		{"several faults", []peercatalog.Peer{{ID: -1, Address: "x"}, peer(4)}, []string{"id -1 is out of range", `address "x": no port`}},
		{"keys", []peercatalog.Peer{secured(1, key)}, []string{"peer 1: public_key is given, and the peers of the catalogue have none"}},
		{"the running server itself elsewhere", []peercatalog.Peer{{ID: 1, Address: "127.0.0.1:99"}, peer(4)}, []string{"peer 1: this is the running server itself", "tcp://127.0.0.1:99"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			catalog := catalog(t, 1, 2, 3)
			peerrules.Own(catalog, 1)
			version := catalog.Version()
			change, err := catalog.Replace(c.with...)
			if err == nil || !change.IsZero() {
				t.Fatalf("got %v, %v", change, err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
			checkIDs(t, catalog, 1, 2, 3)
			if catalog.Version() != version {
				t.Error("the version has changed")
			}
		})
	}
	if _, err := catalog(t, 1).Replace(peer(2), peer(2)); !errors.Is(err, peercatalog.ErrExists) {
		t.Errorf("an id twice: %v, want ErrExists", err)
	}
}

func TestKeysCannotComeOrGoByReplaceEvenByWayOfNobody(t *testing.T) {
	c, err := peercatalog.New(secured(1, newKey(t)))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := c.Replace(peer(1)); err == nil || !strings.Contains(err.Error(), "public_key is missing") {
			t.Errorf("without keys: %v", err)
		}
		if _, err := c.Replace(); err != nil {
			t.Error(err)
		}
	}
	next := secured(1, newKey(t))
	if _, err := c.Replace(next); err != nil {
		t.Errorf("another key: %v", err)
	}
	if id, ok := c.Owner(next.PublicKey); id != 1 || !ok {
		t.Errorf("the new key is that of %d, %v", id, ok)
	}
}

// Of two lists that take turns, a reader never sees a mixture.
func TestAReaderSeesAllOfAReplaceOrNothing(t *testing.T) {
	even, odd := []peercatalog.Peer{peer(0), peer(2), peer(4)}, []peercatalog.Peer{peer(1), peer(3)}
	c := catalog(t, 0, 2, 4)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if ids := c.IDs(); !slices.Equal(ids, []int{0, 2, 4}) && !slices.Equal(ids, []int{1, 3}) {
					t.Errorf("ids %v", ids)
					return
				}
			}
		})
	}
	for range 200 {
		for _, with := range [][]peercatalog.Peer{odd, even} {
			if _, err := c.Replace(with...); err != nil {
				t.Error(err)
			}
		}
	}
	close(done)
	readers.Wait()
}

func TestObserversAreInTheCatalogueAndAreNoParticipants(t *testing.T) {
	observer := func(id int) peercatalog.Peer {
		p := peer(id)
		p.Observer = true
		return p
	}
	c, err := peercatalog.New(peer(5), observer(1), peer(3), observer(7))
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string, want ...int) {
		t.Helper()
		if got := c.Participants(); !slices.Equal(got, want) {
			t.Errorf("%s: participants %v, want %v", when, got, want)
		}
	}
	checkIDs(t, c, 1, 3, 5, 7)
	check("at first", 3, 5)
	for _, step := range []struct {
		name string
		do   func() error
		want []int
	}{
		{"one becomes a participant", func() error { return c.Put(peer(1)) }, []int{1, 3, 5}},
		{"one becomes an observer", func() error { return c.Put(observer(3)) }, []int{1, 5}},
		{"an observer comes", func() error { return c.Create(observer(2)) }, []int{1, 5}},
		{"a participant goes", func() error { c.Remove(5); return nil }, []int{1}},
		{"an observer goes", func() error { c.Remove(7); return nil }, []int{1}},
		{"all are replaced", func() error { _, err := c.Replace(peer(8), observer(9)); return err }, []int{8}},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		check(step.name, step.want...)
	}
	c.Participants()[0] = 99
	check("after a caller has changed its copy", 8)
}
