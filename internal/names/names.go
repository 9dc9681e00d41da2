// Package names turns the names of hosts into addresses, in Go and beside the network's own
// threads: what a name server does, or does not do, for one name is felt by who asked for that
// name alone. Lookup asks; a Route decides, for one connection, when to ask again and which of
// the addresses to dial.
package names

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// MostLookups is how many look-ups of the process run at most at the same time. One that
	// the C library does cannot be ended, and may last for minutes: it counts for as long.
	MostLookups = 16
	// mostPerName is how many of them may be of the same name: one that everybody who asks
	// for the name waits for, and one that was begun before and is given up.
	mostPerName = 2
	// LookupTimeout is how long a look-up is waited for. One that takes longer goes on, and
	// another one may begin beside it: a name server that is back answers that at once.
	LookupTimeout = 5 * time.Second
)

// A LookupError tells which name has no address for now, and why.
type LookupError struct {
	Host  string
	Cause error
}

func (e *LookupError) Error() string {
	cause := e.Cause.Error()
	if dns := (*net.DNSError)(nil); errors.As(e.Cause, &dns) {
		cause = dns.Err // it would repeat the name
		if dns.Server != "" {
			cause += " (asked " + dns.Server + ")"
		}
	}
	return fmt.Sprintf("looking up the name %q: %s", e.Host, cause)
}

func (e *LookupError) Unwrap() error { return e.Cause }

// errBusy is the cause where other look-ups left no room.
var errBusy = fmt.Errorf("%d other look-ups have not ended", MostLookups)

// Lookup returns all addresses of host, of both families, each once and in the resolver's
// order; for a number it returns that. It blocks until the answer has come or ctx ends, but no
// longer than LookupTimeout. All who ask for the same name at the same time share an answer,
// and the caller owns the slice. The error is a *LookupError. It may be called concurrently.
func Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return system.lookup(ctx, host)
}

var system = newResolver(func(host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(context.Background(), "ip", host)
})

// A resolver bounds the look-ups that ask does.
type resolver struct {
	ask   func(host string) ([]netip.Addr, error)
	slots chan struct{} // holds a token for each look-up that runs

	mu      sync.Mutex // guards what follows
	queries map[string][]*query
}

// A query is a look-up that runs. What is behind done may be read once that is closed.
type query struct {
	began time.Time
	done  chan struct{}
	addrs []netip.Addr
	err   error
}

func newResolver(ask func(string) ([]netip.Addr, error)) *resolver {
	return &resolver{ask: ask, slots: make(chan struct{}, MostLookups), queries: make(map[string][]*query)}
}

func (r *resolver) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, LookupTimeout)
	defer cancel()
	q := r.join(host)
	if q == nil {
		select {
		case r.slots <- struct{}{}:
			q = r.begin(host)
		case <-ctx.Done():
			return nil, &LookupError{host, fmt.Errorf("%w: %w", errBusy, ctx.Err())}
		}
	}
	select {
	case <-q.done:
	case <-ctx.Done():
		return nil, &LookupError{host, noAnswer(ctx.Err(), time.Since(q.began))}
	}
	if q.err != nil {
		return nil, &LookupError{host, q.err}
	}
	return slices.Clone(q.addrs), nil
}

// noAnswer says how long an answer was waited for.
func noAnswer(err error, since time.Duration) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer for %v: %w", since.Round(10*time.Millisecond), err)
	}
	return err
}

// join returns a query for host that runs and may be waited for, or nil.
func (r *resolver) join(host string) *query {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.joinLocked(host)
}

func (r *resolver) joinLocked(host string) *query {
	running := r.queries[host]
	if len(running) == 0 {
		return nil
	}
	latest := running[len(running)-1]
	if len(running) < mostPerName && time.Since(latest.began) >= LookupTimeout {
		return nil
	}
	return latest
}

// begin starts a query, or joins one that somebody else has started meanwhile. The caller has
// taken a slot, which is given back when the query ends.
func (r *resolver) begin(host string) *query {
	r.mu.Lock()
	defer r.mu.Unlock()
	if q := r.joinLocked(host); q != nil {
		<-r.slots
		return q
	}
	q := &query{began: time.Now(), done: make(chan struct{})}
	r.queries[host] = append(r.queries[host], q)
	go r.run(host, q) // It ends when the resolver of the system gives up; nobody can end it before.
	return q
}

func (r *resolver) run(host string, q *query) {
	addrs, err := r.ask(host)
	q.addrs, q.err = unique(addrs), err
	if err == nil && len(addrs) == 0 {
		q.err = errors.New("the name has no address")
	}
	r.mu.Lock()
	running := slices.DeleteFunc(r.queries[host], func(other *query) bool { return other == q })
	if len(running) == 0 {
		delete(r.queries, host)
	} else {
		r.queries[host] = running
	}
	r.mu.Unlock()
	<-r.slots
	close(q.done)
}

// unique keeps the first of each address. An IPv4 address may also come in the form that IPv6
// has for it.
func unique(addrs []netip.Addr) (all []netip.Addr) {
	for _, a := range addrs {
		if a = a.Unmap(); !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}
