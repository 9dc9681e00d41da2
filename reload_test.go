//go:build unix

package cluster_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// rewrite puts another configuration into a file, in one step.
func rewrite(t *testing.T, path string, cfg cluster.Config) {
	t.Helper()
	data, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, path, string(data))
}

func overwrite(t *testing.T, path, text string) {
	t.Helper()
	next := path + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

// joinFile starts the server pid of the configuration in a file.
func joinFile(t *testing.T, pid int, path string, log *slog.Logger) *cluster.Node {
	t.Helper()
	cfg, err := cluster.LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Logger = log
	return testcluster.Join(t, pid, cfg)
}

// withPeers is the configuration with these peers instead.
func withPeers(cfg cluster.Config, peers ...peercatalog.Peer) cluster.Config {
	cfg.Peers = peers
	return cfg
}

func TestReloadMakesTheServersOfTheChangedFileTakeEffectAsOneChange(t *testing.T) {
	testcluster.Bubble(t, 5, func(t *testing.T, cfg cluster.Config) {
		all := cfg.Peers
		path := testcluster.WriteConfig(t, withPeers(cfg, all[0], all[1], all[2]))
		var log testcluster.LineLog
		n := joinFile(t, 0, path, slog.New(slog.NewJSONHandler(&log, nil)))
		told := watchEvents(t, n)
		synctest.Wait()
		moved := all[2]
		moved.Address += "/moved"
		rewrite(t, path, withPeers(cfg, all[0], moved, all[3], all[4]))
		version := n.Catalog().Version()
		start := time.Now()
		if err := n.Reload(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 200*time.Millisecond {
			t.Errorf("it took %v, want the time between two reads", took)
		}
		if got := n.Catalog().Version() - version; got != 1 {
			t.Errorf("the catalogue has changed %d times, want once", got)
		}
		if got := n.Peers(); !slices.Equal(got, []int{2, 3, 4}) {
			t.Errorf("the peers are %v", got)
		}
		if p, _ := n.Catalog().Get(2); p.Address != moved.Address {
			t.Errorf("server 2 is at %s, want %s", p.Address, moved.Address)
		}
		want := cluster.ReloadStats{Generation: 1, At: time.Now(), Change: peercatalog.Change{Added: []int{3, 4}, Changed: []int{2}, Removed: []int{1}}}
		got := n.Stats()
		if diff := cmp.Diff(want, got.Reload); diff != "" {
			t.Errorf("Stats have, -want +got:\n%s", diff)
		}
		if !strings.Contains(got.String(), "(added 3, 4; changed 2; removed 1)") {
			t.Errorf("Stats print as\n%v", got)
		}
		got.Reload.Change.Added[0] = 77 // it is a copy
		if again := n.Stats().Reload; !slices.Equal(again.Change.Added, []int{3, 4}) {
			t.Errorf("what was done to Stats shows in the next: %v", again)
		}
		synctest.Wait()
		told.expect(t, "1 added", "2 added", "1 removed", "2 changed", "3 added", "4 added")
		// Once more: nothing has changed, and nothing counts.
		if err := n.Reload(); err != nil || n.Stats().Reload.Generation != 1 {
			t.Errorf("without a change: %v, %+v", err, n.Stats().Reload)
		}
		n.Close()
		if want := `"added":[3,4],"changed":[2],"removed":[1]`; log.Count(want) != 1 || log.Count("the configuration has changed") != 1 {
			t.Errorf("%s is not logged once:\n%s", want, log.String())
		}
		if err := n.Reload(); !errors.Is(err, cluster.ErrClosed) {
			t.Errorf("after Close: %v, want ErrClosed", err)
		}
	})
}

func TestReloadReplacesWhatTheProgramHasChangedInItsCatalog(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		n := joinFile(t, 0, testcluster.WriteConfig(t, cfg), nil)
		n.Catalog().Remove(1)
		if err := n.Catalog().Put(peercatalog.Peer{ID: 7, Address: "mem://7"}); err != nil {
			t.Fatal(err)
		}
		if err := n.Reload(); err != nil {
			t.Fatal(err)
		}
		if got := n.Catalog().IDs(); !slices.Equal(got, []int{0, 1, 2}) {
			t.Errorf("the catalogue has %v, want what the file has", got)
		}
	})
}

