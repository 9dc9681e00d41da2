// Package clustertest helps to test programs that are built on cluster.
//
// A [Network] joins real nodes inside one process and disturbs what they send:
// partitions, loss, delay, reordering, duplicates, slow links, crashes and stalled
// servers. In a bubble of testing/synctest an hour of that takes a second, and the
// same seed makes the same decisions. What happened can be drawn: see
// [Network.SavePage] and [Network.Mermaid].
//
// What a broken connection has lost the nodes on a Network send again, as over TCP, and they confirm what they get: programs that use
// [cluster.Node.Deliver], [cluster.Node.SendUrgent] and [cluster.Node.Call] can be tested on it. What is lost
// by [Faults.Loss] does not come again.
//
// A [History] tells whether what was received is what was sent. [TestServer] holds
// anything that behaves like a node against the rules of package cluster.
// [StartLocal] starts nodes over TCP on free ports of this machine.
//
// docs/testing.md in the repository begins with a partition test from nothing.
package clustertest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/transport/mem"
	"github.com/abhishekg16/cluster/peercatalog"
)

// A Network joins the servers of a cluster inside this process. They are
// nodes like any other, with the same encoding, queues, limits and counters; only
// what carries their frames is different.
//
// It carries messages one by one. What becomes of each, and when, is drawn from the
// seed, the two servers, and the number of the message in the stream between them; so
// as long as the program sends the same, the fate and the time of the k-th message from
// one server to another are the same in each run, whatever the faults are, and so is
// the order of Events. Whether a node acknowledges with a frame of its own, or with a message, is
// left to the scheduler, and changes nothing of that: acknowledgments travel by themselves, and those of one moment
// as one. The numbers come from math/rand/v2's PCG, whose stream is the same in each
// version of Go.
//
// For that a program has to run in a bubble of testing/synctest, where things happen at
// exact times, and has to be deterministic itself: iterating over a map, or choosing
// between two channels that are both ready, is not. No two messages arrive at once: each
// comes a nanosecond after it is due, or a few where several are due together, in an order
// that the seed decides; and what one leads to is over before the next. What the program
// itself does at one moment on several goroutines, and what the test does to the network
// at the moment at which something is sent, are not put into order: let time pass
// between, or call synctest.Wait. A program that sends
// more than the queues on the way hold is paced by frames, and so not always in the same way.
//
// Nothing is disturbed at first, but messages take from one to two milliseconds. What one server
// sends to another goes through a connection, which behaves as one of ZeroMQ's over TCP: it stands
// after a handshake, breaks when its heartbeats get no answer or its other end has ended, and is made anew.
// So a peer that is cut off or paused is unreachable after at most four seconds and SendTimeout.
// docs/testing.md has the times, and what is different still.
//
// All methods may be called concurrently.
type Network struct {
	t     testing.TB
	seed  uint64
	ids   []int // of the servers, as the test gave them
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
	// Which servers listen, and how many times each has begun to: which life it is in, as
	// connections know it.
	listening map[int]bool
	births    map[int]int
	group     map[int]int     // of the partition, by server; nil: none
	faults    map[Link]Faults // that the test has set, by link of two servers
	drawn     map[Link]Faults // that Disturb has, on top of these
	watcher   func(Message) Verdict
	unjudged  sync.Once // a verdict of it was none
	paths     map[Link]*path
	mem       *mem.Network
	held      []*parcel // by the watcher, the oldest first
	words     []*parcel // on their way, in the order of arrival: see say
	events    []Event
	agenda    agenda
	ended     bool
	paced     bool // a sender had to wait for room on its path

	arrivals pathQueue
	arrived  time.Time // when a message last did
	armed    time.Time // when timer ends; zero: there is none
	timer    *time.Timer
}

// A life is one incarnation of a server.
type life struct {
	id          int
	incarnation uint64
}

var networks atomic.Int64

// NewNetwork makes a network of n servers with the ids 0 to n-1 for one test; where they
// have other ids see NewNetworkOf. All nodes that are still running when the test ends are
// closed. If the test has failed, the seed and the last events are logged.
//
// Where there is no test, as in a program that shows something, t is nil: then Close
// ends the network, and what would end a test panics.
func NewNetwork(t testing.TB, seed uint64, n int) *Network {
	if t == nil {
		t = new(program)
	}
	t.Helper()
	if n < 1 || n > math.MaxUint16+1 {
		t.Fatalf("clustertest: NewNetwork: %d servers: want 1 to %d", n, math.MaxUint16+1)
	}
	ids := make([]int, n)
	for id := range ids {
		ids[id] = id
	}
	return newNetwork(t, seed, ids)
}

// NewNetworkOf is NewNetwork for servers with these ids, each from 0 to 65535. Where all
// are meant, as by Start, it is in this order.
func NewNetworkOf(t testing.TB, seed uint64, ids ...int) *Network {
	if t == nil {
		t = new(program)
	}
	t.Helper()
	if len(ids) == 0 {
		t.Fatalf("clustertest: NewNetworkOf: no ids: want at least 1")
	}
	for i, id := range ids {
		switch {
		case id < 0 || id > math.MaxUint16:
			t.Fatalf("clustertest: NewNetworkOf: the id %d: want 0 to %d", id, math.MaxUint16)
		case slices.Contains(ids[:i], id):
			t.Fatalf("clustertest: NewNetworkOf: the id %d is given twice", id)
		}
	}
	return newNetwork(t, seed, slices.Clone(ids))
}

