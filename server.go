package cluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
	"github.com/abhishekg16/cluster/peercatalog"
)

// Server is one member of a cluster, as the specification has it. *Node
// implements it.
type Server interface {
	// Pid is the id of this server.
	Pid() int
	// Peers lists the ids of the other servers of the cluster.
	Peers() []int
	// Outbox is the channel to put envelopes into that are to be sent.
	Outbox() chan *Envelope
	// Inbox is the channel to take received envelopes from.
	Inbox() chan *Envelope
}

// Node is a running server of a cluster. All its methods may be called
// concurrently, also after it has closed.
type Node struct {
	pid         int
	cfg         Config
	catalog     *peercatalog.Catalog
	journal     journal
	log         *slog.Logger // writes to journal
	cluster     uint64       // as frames name it
	incarnation uint64
	patience    time.Duration // how long a peer may take nothing before its link is down
	ids         messageIDs
	groups      groups
	outbox      chan *Envelope
	encoders    sync.Pool // of *encoder, for Send
	inbox       *inbox
	security    *transport.Security // nil: none
	listener    transport.Listener  // used by who has inbox.seat; others may only interrupt it

	unlist    func()        // set by New: the registry forgets this node
	closing   chan struct{} // closed when Shutdown begins
	cut       chan struct{} // closed when a Shutdown has waited long enough
	done      chan struct{} // closed when everything has ended
	pumped    chan struct{} // closed when all that Outbox had accepted is queued
	deserted  chan struct{} // closed when Outbox is read no more
	drained   chan struct{} // closed when the links have ended
	watched   chan struct{} // closed when the catalogue is watched no more
	heard     chan struct{} // closed when inbox.run has ended
	closeOnce sync.Once
	cutOnce   sync.Once

	mu          sync.Mutex // guards what follows; taken before a link's and after the inbox's
	links       map[int]*link
	ended       bool      // no more links
	deadline    time.Time // the earliest of all Shutdowns'; zero: none
	unaddressed sentBooks
	unsendables map[unsendable]bool // that were logged
}

// start makes the node of the server pid and sets it going. The configuration
// has been checked.
func start(pid int, cfg Config) (*Node, error) {
	catalog, err := peercatalog.New(cfg.Peers...)
	if err != nil {
		return nil, err
	}
	cfg.Peers = nil // the catalogue has them
	self, ok := catalog.Get(pid)
	if !ok {
		return nil, fmt.Errorf("%w: %s: no entry has the id %d; the ids are %v", ErrUnknownPeer, cfg.source(), pid, catalog.IDs())
	}
	journal := newJournal(cfg.Logger.Handler())
	n := &Node{
		pid:      pid,
		cfg:      cfg,
		catalog:  catalog,
		journal:  journal,
		log:      slog.New(journal).With("pid", pid),
		cluster:  wire.ClusterHash(cfg.Cluster),
		patience: cfg.SendTimeout,
		ids:      messageIDs{server: int64(pid)},
		outbox:   make(chan *Envelope, cfg.OutboxSize),
		closing:  make(chan struct{}),
		cut:      make(chan struct{}),
		done:     make(chan struct{}),
		pumped:   make(chan struct{}),
		deserted: make(chan struct{}),
		drained:  make(chan struct{}),
		watched:  make(chan struct{}),
		heard:    make(chan struct{}),
		links:    make(map[int]*link),

		unsendables: make(map[unsendable]bool),
	}
	if n.patience < 0 {
		n.patience = defaultSendTimeout
	}
	for n.incarnation == 0 {
		var b [8]byte
		rand.Read(b[:]) // never fails
		n.incarnation = binary.LittleEndian.Uint64(b[:])
	}
	if self.PublicKey != "" {
		s := &transport.Security{Admit: n.admit}
		if s.Public, s.Secret, err = cfg.secretKey(self); err != nil {
			return nil, fmt.Errorf("cluster: %s: %w", cfg.source(), err)
		}
		n.security = s
	}
	n.inbox = newInbox(n)
	endpoint := self.BindEndpoint()
	if n.listener, err = n.network(endpoint).Listen(endpoint, n.security, n.inbox.refuseHandshakes); err != nil {
		return nil, fmt.Errorf("cluster: %s: server %d cannot listen on %s: %w", cfg.source(), pid, endpoint, err)
	}
	go func() { // Shutdown halts the inbox, and waits for heard.
		defer close(n.heard)
		n.inbox.run(n.listener)
	}()
	go n.pump()  // Shutdown closes closing and drained, and waits for deserted.
	go n.watch() // Shutdown closes drained, and waits for watched.
	return n, nil
}

