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
)

// ErrExists says that a peer with the id is in the catalogue.
var ErrExists = errors.New("peercatalog: the id exists")

// Catalog holds the peers of one cluster. Make one with New.
type Catalog struct {
	state atomic.Pointer[snapshot]

	mu      sync.Mutex     // one writer at a time
	dialled map[string]int // guarded by mu: whose a dial endpoint is
}

// snapshot is never changed once it is stored, but for closing changed.
type snapshot struct {
	peers   map[int]*Peer // none is changed either: a copy of the map is cheap
	ids     []int         // ascending
	version uint64
	changed chan struct{} // closed when the next snapshot has been stored
}

// New returns a catalogue of these peers, or an error that joins one error for
// each fault of each peer: see Peer.Validate; no two peers may share an id or
// an address.
func New(peers ...Peer) (*Catalog, error) {
	s := &snapshot{
		peers:   make(map[int]*Peer, len(peers)),
		ids:     make([]int, 0, len(peers)),
		version: 1,
		changed: make(chan struct{}),
	}
	c := &Catalog{dialled: make(map[string]int, len(peers))}
	var faults []error
	for _, p := range peers {
		if err := c.check(p); err != nil {
			faults = append(faults, err)
		}
		if _, ok := s.peers[p.ID]; ok {
			faults = append(faults, fmt.Errorf("%w: peer %d is given twice", ErrExists, p.ID))
			continue
		}
		kept := p.Clone()
		s.peers[p.ID] = &kept
		s.ids = append(s.ids, p.ID)
		if e := p.DialEndpoint(); e != "" {
			c.dialled[e] = p.ID
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	slices.Sort(s.ids)
	c.state.Store(s)
	return c, nil
}

// check validates p, also against the addresses of the others. The caller holds
// c.mu or is alone.
func (c *Catalog) check(p Peer) error {
	var faults []error
	if err := p.Validate(); err != nil {
		// Each fault gets a line that names the peer.
		for _, fault := range err.(interface{ Unwrap() []error }).Unwrap() {
			faults = append(faults, fmt.Errorf("peercatalog: peer %d: %w", p.ID, fault))
		}
	}
	if e := p.DialEndpoint(); e != "" {
		if owner, ok := c.dialled[e]; ok && owner != p.ID {
			faults = append(faults, fmt.Errorf("peercatalog: peer %d: address %.120q is also that of peer %d", p.ID, p.Address, owner))
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
	if err := c.check(p); err != nil {
		return err
	}
	old := c.state.Load()
	was, replace := old.peers[p.ID]
	if replace && was.equal(p) {
		return nil
	}
	next := &snapshot{peers: maps.Clone(old.peers), ids: old.ids}
	kept := p.Clone()
	next.peers[p.ID] = &kept
	if replace {
		delete(c.dialled, was.DialEndpoint())
	} else {
		at, _ := slices.BinarySearch(old.ids, p.ID)
		next.ids = slices.Insert(slices.Clone(old.ids), at, p.ID)
	}
	c.dialled[p.DialEndpoint()] = p.ID
	c.store(old, next)
	return nil
}

// Remove takes out the peer with the id and reports whether there was one.
func (c *Catalog) Remove(id int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.state.Load()
	was, ok := old.peers[id]
	if !ok {
		return false
	}
	next := &snapshot{peers: maps.Clone(old.peers)}
	delete(next.peers, id)
	at, _ := slices.BinarySearch(old.ids, id)
	next.ids = slices.Concat(old.ids[:at], old.ids[at+1:])
	delete(c.dialled, was.DialEndpoint())
	c.store(old, next)
	return true
}

// store makes next the state and then wakes who waits for a change of old, so
// that they find the new state. The caller holds c.mu.
func (c *Catalog) store(old, next *snapshot) {
	next.version = old.version + 1
	next.changed = make(chan struct{})
	c.state.Store(next)
	close(old.changed)
}
