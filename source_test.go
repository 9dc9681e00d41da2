//go:build unix

package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

func TestAFileIsASource(t *testing.T) {
	clustertest.TestSource(t, clustertest.SourceImplementation{New: func(t testing.TB, peers ...peercatalog.Peer) clustertest.SourcePlace {
		dir := t.TempDir()
		place := func(name string) string { return filepath.Join(dir, name) }
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		lead := func(to string) { // the link goes there
			must(os.Symlink(to, place("next")))
			must(os.Rename(place("next"), place("Config.json")))
		}
		set := func(peers ...peercatalog.Peer) {
			data, err := json.Marshal(cluster.Config{Peers: peers})
			must(err)
			must(os.WriteFile(place("data.next"), data, 0o600))
			must(os.Rename(place("data.next"), place("data")))
		}
		set(peers...)
		lead("data")
		source, err := cluster.FileSource(place("Config.json"))
		must(err)
		return clustertest.SourcePlace{Source: source, Set: set, Break: func() { lead("nowhere") }, Mend: func() { lead("data") }}
	}})
}

// A settable source says what a test makes it say.
type settable struct {
	mu      sync.Mutex
	peers   []peercatalog.Peer
	err     error         // of Load
	changed chan struct{} // closed at the next change
	loads   int
	watches int
	unwatch error // if it is not nil, Watch returns it at once
}

func newSettable(peers ...peercatalog.Peer) *settable {
	return &settable{peers: peers, changed: make(chan struct{})}
}

func (s *settable) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *settable) String() string { return "the test" }

func (s *settable) Load(context.Context) ([]peercatalog.Peer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	return slices.Clone(s.peers), s.err
}

func (s *settable) Watch(ctx context.Context, changed func()) error {
	for first := true; ; first = false {
		s.mu.Lock()
		next, err := s.changed, s.unwatch
		if first {
			s.watches++
		}
		s.mu.Unlock()
		if err != nil {
			return err
		}
		changed()
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// withSource is the configuration with the source instead of its peers.
func withSource(cfg cluster.Config, s peercatalog.Source) cluster.Config {
	cfg.Peers, cfg.Source = nil, s
	return cfg
}

func TestANodeFollowsItsSource(t *testing.T) {
	testcluster.Bubble(t, 5, func(t *testing.T, cfg cluster.Config) {
		all := cfg.Peers
		s := newSettable(all[:3]...)
		n := testcluster.Join(t, 0, withSource(cfg, s))
		check := func(when string, generation uint64, ids ...int) {
			t.Helper()
			synctest.Wait()
			if got := n.Catalog().IDs(); !slices.Equal(got, ids) {
				t.Errorf("%s: the catalogue has %v, want %v", when, got, ids)
			}
			if s := n.Stats().Reload; s.Generation != generation || s.Error != "" {
				t.Errorf("%s: Stats have %+v, want the generation %d", when, s, generation)
			}
		}
		check("at first", 0, 0, 1, 2)
		s.set(func() { s.peers = all })
		check("two are added", 1, 0, 1, 2, 3, 4)
		moved := all[4]
		moved.Address += "/moved"
		s.set(func() { s.peers = []peercatalog.Peer{all[0], moved} })
		check("all at once", 2, 0, 4)
		if p, _ := n.Catalog().Get(4); p.Address != moved.Address {
			t.Errorf("server 4 is at %s", p.Address)
		}
		s.set(func() {})
		check("nothing", 2, 0, 4)
		// What nobody was told of is found by Reload.
		s.mu.Lock()
		s.peers = all[:1]
		s.mu.Unlock()
		check("unknown", 2, 0, 4)
		if err := n.Reload(); err != nil {
			t.Error(err)
		}
		check("reloaded", 3, 0)
	})
}

func TestPeersBesideASourceAreThoseToStartWith(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		s := newSettable(cfg.Peers...)
		s.err = errors.New("not there yet")
		cfg.Source = s
		cfg.Peers = cfg.Peers[:2]
		n := testcluster.Join(t, 0, cfg)
		synctest.Wait()
		if got := n.Catalog().IDs(); !slices.Equal(got, []int{0, 1}) {
			t.Errorf("at first: %v", got)
		}
		s.mu.Lock() // nobody is told of it
		s.err = nil
		s.mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		if got := n.Catalog().IDs(); !slices.Equal(got, []int{0, 1, 2}) {
			t.Errorf("once the source can be read: %v", got)
		}
	})
}

