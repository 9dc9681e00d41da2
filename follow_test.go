//go:build unix

package cluster_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// A mounted configuration is reached as one of a ConfigMap is: by links that are turned elsewhere for
// each version.
type mounted struct {
	t       *testing.T
	dir     string
	version int
}

func (m *mounted) path() string { return filepath.Join(m.dir, "Config.json") }

// swap puts another version in the place of the one that there is.
func (m *mounted) swap(cfg cluster.Config) {
	m.t.Helper()
	data, err := json.Marshal(cfg)
	if err != nil {
		m.t.Fatal(err)
	}
	old := fmt.Sprintf("..%d", m.version)
	m.version++
	now := fmt.Sprintf("..%d", m.version)
	in := func(name string) string { return filepath.Join(m.dir, name) }
	for _, err := range []error{
		os.Mkdir(in(now), 0o755),
		os.WriteFile(filepath.Join(in(now), "Config.json"), data, 0o600),
		os.Symlink(now, in("..tmp")),
		os.Rename(in("..tmp"), in("..data")),
		os.RemoveAll(in(old)),
	} {
		if err != nil {
			m.t.Fatal(err)
		}
	}
	if m.version == 1 {
		if err := os.Symlink("..data/Config.json", m.path()); err != nil {
			m.t.Fatal(err)
		}
	}
}

// reloads is the configuration with Reload.
func reloads(cfg cluster.Config) cluster.Config {
	cfg.Reload = true
	return cfg
}

// lists waits until the catalogue of a node has exactly these ids.
func lists(t *testing.T, n *cluster.Node, ids ...int) {
	t.Helper()
	testcluster.Eventually(t, fmt.Sprintf("server %d lists %v", n.Pid(), ids), func() bool { return slices.Equal(n.Catalog().IDs(), ids) })
}

func TestANodeFollowsItsFileHoweverThatIsChanged(t *testing.T) {
	cfg := reloads(testcluster.Config(t, "mem", 4))
	few, many := withPeers(cfg, cfg.Peers[:2]...), cfg
	m := &mounted{t: t, dir: t.TempDir()}
	m.swap(few)
	n, err := cluster.New(0, m.path())
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	write := func(cfg cluster.Config) {
		data, err := json.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(m.path(), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		change func(cfg cluster.Config)
	}{
		{"a link is turned elsewhere", m.swap},
		{"it is written in place", write},
		{"another takes its place", func(cfg cluster.Config) { rewrite(t, m.path(), cfg) }},
		{"it is written in place, and no link any more", write},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.change(many)
			lists(t, n, 0, 1, 2, 3)
			c.change(few)
			lists(t, n, 0, 1)
		})
	}
	// The last is counted after it has taken effect.
	testcluster.Eventually(t, "8 changes are counted", func() bool { return n.Stats().Reload.Generation >= 8 })
	if got := n.Stats().Reload.Generation; got != 8 {
		t.Errorf("%d changes are counted, want 8", got)
	}
}

func TestAFaultyFileIsToldOnceAndTheNodeGoesOnFollowing(t *testing.T) {
	cfg := reloads(testcluster.Config(t, "mem", 3))
	path := testcluster.WriteConfig(t, cfg)
	var log testcluster.LineLog
	n := joinFile(t, 0, path, slog.New(slog.NewTextHandler(&log, nil)))
	version := n.Catalog().Version()
	overwrite(t, path, `{"peers": [`)
	testcluster.Eventually(t, "Stats tell the fault", func() bool { return strings.Contains(n.Stats().Reload.Error, "not valid JSON") })
	if n.Catalog().Version() != version {
		t.Error("the catalogue has changed")
	}
	// The same text once more is no news.
	overwrite(t, path, `{"peers": [`)
	if err := n.Reload(); err == nil {
		t.Error("Reload accepts it")
	}
	rewrite(t, path, withPeers(cfg, cfg.Peers[:2]...))
	lists(t, n, 0, 1)
	testcluster.Eventually(t, "Stats forget the fault", func() bool { return n.Stats().Reload.Error == "" })
	n.Close()
	if got := log.Count("not in effect"); got != 1 {
		t.Errorf("the fault is told %d times:\n%s", got, log.String())
	}
}

