package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
)

// apply gives a store one command.
func apply(t *testing.T, s *store, c command) outcome {
	t.Helper()
	data, err := c.encode()
	if err != nil {
		t.Fatal(err)
	}
	result, ok := s.Apply(&raft.Log{Data: data}).(outcome)
	if !ok {
		t.Fatalf("%+v has no outcome", c)
	}
	return result
}

func TestCommandsChangeTheStore(t *testing.T) {
	s := newStore()
	for n, step := range []struct {
		c     command
		want  outcome
		after map[string]string
	}{
		{command{Operation: swap, Key: "a", Value: []byte("1")}, missing, nil},
		{command{Operation: put, Key: "a", Value: []byte("1"), Request: "first"}, done, map[string]string{"a": "1"}},
		{command{Operation: swap, Key: "a", Value: []byte("3"), Old: []byte("2"), Request: "second"}, differs, map[string]string{"a": "1"}},
		{command{Operation: swap, Key: "a", Value: []byte("2"), Old: []byte("1")}, done, map[string]string{"a": "2"}},
		{command{Operation: put, Key: "a", Value: []byte("1"), Request: "first"}, done, map[string]string{"a": "2"}},
		{command{Operation: swap, Key: "a", Value: []byte("3"), Old: []byte("2"), Request: "second"}, differs, map[string]string{"a": "2"}},
		{command{Operation: remove, Key: "a", Request: "third"}, done, nil},
		{command{Operation: remove, Key: "a", Request: "third"}, done, nil},
		{command{Operation: remove, Key: "a"}, missing, nil},
	} {
		if got := apply(t, s, step.c); got != step.want {
			t.Errorf("step %d: %q, want %q", n, got, step.want)
		}
		after := make(map[string]string)
		for key, value := range s.values {
			after[key] = string(value)
		}
		if !maps.Equal(after, step.after) {
			t.Errorf("step %d: the store has %v, want %v", n, after, step.after)
		}
	}
}

// A sink keeps a snapshot in memory.
type sink struct{ bytes.Buffer }

func (*sink) ID() string    { return "snapshot" }
func (*sink) Cancel() error { return nil }
func (*sink) Close() error  { return nil }

// A server that begins with a snapshot has the values, and knows the requests, that are in it, whatever is applied while
// it is written.
func TestASnapshotHasValuesAndRequests(t *testing.T) {
	s := newStore()
	first := command{Operation: put, Key: "a", Value: []byte("1"), Request: "first"}
	apply(t, s, first)
	apply(t, s, command{Operation: put, Key: "empty"})
	taken, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, command{Operation: put, Key: "a", Value: []byte("2"), Request: "later"})
	var to sink
	if err := taken.Persist(&to); err != nil {
		t.Fatal(err)
	}
	restored := newStore()
	apply(t, restored, command{Operation: put, Key: "old", Request: "old"})
	if err := restored.Restore(io.NopCloser(&to)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]byte{"a": []byte("1"), "empty": nil}, restored.values); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	apply(t, restored, command{Operation: remove, Key: "a"})
	apply(t, restored, first)
	if _, found, _ := restored.get("a"); found {
		t.Error("a request that is in the snapshot is carried out again")
	}
}

// Of the requests that have been carried out, the store knows the latest 50,000.
func TestTheStoreForgetsOldRequests(t *testing.T) {
	s := newStore()
	named := func(n int) command { return command{Operation: put, Key: "a", Request: fmt.Sprint(n)} }
	for n := range maxRequests + 1 {
		apply(t, s, named(n))
	}
	if len(s.known) != maxRequests || len(s.order) != maxRequests {
		t.Errorf("%d requests are known, in an order of %d, want %d", len(s.known), len(s.order), maxRequests)
	}
	if _, known := s.known["0"]; known {
		t.Error("the oldest request is known still")
	}
}

// A server that cannot read an entry, such as one of a later version, says so from then on, rather than answer with
// what may be wrong.
func TestAnEntryThatCannotBeReadIsTold(t *testing.T) {
	for _, data := range []string{"", "{}", `{"op":"later","key":"a"}`} {
		s := newStore()
		if _, ok := s.Apply(&raft.Log{Data: []byte(data)}).(error); !ok {
			t.Errorf("entry %q is taken", data)
		}
		if _, _, err := s.get("a"); err == nil {
			t.Errorf("after entry %q the store is read as if it was whole", data)
		}
		if _, err := s.Snapshot(); err == nil {
			t.Errorf("after entry %q a snapshot is taken", data)
		}
	}
}
