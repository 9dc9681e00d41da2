//go:build unix

package scenario

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

var reloadLong = flag.Bool("long", false, "change the file of a running cluster 100 times, each within a second")

const (
	loadedServers  = 5 // that run, and send to one another all the time
	coming         = 6 // entries that come, change and go
	slowestForLong = time.Second
)

// A changing file is that of a running cluster, which one change after another is made of.
type changingFile struct {
	t      *testing.T
	dir    string
	random *rand.Rand
	cfg    cluster.Config     // what is in it
	spare  []peercatalog.Peer // what may come

	version int // of the directory that a link leads to

	mu    sync.Mutex // guards valid
	valid map[string]bool
}

func (f *changingFile) path() string { return filepath.Join(f.dir, "Config.json") }

func (f *changingFile) in(name string) string { return filepath.Join(f.dir, name) }

func (f *changingFile) do(errs ...error) {
	f.t.Helper()
	for _, err := range errs {
		if err != nil {
			f.t.Fatal(err)
		}
	}
}

// asText tells one list of peers from another.
func asText(t testing.TB, peers []peercatalog.Peer) string {
	peers = slices.SortedFunc(slices.Values(peers), func(a, b peercatalog.Peer) int { return a.ID - b.ID })
	data, err := json.Marshal(cluster.Config{Peers: peers})
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

// alter draws another list of servers, of which those that run stay where they are.
func (f *changingFile) alter() {
	peers := slices.Clone(f.cfg.Peers)
	for range 1 + f.random.IntN(3) {
		if at := f.random.IntN(loadedServers + coming); at < loadedServers {
			// What the links do not depend on.
			peers[at].Extra = map[string]json.RawMessage{"weight": json.RawMessage(fmt.Sprint(f.random.IntN(1000)))}
			continue
		}
		p := f.spare[f.random.IntN(coming)]
		at := slices.IndexFunc(peers, func(q peercatalog.Peer) bool { return q.ID == p.ID })
		switch {
		case at < 0:
			p.Observer = f.random.IntN(2) == 0
			peers = append(peers, p)
		case f.random.IntN(2) == 0:
			peers = slices.Delete(peers, at, at+1)
		default:
			peers[at].Observer = !peers[at].Observer
			peers[at].Extra = map[string]json.RawMessage{"weight": json.RawMessage(fmt.Sprint(f.random.IntN(1000)))}
		}
	}
	f.cfg.Peers = peers
	f.mu.Lock()
	f.valid[asText(f.t, peers)] = true
	f.mu.Unlock()
}

// put writes text in one of the ways in which files are changed, and returns which.
func (f *changingFile) put(text []byte) string {
	f.t.Helper()
	switch f.random.IntN(3) {
	case 0:
		f.do(os.WriteFile(f.in("tmp"), text, 0o644), os.Rename(f.in("tmp"), f.path()))
		return "another takes its place"
	case 1:
		file, err := os.Create(f.path())
		f.do(err)
		for len(text) > 0 {
			n := min(len(text), 1+f.random.IntN(len(text)+100))
			_, err := file.Write(text[:n])
			f.do(err)
			if text = text[n:]; len(text) > 0 {
				time.Sleep(time.Duration(f.random.IntN(100)) * time.Millisecond) // as a slow writer does
			}
		}
		f.do(file.Close())
		return "it is written in place"
	}
	old := f.in(fmt.Sprintf("..%d", f.version))
	f.version++
	name := fmt.Sprintf("..%d", f.version)
	f.do(os.Mkdir(f.in(name), 0o755), os.WriteFile(filepath.Join(f.in(name), "Config.json"), text, 0o644))
	f.do(os.Symlink(name, f.in("..tmp")), os.Rename(f.in("..tmp"), f.in("..data")))
	if target, err := os.Readlink(f.path()); err != nil || target != "..data/Config.json" {
		f.do(os.Symlink("..data/Config.json", f.in("tmp")), os.Rename(f.in("tmp"), f.path()))
	}
	f.do(os.RemoveAll(old))
	return "a link is turned elsewhere"
}

// garbage is what must never take effect.
func (f *changingFile) garbage() []byte {
	text, err := json.Marshal(f.cfg)
	f.do(err)
	switch f.random.IntN(5) {
	case 0:
		return text[:f.random.IntN(len(text))]
	case 1:
		b := make([]byte, 100)
		for i := range b {
			b[i] = byte(f.random.Uint32())
		}
		return b
	case 2: // bare entries, of which some are missing
		var b bytes.Buffer
		for _, p := range f.cfg.Peers[:1+f.random.IntN(len(f.cfg.Peers))] {
			fmt.Fprintf(&b, "{\"id\": %d, \"address\": %q}\n", p.ID, p.Address)
		}
		return b.Bytes()
	case 3: // one of the running servers is missing
		cfg := f.cfg
		cfg.Peers = slices.Delete(slices.Clone(cfg.Peers), 0, loadedServers)
		text, err := json.Marshal(cfg)
		f.do(err)
		return text
	}
	return bytes.Replace(text, []byte(`"reload"`), []byte(`"relaod"`), 1)
}

// peersOf are the peers of a node, all as of one moment.
func peersOf(n *cluster.Node) (peers []peercatalog.Peer) {
	for c := n.Catalog(); ; peers = nil {
		version := c.Version()
		for _, id := range c.IDs() {
			p, _ := c.Get(id)
			peers = append(peers, p)
		}
		if c.Version() == version {
			return peers
		}
	}
}

// guard checks every state of the catalogue of n until stop is closed.
func (f *changingFile) guard(n *cluster.Node, stop <-chan struct{}) {
	for {
		changed := n.Catalog().Changed()
		now := asText(f.t, peersOf(n))
		f.mu.Lock()
		valid := f.valid[now]
		f.mu.Unlock()
		if !valid {
			f.t.Errorf("server %d has made this take effect: %s", n.Pid(), now)
		}
		select {
		case <-changed:
		case <-stop:
			return
		}
	}
}

// takesEffect waits until all nodes have what the file has, and returns how long that took.
func (f *changingFile) takesEffect(nodes []*cluster.Node, how string) time.Duration {
	f.t.Helper()
	start, want := time.Now(), asText(f.t, f.cfg.Peers)
	for _, n := range nodes {
		for deadline := time.After(testcluster.Limit); ; {
			changed := n.Catalog().Changed()
			if asText(f.t, peersOf(n)) == want {
				break
			}
			select {
			case <-changed:
			case <-deadline:
				f.t.Fatalf("%s: server %d does not follow: %v", how, n.Pid(), n.Stats().Reload)
			}
		}
	}
	return time.Since(start)
}

// startLoaded starts the running servers, and lets each send to all others.
func (f *changingFile) startLoaded() (nodes []*cluster.Node, traffic []*testcluster.Traffic, readers []*testcluster.Reader) {
	for id := range loadedServers {
		cfg, err := cluster.LoadConfig(f.path())
		f.do(err)
		n := testcluster.Join(f.t, id, cfg)
		nodes, traffic, readers = append(nodes, n), append(traffic, testcluster.NewTraffic(n)), append(readers, testcluster.ReadAll(n))
	}
	for id, tr := range traffic {
		to := slices.DeleteFunc([]int{0, 1, 2, 3, 4}, func(other int) bool { return other == id })
		tr.Send(to, 0, 64, 2*time.Millisecond)
		f.t.Cleanup(tr.Halt)
	}
	return nodes, traffic, readers
}

// Whatever happens to the file, each change takes effect, no garbage does, and servers that stay where they are lose
// nothing of what they send one another.
func TestRandomChangesOfTheFileOfALoadedCluster(t *testing.T) {
	t.Parallel() // it waits more than it works
	changes := 20
	if *reloadLong {
		changes = 100
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	all := testcluster.Config(t, "tcp", loadedServers+coming)
	f := &changingFile{t: t, dir: t.TempDir(), random: rand.New(rand.NewPCG(seed, 1)), spare: all.Peers[loadedServers:], valid: map[string]bool{}}
	f.cfg = cluster.Config{Peers: slices.Clone(all.Peers[:loadedServers]), Reload: true}
	f.alter()
	text, err := json.Marshal(f.cfg)
	f.do(err, os.WriteFile(f.path(), text, 0o644))
	nodes, traffic, readers := f.startLoaded()
	stop := make(chan struct{})
	var guards sync.WaitGroup
	for _, n := range nodes {
		guards.Go(func() { f.guard(n, stop) })
	}
	defer guards.Wait()
	defer close(stop)
	var took []time.Duration
	for i := range changes {
		if f.random.IntN(3) == 0 {
			f.put(f.garbage())
			time.Sleep(time.Duration(f.random.IntN(500)) * time.Millisecond) // it may count by then, or not
		}
		f.alter()
		text, err := json.Marshal(f.cfg)
		f.do(err)
		how := f.put(text)
		took = append(took, f.takesEffect(nodes, fmt.Sprintf("change %d: %s", i, how)))
	}
	slices.Sort(took)
	t.Logf("%d changes took effect everywhere after %v at the median, %v at most", changes, took[changes/2], took[changes-1])
	if *reloadLong && took[changes-1] > slowestForLong {
		t.Errorf("the slowest change took %v, want at most %v", took[changes-1], slowestForLong)
	}
	f.nothingMissing(nodes, traffic, readers)
}

// nothingMissing ends the traffic, and checks that all of it has arrived.
func (f *changingFile) nothingMissing(nodes []*cluster.Node, traffic []*testcluster.Traffic, readers []*testcluster.Reader) {
	f.t.Helper()
	for _, tr := range traffic {
		tr.Halt()
	}
	for from, tr := range traffic {
		for to, r := range readers {
			if to == from {
				continue
			}
			want, who := tr.Number(to)-1, fmt.Sprintf("from %d to %d", from, to)
			testcluster.Eventually(f.t, "all arrives "+who, func() bool { return r.Tally(from).Last() == want })
			r.Tally(from).CheckAll(f.t, who, want)
			if want < 100 {
				f.t.Errorf("only %d messages went %s: that is no load", want, who)
			}
		}
	}
	for _, n := range nodes {
		s := n.Stats()
		for _, p := range s.Peers {
			if p.ID < loadedServers && (len(p.Sent.Dropped) > 0 || p.Received.Lost > 0 || len(p.Received.Refused) > 0) {
				f.t.Errorf("server %d and %d: dropped %v, lost %d, refused %v", n.Pid(), p.ID, p.Sent.Dropped, p.Received.Lost, p.Received.Refused)
			}
		}
		if text := s.Reload.String(); s.Reload.Generation == 0 || strings.Contains(text, "not in effect") {
			f.t.Errorf("server %d: %s", n.Pid(), text)
		}
	}
}
