//go:build linux

package scenario

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// A bed is where two servers run, and what may be done to them and to the path between them.
type bed interface {
	start(id int)
	// cut loses what one sends to the other.
	cut(from, to int)
	// slow lets so many bytes a second pass in each direction.
	slow(bytes int)
	heal()
	stop(id int)
	goOn(id int)
	kill(id int)
	// bulk has a server send a large message.
	bulk(id, size int)
	wait(d time.Duration)
	// seen is what the latest life of a server has seen.
	seen(id int) observed
}

// simulated is a bed of clustertest, in a bubble.
type simulated struct {
	net    *clustertest.Network
	nodes  [2]*observer
	change func(*cluster.Config)
}

func (b *simulated) start(id int) {
	cfg := b.net.Config()
	b.change(&cfg)
	b.nodes[id] = observe(b.net.StartWith(id, cfg))
}

func (b *simulated) cut(from, to int) {
	b.net.Set(clustertest.Faults{Cut: true}, clustertest.Link{From: from, To: to})
}

func (b *simulated) slow(bytes int) { b.net.Set(clustertest.Faults{Bandwidth: bytes}) }

func (b *simulated) heal() { b.net.Set(clustertest.Faults{}) }

// stop stops the program as well, as a signal does.
func (b *simulated) stop(id int) {
	<-b.nodes[id].run
	b.net.Pause(id)
}

func (b *simulated) goOn(id int) {
	b.net.Resume(id)
	b.nodes[id].run <- struct{}{}
}

func (b *simulated) kill(id int)          { b.net.Crash(id) }
func (b *simulated) bulk(id, size int)    { b.nodes[id].bulk <- size }
func (b *simulated) wait(d time.Duration) { b.net.Sleep(d) }
func (b *simulated) seen(id int) observed { return b.nodes[id].report() }

// hosts is a bed of two processes over TCP, each in a network namespace of its own.
type hosts struct {
	t        *testing.T
	names    [2]string
	cfg      cluster.Config
	children [2]*testcluster.Child
}

const hostPort = 7000

// namespaces counts those that were made, for their names.
var namespaces atomic.Int64

func hostAddress(id int) string { return fmt.Sprintf("10.77.0.%d", id+1) }

// newHosts makes the namespaces, joined by a pair of devices. The test is skipped where that is
// not allowed.
func newHosts(t *testing.T, change func(*cluster.Config)) *hosts {
	t.Helper()
	for _, tool := range []string{"ip", "nft", "tc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("without %s there are no network namespaces to compare with", tool)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("only root may make the network namespaces to compare with")
	}
	b := &hosts{t: t}
	for id := range b.names {
		b.names[id] = fmt.Sprintf("cluster-%d-%d", os.Getpid(), namespaces.Add(1))
		if out, err := exec.Command("ip", "netns", "add", b.names[id]).CombinedOutput(); err != nil {
			t.Skipf("no network namespace can be made here: %v: %s", err, out)
		}
		t.Cleanup(func() { b.command("ip", "netns", "delete", b.names[id]) })
		b.cfg.Peers = append(b.cfg.Peers, peercatalog.Peer{ID: id, Address: fmt.Sprintf("%s:%d", hostAddress(id), hostPort)})
	}
	change(&b.cfg)
	b.command("ip", "-n", b.names[0], "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", b.names[1])
	for id := range b.names {
		b.command("ip", "-n", b.names[id], "address", "add", hostAddress(id)+"/24", "dev", "eth0")
		b.command("ip", "-n", b.names[id], "link", "set", "eth0", "up")
		b.spawn(id)
	}
	return b
}

func (b *hosts) command(line ...string) {
	b.t.Helper()
	if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
		b.t.Errorf("%s: %v: %s", strings.Join(line, " "), err, out)
	}
}

// on runs a command on a host.
func (b *hosts) on(id int, line ...string) {
	b.t.Helper()
	b.command(append([]string{"ip", "netns", "exec", b.names[id]}, line...)...)
}

// spawn makes the process of a server, which is in the namespace since the thread that starts it is.
func (b *hosts) spawn(id int) {
	b.t.Helper()
	there, err := os.Open(filepath.Join("/var/run/netns", b.names[id]))
	if err != nil {
		b.t.Fatal(err)
	}
	defer there.Close()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		b.t.Fatal(err)
	}
	defer home.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		b.t.Fatal(err)
	}
	defer func() {
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err) // a thread of ours is somewhere else
		}
	}()
	b.children[id] = testcluster.SpawnRole(b.t, "observer", b.cfg, id)
}

func (b *hosts) start(id int) { b.children[id].Start() }

func (b *hosts) cut(from, to int) {
	b.on(to, "nft", fmt.Sprintf("add table inet t; add chain inet t c { type filter hook input priority 0; }; add rule inet t c ip saddr %s drop", hostAddress(from)))
}

func (b *hosts) slow(bytes int) {
	for id := range b.names {
		b.on(id, "tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", fmt.Sprintf("%dbit", 8*bytes), "burst", "4kb", "limit", "4mb")
	}
}

func (b *hosts) heal() {
	for id := range b.names {
		b.on(id, "nft", "flush ruleset")
		b.on(id, "sh", "-c", "tc qdisc delete dev eth0 root 2>/dev/null || true")
	}
}

func (b *hosts) stop(id int) { b.children[id].Signal(syscall.SIGSTOP) }
func (b *hosts) goOn(id int) { b.children[id].Signal(syscall.SIGCONT) }

// kill ends a process, and has the next one ready.
func (b *hosts) kill(id int) {
	b.children[id].Kill()
	b.spawn(id)
}

func (b *hosts) bulk(id, size int) { b.children[id].Do(fmt.Sprintf("bulk %d", size), nil) }

func (b *hosts) wait(d time.Duration) { time.Sleep(d) }

func (b *hosts) seen(id int) (seen observed) {
	b.children[id].Do("report", &seen)
	return seen
}
