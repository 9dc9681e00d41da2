package main

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/examples/kv/internal/fleet"
)

// long lets the faults go on for ten minutes, and more broken servers be caught.
var long = flag.Bool("long", false, "ten minutes of faults, 20 kills of leaders, and all the ways to break the servers")

// deadline is for what takes seconds at most, on a machine that does much else.
const deadline = time.Minute

// TestMain is the program itself where the environment says so.
func TestMain(m *testing.M) {
	if os.Getenv("KV_SERVER") != "" {
		main()
		os.Exit(0)
	}
	flag.Parse()
	flag.Set("test.parallel", "4") // servers wait more than they compute
	os.Exit(m.Run())
}

// thisProgram is a server as it is.
func thisProgram(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "KV_SERVER=1")
	return cmd
}

// begin starts the servers 0, 1 and 2, and waits until they have a leader.
func begin(t *testing.T, relayed bool, command func(args ...string) *exec.Cmd) *fleet.Fleet {
	t.Helper()
	dir := t.TempDir()
	f := fleet.New(dir, relayed, command)
	t.Cleanup(func() {
		f.Close()
		if t.Failed() {
			logs, _ := filepath.Glob(filepath.Join(dir, "*", "log"))
			for _, name := range logs {
				text, _ := os.ReadFile(name)
				t.Logf("%s ends with\n%s", name, text[max(0, len(text)-4000):])
			}
		}
	})
	if err := f.Add(0, 1, 2); err != nil {
		t.Fatal(err)
	}
	for id := range 3 {
		var flags []string
		if id == 0 {
			flags = append(flags, "-bootstrap")
		}
		if err := f.Start(id, flags...); err != nil {
			t.Fatal(err)
		}
	}
	leader(t, f)
	return f
}

func leader(t *testing.T, f *fleet.Fleet) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	id, err := f.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
