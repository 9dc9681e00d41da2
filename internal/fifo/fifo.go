// Package fifo keeps the memory of queues that are slices: to take off the front with items[1:] and to append behind
// it needs memory anew for every item of a queue that is short and busy.
package fifo

// kept is how many items an empty queue keeps memory for.
const kept = 64

// Memory is what the items of one queue stand in. The queue is a slice that only Append and Drop change; the zero
// Memory goes with nil. It is not to be used by several goroutines at once.
type Memory[T any] struct {
	all []T // from the first place of the memory on
}

// Append adds an item to the end of the queue, and returns the queue. What was returned before is of no use any more.
// It takes constant time on average.
func (m *Memory[T]) Append(items []T, item T) []T {
	if len(items) < cap(items) {
		return append(items, item)
	}
	if before := cap(m.all) - cap(items); before > 0 && before >= len(items) {
		n := copy(m.all[:cap(m.all)], items)
		clear(items)
		return append(m.all[:n], item)
	}
	items = append(items, item)
	m.all = items[:0]
	return items
}

// Drop takes the first n items off the queue, and returns the queue. Nothing of the items is kept.
func (m *Memory[T]) Drop(items []T, n int) []T {
	clear(items[:n])
	if n < len(items) {
		return items[n:]
	}
	if cap(m.all) > kept {
		m.all = nil
	}
	return m.all
}