func newNetwork(t testing.TB, seed uint64, ids []int) *Network {
	t.Helper()
	net := &Network{
		t: t, seed: seed, ids: ids,
		name:      fmt.Sprintf("clustertest%d", networks.Add(1)),
		start:     time.Now(),
		rand:      rand.New(rand.NewPCG(seed, 1)),
		nodes:     make(map[int]*cluster.Node),
		configs:   make(map[int]cluster.Config),
		lives:     make(map[life]int),
		born:      make(map[int]int),
		dead:      make(map[int]bool),
		paused:    make(map[int]bool),
		listening: make(map[int]bool),
		births:    make(map[int]int),
		faults:    make(map[Link]Faults),
		drawn:     make(map[Link]Faults),
		paths:     make(map[Link]*path),
	}
	net.mem = &mem.Network{Carrier: carrier{net}}
	forget := net.mem.Name(net.name)
	t.Cleanup(func() {
		net.end()
		forget()
		if t.Failed() {
			t.Logf("clustertest: the seed was %d%s; the last events:\n%s", seed, net.replays(), net.tail(40))
		}
	})
	return net
}

// Config is the configuration of the servers. What it leaves at zero may be set before
// it is given to StartWith. It may also be given to cluster.NewFromConfig: such a node
// takes part, but the network does not close it, and Crash and Node do not know it.
func (n *Network) Config() cluster.Config {
	cfg := cluster.Config{Cluster: n.name}
	for _, id := range n.ids {
		cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: id, Address: n.address(id)})
	}
	return cfg
}

func (n *Network) address(id int) string { return fmt.Sprintf("mem://%s/%d", n.name, id) }

// idOf is the server whose address that is.
func (n *Network) idOf(endpoint string) (id int, ok bool) {
	id, err := strconv.Atoi(endpoint[strings.LastIndexByte(endpoint, '/')+1:])
	return id, err == nil && slices.Contains(n.ids, id)
}

// Start starts servers, all if no ids are given, and returns them in the same
// order: without ids in that of the network's. It ends the test if one cannot be started.
func (n *Network) Start(ids ...int) []*cluster.Node {
	n.t.Helper()
	if ids == nil {
		ids = n.ids
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
	if n.dead[id] {
		// Now, for others may send to it as soon as it listens.
		n.note(Event{Kind: Restarted, From: id, To: id})
		delete(n.dead, id)
	}
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
	n.lifeOf(life{id, node.Stats().Incarnation}) // also if nobody ever hears of it
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
// from its Inbox, and what is on its way to it, is gone. What it had sent goes on. Connections to
// it break at once, unless the path is cut, and others are refused until it is started again. Its
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
	node := n.nodes[id]
	if node == nil {
		n.mu.Unlock()
		return false
	}
	delete(n.nodes, id)
	n.dead[id] = true
	n.note(Event{Kind: Crashed, From: id, To: id})
	n.mu.Unlock()
	kill(node)
	for range node.Inbox() { // what was there is gone with the process
	}
	// Not before it has ended: others find room then, and whether they still reach it
	// would be left to chance.
	n.dropFor(id)
	return true
}

// dropFor drops what is on its way to a server that has crashed, and what goes no further.
func (n *Network) dropFor(id int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.paused, id)
	for _, x := range n.held {
		if x.To == id {
			n.lost(x, byCrash)
		}
	}
	n.held = slices.DeleteFunc(n.held, func(x *parcel) bool { return x.To == id })
	n.takeWords(func(l Link) bool { return l.To == id || l.From == id })
	for _, p := range n.sortedPaths() {
		switch id {
		case p.link.To:
			p.clear(n, byCrash)
		case p.link.From:
			p.forget(n)
		}
	}
	n.lookAll()
}

// byCrash is why what is on its way to a server is lost when that has crashed.
const byCrash = "the receiver has crashed"

// kill closes a node at once.
func kill(node *cluster.Node) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	node.Shutdown(ctx) // its error is that of ctx
}

// replays says if the seed may not make the same happen again.
func (n *Network) replays() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.paced {
		return " (a link was full, and made its sender wait: what leaves when is then up to the scheduler)"
	}
	return ""
}

// Rand is drawn from the seed, for what the test itself decides by chance. It is for one
// goroutine at a time.
func (n *Network) Rand() *rand.Rand { return n.rand }

// end closes the nodes and drops what is on its way.
func (n *Network) end() {
	n.mu.Lock()
	n.ended = true
	nodes := n.nodes
	n.nodes = make(map[int]*cluster.Node)
	for _, p := range n.paths {
		p.clear(n, "")
	}
	n.rearm()
	n.mu.Unlock()
	var all sync.WaitGroup
	for _, node := range nodes {
		all.Go(func() { kill(node) })
	}
	all.Wait()
}