func TestWithoutReloadNobodyLooksAtTheFileAgain(t *testing.T) {
	cfg := testcluster.Config(t, "mem", 2)
	path := testcluster.WriteConfig(t, cfg)
	before := testcluster.OpenFiles()
	n := joinFile(t, 0, path, nil)
	if got := testcluster.OpenFiles(); got > before { // it may be less: what an earlier test has closed goes later
		t.Errorf("%d descriptors are open, and were %d without the node", got, before)
	}
	overwrite(t, path, "garbage")
	if err := n.Reload(); err == nil {
		t.Error("Reload has not read the file")
	}
}

func TestARemovedServerIsRefusedAtOnceAndLetGo(t *testing.T) {
	for _, keys := range []bool{false, true} {
		t.Run(fmt.Sprintf("keys %v", keys), func(t *testing.T) {
			cfg := testcluster.Config(t, "tcp", 3)
			if keys {
				cfg = testcluster.Keyed(t, cfg)
			}
			cfg = reloads(cfg)
			path := testcluster.WriteConfig(t, cfg) // of server 0 alone
			n := joinFile(t, 0, path, nil)
			other, removed := testcluster.Join(t, 1, withoutReload(cfg)), testcluster.Join(t, 2, withoutReload(cfg))
			for _, from := range []*cluster.Node{other, removed} {
				testcluster.Put(t, from, &cluster.Envelope{Pid: 0, Msg: from.Pid()})
				testcluster.Take(t, n)
				testcluster.Put(t, n, &cluster.Envelope{Pid: from.Pid(), Msg: "hello"})
				testcluster.Take(t, from)
			}
			rewrite(t, path, withPeers(cfg, cfg.Peers[:2]...))
			lists(t, n, 0, 1)
			testcluster.Put(t, removed, &cluster.Envelope{Pid: 0, Msg: "stale"})
			testcluster.Eventually(t, "what the removed server sends is refused", func() bool {
				s := n.Stats()
				return s.Refused[cluster.RefusedSender]+s.Refused[cluster.RefusedKey] > 0
			})
			testcluster.Put(t, other, &cluster.Envelope{Pid: 0, Msg: "fresh"})
			if e := testcluster.Take(t, n); e.Msg != "fresh" {
				t.Errorf("received %v from %d", e.Msg, e.Pid)
			}
			testcluster.Put(t, n, &cluster.Envelope{Pid: 2, Msg: "to nobody"})
			testcluster.Eventually(t, "there is no such server to send to", func() bool {
				s := n.Stats()
				return s.Unaddressed.Dropped[cluster.ReasonUnknownPeer]+testcluster.StatsOf(n, 2).Sent.Dropped[cluster.ReasonUnknownPeer] == 1
			})
			if s := testcluster.StatsOf(n, 2); s.State != cluster.LinkIdle || s.Sent.Queued > 0 {
				t.Errorf("the link to it is %v, with %d messages", s.State, s.Sent.Queued)
			}
			// Listed again, it is heard again.
			rewrite(t, path, cfg)
			lists(t, n, 0, 1, 2)
			testcluster.Put(t, n, &cluster.Envelope{Pid: 2, Msg: "back"})
			if e := testcluster.Take(t, removed); e.Msg != "back" {
				t.Errorf("the server that was listed again received %v", e.Msg)
			}
		})
	}
}

func withoutReload(cfg cluster.Config) cluster.Config {
	cfg.Reload = false
	return cfg
}

func TestAKeyIsChangedByTheFileOfRunningServers(t *testing.T) {
	cfg := reloads(testcluster.Keyed(t, testcluster.Config(t, "tcp", 2)))
	path := testcluster.WriteConfig(t, cfg)
	n, turning := joinFile(t, 0, path, nil), joinFile(t, 1, path, nil)
	talk := func(when string) {
		t.Helper()
		// Who has started anew speaks first: what the other one sends before it knows of that may be lost.
		for _, c := range []struct{ from, to *cluster.Node }{{turning, n}, {n, turning}} {
			testcluster.Put(t, c.from, &cluster.Envelope{Pid: c.to.Pid(), Msg: when})
			if e := testcluster.Take(t, c.to); e.Msg != when {
				t.Errorf("%s: server %d received %v", when, c.to.Pid(), e.Msg)
			}
		}
	}
	step := func(generation uint64, nodes ...*cluster.Node) {
		t.Helper()
		for _, at := range nodes {
			testcluster.Eventually(t, fmt.Sprintf("change %d takes effect at server %d", generation, at.Pid()), func() bool { return at.Stats().Reload.Generation == generation })
		}
	}
	talk("with the old key")
	next := slices.Clone(cfg.Peers)
	secret := testcluster.KeyPath(cfg, 1)
	next[1].PreviousPublicKey = next[1].PublicKey
	next[1].PublicKey = testcluster.WriteKey(t, secret+".new")
	rewrite(t, path, withPeers(cfg, next...))
	step(1, n, turning)
	talk("with both listed")
	if err := os.Rename(secret+".new", secret); err != nil {
		t.Fatal(err)
	}
	if err := turning.Close(); err != nil {
		t.Fatal(err)
	}
	turning = joinFile(t, 1, path, nil)
	talk("with the new key")
	next = slices.Clone(next)
	next[1].PreviousPublicKey = ""
	rewrite(t, path, withPeers(cfg, next...))
	step(2, n)
	step(1, turning)
	talk("with the new key alone")
	for _, at := range []*cluster.Node{n, turning} {
		if s := at.Stats(); s.Sent.DroppedTotal() > 0 || s.Received.Lost > 0 {
			t.Errorf("something is missing:\n%v", s)
		}
	}
}

