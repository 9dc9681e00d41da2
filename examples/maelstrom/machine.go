package main

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"sync"

	"github.com/hashicorp/raft"
)

// An op is what a client asks of the store, as it stands in Raft's log. Keys and values are JSON.
type op struct {
	Type     string // read, write or cas
	Key      string
	Value    string `json:",omitempty"` // of a write
	From, To string `json:",omitempty"` // of a cas
}

// A result is what became of an op: an error of Maelstrom's if Text is not empty, and else the value of a read.
type result struct {
	ID    int64 // of the call, where it crosses the network
	Value string
	Code  int
	Text  string
}

// A machine is the state that all servers agree on: Raft applies the same ops to it in the same order everywhere.
type machine struct {
	mu     sync.Mutex // guards values
	values map[string]string
}

// Apply implements raft.FSM.
func (m *machine) Apply(entry *raft.Log) any {
	var o op
	if err := json.Unmarshal(entry.Data, &o); err != nil {
		panic(err) // Raft's log holds what we have put there.
	}
	return m.do(o)
}

func (m *machine) do(o op) result {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.values[o.Key]
	switch {
	case o.Type == "write":
		m.values[o.Key] = o.Value
		return result{}
	case !ok:
		return result{Code: codeNoKey, Text: "there is no key " + o.Key}
	case o.Type == "read":
		return result{Value: value}
	case value != o.From:
		return result{Code: codePrecondition, Text: "the value is " + value + " and not " + o.From}
	default:
		m.values[o.Key] = o.To
		return result{}
	}
}

// Snapshot implements raft.FSM.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return snapshot(maps.Clone(m.values)), nil
}

// Restore implements raft.FSM.
func (m *machine) Restore(r io.ReadCloser) error {
	defer r.Close()
	values := make(map[string]string)
	if err := json.NewDecoder(r).Decode(&values); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values = values
	return nil
}

type snapshot map[string]string

// Persist implements raft.FSMSnapshot.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if err := json.NewEncoder(sink).Encode(map[string]string(s)); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (s snapshot) Release() {}
