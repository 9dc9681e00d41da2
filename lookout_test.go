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
