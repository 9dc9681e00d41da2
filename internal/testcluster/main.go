package testcluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/freeport"
	"github.com/abhishekg16/cluster/internal/transport/sockets"
	"github.com/abhishekg16/cluster/peercatalog"
)

// childRole is the environment variable that makes the test binary play a server
// in a process of its own; see Child.
const childRole = "CLUSTER_TEST_CHILD"

// Roles are what a Child can play, by name. Tests add theirs before Main is called.
var Roles = map[string]func(){}

// Main is for the TestMain of every package that starts servers. It runs the tests, and
// then checks that no goroutine and no descriptor was left behind. In a Child it plays
// the role that the child was given.
func Main(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		Roles[role]()
		return
	}
	warm()
	before := OpenFiles()
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines are left:", err)
			code = 1
		}
		if left, ok := Settle(OpenFiles, before); !ok {
			fmt.Fprintf(os.Stderr, "%d descriptors are open after the tests, %d were before\n", left, before)
			code = 1
		}
	}
	os.Exit(code)
}

// warm opens what the process keeps for good: the poller of the runtime and the
// context of ZeroMQ, which some tests use whatever the environment says.
func warm() {
	if v, ok := os.LookupEnv(sockets.Variable); ok {
		os.Unsetenv(sockets.Variable)
		defer os.Setenv(sockets.Variable, v)
	}
	l, err := freeport.Listen()
	if err != nil {
		panic(err)
	}
	address := l.Addr().String()
	l.Close()
	n, err := cluster.NewFromConfig(0, cluster.Config{Peers: []peercatalog.Peer{{ID: 0, Address: address}}})
	if err != nil {
		panic(err)
	}
	if err := n.Close(); err != nil {
		panic(err)
	}
}

// OpenFiles counts the sockets and event descriptors of this process, or is 0
// where that cannot be told.
func OpenFiles() int {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	count := 0
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err == nil && (strings.HasPrefix(target, "socket:") || strings.HasPrefix(target, "anon_inode:")) {
			count++
		}
	}
	return count
}

// Settle waits for count to come down to most, and returns where it stands.
func Settle(count func() int, most int) (int, bool) {
	deadline := time.Now().Add(5 * time.Second)
	for {
		n := count()
		if n <= most || time.Now().After(deadline) {
			return n, n <= most
		}
		time.Sleep(10 * time.Millisecond)
	}
}
