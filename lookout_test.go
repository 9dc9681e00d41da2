package cluster

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster/internal/events"
	"github.com/abhishekg16/cluster/peercatalog"
)

// A peer may be added again, and its link go up, while it is taken in that it was removed. How its link stands is told all the same.
func TestAPeerThatIsUpBeforeItsRemovalIsTakenInIsToldToBeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Peers: []peercatalog.Peer{{ID: 0, Address: "mem://lookout/0"}, {ID: 1, Address: "mem://lookout/1"}}, Watch: true}
		var nodes []*Node
		for id := range 2 {
			n, err := NewFromConfig(id, cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			nodes = append(nodes, n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		a := nodes[0]
		a.lookout.begin(a.Catalog(), 0)
		a.lookout.take(func(b *events.Board, now time.Time) []events.Event { return b.Remove(1, now) })
		delete(a.lookout.listed, 1) // The goroutine that uses it waits for a change of the catalogue.
		if err := a.Catalog().Put(peercatalog.Peer{ID: 2, Address: "mem://lookout/2"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for e := range a.Events(ctx) {
			if e.Peer != 1 || e.Kind != EventUp {
				t.Errorf("it begins with %v", e)
			}
			break
		}
	})
}

// However a range ends, nothing of it is left; and while its body runs it may call what it likes, and holds up nobody.
func TestReadersOfEventsLeaveNothingAndTheirBodiesMayCallTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := NewFromConfig(0, Config{Peers: []peercatalog.Peer{{ID: 0, Address: "mem://readers/0"}, {ID: 1, Address: "mem://readers/1"}}})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		readers := func() int {
			n.lookout.mu.Lock()
			defer n.lookout.mu.Unlock()
			return len(n.lookout.readers)
		}
		for range n.Events(t.Context()) {
			for range n.Events(t.Context()) {
				if got := readers(); got != 2 {
					t.Errorf("two ranges are %d readers", got)
				}
				break
			}
			if err := n.Catalog().Put(peercatalog.Peer{ID: 2, Address: "mem://readers/2"}); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			n.Stats()
			break
		}
		func() {
			defer func() { recover() }()
			for range n.Events(t.Context()) {
				panic("of the program")
			}
		}()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range n.Events(ctx) {
			cancel()
		}
		for range n.Events(t.Context()) {
			n.Close()
		}
		if got := readers(); got != 0 {
			t.Errorf("%d readers are left", got)
		}
	})
}
