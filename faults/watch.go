//go:build linux

package main

import (
	"sync"
	"time"
)

// watch looks at the counters of servers until the function that it returns is called,
// which tells the most bytes that any had queued for one peer.
func (f *field) watch(ids []int) (stop func() (peak int)) {
	done := make(chan struct{})
	var watching sync.WaitGroup
	most := 0
	look := func() {
		for _, id := range ids {
			l := f.life(id)
			if l == nil {
				continue
			}
			c, err := openChronicle(l.journal)
			if err != nil {
				continue
			}
			if kept, ok := c.counters(); ok {
				for _, p := range kept.Peers {
					most = max(most, p.QueueBytes)
				}
			}
			c.close()
		}
	}
	watching.Go(func() { // stop ends it, and waits.
		for {
			look()
			select {
			case <-done:
				return
			case <-time.After(keepInterval):
			}
		}
	})
	return func() int {
		close(done)
		watching.Wait()
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
