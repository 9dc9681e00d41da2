package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/catalog/etcd"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// catalogue is what the node knows.
func catalogue(n *cluster.Node) (peers []peercatalog.Peer) {
	for _, id := range n.Catalog().IDs() {
		if p, ok := n.Catalog().Get(id); ok {
			peers = append(peers, p)
		}
	}
	return peers
}

// equal waits until all nodes know what is in etcd.
func equal(t testing.TB, nodes []*cluster.Node, want []peercatalog.Peer) {
	t.Helper()
	for _, n := range nodes {
		eventually(t, func() string {
			diff := cmp.Diff(want, catalogue(n))
			return missing(diff == "", "server %d has what is in etcd, -want +got:\n%s\n%+v", n.Pid(), diff, n.Stats().Reload)
		})
		eventually(t, func() string {
			err := n.Stats().Reload.Error
			return missing(err == "", "server %d has no error: %s", n.Pid(), err)
		})
	}
}

// members joins and starts n servers, each with a client and a way of its own.
func members(t testing.TB, s *server, addresses []string, opts etcd.Options) (nodes []*cluster.Node, ways []*way) {
	t.Helper()
	for _, address := range addresses {
		w := s.way()
		of := store(t, w.client(clientv3.Config{}), "demo", opts)
		id := join(t, of, peercatalog.Peer{Address: address})
		nodes = append(nodes, testcluster.Join(t, id, cluster.Config{Cluster: "demo", Source: of, Logger: quiet}))
		ways = append(ways, w)
	}
	return nodes, ways
}

// A changer makes random changes that leave the first servers where they are.
type changer struct {
	t     testing.TB
	rand  *rand.Rand
	least int // ids from here on come and go
	next  int
}

func (c *changer) change(s *etcd.Store) {
	c.t.Helper()
	var there []int
	for _, p := range load(c.t, s) {
		if p.ID >= c.least {
			there = append(there, p.ID)
		}
	}
	c.next++
	other := func() int { return there[c.rand.IntN(len(there))] }
	var err error
	switch choice := c.rand.IntN(10); {
	case len(there) < 3 || choice < 3:
		_, err = s.Join(within(c.t), peercatalog.Peer{Address: fmt.Sprintf("mem://guest/%d", c.next)})
	case choice < 5:
		err = s.Leave(within(c.t), other())
	case choice < 8:
		err = s.Update(within(c.t), other(), func(p *peercatalog.Peer) error {
			p.Address = fmt.Sprintf("mem://guest/%d", c.next)
			return nil
		})
	default:
		err = s.Update(within(c.t), c.rand.IntN(c.least), func(p *peercatalog.Peer) error {
			p.Extra = map[string]json.RawMessage{"change": json.RawMessage(fmt.Sprint(c.next))}
			return nil
		})
	}
	if err != nil {
		c.t.Fatalf("change %d: %v", c.next, err)
	}
}

