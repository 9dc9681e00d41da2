package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An edit replaces a piece of a file of this program, which must stand there exactly once.
type edit struct{ file, old, new string }

// broken are servers that break a promise, each by one edit, with which they are built. The servers themselves have no
// switches for that.
var broken = []struct {
	name string
	edit edit
	long bool // only with -long
}{
	{"each server answers reads, whether it leads or not", edit{"reads.go",
		"r.err = f.raft.Barrier(enqueueTimeout).Error()", "r.err = nil"}, false},
	{"the leader answers reads without asking the others whether it still leads", edit{"reads.go",
		"r.err = f.raft.Barrier(enqueueTimeout).Error()",
		"if r.err = nil; f.raft.State() != raft.Leader { r.err = raft.ErrNotLeader }"}, true},
	{"repeated requests are carried out again", edit{"store.go",
		"before, again := s.known[c.Request]; again", "before, again := s.known[c.Request]; again && false"}, true},
	{"a write is acknowledged before it is in the log of a majority", edit{"api.go",
		"if err := f.Error(); err != nil {", "if s.raft.State() == raft.Leader { return done, nil }\n\tif err := f.Error(); err != nil {"}, true},
}

// The check of TestTheStoreIsLinearizable finds servers that are not.
func TestBrokenServersAreFound(t *testing.T) {
	t.Parallel()
	for _, b := range broken {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			text, file := b.edit.apply(t)
			if testing.Short() || b.long && !*long {
				t.Skip("the edit fits; to build and find it is for -long")
			}
			program := build(t, file, text)
			f := begin(t, true, func(args ...string) *exec.Cmd { return exec.Command(program, args...) })
			seed, began := rand.Uint64(), time.Now()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			for n := range 60 {
				h := disturb(t, f, fmt.Sprintf("round%d", n), random, 3, short[n%2:n%2+1])
				if ok, _ := h.linearizable(t); !ok {
					t.Logf("found in round %d, after %v", n, time.Since(began))
					return
				}
			}
			t.Error("60 rounds are linearizable")
		})
	}
}

// apply is the text of the file with the edit, and where the file is.
func (e edit) apply(t *testing.T) (text, file string) {
	t.Helper()
	file, err := filepath.Abs(e.file)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(whole), e.old); n != 1 {
		t.Fatalf("%q stands %d times in %s, want once: the edit has to follow the program", e.old, n, e.file)
	}
	return strings.Replace(string(whole), e.old, e.new, 1), file
}

// build builds this program with another text in the place of a file.
func build(t *testing.T, file, text string) (program string) {
	t.Helper()
	dir := t.TempDir()
	edited, overlay, program := filepath.Join(dir, "edited.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "kv")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{file: edited}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{edited: text, overlay: string(replace)} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-overlay", overlay, "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}