func TestWithASourceThatCannotBeReadTheLastServersStay(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		peers := cfg.Peers
		s := newSettable(peers...)
		var log testcluster.LineLog
		cfg = withSource(cfg, s)
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		n := testcluster.Join(t, 0, cfg)
		version := n.Catalog().Version()
		gone := errors.New("the database is gone")
		s.set(func() { s.err, s.peers = gone, nil })
		time.Sleep(10 * time.Minute)
		if n.Catalog().Version() != version {
			t.Error("the catalogue has changed")
		}
		if got := n.Stats().Reload.Error; !strings.Contains(got, "the test: the database is gone") {
			t.Errorf("Stats tell %q", got)
		}
		if err := n.Reload(); !errors.Is(err, gone) {
			t.Errorf("Reload: %v", err)
		}
		s.mu.Lock()
		loads := s.loads
		s.err, s.peers = nil, peers[:2]
		s.mu.Unlock()
		if loads < 20 || loads > 60 {
			t.Errorf("it was read %d times in 10 min, want about every 15 s", loads)
		}
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if got := n.Catalog().IDs(); !slices.Equal(got, []int{0, 1}) || n.Stats().Reload.Error != "" {
			t.Errorf("once it can be read again: %v, %+v", got, n.Stats().Reload)
		}
		n.Close()
		if got := log.Count("the database is gone"); got != 1 {
			t.Errorf("why it is not read is told %d times:\n%s", got, log.String())
		}
	})
}

func TestWhatASourceCannotChangeIsRefusedByName(t *testing.T) {
	plain := testcluster.Config(t, "mem", 3)
	keyed := testcluster.Keyed(t, testcluster.Config(t, "mem", 3))
	for _, c := range []struct {
		name   string
		cfg    cluster.Config
		change func(peers []peercatalog.Peer) []peercatalog.Peer
		want   string
	}{
		{"its entry is gone", plain, func(p []peercatalog.Peer) []peercatalog.Peer { return p[1:] }, "no entry has the id 0"},
		{"nobody is left", plain, func([]peercatalog.Peer) []peercatalog.Peer { return nil }, "no entry has the id 0"},
		{"its address", plain, func(p []peercatalog.Peer) []peercatalog.Peer { p[0].Address = "mem://elsewhere"; return p }, "listens on"},
		{"its address is unusable", plain, func(p []peercatalog.Peer) []peercatalog.Peer { p[0].Address = "elsewhere"; return p }, `cannot go to "elsewhere"`},
		{"keys switched on", plain, func(p []peercatalog.Peer) []peercatalog.Peer {
			for i := range p {
				p[i].PublicKey = keyed.Peers[i].PublicKey
			}
			return p
		}, "started without keys"},
		{"keys switched off", keyed, func(p []peercatalog.Peer) []peercatalog.Peer {
			for i := range p {
				p[i].PublicKey = ""
			}
			return p
		}, "started with keys"},
		{"its own key", keyed, func(p []peercatalog.Peer) []peercatalog.Peer {
			p[0].PublicKey, p[1].PublicKey = p[1].PublicKey, p[0].PublicKey
			return p
		}, "previous_public_key"},
		{"an id twice", plain, func(p []peercatalog.Peer) []peercatalog.Peer { return append(p, p[1]) }, "peer 1 is given twice"},
		{"an entry that is none", plain, func(p []peercatalog.Peer) []peercatalog.Peer { p[1].Address = "nowhere"; return p }, "no port"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSettable(c.cfg.Peers...)
				var log testcluster.LineLog
				cfg := withSource(c.cfg, s)
				cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
				n := testcluster.Join(t, 0, cfg)
				s.set(func() { s.peers = c.change(slices.Clone(c.cfg.Peers)) })
				synctest.Wait()
				refused(t, n, c.name, c.want, "the test: ")
				s.set(func() {}) // told once more
				synctest.Wait()
				s.set(func() { s.peers = c.cfg.Peers[:2] })
				synctest.Wait()
				if got := n.Catalog().IDs(); !slices.Equal(got, []int{0, 1}) {
					t.Errorf("what came next has not taken effect: %v, %+v", got, n.Stats().Reload)
				}
				n.Close()
				if got := log.Count("not in effect"); got != 1 {
					t.Errorf("the fault is told %d times:\n%s", got, log.String())
				}
			})
		})
	}
}

