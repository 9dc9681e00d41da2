package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/abhishekg16/cluster/examples/kv/internal/fleet"
)

const (
	writers = 6
	readers = 16

	// writeTimeout is how long a writer repeats one write.
	writeTimeout = time.Minute
)

// A load is writers that write one key after the other, each once.
type load struct {
	fleet   *fleet.Fleet
	stop    chan struct{} // closed when nobody is to write any more
	running sync.WaitGroup

	mu    sync.Mutex // guards what follows
	acked map[string]string
	next  chan struct{} // closed with the next one
	err   error         // why a write was not acknowledged
}

func beginLoad(f *fleet.Fleet) *load {
	l := &load{fleet: f, stop: make(chan struct{}), acked: make(map[string]string), next: make(chan struct{})}
	for id := range writers {
		l.running.Go(func() { l.write(id) }) // ends with stop; end waits for it
	}
	return l
}

func (l *load) write(id int) {
	c := fleet.NewClient(l.fleet.Addresses)
	for n := 0; ; n++ {
		select {
		case <-l.stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
		key, value := fmt.Sprintf("writer%d/%d", id, n), fmt.Sprintf("%d of writer %d", n, id)
		ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
		a, err := c.Do(ctx, fleet.Request{Method: http.MethodPut, Path: "/kv/" + key, Body: []byte(value), Name: key})
		cancel()
		if err == nil && a.Status != http.StatusNoContent {
			err = fmt.Errorf("status %d: %s", a.Status, a.Body)
		}
		l.mu.Lock()
		if err != nil {
			l.err = errors.Join(l.err, fmt.Errorf("%s: %w", key, err))
		} else {
			l.acked[key] = value
			close(l.next)
			l.next = make(chan struct{})
		}
		l.mu.Unlock()
	}
}

// count is how many writes have been acknowledged.
func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// more waits until more writes have been acknowledged.
func (l *load) more(ctx context.Context, writes int) error {
	for until := l.count() + writes; l.count() < until; {
		l.mu.Lock()
		next := l.next
		l.mu.Unlock()
		select {
		case <-next:
		case <-ctx.Done():
			return fmt.Errorf("no write is acknowledged: %w", context.Cause(ctx))
		}
	}
	return nil
}

// end lets the writers finish, and returns what was acknowledged.
func (l *load) end() (map[string]string, error) {
	close(l.stop)
	l.running.Wait()
	return l.acked, l.err
}

// missing reads all that was acknowledged, and returns the keys that have another value or none.
func missing(ctx context.Context, f *fleet.Fleet, acked map[string]string) (keys []string, err error) {
	var mu sync.Mutex // guards the results
	var running sync.WaitGroup
	all := make(chan string)
	for range readers {
		running.Go(func() { // ends with all
			c := fleet.NewClient(f.Addresses)
			for key := range all {
				a, failed := c.Do(ctx, fleet.Request{Method: http.MethodGet, Path: "/kv/" + key})
				mu.Lock()
				if failed != nil {
					err = fmt.Errorf("%s cannot be read: %w", key, failed)
				} else if a.Status != http.StatusOK || string(a.Body) != acked[key] {
					keys = append(keys, key)
				}
				mu.Unlock()
			}
		})
	}
	for _, key := range slices.Sorted(maps.Keys(acked)) {
		all <- key
	}
	close(all)
	running.Wait()
	return keys, err
}
