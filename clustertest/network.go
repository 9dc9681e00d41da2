// Package clustertest helps to test programs that are built on cluster.
//
// A [Network] joins real nodes inside one process and disturbs what they send:
// partitions, loss, delay, reordering, duplicates, slow links, crashes and stalled
// servers. In a bubble of testing/synctest an hour of that takes a second, and the
// same seed makes the same decisions. What happened can be drawn: see
// [Network.SavePage] and [Network.Mermaid].
//
// A [History] tells whether what was received is what was sent. [TestServer] holds
// anything that behaves like a node against the rules of package cluster.
// [StartLocal] starts nodes over TCP on free ports of this machine.
//
// docs/testing.md in the repository begins with a partition test from nothing.
package clustertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/transport/mem"
	"github.com/abhishekg16/cluster/peercatalog"
)

// A Network joins the servers 0 to n-1 of a cluster inside this process. They are
// nodes like any other, with the same encoding, queues, limits and counters; only
// what carries their frames is different.
//
// It carries messages one by one. What becomes of each is drawn from the seed, the
// two servers, and the number of the message in the stream between them; so as long
// as the program sends the same, it is the same in each run. For that a program has
// to run in a bubble of testing/synctest, where things happen at exact times, and
// has to be deterministic itself: iterating over a map, or choosing between two
// channels that are both ready, is not.
//
// Nothing is disturbed at first, but messages take from one to two milliseconds. So
// no two arrive at the very same moment, which would leave their order to chance.
//
// All methods may be called concurrently.
type Network struct {
	t     testing.TB
	seed  uint64
	size  int
	name  string
	start time.Time
	rand  *rand.Rand

	mu      sync.Mutex // guards what follows
	nodes   map[int]*cluster.Node
	configs map[int]cluster.Config // with which servers were started last
	lives   map[life]int           // how many lives a server had when this one was first heard
	born    map[int]int            // lives heard so far, by server
	dead    map[int]bool
	paused  map[int]bool
	group   map[int]int // of the partition, by server; nil: none
	faults  map[Link]Faults
	watcher func(Message) Verdict
	paths   map[Link]*path
	held    []*parcel // by the watcher, the oldest first
	events  []Event
	ended   bool
}

// A life is one incarnation of a server.
type life struct {
	id          int
	incarnation uint64
}

var networks atomic.Int64

// NewNetwork makes a network of n servers for one test. All nodes that are still
// running when the test ends are closed. If the test has failed, the seed and the
// last events are logged.
//
// Where there is no test, as in a program that shows something, t is nil: then Close
// ends the network, and what would end a test panics.
func NewNetwork(t testing.TB, seed uint64, n int) *Network {
	if t == nil {
		t = new(program)
	}
	t.Helper()
	if n < 1 {
		t.Fatalf("clustertest: NewNetwork: %d servers: want at least 1", n)
	}
	net := &Network{
		t: t, seed: seed, size: n,
		name:    fmt.Sprintf("clustertest%d", networks.Add(1)),
		start:   time.Now(),
		rand:    rand.New(rand.NewPCG(seed, 1)),
		nodes:   make(map[int]*cluster.Node),
		configs: make(map[int]cluster.Config),
		lives:   make(map[life]int),
		born:    make(map[int]int),
		dead:    make(map[int]bool),
		paused:  make(map[int]bool),
		faults:  map[Link]Faults{{Any, Any}: {}},
		paths:   make(map[Link]*path),
	}
	forget := (&mem.Network{Carrier: carrier{net}}).Name(net.name)
	t.Cleanup(func() {
		net.end()
		forget()
		if t.Failed() {
			t.Logf("clustertest: the seed was %d; the last events:\n%s", seed, net.tail(40))
		}
	})
	return net
}

// Config is the configuration of the servers. What it leaves at zero may be set before
// it is given to StartWith. It may also be given to cluster.NewFromConfig: such a node
// takes part, but the network does not close it, and Crash and Node do not know it.
func (n *Network) Config() cluster.Config {
	cfg := cluster.Config{Cluster: n.name}
	for id := range n.size {
		cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: id, Address: fmt.Sprintf("mem://%s/%d", n.name, id)})
	}
	return cfg
}

