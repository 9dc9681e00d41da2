// Package peercatalog is the metastore of a cluster: it maps the id of each
// server to what the cluster knows about it, while it runs.
//
// Everything may be called from several goroutines at once. Reading never
// locks, and costs the same however many peers there are; a change copies the
// catalogue. What goes in and what comes out are copies, so nothing that a
// caller does to a Peer changes the catalogue or another caller's Peer.
package peercatalog

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"weak"
)

// ErrExists says that a peer with the id is in the catalogue.
var ErrExists = errors.New("peercatalog: the id exists")

// Catalog holds the peers of one cluster. Make one with New.
type Catalog struct {
	state atomic.Pointer[snapshot]

	mu sync.Mutex // one writer at a time
}

// snapshot is never changed once it is stored, but for closing changed.
type snapshot struct {
	*table
	version uint64
	changed chan struct{} // closed when the next snapshot has been stored
}

// table is never changed once it is made, and may be shared by catalogues.
type table struct {
	peers map[int]*entry // none is changed either: a copy of the map is cheap
	keys  map[string]int // whose each public key is
	ids   []int          // ascending
	given []int          // the ids in the order in which New was given them

	// Whether the peers have keys. The first decides it, also for those that come
	// when all have been removed.
	secured, decided bool
}

// entry is a peer with its address in normal form.
type entry struct {
	Peer
	dial string
}

func newEntry(p Peer) *entry { return &entry{p.Clone(), p.DialEndpoint()} }

// New returns a catalogue of these peers, or an error that joins one error for
// each fault of each peer: see Peer.Validate; no two peers may share an id or
// an address.
func New(peers ...Peer) (*Catalog, error) {
	t, err := recent.get(peers, newTable)
	if err != nil {
		return nil, err
	}
	c := new(Catalog)
	c.state.Store(&snapshot{table: t, version: 1, changed: make(chan struct{})})
	return c, nil
}