func TestWhatCannotChangeInARunningNodeIsRefusedByName(t *testing.T) {
	plain := testcluster.Config(t, "mem", 3)
	keyed := testcluster.Keyed(t, testcluster.Config(t, "mem", 3))
	other := testcluster.Keyed(t, testcluster.Config(t, "mem", 3)) // with other keys
	for _, c := range []struct {
		name   string
		cfg    cluster.Config
		change func(cfg *cluster.Config)
		want   []string
	}{
		{"its entry is gone", plain, func(cfg *cluster.Config) { cfg.Peers = cfg.Peers[1:] }, []string{"no entry has the id 0", "running server"}},
		{"its id is another", plain, func(cfg *cluster.Config) { cfg.Peers[0].ID = 9 }, []string{"no entry has the id 0"}},
		{"its address", plain, func(cfg *cluster.Config) { cfg.Peers[0].Address = "mem://elsewhere" }, []string{"peers[0] (id 0)", "listens on " + plain.Peers[0].Address, "mem://elsewhere"}},
		{"its bind", plain, func(cfg *cluster.Config) { cfg.Peers[0].Bind = "mem://elsewhere" }, []string{"peers[0] (id 0)", "mem://elsewhere"}},
		{"cluster", plain, func(cfg *cluster.Config) { cfg.Cluster = "other" }, []string{`cluster is "other", and was "" `}},
		{"inboxSize", plain, func(cfg *cluster.Config) { cfg.InboxSize = 7 }, []string{"inboxSize is 7, and was 1024 "}},
		{"outboxSize", plain, func(cfg *cluster.Config) { cfg.OutboxSize = 7 }, []string{"outboxSize is 7, and was 1024 "}},
		{"sendTimeout", plain, func(cfg *cluster.Config) { cfg.SendTimeout = 2 * time.Second }, []string{"sendTimeout is 2s, and was 1s "}},
		{"queueBytes", plain, func(cfg *cluster.Config) { cfg.QueueBytes = 1 << 20 }, []string{"queueBytes is 1048576, and was 16777216 "}},
		{"maxMessageBytes", plain, func(cfg *cluster.Config) { cfg.MaxMessageBytes = 7 }, []string{"maxMessageBytes is 7, and was 67108864 "}},
		{"linger", plain, func(cfg *cluster.Config) { cfg.Linger = time.Second }, []string{"linger is 1s, and was 5s "}},
		{"watch", plain, func(cfg *cluster.Config) { cfg.Watch = true }, []string{"watch is true, and was false "}},
		{"watchInterval", plain, func(cfg *cluster.Config) { cfg.WatchInterval = time.Minute }, []string{"watchInterval is 1m0s, and was 1s "}},
		{"transport", plain, func(cfg *cluster.Config) { cfg.Transport = "go" }, []string{`transport is "go", and was "" `}},
		{"keyDir", keyed, func(cfg *cluster.Config) { cfg.KeyDir = "keys" }, []string{`keyDir is "keys", and was "`}},
		{"reload", plain, func(cfg *cluster.Config) { cfg.Reload = true }, []string{"reload is true, and was false "}},
		{"keys switched on", plain, func(cfg *cluster.Config) {
			cfg.Peers = slices.Clone(keyed.Peers)
			cfg.Peers[0].Address = plain.Peers[0].Address
		}, []string{"public_key", "started without keys"}},
		{"keys switched off", keyed, func(cfg *cluster.Config) {
			for i := range cfg.Peers {
				cfg.Peers[i].PublicKey = ""
			}
		}, []string{"public_key", "started with keys"}},
		{"its own key", keyed, func(cfg *cluster.Config) { cfg.Peers[0].PublicKey = other.Peers[0].PublicKey }, []string{"peers[0] (id 0)", keyed.Peers[0].PublicKey, "previous_public_key"}},
		{"several", plain, func(cfg *cluster.Config) {
			cfg.Cluster, cfg.Peers[0].Address, cfg.Linger = "other", "mem://elsewhere", -1
		}, []string{"cluster is", "linger is -1ns", "mem://elsewhere"}},
		{"one of them, beside a server that was added", plain, func(cfg *cluster.Config) {
			cfg.Cluster = "other"
			cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: 8, Address: "mem://8"})
		}, []string{"cluster is"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := testcluster.WriteConfig(t, c.cfg)
				n := joinFile(t, 0, path, nil)
				changed := c.cfg
				changed.Peers = slices.Clone(c.cfg.Peers)
				c.change(&changed)
				rewrite(t, path, changed)
				refused(t, n, c.name, append(c.want, path)...)
			})
		})
	}
}

