package names

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func addrs(texts ...string) (all []netip.Addr) {
	for _, t := range texts {
		all = append(all, netip.MustParseAddr(t))
	}
	return all
}

func sameAddrs(t testing.TB, got, want []netip.Addr) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("the addresses differ (-want +got):\n%s", d)
	}
}

func TestAllAddressesOfANameAreReturnedOnceInTheResolversOrder(t *testing.T) {
	r := newResolver(func(string) ([]netip.Addr, error) {
		return addrs("2001:db8::1", "192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2", "2001:db8::1"), nil
	})
	got, err := r.lookup(t.Context(), "two")
	if err != nil {
		t.Fatal(err)
	}
	sameAddrs(t, got, addrs("2001:db8::1", "192.0.2.1", "192.0.2.2"))
}

func TestANumberIsItsOwnAddressAndAsksNobody(t *testing.T) {
	r := newResolver(func(host string) ([]netip.Addr, error) {
		return nil, fmt.Errorf("%s was asked for", host)
	})
	for _, n := range []string{"127.0.0.1", "::1"} {
		got, err := r.lookup(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		sameAddrs(t, got, addrs(n))
	}
}

func TestTheErrorOfALookupNamesTheNameAndTheCause(t *testing.T) {
	for _, c := range []struct {
		name  string
		addrs []netip.Addr
		err   error
		want  string
	}{
		{"not found", nil, &net.DNSError{Err: "no such host", Name: "x.example", Server: "192.0.2.53:53", IsNotFound: true}, `looking up the name "x.example": no such host (asked 192.0.2.53:53)`},
		{"no address", nil, nil, `looking up the name "x.example": the name has no address`},
		{"another error", nil, errors.New("broken"), `looking up the name "x.example": broken`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newResolver(func(string) ([]netip.Addr, error) { return c.addrs, c.err })
			_, err := r.lookup(t.Context(), "x.example")
			var typed *LookupError
			if !errors.As(err, &typed) || err.Error() != c.want {
				t.Errorf("%q, want the LookupError %q", err, c.want)
			}
		})
	}
}

// A nameServer answers for a name once it is told to.
type nameServer struct {
	mu      sync.Mutex
	release map[string]chan struct{}
	asked   map[string]int
	now     int
	most    int
}

func newNameServer() *nameServer {
	return &nameServer{release: make(map[string]chan struct{}), asked: make(map[string]int)}
}

func (s *nameServer) gate(host string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.release[host] == nil {
		s.release[host] = make(chan struct{})
	}
	return s.release[host]
}

// times is how often the name was asked for.
func (s *nameServer) times(host string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[host]
}

func (s *nameServer) mostAtOnce() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

func (s *nameServer) answer(host string) { close(s.gate(host)) }

func (s *nameServer) ask(host string) ([]netip.Addr, error) {
	gate := s.gate(host)
	s.mu.Lock()
	s.asked[host]++
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	<-gate
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
	return addrs("192.0.2.1"), nil
}

func TestALookupThatGetsNoAnswerEndsAtItsDeadline(t *testing.T) {
	for _, c := range []struct{ name, limit string }{{"its own", "5s"}, {"the caller's", "300ms"}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limit, err := time.ParseDuration(c.limit)
				if err != nil {
					t.Fatal(err)
				}
				s := newNameServer()
				defer s.answer("dead")
				r := newResolver(s.ask)
				ctx := t.Context()
				if limit < LookupTimeout {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, limit)
					defer cancel()
				}
				began := time.Now()
				_, err = r.lookup(ctx, "dead")
				if took := time.Since(began); took != limit || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("after %v: %v, want a deadline after %v", took, err, limit)
				}
				if err == nil || !strings.Contains(err.Error(), `"dead": no answer for `+c.limit) {
					t.Errorf("%v, want it to say for how long nothing was answered", err)
				}
			})
		})
	}
}

func TestNoMoreLookupsRunAtOnceThanStatedAndWhoWaitsKeepsItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newNameServer()
		r := newResolver(s.ask)
		var all sync.WaitGroup
		for i := range MostLookups {
			all.Go(func() { r.lookup(t.Context(), fmt.Sprint("dead", i)) })
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := r.lookup(ctx, "alive"); !errors.Is(err, errBusy) || time.Since(began) != time.Second {
			t.Errorf("after %v: %v, want %v after a second", time.Since(began), err, errBusy)
		}
		all.Wait()
		if s.mostAtOnce() != MostLookups || s.times("alive") != 0 {
			t.Errorf("%d look-ups ran at once, %d for the one that waited; want %d and none", s.mostAtOnce(), s.times("alive"), MostLookups)
		}
		// They have been given up, and run on: their slots are free when they end, not before.
		s.answer("dead0")
		s.answer("alive")
		if got, err := r.lookup(t.Context(), "alive"); err != nil || len(got) != 1 {
			t.Errorf("%v, %v once a look-up has ended, want an address", got, err)
		}
		for i := 1; i < MostLookups; i++ {
			s.answer(fmt.Sprint("dead", i))
		}
	})
}

func TestWhoAsksForTheSameNameSharesAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newNameServer()
		r := newResolver(s.ask)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				got, err := r.lookup(t.Context(), "x")
				if err != nil {
					t.Error(err)
				}
				sameAddrs(t, got, addrs("192.0.2.1"))
				got[0] = netip.IPv6Loopback() // it is the caller's own
			})
		}
		synctest.Wait()
		s.answer("x")
		all.Wait()
		if s.times("x") != 1 {
			t.Errorf("the name was asked for %d times, want once", s.times("x"))
		}
	})
}

// The one before may hang on a server that is gone for much longer.
func TestALookupThatIsGivenUpDoesNotKeepTheNextFromAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newNameServer()
		defer s.answer("x")
		r := newResolver(s.ask)
		for range 2 * mostPerName {
			r.lookup(t.Context(), "x")
		}
		if s.times("x") != mostPerName {
			t.Errorf("the name was asked for %d times, want %d", s.times("x"), mostPerName)
		}
	})
}

func TestWhoWaitedForRoomSharesAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newNameServer()
		r := newResolver(s.ask)
		var all sync.WaitGroup
		for i := range MostLookups {
			all.Go(func() { r.lookup(t.Context(), fmt.Sprint("slow", i)) })
		}
		synctest.Wait()
		for range 2 {
			all.Go(func() {
				if _, err := r.lookup(t.Context(), "x"); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		for i := range MostLookups {
			s.answer(fmt.Sprint("slow", i))
		}
		synctest.Wait()
		s.answer("x")
		all.Wait()
		if s.times("x") != 1 {
			t.Errorf("the name was asked for %d times, want once", s.times("x"))
		}
	})
}
