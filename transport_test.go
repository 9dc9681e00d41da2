package cluster_test

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/transport/sockets"
)

// available are the transports that this program was built with.
func available(t testing.TB) (names []string) {
	t.Helper()
	t.Setenv(sockets.Variable, "") // The tests choose by Config; they may run over either by default.
	for _, name := range []string{sockets.Go, sockets.Libzmq} {
		if _, err := sockets.Choose(name, "config"); err == nil {
			names = append(names, name)
		}
	}
	return names
}

// exchange lets two servers send each other a message.
func exchange(t *testing.T, a, b *cluster.Node) {
	t.Helper()
	for _, way := range [][2]*cluster.Node{{a, b}, {b, a}} {
		testcluster.Put(t, way[0], &cluster.Envelope{Pid: way[1].Pid(), Msg: "hello"})
		if got := testcluster.Take(t, way[1]); got.Pid != way[0].Pid() || got.Msg != "hello" {
			t.Errorf("server %d received %v", way[1].Pid(), got)
		}
	}
}

// Nothing on the wire tells which transport a server has, so two servers of one process may
// have different ones. Stats and the log say which.
func TestEachServerHasTheTransportThatItsConfigNames(t *testing.T) {
	names := available(t)
	for _, scheme := range []string{"tcp", "ipc"} {
		for _, first := range names {
			for _, second := range names {
				t.Run(scheme+" "+first+" "+second, func(t *testing.T) {
					cfg := testcluster.Config(t, scheme, 2)
					var nodes []*cluster.Node
					for pid, name := range []string{first, second} {
						var log testcluster.LineLog
						cfg.Transport, cfg.Logger = name, slog.New(slog.NewTextHandler(&log, nil))
						n := testcluster.Join(t, pid, cfg)
						if got := n.Stats().Transport; got != name {
							t.Errorf("Stats of server %d says %q, want %q", pid, got, name)
						}
						testcluster.Eventually(t, "the log says "+name, func() bool { return log.Count("transport="+name) == 1 })
						nodes = append(nodes, n)
					}
					exchange(t, nodes[0], nodes[1])
				})
			}
		}
	}
}

func TestTheEnvironmentOverridesTheTransportOfTheConfig(t *testing.T) {
	names := available(t)
	for _, configured := range append(names, "") {
		for _, name := range names {
			t.Run(configured+" "+name, func(t *testing.T) {
				t.Setenv(sockets.Variable, name)
				cfg := testcluster.Config(t, "tcp", 2)
				cfg.Transport = configured
				nodes := testcluster.StartAll(t, cfg)
				if got := nodes[0].Stats().Transport; got != name {
					t.Errorf("Stats says %q, want %q", got, name)
				}
				exchange(t, nodes[0], nodes[1])
			})
		}
	}
}

func TestServersInsideOneProcessNeedNoTransport(t *testing.T) {
	for _, name := range available(t) {
		t.Run(name, func(t *testing.T) {
			cfg := testcluster.Config(t, "mem", 2)
			cfg.Transport = name
			nodes := testcluster.StartAll(t, cfg)
			if got := nodes[0].Stats().Transport; got != "mem" {
				t.Errorf("Stats says %q, want mem", got)
			}
			exchange(t, nodes[0], nodes[1])
		})
	}
}

// The error names the place, the field and what can be written instead. A file that names a
// transport which this program lacks can be read all the same: it may be another program's.
func TestATransportThatCannotBeHadIsAnError(t *testing.T) {
	cfg := testcluster.Config(t, "tcp", 1)
	load := func(t *testing.T, name string) (cluster.Config, string, error) {
		t.Helper()
		named := cfg
		named.Transport = name
		path := testcluster.WriteConfig(t, named)
		loaded, err := cluster.LoadConfig(path)
		return loaded, path, err
	}
	check := func(t *testing.T, err error, want ...string) {
		t.Helper()
		if err == nil {
			t.Fatal("no error")
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q is not in: %v", w, err)
			}
		}
	}
	t.Run("unknown in the file", func(t *testing.T) {
		t.Setenv(sockets.Variable, "")
		_, path, err := load(t, "tcp")
		check(t, err, path, `transport "tcp"`, `want "go" or "libzmq"`)
		_, err = cluster.New(0, path)
		check(t, err, path, `transport "tcp"`, `want "go" or "libzmq"`)
	})
	t.Run("unknown in the environment", func(t *testing.T) {
		t.Setenv(sockets.Variable, "tcp")
		loaded, _, err := load(t, "go")
		if err != nil {
			t.Fatal(err)
		}
		_, err = cluster.NewFromConfig(0, loaded)
		check(t, err, sockets.Variable, `transport "tcp"`, `want "go" or "libzmq"`)
	})
	t.Run("not built", func(t *testing.T) {
		if names := available(t); len(names) > 1 {
			t.Skip("this program was built with both transports; make portable builds it with one")
		}
		loaded, path, err := load(t, "libzmq")
		if err != nil {
			t.Fatal(err)
		}
		_, err = cluster.NewFromConfig(0, loaded)
		check(t, err, filepath.Base(path), `transport "libzmq"`, "built without libzmq", `say "go"`)
	})
}
