//go:build linux

package main

import (
	"sync"
	"time"
)

// observe looks at the counters of servers, again and again, until the function that it returns is called.
func (f *field) observe(ids []int, see func(id int, c counters)) (stop func()) {
	done := make(chan struct{})
	var observing sync.WaitGroup
	look := func(id int) {
		l := f.life(id)
		if l == nil {
			return
		}
		c, err := openChronicle(l.journal)
		if err != nil {
			return
		}
		defer c.close()
		if kept, ok := c.counters(); ok {
			see(id, kept)
		}
	}
	observing.Go(func() { // stop ends it, and waits.
		for {
			for _, id := range ids {
				look(id)
			}
			select {
			case <-done:
				return
			case <-time.After(keepInterval):
			}
		}
	})
	return func() {
		close(done)
		observing.Wait()
	}
}

// watch looks at the counters of servers until the function that it returns is called,
// which tells the most bytes that any had queued for one peer.
func (f *field) watch(ids []int) (stop func() (peak int)) {
	most := 0
	end := f.observe(ids, func(_ int, c counters) {
		for _, p := range c.Peers {
			most = max(most, p.QueueBytes)
		}
	})
	return func() int {
		end()
		return most
	}
}

// returnsTo waits until a server holds no more of the machine than it did, or fails.
func (t *trial) returnsTo(f *field, id int, before holdings) error {
	var vs []violation
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		h, err := f.holdings(id)
		if err != nil {
			return err
		}
		if vs = leaks(f.life(id).String(), before, h); len(vs) == 0 {
			t.figure("held", "%d goroutines, %d descriptors, %d threads, %d MiB (before: %d, %d, %d, %d MiB)",
				h.Goroutines, h.Descriptors, h.Threads, h.AnonymousBytes>>20,
				before.Goroutines, before.Descriptors, before.Threads, before.AnonymousBytes>>20)
			return nil
		}
		if _, err := t.sleep(500 * time.Millisecond); err != nil {
			return err
		}
	}
	t.fail(vs...)
	return nil
}