func newTable(peers []Peer) (*table, error) {
	t := &table{
		peers: make(map[int]*entry, len(peers)),
		keys:  make(map[string]int),
		ids:   make([]int, 0, len(peers)),
	}
	dialled := make(map[string]int, len(peers))
	owner := func(dial string) (int, bool) { id, ok := dialled[dial]; return id, ok }
	var faults []error
	for _, p := range peers {
		if err := check(p, owner, t.keys); err != nil {
			faults = append(faults, err)
		}
		if err := t.decide(p); err != nil {
			faults = append(faults, err)
		}
		if _, ok := t.peers[p.ID]; ok {
			faults = append(faults, fmt.Errorf("%w: peer %d is given twice", ErrExists, p.ID))
			continue
		}
		e := newEntry(p)
		t.peers[p.ID] = e
		t.ids = append(t.ids, p.ID)
		t.setKeys(p)
		if e.dial != "" {
			dialled[e.dial] = p.ID
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	t.given = slices.Clone(t.ids)
	slices.Sort(t.ids)
	return t, nil
}

// recent remembers the table that New made last, as long as a catalogue has it:
// a process that runs a thousand servers of one cluster holds, and checks, their
// peers once and not a thousand times.
var recent memo

type memo struct {
	mu   sync.Mutex
	last weak.Pointer[table]
}

func (m *memo) get(peers []Peer, make func([]Peer) (*table, error)) (*table, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.last.Value(); t != nil && t.is(peers) {
		return t, nil
	}
	t, err := make(peers)
	if err == nil {
		m.last = weak.Make(t)
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

func (t *table) setKeys(p Peer) {
	for _, k := range p.Keys() {
		t.keys[k] = p.ID
	}
}

func (t *table) dropKeys(id int) {
	if e := t.peers[id]; e != nil {
		for _, k := range e.Keys() {
			delete(t.keys, k)
		}
	}
}

func (p Peer) keyed() bool { return p.PublicKey != "" }

// decide reports p if it has a key where the peers have none, or none where they have.
func (t *table) decide(p Peer) error {
	switch {
	case !t.decided:
		t.secured, t.decided = p.keyed(), true
	case p.keyed() == t.secured:
	case p.keyed():
		return fmt.Errorf("peercatalog: peer %d: public_key is given, and the peers of the catalogue have none: want keys for all, or for none", p.ID)
	default:
		return fmt.Errorf("peercatalog: peer %d: public_key is missing, and the peers of the catalogue have one: want keys for all, or for none", p.ID)
	}
	return nil
}

// check validates p, also against the others: owner tells whose an address is, in its
// normal form, and keys whose a public key is.
func check(p Peer, owner func(dial string) (int, bool), keys map[string]int) error {
	var faults []error
	if err := p.Validate(); err != nil {
		// Each fault gets a line that names the peer.
		for _, fault := range err.(interface{ Unwrap() []error }).Unwrap() {
			faults = append(faults, fmt.Errorf("peercatalog: peer %d: %w", p.ID, fault))
		}
	}
	if e := p.DialEndpoint(); e != "" {
		if id, ok := owner(e); ok && id != p.ID {
			faults = append(faults, fmt.Errorf("peercatalog: peer %d: address %.120q is also that of peer %d", p.ID, p.Address, id))
		}
	}
	for _, k := range p.Keys() {
		if id, ok := keys[k]; ok && id != p.ID {
			faults = append(faults, fmt.Errorf("peercatalog: peer %d: public key %.60q is also that of peer %d", p.ID, k, id))
		}
	}
	return errors.Join(faults...)
}

// Get returns the peer with the id, and whether there is one. It allocates only
// to copy an Extra that is not empty.
func (c *Catalog) Get(id int) (Peer, bool) {
	p, ok := c.state.Load().peers[id]
	if !ok {
		return Peer{}, false
	}
	return p.Clone(), true
}

// Has reports whether there is a peer with the id.
func (c *Catalog) Has(id int) bool {
	_, ok := c.state.Load().peers[id]
	return ok
}

// Owner returns the id of the peer that has this public key, and whether there is
// one.
func (c *Catalog) Owner(publicKey string) (int, bool) {
	id, ok := c.state.Load().keys[publicKey]
	return id, ok
}

// IDs returns the ids of all peers, ascending.
func (c *Catalog) IDs() []int { return slices.Clone(c.state.Load().ids) }

// Len returns how many peers there are.
func (c *Catalog) Len() int { return len(c.state.Load().ids) }

// Version returns a number that grows with each change. It starts above 0.
func (c *Catalog) Version() uint64 { return c.state.Load().version }

// Changed returns a channel that is closed at the first change after the call.
// Who takes the channel, then reads the catalogue, and then waits, misses no
// change:
//
//	for {
//		changed := catalog.Changed()
//		use(catalog.IDs())
//		<-changed
//	}
func (c *Catalog) Changed() <-chan struct{} { return c.state.Load().changed }

// Create adds a peer. The error is ErrExists if there is one with the id, and
// otherwise says what is wrong with p.
func (c *Catalog) Create(p Peer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Has(p.ID) {
		return fmt.Errorf("%w: peer %d", ErrExists, p.ID)
	}
	return c.put(p)
}

// Put adds a peer, or replaces the one with its id. The error says what is
// wrong with p; then nothing has changed. Putting what is there already is no
// change.
func (c *Catalog) Put(p Peer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.put(p)
}

func (c *Catalog) put(p Peer) error {
	old := c.state.Load()
	owner := func(dial string) (int, bool) {
		for id, e := range old.peers {
			if e.dial == dial && id != p.ID {
				return id, true
			}
		}
		return 0, false
	}
	if err := check(p, owner, old.keys); err != nil {
		return err
	}
	was, replace := old.peers[p.ID]
	if replace && was.equal(p) {
		return nil
	}
	next := &table{peers: maps.Clone(old.peers), keys: maps.Clone(old.keys), ids: old.ids, secured: old.secured, decided: old.decided}
	if err := next.decide(p); err != nil {
		return err
	}
	next.dropKeys(p.ID)
	next.setKeys(p)
	next.peers[p.ID] = newEntry(p)
	if !replace {
		at, _ := slices.BinarySearch(old.ids, p.ID)
		next.ids = slices.Insert(slices.Clone(old.ids), at, p.ID)
	}
	c.store(old, next)
	return nil
}

// Remove takes out the peer with the id and reports whether there was one.
func (c *Catalog) Remove(id int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.state.Load()
	if _, ok := old.peers[id]; !ok {
		return false
	}
	next := &table{peers: maps.Clone(old.peers), keys: maps.Clone(old.keys), secured: old.secured, decided: old.decided}
	next.dropKeys(id)
	delete(next.peers, id)
	at, _ := slices.BinarySearch(old.ids, id)
	next.ids = slices.Concat(old.ids[:at], old.ids[at+1:])
	c.store(old, next)
	return true
}

// store makes next the state and then wakes who waits for a change of old, so
// that they find the new state. The caller holds c.mu.
func (c *Catalog) store(old *snapshot, next *table) {
	c.state.Store(&snapshot{table: next, version: old.version + 1, changed: make(chan struct{})})
	close(old.changed)
}