// refused checks that Reload has an error with these parts, and changes nothing.
func refused(t *testing.T, n *cluster.Node, what string, parts ...string) {
	t.Helper()
	version, generation := n.Catalog().Version(), n.Stats().Reload.Generation
	err := n.Reload()
	if err == nil {
		t.Fatalf("%s: there is no error", what)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s: got %v, want %q in it", what, err, part)
		}
	}
	if got := n.Catalog().Version(); got != version {
		t.Errorf("%s: the catalogue has changed", what)
	}
	if s := n.Stats().Reload; s.Generation != generation || !strings.Contains(err.Error(), strings.TrimSuffix(s.Error, " ...")) || s.Error == "" {
		t.Errorf("%s: Stats have %+v, want the error %q", what, s, err)
	}
	if text := n.Stats().String(); !strings.Contains(text, "not in effect") {
		t.Errorf("%s: Stats print as\n%s", what, text)
	}
}

func TestWhatMayChangeIsTakenOver(t *testing.T) {
	cfg := testcluster.Config(t, "mem", 3)
	keyed := testcluster.Keyed(t, testcluster.Config(t, "mem", 3))
	next := testcluster.WriteKey(t, filepath.Join(t.TempDir(), "next"))
	bound := cfg
	bound.Peers = slices.Clone(cfg.Peers)
	bound.Peers[0].Bind = "mem://bound"
	for _, c := range []struct {
		name   string
		cfg    cluster.Config
		change func(cfg *cluster.Config)
	}{
		{"where the others reach this server", bound, func(cfg *cluster.Config) { cfg.Peers[0].Address = "mem://translated" }},
		{"the program's own fields of its entry", cfg, func(cfg *cluster.Config) {
			cfg.Peers[0].Extra = map[string]json.RawMessage{"role": json.RawMessage(`"x"`)}
		}},
		{"the key of another", keyed, func(cfg *cluster.Config) {
			cfg.Peers[1].PublicKey, cfg.Peers[1].PreviousPublicKey = next, cfg.Peers[1].PublicKey
		}},
		{"its next key", keyed, func(cfg *cluster.Config) {
			cfg.Peers[0].PublicKey, cfg.Peers[0].PreviousPublicKey = next, cfg.Peers[0].PublicKey
		}},
		{"an observer", cfg, func(cfg *cluster.Config) { cfg.Peers[2].Observer = true }},
		{"a default that is written out", cfg, func(cfg *cluster.Config) { cfg.InboxSize, cfg.Linger, cfg.Peers = 1024, 5*time.Second, cfg.Peers[:2] }},
		{"the program's own fields at the top", cfg, func(cfg *cluster.Config) {
			cfg.Extra, cfg.Peers = map[string]json.RawMessage{"electionTimeout": json.RawMessage("1")}, cfg.Peers[:2]
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := testcluster.WriteConfig(t, c.cfg)
				n := joinFile(t, 0, path, nil)
				changed := c.cfg
				changed.Peers = slices.Clone(c.cfg.Peers)
				c.change(&changed)
				rewrite(t, path, changed)
				if err := n.Reload(); err != nil || n.Stats().Reload.Generation != 1 {
					t.Fatalf("%v, %+v", err, n.Stats().Reload)
				}
				var got []peercatalog.Peer
				for _, id := range n.Catalog().IDs() {
					p, _ := n.Catalog().Get(id)
					got = append(got, p)
				}
				if diff := cmp.Diff(changed.Peers, got); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		})
	}
}

