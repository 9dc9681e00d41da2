package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// maxRequests is how many requests the store knows again: one that is repeated after as many others have come is
// carried out once more.
const maxRequests = 50_000

// A store is the state machine: it carries out the commands of the log, in the same order on each server. Raft calls
// Apply, Snapshot and Restore one at a time; get may be called concurrently.
type store struct {
	mu     sync.RWMutex      // guards what follows
	values map[string][]byte // a value is never modified
	known  map[string]outcome
	order  []string // the requests that are known, the oldest first
	broken error    // a command could not be read: this server no longer has what the others have
}

var _ raft.FSM = (*store)(nil)

func newStore() *store {
	return &store{values: make(map[string][]byte), known: make(map[string]outcome)}
}

// get is the value of a key, which must not be modified.
func (s *store) get(key string) (value []byte, found bool, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	value, found = s.values[key]
	return value, found, s.broken
}

// Apply implements raft.FSM. It returns an outcome, or an error where the entry cannot be read.
func (s *store) Apply(entry *raft.Log) any {
	c, err := decodeCommand(entry.Data)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.broken = errors.Join(s.broken, err)
		return err
	}
	if before, again := s.known[c.Request]; again {
		return before
	}
	result := s.carryOut(c)
	if c.Request != "" {
		s.remember(c.Request, result)
	}
	return result
}

func (s *store) carryOut(c command) outcome {
	old, found := s.values[c.Key]
	switch {
	case c.Operation == put:
		s.values[c.Key] = c.Value
	case !found:
		return missing
	case c.Operation == remove:
		delete(s.values, c.Key)
	case !bytes.Equal(old, c.Old):
		return differs
	default:
		s.values[c.Key] = c.Value
	}
	return done
}

func (s *store) remember(request string, result outcome) {
	s.known[request] = result
	if s.order = append(s.order, request); len(s.order) > maxRequests {
		delete(s.known, s.order[0])
		s.order = s.order[1:]
	}
}

// A snapshot is a store as it was at one moment, and, as JSON, what Raft keeps in place of the log before that.
type snapshot struct {
	Values map[string][]byte  `json:"values"`
	Known  map[string]outcome `json:"known"`
	Order  []string           `json:"order"`
}

// Snapshot implements raft.FSM. Commands wait while the maps are copied, but not while they are written.
func (s *store) Snapshot() (raft.FSMSnapshot, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return snapshot{maps.Clone(s.values), maps.Clone(s.known), slices.Clone(s.order)}, s.broken
}

// Persist implements raft.FSMSnapshot.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if err := json.NewEncoder(sink).Encode(s); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (snapshot) Release() {}

// Restore implements raft.FSM: the store is what the snapshot has.
func (s *store) Restore(r io.ReadCloser) error {
	defer r.Close()
	from := snapshot{Values: make(map[string][]byte), Known: make(map[string]outcome)}
	if err := json.NewDecoder(r).Decode(&from); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values, s.known, s.order, s.broken = from.Values, from.Known, from.Order, nil
	return nil
}