func TestNewFindsItsNodeAfterALinkWasTurnedElsewhere(t *testing.T) {
	cfg := testcluster.Config(t, "mem", 2)
	m := &mounted{t: t, dir: t.TempDir()}
	m.swap(cfg)
	outside := filepath.Join(t.TempDir(), "other.json") // another spelling
	if err := os.Symlink(m.path(), outside); err != nil {
		t.Fatal(err)
	}
	n, err := cluster.New(0, m.path())
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	find := func(when string) {
		t.Helper()
		resolved, err := filepath.EvalSymlinks(m.path())
		if err != nil {
			t.Fatal(err)
		}
		relative, err := filepath.Rel(workingDirectory(t), m.path())
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{m.path(), m.dir + "//./Config.json", outside, resolved, relative} {
			if found, err := cluster.New(0, path); err != nil || found != n {
				t.Errorf("%s by %s: %p, %v, want %p", when, path, found, err, n)
			}
		}
	}
	find("at first")
	m.swap(cfg)
	find("after one swap")
	m.swap(withPeers(cfg, cfg.Peers[0]))
	find("after another")
	if err := os.Rename(filepath.Join(m.dir, "..data"), filepath.Join(m.dir, "..gone")); err != nil {
		t.Fatal(err)
	}
	if found, err := cluster.New(0, m.path()); err != nil || found != n {
		t.Errorf("while the file is missing: %p, %v, want %p", found, err, n)
	}
	if listed := cluster.Listed(); listed != 1 {
		t.Errorf("%d nodes are listed", listed)
	}
	n.Close()
	if listed := cluster.Listed(); listed != 0 {
		t.Errorf("%d closed nodes are kept", listed)
	}
}

func TestNewOfAnotherFileIsAnotherNode(t *testing.T) {
	first, second := testcluster.Config(t, "mem", 1), testcluster.Config(t, "mem", 1)
	second.Peers = []peercatalog.Peer{{ID: 0, Address: first.Peers[0].Address + "/second"}}
	m := &mounted{t: t, dir: t.TempDir()}
	m.swap(first)
	copied := testcluster.WriteConfig(t, second)
	n, err := cluster.New(0, m.path())
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	// Where the link led once is another file now.
	led, err := filepath.EvalSymlinks(m.path())
	if err != nil {
		t.Fatal(err)
	}
	m.swap(first)
	if err := os.Mkdir(filepath.Dir(led), 0o755); err != nil {
		t.Fatal(err)
	}
	rewrite(t, led, second)
	for _, path := range []string{led, copied} {
		other, err := cluster.New(0, path)
		if err != nil || other == n {
			t.Fatalf("New by %s: %p, %v; the first is %p", path, other, err, n)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
}

func workingDirectory(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Of what was read before a change, nothing takes effect after it.
func TestReloadsAtOnceEndWithWhatTheFileHasLast(t *testing.T) {
	cfg := reloads(testcluster.Config(t, "mem", 6))
	path := testcluster.WriteConfig(t, cfg)
	n := joinFile(t, 0, path, nil)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for range 3 {
				if err := n.Reload(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for last := range 5 {
		rewrite(t, path, withPeers(cfg, cfg.Peers[:last+1]...))
		if err := n.Reload(); err != nil {
			t.Error(err)
		}
	}
	lists(t, n, 0, 1, 2, 3, 4)
	all.Wait()
	if got := n.Catalog().IDs(); !slices.Equal(got, []int{0, 1, 2, 3, 4}) {
		t.Errorf("the catalogue has %v", got)
	}
}
