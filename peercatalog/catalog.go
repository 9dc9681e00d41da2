// Package peercatalog is the metastore of a cluster: it maps the id of each
// server to what the cluster knows about it, while it runs.
//
// Everything may be called from several goroutines at once. Reading never
// locks, and costs the same however many peers there are; a change copies the
// catalogue. What goes in and what comes out are copies, so nothing that a
// caller does to a Peer changes the catalogue or another caller's Peer.
package peercatalog

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/abhishekg16/cluster/internal/peerrules"
)

// ErrExists says that a peer with the id is in the catalogue.
var ErrExists = errors.New("peercatalog: the id exists")

// Catalog holds the peers of one cluster. Make one with New.
type Catalog struct {
	state atomic.Pointer[snapshot]

	mu  sync.Mutex // one writer at a time; guards what follows
	own *entry     // of the running server that the catalogue belongs to, as it started; nil: of none
}

func init() {
	peerrules.Own = func(catalog any, id int) { catalog.(*Catalog).setOwn(id) }
}

// snapshot is never changed once it is stored, but for closing changed.
type snapshot struct {
	*table
	version uint64
	changed chan struct{} // closed when the next snapshot has been stored
}

// New returns a catalogue of these peers, or an error that joins one error for
// each fault of each peer: see Peer.Validate; no two peers may share an id or
// an address.
func New(peers ...Peer) (*Catalog, error) {
	t, err := recent.get(peers)
	if err != nil {
		return nil, err
	}
	c := new(Catalog)
	c.state.Store(&snapshot{table: t, version: 1, changed: make(chan struct{})})
	return c, nil
}

// setOwn makes the entry with the id that of the running server to which the catalogue
// belongs.
func (c *Catalog) setOwn(id int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own = c.state.Load().peers[id]
}

// checkOwn reports e if it says that the server to which the catalogue belongs listens
// elsewhere than it does. All else in its entry is for others to know.
func (c *Catalog) checkOwn(e *entry) error {
	if c.own == nil || e.ID != c.own.ID || e.bind == "" || e.bind == c.own.bind {
		return nil
	}
	return fmt.Errorf("peercatalog: peer %d: this is the running server itself, which listens on %s and cannot go to %s: restart it with the new address, and Put that into the catalogues of the others",
		e.ID, c.own.bind, e.bind)
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
	e, ok := c.state.Load().keys[publicKey]
	if !ok {
		return 0, false
	}
	return e.ID, true
}

// IDs returns the ids of all peers, observers included, ascending.
func (c *Catalog) IDs() []int { return slices.Clone(c.state.Load().ids) }

// Participants returns the ids of the peers that are no observers, ascending. A
// majority is one of these.
func (c *Catalog) Participants() []int { return slices.Clone(c.state.Load().participants) }

// Len returns how many peers there are, observers included.
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
//
// In the catalogue of a running node, the node's own entry says where the node
// listens, which cannot change while it runs: another Bind, or another Address
// where Bind is empty, is an error, also after the entry was removed. Other keys
// may be put there, for what reads the catalogue; the node itself goes on with
// the key that it has started with.
func (c *Catalog) Put(p Peer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.put(p)
}

// put replaces the peer with the id of p, or adds p. The caller holds c.mu.
func (c *Catalog) put(p Peer) error {
	old := c.state.Load()
	if was, ok := old.peers[p.ID]; ok && was.equal(p) {
		return nil
	}
	e, next := newEntry(p.Clone()), old.without(p.ID)
	faults := next.add(e).Unwrap()
	for _, err := range []error{old.checkSecured(p), c.checkOwn(e)} {
		if err != nil {
			faults = append(faults, err)
		}
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	next.secured, next.decided = p.keyed(), true
	next.list()
	c.store(old, next)
	return nil
}

// A Change tells which peers a Replace has made others of, by their ids, ascending.
type Change struct {
	Added, Changed, Removed []int
}

// IsZero reports whether nothing has changed.
func (c Change) IsZero() bool { return len(c.Added)+len(c.Changed)+len(c.Removed) == 0 }

// String is for people: "added 3, 4; changed 2; removed 1". It is "nothing" if nothing has changed.
func (c Change) String() string {
	var parts []string
	for _, of := range []struct {
		what string
		ids  []int
	}{{"added", c.Added}, {"changed", c.Changed}, {"removed", c.Removed}} {
		if len(of.ids) > 0 {
			parts = append(parts, of.what+" "+strings.Trim(strings.ReplaceAll(fmt.Sprint(of.ids), " ", ", "), "[]"))
		}
	}
	return cmp.Or(strings.Join(parts, "; "), "nothing")
}

// Clone returns a copy that shares nothing with c.
func (c Change) Clone() Change {
	return Change{slices.Clone(c.Added), slices.Clone(c.Changed), slices.Clone(c.Removed)}
}

// Replace makes the catalogue hold these peers and no others, in one change: a
// reader sees all of it or nothing of it, and Version grows by one, unless the same
// peers were there already. It returns what that has changed. The error says all
// that is wrong with the peers, as that of New does; nothing has changed then. For
// the entry of the running node itself, what Put says holds; and where the peers
// have had keys, or none, these must too.
func (c *Catalog) Replace(peers ...Peer) (Change, error) {
	next, err := recent.get(peers)
	if err != nil {
		return Change{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.state.Load()
	var faults []error
	for _, id := range next.ids {
		if err := old.checkSecured(next.peers[id].Peer); err != nil {
			faults = append(faults, err)
			break // the peers are alike in that
		}
	}
	if c.own != nil {
		if e, ok := next.peers[c.own.ID]; ok {
			faults = append(faults, c.checkOwn(e))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return Change{}, err
	}
	change := old.compare(next)
	if change.IsZero() {
		return change, nil
	}
	if len(next.ids) == 0 { // then nothing but the past says whether they have keys
		emptied := *next
		emptied.secured, emptied.decided = old.secured, old.decided
		next = &emptied
	}
	c.store(old, next)
	return change, nil
}

// Remove takes out the peer with the id and reports whether there was one.
func (c *Catalog) Remove(id int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.state.Load()
	if _, ok := old.peers[id]; !ok {
		return false
	}
	c.store(old, old.without(id))
	return true
}

// store makes next the state and then wakes who waits for a change of old, so
// that they find the new state. The caller holds c.mu.
func (c *Catalog) store(old *snapshot, next *table) {
	c.state.Store(&snapshot{table: next, version: old.version + 1, changed: make(chan struct{})})
	close(old.changed)
}
