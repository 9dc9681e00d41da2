package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/examples/kv/internal/fleet"
)

const (
	clients = 6 // that ask the leader
	askers  = 5 // that ask one server, whichever it is, and wait for it even if it is stopped
	keys    = 3

	// How long a client goes on with one request, and how long one that asks a certain server waits for it.
	clientTimeout = 5 * time.Second
)

// A load is clients that read and write the keys of one round.
type load struct {
	fleet   *fleet.Fleet
	round   string
	history history
	running sync.WaitGroup
	stop    chan struct{} // closed when nobody is to ask any more
	failed  chan error
}

func beginLoad(f *fleet.Fleet, round string) *load {
	l := &load{fleet: f, round: round, stop: make(chan struct{}), failed: make(chan error, clients+askers)}
	l.history.began = time.Now()
	for n := range clients {
		l.running.Go(func() { l.client(n) }) // they end with stop, and end waits for them
	}
	for n := range askers {
		l.running.Go(func() { l.asker(clients + n) })
	}
	return l
}

// end waits until all clients are done, and returns what they have seen.
func (l *load) end(t *testing.T) *history {
	t.Helper()
	close(l.stop)
	l.running.Wait()
	select {
	case err := <-l.failed:
		t.Fatal(err)
	default:
	}
	return &l.history
}

// pause lets a moment pass, and reports whether there is more to do.
func (l *load) pause(most time.Duration) bool {
	select {
	case <-time.After(rand.N(most)):
		return true
	case <-l.stop:
		return false
	}
}

func (l *load) key() string { return fmt.Sprintf("%s-%d", l.round, rand.IntN(keys)) }

// client reads and writes. Each value is written once. Half of the writes have a name, and are repeated until they
// are answered, and some of them after that.
func (l *load) client(id int) {
	c := fleet.NewClient(l.fleet.Addresses)
	seen := make(map[string]string) // what it read last
	for n := 0; l.pause(8 * time.Millisecond); n++ {
		in := input{key: l.key(), value: fmt.Sprintf("%d.%d", id, n)}
		r := fleet.Request{Path: "/kv/" + in.key}
		switch chance := rand.IntN(10); {
		case chance < 4:
			r.Method, in.value = http.MethodGet, ""
		case chance < 7:
			r.Method, r.Body, in.operation = http.MethodPut, []byte(in.value), put
		case chance < 9:
			r.Method, r.Body, in.operation, in.old = http.MethodPut, []byte(in.value), swap, seen[in.key]
			r.Path += "?old=" + url.QueryEscape(in.old)
		default:
			r.Method, in.operation, in.value = http.MethodDelete, remove, ""
		}
		if in.operation != "" && rand.IntN(2) == 0 {
			r.Name = fmt.Sprintf("%s-%d-%d", l.round, id, n)
		}
		ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
		call := l.history.now()
		a, err := c.Do(ctx, r)
		if err == nil && r.Name != "" && rand.IntN(3) == 0 {
			a, err = c.Do(ctx, r) // as if the answer had been lost
		}
		cancel()
		out, ok := l.understand(in, a, err)
		if !ok {
			continue
		}
		l.history.add(id, call, in, out)
		if in.operation == "" && out.found {
			seen[in.key] = out.value
		}
	}
}

// asker reads from one server after the other, whether it leads or not. What a server has been asked while it was stopped
// it answers as soon as it goes on, if it takes itself for the leader.
func (l *load) asker(id int) {
	for l.pause(2 * time.Millisecond) {
		all := l.fleet.Addresses()
		in := input{key: l.key()}
		ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
		call := l.history.now()
		a, err := fleet.Get(ctx, all[rand.IntN(len(all))], "/kv/"+in.key)
		cancel()
		if out, ok := l.understand(in, a, err); ok {
			l.history.add(id, call, in, out)
		}
	}
}

// understand is what an answer says. It reports false where a request had no effect, and no answer.
func (l *load) understand(in input, a fleet.Answer, err error) (output, bool) {
	switch {
	case errors.Is(err, fleet.ErrUnknown) && in.operation != "":
		return output{unknown: true}, true
	case err != nil:
		return output{}, false
	}
	switch {
	case in.operation == "" && a.Status == http.StatusOK:
		return output{value: string(a.Body), found: true}, true
	case in.operation == "" && a.Status == http.StatusNotFound:
		return output{}, true
	case a.Status == http.StatusNoContent:
		return output{outcome: done}, true
	case a.Status == http.StatusNotFound:
		return output{outcome: missing}, true
	case a.Status == http.StatusPreconditionFailed:
		return output{outcome: differs}, true
	}
	select {
	case l.failed <- fmt.Errorf("%s %s: the answer is %d %s", in.operation, in.key, a.Status, a.Body):
	default:
	}
	return output{}, false
}
