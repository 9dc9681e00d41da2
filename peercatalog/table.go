package peercatalog

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"weak"

	"github.com/abhishekg16/cluster/internal/peerrules"
)

// A table holds peers, and the rules for peers beside one another. It is never changed
// once it is in a catalogue, and may be shared by catalogues.
type table struct {
	peers map[int]*entry
	dials map[string]*entry // by what others dial
	keys  map[string]*entry // by each of the public keys
	ids   []int             // ascending
	given []int             // the ids in the order in which New was given them

	participants []int // those of ids that are no observers

	// Whether the peers have keys. The first decides it, also for those that come
	// when all have been removed.
	secured, decided bool
}

func newTable(peers []Peer) (*table, error) {
	t := &table{
		peers: make(map[int]*entry, len(peers)),
		dials: make(map[string]*entry, len(peers)),
		keys:  make(map[string]*entry),
		ids:   make([]int, 0, len(peers)),
	}
	var faults peerrules.Faults
	for i, p := range peers {
		e := newEntry(p.Clone())
		e.index = i
		faults = append(faults, t.add(e)...)
		t.secured, t.decided = t.secured || p.keyed(), true
	}
	for i, p := range peers {
		if err := t.checkSecured(p); err != nil {
			const plain = "public_key is missing, and other peers have one: want keys for all, or for none"
			faults = append(faults, peerrules.Fault{Index: i, Field: "public_key", Other: -1, Plain: errors.New(plain), Told: err})
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	t.given = slices.Clone(t.ids)
	t.list()
	return t, nil
}

// list puts the ids in order, and tells participants from observers.
func (t *table) list() {
	slices.Sort(t.ids)
	t.participants = slices.DeleteFunc(slices.Clone(t.ids), func(id int) bool { return t.peers[id].Observer })
}

// add puts e into the table, its id last among the ids, and returns what is wrong with
// it, by itself and beside those that are there. With faults, the table is good for
// nothing but to find more.
func (t *table) add(e *entry) (faults peerrules.Faults) {
	for _, f := range e.check() {
		faults = append(faults, peerrules.Fault{
			Index: e.index, Field: f.field, Other: -1,
			Plain: f.err, Told: fmt.Errorf("peercatalog: peer %d: %w", e.ID, f.err),
		})
	}
	for _, k := range e.Keys() {
		faults = append(faults, claim(t.keys, k, e, "public_key", "public key %.60q", k)...)
	}
	if other, taken := t.peers[e.ID]; taken {
		faults = append(faults, peerrules.Fault{
			Index: e.index, Field: "id", Other: other.index,
			Plain: fmt.Errorf("id %d", e.ID), Told: fmt.Errorf("%w: peer %d is given twice", ErrExists, e.ID),
		})
	} else {
		t.peers[e.ID] = e
		t.ids = append(t.ids, e.ID)
	}
	if e.dial != "" {
		faults = append(faults, claim(t.dials, e.dial, e, "address", "address %.120q", e.Address)...)
	}
	return faults
}

// claim makes e the owner of the key of a map, or returns a fault that names the one that
// is. The key is described as what.
func claim(owners map[string]*entry, key string, e *entry, field, what string, arg any) peerrules.Faults {
	other, taken := owners[key]
	if !taken {
		owners[key] = e
	}
	if !taken || other == e {
		return nil
	}
	f := peerrules.Fault{Index: e.index, Field: field, Other: other.index, Plain: fmt.Errorf(what, arg)}
	if other.ID != e.ID {
		f.Told = fmt.Errorf("peercatalog: peer %d: %w is also that of peer %d", e.ID, f.Plain, other.ID)
	}
	return peerrules.Faults{f}
}

// without returns a copy without the peer with the id, if there is one.
func (t *table) without(id int) *table {
	next := *t
	next.peers, next.dials, next.keys = maps.Clone(t.peers), maps.Clone(t.dials), maps.Clone(t.keys)
	next.ids, next.given = slices.Clone(t.ids), nil
	if e, ok := t.peers[id]; ok {
		delete(next.peers, id)
		delete(next.dials, e.dial)
		for _, k := range e.Keys() {
			delete(next.keys, k)
		}
		at, _ := slices.BinarySearch(next.ids, id)
		next.ids = slices.Delete(next.ids, at, at+1)
		next.list()
	}
	return &next
}

// compare returns how the peers of next differ from those of t.
func (t *table) compare(next *table) (c Change) {
	for _, id := range next.ids {
		if was, ok := t.peers[id]; !ok {
			c.Added = append(c.Added, id)
		} else if !was.equal(next.peers[id].Peer) {
			c.Changed = append(c.Changed, id)
		}
	}
	for _, id := range t.ids {
		if _, ok := next.peers[id]; !ok {
			c.Removed = append(c.Removed, id)
		}
	}
	return c
}

func (p Peer) keyed() bool { return p.PublicKey != "" }

// checkSecured reports p if it has a key where the peers have none, or none where they
// have.
func (t *table) checkSecured(p Peer) error {
	switch {
	case !t.decided || p.keyed() == t.secured:
		return nil
	case p.keyed():
		return fmt.Errorf("peercatalog: peer %d: public_key is given, and the peers of the catalogue have none: want keys for all, or for none", p.ID)
	}
	return fmt.Errorf("peercatalog: peer %d: public_key is missing, and the peers of the catalogue have one: want keys for all, or for none", p.ID)
}

// recent remembers the table that New made last, as long as a catalogue has it:
// a process that runs a thousand servers of one cluster holds, and checks, their
// peers once and not a thousand times.
var recent memo

type memo struct {
	mu   sync.Mutex
	last weak.Pointer[table]
}

func (m *memo) get(peers []Peer) (*table, error) {
	m.mu.Lock()
	t := m.last.Value()
	m.mu.Unlock()
	if t != nil && t.is(peers) {
		return t, nil
	}
	t, err := newTable(peers)
	if err == nil {
		m.mu.Lock()
		m.last = weak.Make(t)
		m.mu.Unlock()
	}
	return t, err
}

// is reports whether New would make the same table of these peers.
func (t *table) is(peers []Peer) bool {
	if len(peers) != len(t.given) {
		return false
	}
	for i, p := range peers {
		if p.ID != t.given[i] || !t.peers[p.ID].equal(p) {
			return false
		}
	}
	return true
}
