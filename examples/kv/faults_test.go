package main

import (
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/examples/kv/internal/fleet"
)

// A fault is something that happens to servers, and how it ends.
type fault struct {
	name  string
	begin func(t *testing.T, f *fleet.Fleet, id int)
	end   func(t *testing.T, f *fleet.Fleet, id int)
}

var faults = []fault{
	{"cut off", cut, heal},
	{"kill", kill, start},
	{"pause", sendSignal(syscall.SIGSTOP), sendSignal(syscall.SIGCONT)},
	{"reset", reset, reset},
	{"half cut off", func(_ *testing.T, f *fleet.Fleet, id int) { f.Cut(id, (id+1)%3) }, heal},
	{"kill all", each(kill), each(start)},
	{"pause all", each(sendSignal(syscall.SIGSTOP)), each(sendSignal(syscall.SIGCONT))},
}

// short are those that happen without -long.
var short = faults[:4]

func sendSignal(s syscall.Signal) func(*testing.T, *fleet.Fleet, int) {
	return func(t *testing.T, f *fleet.Fleet, id int) {
		t.Helper()
		if err := f.Signal(id, s); err != nil {
			t.Fatal(err)
		}
	}
}

func kill(t *testing.T, f *fleet.Fleet, id int) {
	t.Helper()
	if err := f.Kill(id); err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, f *fleet.Fleet, id int) {
	t.Helper()
	if err := f.Start(id); err != nil {
		t.Fatal(err)
	}
}

func cut(_ *testing.T, f *fleet.Fleet, id int) {
	f.Cut(id, slices.DeleteFunc(f.Servers(), func(other int) bool { return other == id })...)
}

func heal(_ *testing.T, f *fleet.Fleet, _ int)  { f.Heal() }
func reset(_ *testing.T, f *fleet.Fleet, _ int) { f.Reset() }

// each does it to all servers.
func each(do func(*testing.T, *fleet.Fleet, int)) func(*testing.T, *fleet.Fleet, int) {
	return func(t *testing.T, f *fleet.Fleet, _ int) {
		for _, id := range f.Servers() {
			do(t, f, id)
		}
	}
}

// disturb lets clients read and write while faults happen, one after the other, and returns what the clients have seen.
// Of three faults, that many happen to the leader, and the others to any server.
func disturb(t *testing.T, f *fleet.Fleet, name string, random *rand.Rand, ofThree int, these []fault) *history {
	t.Helper()
	l := beginLoad(f, name)
	for _, what := range these {
		id := random.IntN(3)
		if random.IntN(3) < ofThree {
			id = leader(t, f)
		}
		time.Sleep(time.Duration(200+random.IntN(300)) * time.Millisecond) // of load without a fault
		t.Logf("%v: %s: %s %d", l.history.at().Round(time.Millisecond), name, what.name, id)
		what.begin(t, f, id)
		time.Sleep(time.Duration(1000+random.IntN(1000)) * time.Millisecond) // mostly long enough for another leader
		what.end(t, f, id)
	}
	leader(t, f)
	time.Sleep(300 * time.Millisecond)
	return l.end(t)
}