func TestFiveServersFollowAHundredChangesARestartACompactionAndTheAbsenceOfEtcd(t *testing.T) {
	away := 3 * time.Second
	if *long {
		away = time.Minute
	}
	s := newServer(t, nil)
	// Nothing but the watches tells of changes.
	nodes, ways := members(t, s, testcluster.Addresses(t, "mem", 5), etcd.Options{Reconcile: -1})
	operator := store(t, s.client(), "demo", etcd.Options{})
	began := time.Now()
	passed := func(what string) { t.Logf("%s: %v", what, time.Since(began).Round(10*time.Millisecond)) }
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	c := &changer{t: t, rand: rand.New(rand.NewPCG(seed, 0)), least: 5, next: 0}
	changes := func(until int) {
		for c.next < until {
			c.change(operator)
		}
	}
	changes(20)
	equal(t, nodes, load(t, operator))
	passed("after changes")

	s.stop()
	s.start()
	operator = store(t, s.client(), "demo", etcd.Options{})
	changes(40)
	equal(t, nodes, load(t, operator))
	passed("after a restart")

	for _, w := range ways {
		w.sever()
	}
	changes(60)
	compact(t, s)
	for _, w := range ways {
		w.mend()
	}
	changes(70)
	equal(t, nodes, load(t, operator))
	passed("after a compaction")

	was := load(t, operator)
	s.stop()
	for end := time.Now().Add(away); time.Now().Before(end); {
		for i, n := range nodes {
			to := nodes[(i+1)%len(nodes)]
			testcluster.Put(t, n, &cluster.Envelope{Pid: to.Pid(), Msg: "still here"})
			testcluster.Take(t, to)
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, n := range nodes {
		if diff := cmp.Diff(was, catalogue(n)); diff != "" {
			t.Errorf("without etcd server %d has other servers, -want +got:\n%s", n.Pid(), diff)
		}
	}
	s.start()
	operator = store(t, s.client(), "demo", etcd.Options{})
	changes(100)
	equal(t, nodes, load(t, operator))
	passed("after an absence")
}

// compact makes etcd forget all revisions but the present one.
func compact(t testing.TB, s *server) {
	t.Helper()
	c := s.client()
	r, err := c.Get(within(t), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Compact(within(t), r.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

func TestAWatchGoesOnThoughWhatItHasMissedWasCompacted(t *testing.T) {
	s := newServer(t, nil)
	w, operator := s.way(), store(t, s.client(), "demo", etcd.Options{})
	join(t, operator, at(0))
	ctx, cancel := context.WithCancel(within(t))
	changed, ended := make(chan struct{}, 1), make(chan error, 1)
	watching := store(t, w.client(clientv3.Config{}), "demo", etcd.Options{Reconcile: -1})
	go func() { // It ends with ctx, and is waited for below.
		ended <- watching.Watch(ctx, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	}()
	wait := func(what string) {
		t.Helper()
		select {
		case <-changed:
		case err := <-ended:
			t.Fatalf("%s: Watch has ended: %v", what, err)
		case <-ctx.Done():
			t.Fatalf("%s: changed was not called", what)
		}
	}
	wait("at first")
	w.sever()
	for i := range 10 {
		join(t, operator, at(i+1))
	}
	compact(t, s)
	w.mend()
	wait("after the compaction")
	join(t, operator, at(11))
	wait("after one more change")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch: %v", err)
	}
}

// What a watch does not tell of, a look now and then finds; so does it that etcd is away.
func TestWithoutEventsALookNowAndThenFindsChangesAndWhetherEtcdIsThere(t *testing.T) {
	s := newServer(t, nil)
	nodes, ways := members(t, s, testcluster.Addresses(t, "mem", 1), etcd.Options{Reconcile: 50 * time.Millisecond, Timeout: time.Second})
	n := nodes[0]
	for range 2 {
		ways[0].sever()
		eventually(t, func() string {
			got := n.Stats().Reload.Error
			return missing(strings.Contains(got, "etcd /cluster/demo: etcd: reading /cluster/demo/peers/"), "Stats say that etcd cannot be read, got %q", got)
		})
		ways[0].mend()
		equal(t, nodes, load(t, store(t, s.client(), "demo", etcd.Options{})))
	}
	calls := 0
	ctx, cancel := context.WithCancel(within(t))
	err := store(t, s.client(), "demo", etcd.Options{Reconcile: 10 * time.Millisecond}).Watch(ctx, func() {
		if calls++; calls == 5 {
			cancel()
		}
	})
	if calls < 5 || ctx.Err() == nil {
		t.Errorf("Watch has called changed %d times: %v", calls, err)
	}
}

func TestAFaultyEntryChangesNothingUntilItIsRight(t *testing.T) {
	s := newServer(t, nil)
	nodes, _ := members(t, s, testcluster.Addresses(t, "mem", 2), etcd.Options{})
	c := s.client()
	operator := store(t, c, "demo", etcd.Options{})
	was := load(t, operator)
	equal(t, nodes, was)
	for _, f := range []struct{ name, key, value, want string }{
		{"garbage", "7", "garbage", "/cluster/demo/peers/7: the value is not valid JSON"},
		{"no entry", "7", "3", "/cluster/demo/peers/7: the entry, as one of a configuration:"},
		{"no address", "7", `{"id": 7}`, "address is missing"},
		{"an unusable address", "7", `{"id": 7, "address": "here"}`, "no port"},
		{"an id that is not the key's", "7", `{"id": 8, "address": "mem://x"}`, "the entry has the id 8"},
		{"two entries", "7", `{"id": 7, "address": "mem://x"}, {"id": 8, "address": "mem://y"}`, "not valid JSON"},
		{"a slip", "7", `{"id": 7, "adress": "mem://x"}`, `"address"`},
		{"a key that is no id", "seven", `{"id": 7, "address": "mem://x"}`, `/cluster/demo/peers/seven: the key ends with "seven"`},
		{"an id spelt in another way", "07", `{"id": 7, "address": "mem://x"}`, `the key ends with "07"`},
		{"an id out of range", "65536", `{"id": 65536, "address": "mem://x"}`, "want an id from 0 to 65535"},
		{"the address of another", "7", entry(t, peercatalog.Peer{ID: 7, Address: was[0].Address}), "is also that of peer 0"},
		{"another address of the running server", "0", `{"id": 0, "address": "mem://elsewhere"}`, "this is the running server itself"},
	} {
		t.Run(f.name, func(t *testing.T) {
			key := "/cluster/demo/peers/" + f.key
			put(t, c, key, f.value)
			eventually(t, func() string {
				got := nodes[0].Stats().Reload.Error
				return missing(strings.Contains(got, f.want), "Stats tell of %q, got %q", f.want, got)
			})
			if diff := cmp.Diff(was, catalogue(nodes[0])); diff != "" {
				t.Errorf("something has taken effect, -want +got:\n%s", diff)
			}
			if f.key == "0" {
				put(t, c, key, entry(t, was[0]))
			} else if _, err := c.Delete(within(t), key); err != nil {
				t.Fatal(err)
			}
			equal(t, nodes, was)
		})
	}
}

func TestAServerJoinsIsHeardMovesAndLeaves(t *testing.T) {
	s := newServer(t, nil)
	addresses := testcluster.Addresses(t, "tcp", 5)
	nodes, _ := members(t, s, addresses[:3], etcd.Options{})
	operator := store(t, s.client(), "demo", etcd.Options{})
	equal(t, nodes, load(t, operator))
	talk := func(when string, from, to *cluster.Node) {
		t.Helper()
		testcluster.Put(t, from, &cluster.Envelope{Pid: to.Pid(), Msg: when})
		if e := testcluster.Take(t, to); e.Msg != when || e.Pid != from.Pid() {
			t.Errorf("%s: %v from %d", when, e.Msg, e.Pid)
		}
	}
	fourth, err := operator.Join(within(t), peercatalog.Peer{Address: addresses[3]})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, nodes, load(t, operator))
	start := func() *cluster.Node {
		return testcluster.Join(t, fourth, cluster.Config{Cluster: "demo", Source: store(t, s.client(), "demo", etcd.Options{}), Logger: quiet})
	}
	n := start()
	talk("joined", n, nodes[0])
	talk("heard", nodes[0], n)
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if err := operator.Update(within(t), fourth, func(p *peercatalog.Peer) error { p.Address = addresses[4]; return nil }); err != nil {
		t.Fatal(err)
	}
	equal(t, nodes, load(t, operator))
	n = start()
	talk("moved", nodes[1], n)
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if err := operator.Leave(within(t), fourth); err != nil {
		t.Fatal(err)
	}
	equal(t, nodes, load(t, operator))
	if peers := nodes[0].Peers(); !slices.Equal(peers, []int{1, 2}) {
		t.Errorf("the others of server 0 are %v", peers)
	}
}

func TestAKeyIsChangedByEtcdWhileServersRun(t *testing.T) {
	s := newServer(t, nil)
	operator := store(t, s.client(), "demo", etcd.Options{})
	cfg := testcluster.Keyed(t, testcluster.Config(t, "tcp", 2))
	for _, p := range cfg.Peers {
		join(t, operator, p)
	}
	if _, err := operator.Join(within(t), peercatalog.Peer{Address: "127.0.0.1:1"}); err == nil || !strings.Contains(err.Error(), "public_key is missing") {
		t.Errorf("a server without a key: %v", err)
	}
	start := func(id int) *cluster.Node {
		return testcluster.Join(t, id, cluster.Config{KeyDir: cfg.KeyDir, Source: store(t, s.client(), "demo", etcd.Options{}), Logger: quiet})
	}
	n, turning := start(0), start(1)
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
	talk("with the old key")
	secret := testcluster.KeyPath(cfg, 1)
	next := testcluster.WriteKey(t, secret+".new")
	update := func(change func(p *peercatalog.Peer)) {
		t.Helper()
		if err := operator.Update(within(t), 1, func(p *peercatalog.Peer) error { change(p); return nil }); err != nil {
			t.Fatal(err)
		}
		equal(t, []*cluster.Node{n, turning}, load(t, operator))
	}
	update(func(p *peercatalog.Peer) { p.PublicKey, p.PreviousPublicKey = next, p.PublicKey })
	talk("with both listed")
	if err := turning.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(secret+".new", secret); err != nil {
		t.Fatal(err)
	}
	turning = start(1)
	talk("with the new key")
	update(func(p *peercatalog.Peer) { p.PreviousPublicKey = "" })
	talk("with the new key alone")
}