// Pid implements Server.
func (n *Node) Pid() int { return n.pid }

// Peers implements Server: the ids of the other servers, in order, as the
// catalogue has them now. The caller owns the slice.
func (n *Node) Peers() []int {
	return slices.DeleteFunc(n.catalog.IDs(), func(id int) bool { return id == n.pid })
}

// Outbox implements Server. Putting an envelope there hands it, and all that it
// points to, over to the node; see the package comment for what becomes of it.
// While the channel is full the sender waits.
//
// Closing the channel means that no more is to be sent: what it holds is sent,
// and the node goes on receiving. Once the node has closed, nobody reads the
// channel: a sender that may outlive the node selects on Done beside it.
func (n *Node) Outbox() chan *Envelope { return n.outbox }

// Inbox implements Server. It is closed when the node closes, so that a range
// over it ends; what it holds then can still be taken.
func (n *Node) Inbox() chan *Envelope { return n.inbox.c }

// Catalog returns the metastore from which this node takes its peers. A change
// to it, by Put, Create or Remove, counts from the next message on: a peer that
// was added can be sent to and is heard, one that was removed is not, and what
// was queued for it is dropped. It belongs to this node alone.
func (n *Node) Catalog() *peercatalog.Catalog { return n.catalog }

// Done returns a channel that is closed when the node has closed.
func (n *Node) Done() <-chan struct{} { return n.done }

// Close is Shutdown with the time limit of Config.Linger.
func (n *Node) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), max(0, n.cfg.Linger))
	defer cancel()
	if err := n.Shutdown(ctx); err != nil && n.cfg.Linger >= 0 {
		return fmt.Errorf("cluster: closing took longer than linger (%v), and what was not sent by then was dropped: %w", n.cfg.Linger, err)
	}
	return nil
}

// Shutdown closes the node. It takes no more envelopes, sends what is in Outbox
// and in its queues until ctx ends, closes Inbox, and returns when every
// goroutine and socket of the node is gone; only where ctx ended before may ZeroMQ
// keep a connection for two seconds more. Who is blocked on Outbox is let go.
//
// What was sent by then arrives even if the process exits next, provided that
// its peer lives. Messages that could not be sent when ctx ended are dropped,
// and counted as closed; the error is then that of ctx. Any number of calls may
// be made, and all wait for the same end; the earliest end of a context counts.
func (n *Node) Shutdown(ctx context.Context) error {
	deadline, _ := ctx.Deadline()
	n.mu.Lock()
	n.deadline = earliest(n.deadline, deadline)
	n.mu.Unlock()
	n.closeOnce.Do(func() {
		close(n.closing)
		go n.close() // It ends by itself once cut is closed; all calls wait for it.
	})
	select {
	case <-n.done:
		return nil
	default:
	}
	select {
	case <-n.done:
		return nil
	case <-ctx.Done():
	}
	n.cutOnce.Do(func() { close(n.cut) })
	<-n.done
	return ctx.Err()
}

// close ends all parts of the node, in the order of the flow of data.
func (n *Node) close() {
	defer close(n.done)
	<-n.pumped
	n.mu.Lock()
	n.ended = true
	n.mu.Unlock()
	n.eachLink((*link).finish)
	cutting := make(chan struct{})
	go func() { // It ends when the links have.
		defer close(cutting)
		select {
		case <-n.cut:
			n.eachLink((*link).abandon)
		case <-n.drained:
		}
	}()
	n.eachLink(func(l *link) { <-l.finished })
	close(n.drained)
	<-cutting
	<-n.deserted
	<-n.watched
	n.inbox.halt()
	<-n.heard
	n.inbox.close()
	if n.unlist != nil {
		n.unlist()
	}
	n.log.Info("cluster: closed")
	n.journal.flush()
}

