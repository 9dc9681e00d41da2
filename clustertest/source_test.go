package clustertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/peercatalog"
)

// A memorySource is a place in memory, as a Source.
type memorySource struct {
	mu      sync.Mutex
	peers   []peercatalog.Peer
	broken  bool
	changed chan struct{} // closed at the next change

	// What is not nil stands in for the method.
	string func() string
	load   func(ctx context.Context) ([]peercatalog.Peer, error)
	watch  func(ctx context.Context, changed func()) error
}

func newMemorySource(peers []peercatalog.Peer) *memorySource {
	return &memorySource{peers: peers, changed: make(chan struct{})}
}

func (s *memorySource) String() string {
	if s.string != nil {
		return s.string()
	}
	return "memory"
}

func (s *memorySource) Load(ctx context.Context) ([]peercatalog.Peer, error) {
	if s.load != nil {
		return s.load(ctx)
	}
	return s.rightLoad(ctx)
}

func (s *memorySource) Watch(ctx context.Context, changed func()) error {
	if s.watch != nil {
		return s.watch(ctx, changed)
	}
	return s.rightWatch(ctx, changed)
}

func (s *memorySource) rightLoad(ctx context.Context) (peers []peercatalog.Peer, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return nil, errors.New("the memory cannot be read")
	}
	for _, p := range s.peers {
		peers = append(peers, p.Clone())
	}
	return peers, ctx.Err()
}

// now is what there is, whether or not it can be read, with the channel of the next change.
func (s *memorySource) now() ([]peercatalog.Peer, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peers, s.changed
}

func (s *memorySource) rightWatch(ctx context.Context, changed func()) error {
	for {
		_, next := s.now()
		changed()
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *memorySource) set(peers ...peercatalog.Peer) { s.change(func() { s.peers = peers }) }

func (s *memorySource) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *memorySource) place() clustertest.SourcePlace {
	return clustertest.SourcePlace{
		Source: s,
		Set:    s.set,
		Break:  func() { s.change(func() { s.broken = true }) },
		Mend:   func() { s.change(func() { s.broken = false }) },
	}
}

// The rules of a Source that broken ones break.
const (
	sourceString  = "String names the source"
	sourceFields  = "Load returns every peer with all of its fields"
	sourceNow     = "Load returns what there is now"
	sourceOwned   = "what Load returns belongs to the caller"
	sourceEnds    = "Load ends with its context"
	sourceError   = "what cannot be read is an error"
	sourceBegins  = "Watch begins with a call of changed"
	sourceTells   = "Watch tells of each change"
	sourceLast    = "the last of many changes is not missed"
	sourceSeveral = "several may watch at once"
	sourceStops   = "Watch ends with its context"
	sourceBack    = "a change while the place cannot be read is not missed"
)

