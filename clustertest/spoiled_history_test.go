package clustertest_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/internal/testcluster"
)

// An entry is one thing that a history was told.
type entry struct {
	sent, received bool // neither: the books of a life
	server         int
	env            cluster.Envelope
	to             []int
	books          cluster.Stats
}

// A tape is what a history was told, in that order.
type tape struct {
	mu      sync.Mutex // guards entries
	entries []entry
	ids     int64
}

func (r *tape) add(e entry) *cluster.Envelope {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.sent {
		r.ids++
		e.env.MsgId = r.ids
	}
	r.entries = append(r.entries, e)
	return &e.env
}

// check tells another history the same.
func check(entries []entry) error {
	var h clustertest.History
	for _, e := range entries {
		switch {
		case e.sent:
			h.Sent(e.server, &e.env, e.to...)
		case e.received:
			h.Received(e.server, &e.env)
		default:
			h.Explain(e.books)
		}
	}
	return h.Check()
}

// record is what a right cluster does under faults, and what each server says of that in the end.
func record(t *testing.T, seed uint64, crashes bool) []entry {
	t.Helper()
	var r tape
	synctest.Test(t, func(t *testing.T) {
		net := clustertest.NewNetwork(t, seed, 3)
		nodes := net.Start()
		say := func(n *cluster.Node, to int, msg any) {
			goes := []int{to}
			if to == cluster.BROADCAST {
				goes = n.Peers()
			}
			e := r.add(entry{sent: true, server: n.Pid(), env: cluster.Envelope{Pid: to, Msg: msg}, to: goes})
			select {
			case n.Outbox() <- &cluster.Envelope{Pid: to, MsgId: e.MsgId, Msg: msg}:
			case <-n.Done():
			}
		}
		listen := func(n *cluster.Node) {
			go func() { // ends with the inbox, which the network closes; synctest.Test waits
				for e := range n.Inbox() {
					r.add(entry{received: true, server: n.Pid(), env: *e})
				}
			}()
		}
		for _, n := range nodes {
			listen(n)
		}
		var restart func(*cluster.Node)
		if crashes {
			restart = func(n *cluster.Node) {
				i := slices.IndexFunc(nodes, func(old *cluster.Node) bool { return old.Pid() == n.Pid() })
				r.add(entry{books: nodes[i].Stats()})
				nodes[i] = n
				listen(n)
			}
		}
		net.Disturb(5*time.Second, restart)
		for i := range 150 {
			for _, n := range nodes {
				to := []int{cluster.BROADCAST, (n.Pid() + 1) % 3, (n.Pid() + 2) % 3}[i%3]
				say(n, to, i)
			}
			net.Sleep(40 * time.Millisecond)
		}
		net.Sleep(5 * time.Second)
		for _, n := range nodes { // what was lost last of all is noticed with what follows
			say(n, cluster.BROADCAST, "last")
		}
		net.Sleep(5 * time.Second)
		for _, n := range nodes {
			r.add(entry{books: n.Stats()})
		}
	})
	return r.entries
}

// spoilers change what was received, at one place. Each is given the places of all receptions on one link, in their order,
// and which of them it is about; it is neither the first nor the last.
var spoilers = []struct {
	name string
	want string // in each error
	do   func(all []entry, link []int, at int) []entry
}{
	{"one is not received", "unexplained loss", func(all []entry, link []int, at int) []entry {
		return slices.Delete(all, link[at], link[at]+1)
	}},
	{"one is received again at once", "duplicate", func(all []entry, link []int, at int) []entry {
		return slices.Insert(all, link[at], all[link[at]])
	}},
	{"one is received again later", "duplicate", func(all []entry, link []int, at int) []entry {
		return slices.Insert(all, link[len(link)-1], all[link[at]])
	}},
	{"two change places", "inversion", func(all []entry, link []int, at int) []entry {
		late := all[link[at]] // behind the next: that may not have been sent yet when this one came
		return slices.Insert(slices.Delete(all, link[at], link[at]+1), link[at+1], late)
	}},
	{"one is another number", "corruption", func(all []entry, link []int, at int) []entry {
		all[link[at]].env.Msg = -1
		return all
	}},
	{"one is of another type", "corruption", func(all []entry, link []int, at int) []entry {
		all[link[at]].env.Msg = int64(all[link[at]].env.Msg.(int))
		return all
	}},
	{"one more is received, which nobody sent", "phantom", func(all []entry, link []int, at int) []entry {
		phantom := all[link[at]]
		phantom.env.MsgId = 1 << 50
		return slices.Insert(all, link[at], phantom)
	}},
}

// Of a right history under faults, whatever is spoiled anywhere in it is found, and is all that is. Only a message that is not
// received may be taken for one that a crash explains, if it was the last of a life.
func TestWhatIsSpoiledInARightHistoryIsFound(t *testing.T) {
	seeds := uint64(30)
	switch {
	case long:
		seeds = 300
	case testcluster.RaceEnabled: // each takes ten times as long
		seeds = 5
	}
	for _, c := range []struct {
		name    string
		crashes bool
	}{{"servers go on", false}, {"servers crash", true}} {
		t.Run(c.name, func(t *testing.T) {
			tried, unnoticed := 0, 0
			for seed := range seeds {
				right := record(t, seed, c.crashes)
				if err := check(right); err != nil {
					t.Fatalf("seed %d: the right history: %v", seed, err)
				}
				r := rand.New(rand.NewPCG(seed, 3))
				for _, s := range spoilers {
					from := r.IntN(3)
					by := (from + 1 + r.IntN(2)) % 3
					link := receptions(right, from, by)
					if len(link) < 4 {
						continue // it was cut almost all the time
					}
					tried++
					at := 1 + r.IntN(len(link)-3)
					err := check(s.do(slices.Clone(right), link, at))
					if err == nil {
						unnoticed++
						if !c.crashes || s.want != "unexplained loss" {
							t.Errorf("seed %d: %s (from %d to %d, reception %d of %d), and nothing is found", seed, s.name, from, by, at, len(link))
						}
						continue
					}
					for line := range strings.Lines(err.Error()) {
						if !strings.Contains(line, s.want) || !strings.Contains(line, fmt.Sprintf("from %d to %d", from, by)) {
							t.Errorf("seed %d: %s from %d to %d, and the error is %q", seed, s.name, from, by, line)
						}
					}
				}
			}
			if tried < int(seeds)*len(spoilers)*9/10 {
				t.Errorf("%d histories were spoiled: this tests little", tried)
			}
			if unnoticed > int(seeds+9)/10 {
				t.Errorf("of %d messages %d are missed by nobody", seeds, unnoticed)
			}
		})
	}
}

// receptions are the places of all that one server has received from another.
func receptions(all []entry, from, by int) (at []int) {
	for i, e := range all {
		if e.received && e.server == by && e.env.Pid == from {
			at = append(at, i)
		}
	}
	return at
}