// Start starts servers, all if no ids are given, and returns them in the same
// order. It ends the test if one cannot be started.
func (n *Network) Start(ids ...int) []*cluster.Node {
	n.t.Helper()
	if ids == nil {
		for id := range n.size {
			ids = append(ids, id)
		}
	}
	var nodes []*cluster.Node
	for _, id := range ids {
		nodes = append(nodes, n.StartWith(id, n.Config()))
	}
	return nodes
}

// StartWith starts one server with a configuration that is that of Config but for
// its limits. It ends the test if the server cannot be started.
func (n *Network) StartWith(id int, cfg cluster.Config) *cluster.Node {
	n.t.Helper()
	if err := n.checkIDs(id); err != nil {
		n.t.Fatalf("clustertest: Start: %v", err)
	}
	n.mu.Lock()
	again := n.dead[id]
	delete(n.dead, id)
	n.mu.Unlock()
	node, err := cluster.NewFromConfig(id, cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended { // meanwhile, so nobody else closes it
		defer kill(node)
		return node
	}
	n.nodes[id], n.configs[id] = node, cfg
	if again {
		n.note(Event{Kind: Restarted, From: id, To: id})
	}
	return node
}

// configOf is what a server was started with last.
func (n *Network) configOf(id int) cluster.Config {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.configs[id]
}

// Node is the running server with that id that Start or StartWith has started, or nil.
func (n *Network) Node(id int) *cluster.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	node := n.nodes[id]
	if node == nil {
		return nil
	}
	select {
	case <-node.Done():
		return nil
	default:
		return node
	}
}

// Crash ends a server as if its process was killed: what it had queued or not yet taken
// from its Inbox, and what is on its way to it, is gone. What it had sent goes on. Its
// Inbox and Done close, so what the test runs on the node ends as it does after Close;
// a send on its Outbox has to select on Done, as ever. Start starts it again, as a new
// incarnation. It is an error if the server does not run.
func (n *Network) Crash(id int) {
	n.t.Helper()
	if !n.wrong("Crash", n.checkIDs(id)) && !n.crash(id) {
		n.wrong("Crash", fmt.Errorf("server %d does not run", id))
	}
}

// crash reports whether the server was running.
func (n *Network) crash(id int) bool {
	n.mu.Lock()
	node, paused := n.nodes[id], n.paused[id]
	if node == nil {
		n.mu.Unlock()
		return false
	}
	delete(n.nodes, id)
	delete(n.paused, id)
	n.dead[id] = true
	n.note(Event{Kind: Crashed, From: id, To: id})
	for _, x := range n.held {
		if x.To == id {
			n.lost(x, "the receiver has crashed")
		}
	}
	n.held = slices.DeleteFunc(n.held, func(x *parcel) bool { return x.To == id })
	for l, p := range n.paths {
		switch {
		case l.To == id:
			p.clear(n, "the receiver has crashed")
		case l.From == id:
			p.forget(n)
			if paused {
				p.resume(n)
			}
		}
	}
	n.mu.Unlock()
	kill(node)
	for range node.Inbox() { // what was there is gone with the process
	}
	return true
}

// kill closes a node at once.
func kill(node *cluster.Node) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	node.Shutdown(ctx) // its error is that of ctx
}

// Rand is drawn from the seed, for what the test itself decides by chance. It is for one
// goroutine at a time.
func (n *Network) Rand() *rand.Rand { return n.rand }

// At calls f when so much time has passed since the network was made; not at all if
// the test has ended by then. What the program does at the very same moment comes
// before or after it by chance, so a time at which it does nothing is better.
func (n *Network) At(d time.Duration, f func()) {
	n.t.Helper()
	if f == nil {
		n.wrong("At", errors.New("the function is nil"))
		return
	}
	time.AfterFunc(time.Until(n.start.Add(d)), func() {
		n.mu.Lock()
		ended := n.ended
		n.mu.Unlock()
		if !ended {
			f()
		}
	})
}

// end closes the nodes and drops what is on its way.
func (n *Network) end() {
	n.mu.Lock()
	n.ended = true
	nodes := n.nodes
	n.nodes = make(map[int]*cluster.Node)
	for _, p := range n.paths {
		p.clear(n, "")
	}
	n.mu.Unlock()
	var all sync.WaitGroup
	for _, node := range nodes {
		all.Go(func() { kill(node) })
	}
	all.Wait()
}