// brokenSources are the ways to break a source, and the rule in which the suite must notice.
var brokenSources = []struct {
	name, rule string
	fault      func(s *memorySource)
}{
	{"it has no name", sourceString, func(s *memorySource) { s.string = func() string { return "" } }},

	{"Load forgets fields of the program", sourceFields, func(s *memorySource) {
		s.loads(func(peers []peercatalog.Peer) []peercatalog.Peer {
			for i := range peers {
				peers[i].Extra = nil
			}
			return peers
		})
	}},
	{"Load forgets who is an observer", sourceFields, func(s *memorySource) {
		s.loads(func(peers []peercatalog.Peer) []peercatalog.Peer {
			for i := range peers {
				peers[i].Observer = false
			}
			return peers
		})
	}},
	{"Load forgets a peer", sourceFields, func(s *memorySource) {
		s.loads(func(peers []peercatalog.Peer) []peercatalog.Peer { return peers[1:] })
	}},

	{"Load returns what it has read first", sourceNow, func(s *memorySource) {
		var first []peercatalog.Peer
		s.loads(func(peers []peercatalog.Peer) []peercatalog.Peer {
			if first == nil {
				first = peers
			}
			return first
		})
	}},
	{"Load is one change late", sourceNow, func(s *memorySource) {
		var last []peercatalog.Peer
		s.loads(func(peers []peercatalog.Peer) []peercatalog.Peer {
			if last == nil {
				last = peers
			}
			last, peers = peers, last
			return peers
		})
	}},

	{"Load hands out its own list", sourceOwned, func(s *memorySource) {
		s.load = func(context.Context) ([]peercatalog.Peer, error) { peers, _ := s.now(); return peers, nil }
	}},
	{"Load hands out its own fields of the program", sourceOwned, func(s *memorySource) {
		s.load = func(context.Context) ([]peercatalog.Peer, error) {
			peers, _ := s.now()
			return slices.Clone(peers), nil
		}
	}},
	{"Load hands out the same values of fields", sourceOwned, func(s *memorySource) {
		var values map[string]json.RawMessage
		s.loads(func(peers []peercatalog.Peer) []peercatalog.Peer {
			if values == nil {
				values = peers[1].Extra
			}
			for name, value := range values {
				peers[1].Extra[name] = value
			}
			return peers
		})
	}},

	{"Load waits until it can read", sourceEnds, func(s *memorySource) {
		s.load = func(context.Context) ([]peercatalog.Peer, error) {
			for {
				peers, err := s.rightLoad(context.Background())
				if err == nil {
					return peers, nil
				}
				time.Sleep(time.Second)
			}
		}
	}},
	{"Load returns nobody when its context has ended", sourceEnds, func(s *memorySource) {
		s.load = func(ctx context.Context) ([]peercatalog.Peer, error) {
			if ctx.Err() != nil {
				return nil, nil
			}
			return s.rightLoad(ctx)
		}
	}},

	{"Load returns nobody where it cannot read", sourceError, func(s *memorySource) {
		s.load = func(ctx context.Context) ([]peercatalog.Peer, error) {
			peers, err := s.rightLoad(ctx)
			if err != nil {
				return nil, nil
			}
			return peers, nil
		}
	}},
	{"Load returns what it knew where it cannot read", sourceError, func(s *memorySource) {
		var last []peercatalog.Peer
		s.load = func(ctx context.Context) ([]peercatalog.Peer, error) {
			if peers, err := s.rightLoad(ctx); err == nil {
				last = peers
			}
			return last, nil
		}
	}},
	{"Load never works again", sourceError, func(s *memorySource) {
		failed := false
		s.load = func(ctx context.Context) ([]peercatalog.Peer, error) {
			peers, err := s.rightLoad(ctx)
			if failed = failed || err != nil; failed {
				return nil, errors.New("it could not be read")
			}
			return peers, nil
		}
	}},

	{"Watch waits for the first change", sourceBegins, func(s *memorySource) {
		s.watch = func(ctx context.Context, changed func()) error {
			return s.after(ctx, changed, func([]peercatalog.Peer) bool { return true })
		}
	}},
	{"Watch never calls changed", sourceBegins, func(s *memorySource) {
		s.watch = func(ctx context.Context, _ func()) error { <-ctx.Done(); return ctx.Err() }
	}},

	{"Watch does not tell of removed peers", sourceTells, func(s *memorySource) {
		most := 0
		s.watches(func(peers []peercatalog.Peer) bool {
			fewer := len(peers) < most
			most = max(most, len(peers))
			return !fewer
		})
	}},
	{"Watch does not tell of changed peers", sourceTells, func(s *memorySource) {
		last := 0
		s.watches(func(peers []peercatalog.Peer) bool { other := len(peers) != last; last = len(peers); return other })
	}},
	{"Watch tells once", sourceTells, func(s *memorySource) { s.watches(func([]peercatalog.Peer) bool { return false }) }},

	{"Watch waits for its turn after a change", sourceLast, func(s *memorySource) {
		s.watch = func(ctx context.Context, changed func()) error {
			changed()
			_, next := s.now()
			select {
			case <-next:
			case <-ctx.Done():
				return ctx.Err()
			}
			changed() // and what comes at once is missed
			<-ctx.Done()
			return ctx.Err()
		}
	}},

	{"Watch tells one alone", sourceSeveral, func(s *memorySource) {
		var one sync.Mutex
		s.watch = func(ctx context.Context, changed func()) error {
			changed()
			if !one.TryLock() {
				<-ctx.Done()
				return ctx.Err()
			}
			defer one.Unlock()
			return s.rightWatch(ctx, changed)
		}
	}},
	{"a second Watch is refused", sourceSeveral, func(s *memorySource) {
		var one sync.Mutex
		s.watch = func(ctx context.Context, changed func()) error {
			if !one.TryLock() {
				return errors.New("it is watched")
			}
			defer one.Unlock()
			return s.rightWatch(ctx, changed)
		}
	}},

	{"Watch goes on after the end of its context", sourceStops, func(s *memorySource) {
		s.watch = func(ctx context.Context, changed func()) error {
			more, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			return s.rightWatch(more, changed)
		}
	}},
	{"Watch ends with no error", sourceStops, func(s *memorySource) {
		s.watch = func(ctx context.Context, changed func()) error { _ = s.rightWatch(ctx, changed); return nil }
	}},
	{"Watch leaves somebody behind who calls changed", sourceStops, func(s *memorySource) {
		s.watch = func(ctx context.Context, changed func()) error {
			more, cancel := context.WithTimeout(context.Background(), time.Minute)
			go func() { defer cancel(); _ = s.rightWatch(more, changed) }() // It ends with more.
			<-ctx.Done()
			return ctx.Err()
		}
	}},

	{"Watch says nothing once the place could not be read", sourceBack, func(s *memorySource) {
		s.watch = func(ctx context.Context, changed func()) error {
			ended, cancel := context.WithCancel(ctx)
			defer cancel()
			_ = s.rightWatch(ended, func() {
				if _, err := s.rightLoad(ctx); err != nil {
					cancel()
					return
				}
				changed()
			})
			<-ctx.Done()
			return ctx.Err()
		}
	}},
}

