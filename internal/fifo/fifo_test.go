package fifo

import (
	"math/rand/v2"
	"testing"
)

// Each item is a pointer, so that one that is kept by mistake is seen in the memory.
func TestAQueueGivesItsItemsInOrderAndKeepsNothingOfThem(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var m Memory[*int]
	var items []*int
	first, next := 0, 0
	for range 200_000 {
		if n := r.IntN(8); n < 4 {
			for range n * r.IntN(40) {
				items = m.Append(items, pointer(next))
				next++
			}
		} else {
			n := r.IntN(len(items) + 1)
			items = m.Drop(items, n)
			first += n
		}
		if len(items) != next-first {
			t.Fatalf("%d items, want %d", len(items), next-first)
		}
		for i, item := range items {
			if *item != first+i {
				t.Fatalf("item %d is %d, want %d", i, *item, first+i)
			}
		}
		rest := cap(m.all) - cap(items)
		for i, item := range m.all[:cap(m.all)] {
			if (i < rest || i >= rest+len(items)) && item != nil {
				t.Fatalf("place %d of %d is not empty, with %d items from %d on", i, cap(m.all), len(items), rest)
			}
		}
		if len(items) == 0 && cap(m.all) > kept {
			t.Fatalf("an empty queue keeps memory for %d items, want at most %d", cap(m.all), kept)
		}
	}
}

func pointer(i int) *int { return &i }

func TestAQueueThatStaysShortAllocatesNothing(t *testing.T) {
	for _, length := range []int{1, 2, 7, 100} {
		var m Memory[int]
		var items []int
		for i := range length {
			items = m.Append(items, i)
		}
		got := testing.AllocsPerRun(1000, func() {
			items = m.Append(items, 0)
			items = m.Drop(items, 1)
		})
		if got != 0 {
			t.Errorf("with %d items: %v allocations for one that comes and one that goes, want none", length, got)
		}
	}
	var m Memory[int]
	var items []int
	if got := testing.AllocsPerRun(1000, func() { items = m.Drop(m.Append(items, 0), 1) }); got != 0 {
		t.Errorf("%v allocations for an item that comes and goes, want none", got)
	}
	if len(items) != 0 {
		t.Errorf("%d items are left", len(items))
	}
}