func TestOnAnyFaultOfTheFileTheOldOneStays(t *testing.T) {
	testcluster.Bubble(t, 3, func(t *testing.T, cfg cluster.Config) {
		path := testcluster.WriteConfig(t, cfg)
		n := joinFile(t, 0, path, nil)
		own := fmt.Sprintf(`{"id": 0, "address": %q}`, cfg.Peers[0].Address)
		for _, c := range []struct {
			name, text string
		}{
			{"garbage", "\x00\xff garbage"},
			{"an empty file", ""},
			{"no peers", `{"peers": []}`},
			{"a misspelling", `{"peers": [` + own + `], "sendTimout": "1s"}`},
			{"a fault in another entry", `{"peers": [` + own + `, {"id": 1}]}`},
			{"an id twice", `{"peers": [` + own + `, ` + own + `]}`},
			{"data behind it", `{"peers": [` + own + `]} x`},
		} {
			overwrite(t, path, c.text)
			_, want := cluster.LoadConfig(path)
			if want == nil {
				t.Fatalf("%s: LoadConfig accepts it", c.name)
			}
			refused(t, n, c.name, want.Error()) // in the very words
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		refused(t, n, "no file", path, "no such file")
		if err := n.Reload(); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v, want one that wraps that of the system", err)
		}
		rewrite(t, path, cfg)
		if err := n.Reload(); err != nil || cmp.Diff(cluster.ReloadStats{}, n.Stats().Reload) != "" {
			t.Errorf("the file as it was: %v, %+v", err, n.Stats().Reload)
		}
	})
}

func TestAHalfWrittenFileNeverTakesEffect(t *testing.T) {
	testcluster.Bubble(t, 4, func(t *testing.T, cfg cluster.Config) {
		var object strings.Builder
		var entries []string
		for _, p := range cfg.Peers {
			entries = append(entries, fmt.Sprintf(`{"id": %d, "address": %q}`, p.ID, p.Address))
		}
		fmt.Fprintf(&object, `{"peers": [%s]}`, strings.Join(entries, ", "))
		path := testcluster.WriteConfig(t, cfg)
		n := joinFile(t, 0, path, nil)
		for _, shape := range []struct{ name, text string }{
			{"an object", object.String()},
			{"an array", "[" + strings.Join(entries, ", ") + "]"},
			{"bare entries one after another", strings.Join(entries, "\n")},
		} {
			for cut := range shape.text {
				overwrite(t, path, shape.text[:cut])
				refused(t, n, shape.name)
			}
		}
		// The last is refused as a whole too, with the way out.
		overwrite(t, path, strings.Join(entries, "\n"))
		refused(t, n, "all of it", "bare entries one after another", "array")
		overwrite(t, path, "["+strings.Join(entries, ", ")+"]")
		if err := n.Reload(); err != nil {
			t.Errorf("as an array: %v", err)
		}
	})
}

func TestReloadNeedsAFile(t *testing.T) {
	cfg := testcluster.Config(t, "mem", 1)
	n := testcluster.Join(t, 0, cfg)
	if err := n.Reload(); err == nil || !strings.Contains(err.Error(), "no file") {
		t.Errorf("Reload without a file: %v", err)
	}
	cfg.Reload = true
	if _, err := cluster.NewFromConfig(0, cfg); err == nil || !strings.Contains(err.Error(), "no file") {
		t.Errorf("Config.Reload without a file: %v", err)
	}
	path := filepath.Join(t.TempDir(), "Config.json")
	overwrite(t, path, fmt.Sprintf(`{"id": 0, "address": %q}`, cfg.Peers[0].Address))
	cfg, err := cluster.LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Reload = true
	if _, err := cluster.NewFromConfig(0, cfg); err == nil || !strings.Contains(err.Error(), "bare entries one after another") {
		t.Errorf("Config.Reload with bare entries one after another: %v", err)
	}
}

func TestAPipeInThePlaceOfTheFileHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := testcluster.WriteConfig(t, testcluster.Config(t, "mem", 1))
		n := joinFile(t, 0, path, nil)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Skip(err)
		}
		refused(t, n, "a pipe", path, "no regular file")
	})
}

func TestMoreReplicasAreTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "Config.json")
		text := `{"replicas": %d, "replicaAddress": "mem://replicas/{id}"}`
		overwrite(t, path, fmt.Sprintf(text, 3))
		n := joinFile(t, 1, path, nil)
		for _, count := range []int{5, 2} {
			overwrite(t, path, fmt.Sprintf(text, count))
			if err := n.Reload(); err != nil {
				t.Fatal(err)
			}
			if got := n.Catalog().Len(); got != count {
				t.Errorf("%d servers, want %d", got, count)
			}
		}
		overwrite(t, path, fmt.Sprintf(text, 1))
		refused(t, n, "its own replica is gone", "no entry has the id 1")
	})
}