func TestAWatchThatEndsIsBegunAgain(t *testing.T) {
	testcluster.Bubble(t, 2, func(t *testing.T, cfg cluster.Config) {
		peers := cfg.Peers
		s := newSettable(peers...)
		var log testcluster.LineLog
		cfg = withSource(cfg, s)
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		n := testcluster.Join(t, 0, cfg)
		s.set(func() { s.unwatch = errors.New("no leader") })
		time.Sleep(10 * time.Minute)
		s.mu.Lock()
		watches := s.watches
		s.unwatch = nil
		s.mu.Unlock()
		if watches < 20 || watches > 60 {
			t.Errorf("it was watched %d times in 10 min, want about every 15 s", watches)
		}
		time.Sleep(15 * time.Second)
		s.set(func() { s.peers = s.peers[:1] })
		synctest.Wait()
		if got := n.Catalog().IDs(); !slices.Equal(got, []int{0}) {
			t.Errorf("the catalogue has %v", got)
		}
		n.Close()
		if log.Count("no leader") == 0 {
			t.Errorf("nothing says why it is not watched:\n%s", log.String())
		}
	})
}

func TestANodeNeedsASourceThatListsIt(t *testing.T) {
	cfg := testcluster.Config(t, "mem", 3)
	for _, c := range []struct {
		name   string
		source *settable
		want   string
	}{
		{"it cannot be read", &settable{err: errors.New("no database")}, "the test: no database"},
		{"it is empty", newSettable(), "the test: it lists none"},
		{"it is wrong", newSettable(append(cfg.Peers, cfg.Peers[0])...), "the test: peercatalog: the id exists: peer 0 is given twice"},
		{"it lists others", newSettable(cfg.Peers[1:]...), "the test: no entry has the id 0; the ids are [1 2]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := cluster.NewFromConfig(0, withSource(cfg, c.source)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
	t.Run("beside reload", func(t *testing.T) {
		path := testcluster.WriteConfig(t, reloads(cfg))
		loaded, err := cluster.LoadConfig(path)
		if err != nil {
			t.Fatal(err)
		}
		loaded.Source = newSettable(cfg.Peers...)
		if _, err := cluster.NewFromConfig(0, loaded); err == nil || !strings.Contains(err.Error(), "reload beside Source") {
			t.Errorf("got %v", err)
		}
	})
}

// A file as the Source does not say how the node works: the program does.
func TestOfAFileAsASourceOnlyThePeersCount(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		path := testcluster.WriteConfig(t, withPeers(cfg, cfg.Peers[:2]...))
		source, err := cluster.FileSource(path)
		if err != nil {
			t.Fatal(err)
		}
		// In a bubble nobody watches a file.
		n := testcluster.Join(t, 0, withSource(cluster.Config{InboxSize: 7}, unwatched{source}))
		cfg.InboxSize = 9
		rewrite(t, path, cfg)
		if err := n.Reload(); err != nil {
			t.Fatal(err)
		}
		if got := n.Catalog().IDs(); !slices.Equal(got, []int{0, 1, 2}) {
			t.Errorf("the catalogue has %v", got)
		}
		overwrite(t, path, `{"id": 0, "address": "mem://bare"}`)
		refused(t, n, "bare entries", "bare entries one after another", path)
	})
}

// unwatched is a Source of which nobody is told.
type unwatched struct{ peercatalog.Source }

func (unwatched) Watch(ctx context.Context, _ func()) error { <-ctx.Done(); return ctx.Err() }

func TestAFixedSourceSaysAlwaysTheSame(t *testing.T) {
	cfg := testcluster.Config(t, "mem", 3)
	cfg.Peers[1].Extra = map[string]json.RawMessage{"role": json.RawMessage(`"x"`)}
	given := slices.Clone(cfg.Peers)
	s := peercatalog.Fixed(given...)
	given[0] = peercatalog.Peer{}
	for range 2 {
		got, err := s.Load(t.Context())
		if diff := cmp.Diff(cfg.Peers, got); err != nil || diff != "" {
			t.Fatalf("%v, -want +got:\n%s", err, diff)
		}
		copy(got[1].Extra["role"], "###")
		clear(got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	told := 0
	if err := s.Watch(ctx, func() { told++; cancel() }); !errors.Is(err, context.Canceled) || told != 1 {
		t.Errorf("Watch: %v after %d calls", err, told)
	}
	if fmt.Sprint(s) == "" {
		t.Error("it has no name")
	}
}
