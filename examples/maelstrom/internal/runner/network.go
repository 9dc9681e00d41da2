package runner

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"sync"
	"time"
)

// A message is one line of the protocol.
type message struct {
	Src  string          `json:"src"`
	Dest string          `json:"dest"`
	Body json.RawMessage `json:"body"`
}

// network carries messages between servers and clients.
type network struct {
	run   *run
	nodes map[string]*node // complete when start has returned; before, mu guards it

	mu      sync.Mutex // guards what follows
	clients map[string]*client
	paths   map[[2]string]*rand.Rand // what is drawn for messages from one server to another
	part    map[string]bool          // the servers of one of two parts; nil: they are whole
	calmed  bool                     // no faults any more
	stopped bool
}

func newNetwork(r *run) *network {
	n := &network{run: r, nodes: make(map[string]*node), clients: make(map[string]*client), paths: make(map[[2]string]*rand.Rand)}
	for i, from := range r.names {
		for j, to := range r.names {
			n.paths[[2]string{from, to}] = r.chance("path", i*len(r.names)+j)
		}
	}
	return n
}

// start starts the servers.
func (n *network) start() error {
	for _, name := range n.run.names {
		p, err := startNode(n, name)
		if err != nil {
			return err
		}
		n.mu.Lock()
		n.nodes[name] = p
		n.mu.Unlock()
	}
	return nil
}

// stop ends the servers, and waits for them.
func (n *network) stop() {
	n.mu.Lock()
	n.stopped = true
	n.mu.Unlock()
	for _, p := range n.nodes {
		p.end()
	}
	for _, p := range n.nodes {
		p.wait()
	}
}

// client makes a client.
func (n *network) client(name string) *client {
	c := &client{name: name, net: n, calls: make(map[int64]*call)}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clients[name] = c
	return c
}

// fromNode carries a message that a server has written. It has been checked.
func (n *network) fromNode(m message) {
	n.mu.Lock()
	c, to := n.clients[m.Dest], n.nodes[m.Dest]
	if c != nil {
		n.mu.Unlock()
		c.receive(m)
		return
	}
	delay, lost := n.draw(m)
	n.mu.Unlock()
	n.run.noteMessage(lost)
	if lost {
		return
	}
	time.AfterFunc(delay, func() { to.send(m) }) // A server that has ended takes nothing.
}

// draw says what becomes of a message between servers. The caller holds mu.
func (n *network) draw(m message) (delay time.Duration, lost bool) {
	// All is drawn for each message, so that what is drawn for the next does not depend on what becomes of this one.
	chance := n.paths[[2]string{m.Src, m.Dest}]
	wait, luck := chance.ExpFloat64(), chance.Float64()
	if n.calmed {
		return 0, false
	}
	cut := n.part != nil && n.part[m.Src] != n.part[m.Dest]
	return time.Duration(wait * float64(n.run.cfg.Latency)), cut || luck < n.run.cfg.Loss
}

func (r *run) noteMessage(lost bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Messages++
	if lost {
		r.report.Lost++
	}
}

// divide parts the servers and makes them whole, in turn, until the context ends.
func (n *network) divide(ctx context.Context) {
	chance, names := n.run.chance("partitions", 0), n.run.names
	if n.run.cfg.Partition == 0 || len(names) < 2 {
		return
	}
	for {
		sleep(ctx, n.run.cfg.Partition)
		if ctx.Err() != nil {
			return
		}
		part := make(map[string]bool)
		for _, i := range chance.Perm(len(names))[:1+chance.IntN(len(names)-1)] {
			part[names[i]] = true
		}
		n.mu.Lock()
		n.part = part
		n.mu.Unlock()
		n.run.mu.Lock()
		n.run.report.Partitions++
		n.run.mu.Unlock()
		sleep(ctx, n.run.cfg.Partition)
		n.mu.Lock()
		n.part = nil
		n.mu.Unlock()
	}
}

// calm ends all faults.
func (n *network) calm() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calmed = true
}

// ending reports whether the servers are to end.
func (n *network) ending() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stopped
}

// knows reports whether there is a server or a client of that name.
func (n *network) knows(name string) (isNode, isClient bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.nodes[name] != nil, n.clients[name] != nil
}