// eachLink calls f for all links, one after the other.
func (n *Node) eachLink(f func(*link)) {
	n.mu.Lock()
	all := slices.Collect(maps.Values(n.links))
	n.mu.Unlock()
	for _, l := range all {
		f(l)
	}
}

// lingerLeft is how long a link that ends may wait for its connection to be
// flushed: as long as all Shutdowns have, and no longer than lingerMost.
func (n *Node) lingerLeft() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.deadline.IsZero() {
		return lingerMost
	}
	return min(time.Until(n.deadline), lingerMost)
}

// lingerMost is enough for the few frames that a connection holds to reach a
// peer that takes them.
const lingerMost = 2 * time.Second

// link returns the link to the peer id, and makes it at first use. If there is
// none it says why.
func (n *Node) link(id int) (*link, Reason) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.links[id]
	if l == nil {
		switch {
		case !n.catalog.Has(id):
			return nil, ReasonUnknownPeer
		case n.ended:
			return nil, ReasonClosed
		}
		l = newLink(n, id)
		n.links[id] = l
		n.follow(l)
		go l.run() // close finishes or abandons it, and waits for l.finished.
	} else {
		n.follow(l)
	}
	return l, 0
}

// follow tells the link where the catalogue has its peer now. The caller holds
// mu.
func (n *Node) follow(l *link) {
	version := n.catalog.Version()
	if l.version == version {
		return
	}
	l.version = version
	peer, _ := n.catalog.Get(l.id)
	l.redirect(peer.DialEndpoint(), peer.Keys())
}

// watch is the goroutine that makes the links follow each change of the
// catalogue.
func (n *Node) watch() {
	defer close(n.watched)
	for {
		changed := n.catalog.Changed()
		n.mu.Lock()
		for _, l := range n.links {
			n.follow(l)
		}
		n.mu.Unlock()
		select {
		case <-changed:
		case <-n.drained:
			return
		}
	}
}

// dial sets up the connection of a link.
func (n *Node) dial(id int, to target) (transport.Conn, error) {
	if id == n.pid {
		return loopback{n.inbox}, nil
	}
	return n.network(to.endpoint).Dial(to.endpoint, n.security, to.key)
}

// encrypts reports whether what goes to and comes from the server id is encrypted.
func (n *Node) encrypts(id int) bool { return n.security != nil && id != n.pid }

// admit reports whether the owner of a public key may connect.
func (n *Node) admit(publicKey string) bool {
	if _, ok := n.catalog.Owner(publicKey); ok {
		return true
	}
	n.inbox.refuse(nobody, RefusedKey, fmt.Errorf("no peer has the public key %q", publicKey))
	return false
}

// linkIfAny returns the link to the peer id if there is one.
func (n *Node) linkIfAny(id int) *link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.links[id]
}

// Stats returns a copy of the node's counters.
func (n *Node) Stats() Stats {
	s := Stats{Pid: n.pid, Incarnation: n.incarnation, OutboxLen: len(n.outbox), InboxLen: len(n.inbox.c)}
	peers := make(map[int]*PeerStats)
	peer := func(id int) *PeerStats {
		if peers[id] == nil {
			peers[id] = &PeerStats{ID: id, Encrypted: n.encrypts(id)}
		}
		return peers[id]
	}
	for _, id := range n.Peers() {
		peer(id)
	}
	n.mu.Lock()
	s.Unaddressed = n.unaddressed.stats()
	n.mu.Unlock()
	n.eachLink(func(l *link) { l.addTo(peer(l.id)) })
	s.Refused = n.inbox.addTo(peer)
	s.Sent.add(s.Unaddressed)
	for r, c := range s.Refused {
		s.Received.Refused = count(s.Received.Refused, r, c)
	}
	for _, id := range slices.Sorted(maps.Keys(peers)) {
		s.Peers = append(s.Peers, *peers[id])
		s.Sent.add(peers[id].Sent)
		s.Received.add(peers[id].Received)
	}
	return s
}