// loads lets f stand between the place and the caller of Load.
func (s *memorySource) loads(f func([]peercatalog.Peer) []peercatalog.Peer) {
	s.load = func(ctx context.Context) ([]peercatalog.Peer, error) {
		peers, err := s.rightLoad(ctx)
		if err != nil {
			return nil, err
		}
		return f(peers), nil
	}
}

// watches lets changed be called first, and then where f says so.
func (s *memorySource) watches(f func([]peercatalog.Peer) bool) {
	s.watch = func(ctx context.Context, changed func()) error {
		peers, _ := s.now()
		f(peers)
		changed()
		return s.after(ctx, changed, f)
	}
}

// after lets changed be called after changes alone, where f says so.
func (s *memorySource) after(ctx context.Context, changed func(), f func([]peercatalog.Peer) bool) error {
	for {
		_, next := s.now()
		select {
		case <-next:
			if peers, _ := s.now(); f(peers) {
				changed()
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// testSource runs the suite on a source with a fault.
func testSource(t *testing.T, fault func(*memorySource), leaveOut ...string) {
	clustertest.TestSource(t, clustertest.SourceImplementation{
		New: func(t testing.TB, peers ...peercatalog.Peer) clustertest.SourcePlace {
			s := newMemorySource(peers)
			fault(s)
			t.Cleanup(func() { time.Sleep(2 * time.Hour) }) // whatever is broken, the bubble has to end
			return s.place()
		},
		Bubble:   true,
		LeaveOut: leaveOut,
	})
}

func TestASourceWithoutAFaultPasses(t *testing.T) { testSource(t, func(*memorySource) {}) }

// TestTheSuiteFindsEachBrokenSource runs the suite on sources that break one rule each, in a process of its own
// since its tests must fail.
func TestTheSuiteFindsEachBrokenSource(t *testing.T) {
	if os.Getenv(brokenServer) != "" {
		for _, b := range brokenSources {
			t.Run(b.name, func(t *testing.T) {
				testSource(t, b.fault, slices.DeleteFunc(clustertest.SourceRuleNames(), func(r string) bool { return r == b.rule })...)
			})
		}
		return
	}
	out := runChild(t, "all", "")
	broken := make(map[string]bool)
	for _, b := range brokenSources {
		broken[b.rule] = true
		line := "--- FAIL: " + strings.ReplaceAll(t.Name()+"/"+b.name+"/"+b.rule, " ", "_")
		if !strings.Contains(out, line) {
			t.Errorf("%q is missing in\n%s", line, out)
		}
	}
	for _, rule := range clustertest.SourceRuleNames() {
		if !broken[rule] {
			t.Errorf("no source breaks the rule %q", rule)
		}
	}
	if got, want := strings.Count(out, "the rule: "), len(brokenSources); got != want {
		t.Errorf("%d failures say what the rule is, want %d", got, want)
	}
}

func TestToLeaveOutARuleOfSourcesThatIsNoneIsAnError(t *testing.T) {
	if os.Getenv(brokenServer) != "" {
		testSource(t, func(*memorySource) {}, "nothing ever changes")
		return
	}
	out := runChild(t, "none", "/^none$")
	for _, want := range []string{`LeaveOut names "nothing ever changes"`, "\t" + sourceFields + "\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("got\n%s\nwant %q in it", out, want)
		}
	}
}
