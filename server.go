package cluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/abhishekg16/cluster/internal/calls"
	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/delivery"
	"github.com/abhishekg16/cluster/internal/incoming"
	"github.com/abhishekg16/cluster/internal/outgoing"
	"github.com/abhishekg16/cluster/internal/peerrules"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/sockets"
	"github.com/abhishekg16/cluster/internal/wire"
	"github.com/abhishekg16/cluster/peercatalog"
)

// Server is one member of a cluster, as the specification has it. *Node
// implements it.
type Server interface {
	// Pid is the id of this server.
	Pid() int
	// Peers lists the ids of the other servers of the cluster, without observers.
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
	logs        *logs
	incarnation uint64
	ids         messageIDs
	groups      groups
	outbox      chan *Envelope
	encoders    sync.Pool    // of *encoder, see Node.encoder
	calls       *calls.Table // that wait for replies
	limits      codec.Limits // of each message that is sent
	out         outgoing.Config
	inbox       chan *Envelope
	inboxed     atomic.Bool // the program has asked for inbox
	delivery    *delivery.Stage[Envelope]
	in          *incoming.In
	security    *transport.Security // nil: none
	sockets     sockets.Transport   // of tcp:// and ipc://
	carrier     string              // the name of the transport that the node listens with
	endpoint    string              // where the node listens
	source      peercatalog.Source  // of the servers while the node runs; nil: there is none
	reload      reloading
	lookout     lookout
	unchecked   func() // ends the look at the node's own address: see checkAddress

	unlist    func()          // the registry of New forgets this node; nil: it does not know it
	closing   chan struct{}   // closed when Shutdown begins
	life      context.Context // ends when closing is closed
	endLife   func()
	cut       chan struct{}  // closed when a Shutdown has waited long enough
	done      chan struct{}  // closed when everything has ended
	pumped    chan struct{}  // closed when all that Outbox had accepted is queued
	deserted  chan struct{}  // closed when Outbox is read no more
	drained   chan struct{}  // closed when the links have ended
	watched   chan struct{}  // closed when the catalogue is watched no more
	following sync.WaitGroup // the goroutine that follows the source, if there is one
	heard     chan struct{}  // closed when in.Run has ended
	closeOnce sync.Once
	cutOnce   sync.Once

	mu          sync.Mutex // guards what follows; taken before a link's and after that of in
	links       map[int]*peerLink
	ended       bool      // no more links
	deadline    time.Time // the earliest of all Shutdowns'; zero: none
	failure     error     // why the node has closed by itself; nil if it has not
	unaddressed sentBooks
}

// start makes the node of the server pid and sets it going. The configuration
// has been checked. The node calls unlist, if it is not nil, when it has closed.
func start(pid int, cfg Config, unlist func()) (*Node, error) {
	catalog, err := peercatalog.New(cfg.Peers...)
	if err != nil {
		return nil, err
	}
	cfg.Peers = nil // the catalogue has them
	self, ok := catalog.Get(pid)
	if !ok {
		return nil, fmt.Errorf("%w: %s: no entry has the id %d; the ids are %v", ErrUnknownPeer, cfg.peersFrom(), pid, catalog.IDs())
	}
	peerrules.Own(catalog, pid)
	n := newNode(pid, cfg, catalog)
	n.unlist = unlist
	if self.PublicKey != "" {
		n.security = &transport.Security{Admit: n.in.Admit}
		if n.security.Public, n.security.Secret, err = cfg.secretKey(self); err != nil {
			return nil, fmt.Errorf("cluster: %s: %w", cfg.source(), err)
		}
	}
	if n.sockets, err = sockets.Choose(cfg.Transport, cfg.source()); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	n.endpoint = self.BindEndpoint()
	network := n.networkOf(n.endpoint)
	n.carrier = network.Name
	listener, err := network.Listen(n.endpoint, n.security, n.in.RefuseHandshakes)
	if err != nil {
		return nil, fmt.Errorf("cluster: %s: server %d cannot listen on %s: %w", cfg.source(), pid, n.endpoint, err)
	}
	n.in.Open(listener)
	n.out.Interrupt = n.in.Lease().Interrupt
	n.logs.state.Info("cluster: listening", "endpoint", n.endpoint, "transport", n.carrier, "encrypted", n.security != nil)
	go func() { // Shutdown halts the receiving half, and waits for heard.
		defer close(n.heard)
		n.in.Run()
	}()
	go n.pump(new(encoder)) // Shutdown closes closing and drained, and waits for deserted.
	go n.watch()            // Shutdown closes drained, and waits for watched.
	if cfg.Reload || cfg.Source != nil {
		n.following.Go(n.followSource) // Shutdown closes closing, ends life, and waits for it.
	}
	n.unchecked = n.checkAddress(self)
	return n, nil
}

// newNode makes a node with its halves, and starts nothing.
func newNode(pid int, cfg Config, catalog *peercatalog.Catalog) *Node {
	n := &Node{
		pid:      pid,
		cfg:      cfg,
		catalog:  catalog,
		logs:     newLogs(pid, cfg.Logger),
		ids:      messageIDs{server: int64(pid), now: time.Now},
		outbox:   make(chan *Envelope, cfg.OutboxSize),
		inbox:    make(chan *Envelope, cfg.InboxSize),
		closing:  make(chan struct{}),
		cut:      make(chan struct{}),
		done:     make(chan struct{}),
		pumped:   make(chan struct{}),
		deserted: make(chan struct{}),
		drained:  make(chan struct{}),
		watched:  make(chan struct{}),
		heard:    make(chan struct{}),
		links:    make(map[int]*peerLink),
		reload:   reloading{turn: make(chan struct{}, 1)},
	}
	n.life, n.endLife = context.WithCancel(context.Background())
	n.source = sourceOf(cfg, n.logs.state)
	for n.incarnation == 0 {
		var b [8]byte
		rand.Read(b[:]) // never fails
		n.incarnation = binary.LittleEndian.Uint64(b[:])
	}
	n.calls = calls.NewTable(n.incarnation)
	n.limits = codec.Limits{Bytes: cfg.MaxMessageBytes, Cost: codec.CostLimit(cfg.MaxMessageBytes)}
	n.makeHalves()
	return n
}

// makeHalves makes what sends, what receives and what delivers.
func (n *Node) makeHalves() {
	self, _ := n.catalog.Get(n.pid)
	name, window := wire.ClusterHash(n.cfg.Cluster), incoming.Window(n.cfg.QueueBytes, n.catalog.Len()-1)
	n.out = outgoing.Config{
		Self:       stream.Self{ID: uint16(n.pid), Cluster: name, Incarnation: n.incarnation, Grant: uint32(window), Knows: knowledge},
		Policy:     n.policy(),
		QueueBytes: n.cfg.QueueBytes,
		Single:     carried(self.BindEndpoint()),
		Log:        n.logs.state,
		Dial:       n.dial,
		Calls:      n.calls.Peer,
		Woke:       func() { n.in.Wake() },
		Linger:     n.lingerLeft,
		Encrypts:   n.encrypts,
		Trouble:    n.logs.trouble,
		Stands:     n.lookout.stands,
		StateName:  func(s stream.Standing) string { return linkStateOf[s].String() },
	}
	n.delivery = delivery.New(delivery.Config[Envelope]{
		Out:        n.inbox,
		Fill:       fill,
		Calls:      func(from int) delivery.Calls { return callsWith{n.calls.Peer(from), n, from} },
		MaxMessage: n.cfg.MaxMessageBytes,
		MaxBytes:   n.cfg.QueueBytes,
		Woke:       func() { n.in.Wake() },
	})
	n.in = incoming.New(incoming.Config{
		Pid:     n.pid,
		Cluster: name,
		Catalog: n.catalog,
		Keys:    self.PublicKey != "",
		Limits:  stream.Limits{Window: window, MaxMessage: n.cfg.MaxMessageBytes + codec.WrapBytes, Resends: true},
		Log:     n.logs.state,
		Queue:   func(from int, o delivery.Owner) incoming.Queue { return n.delivery.Queue(from, o) },
		Link:    n.linkFor,
		Urgent:  n.urgentFor,
		Name:    func(r stream.Refusal) string { return refusalOf[r].String() },
		Inbox:   func() int { return len(n.inbox) },
		Failed:  n.fail,
		Began:   n.lookout.began,
		Mistake: n.logs.fromNetwork,
	})
}

// policy is how long this node waits for its peers.
func (n *Node) policy() stream.Policy {
	p := stream.PolicyOf(n.cfg.SendTimeout, defaultSendTimeout)
	p.Silence = silenceIntervals * n.cfg.WatchInterval
	if n.cfg.Watch {
		p.Watch = n.cfg.WatchInterval
	}
	return p
}

// fill makes an envelope of its parts.
func fill(e *Envelope, from int, id int64, msg any) { e.Pid, e.MsgId, e.Msg = from, id, msg }

// Pid implements Server.
func (n *Node) Pid() int { return n.pid }

// Peers implements Server: the ids of the other servers that are no observers (see
// peercatalog.Peer), in order, as the catalogue has them now. The caller owns the slice.
func (n *Node) Peers() []int { return n.others(n.catalog.Participants()) }

// others takes the node itself out of ids.
func (n *Node) others(ids []int) []int {
	return slices.DeleteFunc(ids, func(id int) bool { return id == n.pid })
}

// Outbox implements Server. Putting an envelope there hands it, and all that it
// points to, over to the node; see the package comment for what becomes of it.
// While the channel is full the sender waits.
//
// Closing the channel means that no more is to be sent: what it holds is sent,
// and the node goes on receiving. Once the node has closed, nobody reads the
// channel: a sender that may outlive the node selects on Done beside it.
func (n *Node) Outbox() chan *Envelope { return n.outbox }

// Catalog returns the metastore from which this node takes its peers. A change
// to it, by Put, Create, Remove or Replace, counts from the next message on: a peer that
// was added can be sent to and is heard, one that was removed is not, and what
// was queued for it is dropped. It belongs to this node alone.
func (n *Node) Catalog() *peercatalog.Catalog { return n.catalog }

// Done returns a channel that is closed when the node has closed.
func (n *Node) Done() <-chan struct{} { return n.done }

// Stats returns a copy of the node's counters.
func (n *Node) Stats() Stats {
	s := Stats{Pid: n.pid, Incarnation: n.incarnation, Transport: n.carrier, OutboxLen: len(n.outbox), InboxLen: len(n.inbox),
		Cluster: n.cfg.Cluster, QueueBytes: n.cfg.QueueBytes}
	ids := n.others(n.catalog.IDs())
	s.Peers = slices.Grow(s.Peers, len(ids))
	peer := func(id int) *PeerStats { // which holds until the next is asked for
		i := sort.Search(len(s.Peers), func(i int) bool { return s.Peers[i].ID >= id })
		if i == len(s.Peers) || s.Peers[i].ID != id {
			s.Peers = slices.Insert(s.Peers, i, PeerStats{ID: id, Encrypted: n.encrypts(id)})
		}
		return &s.Peers[i]
	}
	for _, id := range ids {
		peer(id)
	}
	n.reload.mu.Lock()
	s.Reload = n.reload.stats
	s.Reload.Change = s.Reload.Change.Clone()
	n.reload.mu.Unlock()
	n.mu.Lock()
	s.Unaddressed = n.unaddressed.stats()
	n.mu.Unlock()
	n.eachLink(func(l *outgoing.Link) { peer(l.ID()).setLink(l.Stats()) })
	s.Refused = refused(n.in.Each(func(id int, r incoming.Stats) { peer(id).setSource(r) }))
	s.Sent.add(s.Unaddressed)
	for r, c := range s.Refused {
		s.Received.Refused = count(s.Received.Refused, r, c)
	}
	for i := range s.Peers {
		p := &s.Peers[i]
		p.Flaps = n.lookout.flaps(p.ID)
		s.Sent.add(p.Sent)
		s.Received.add(p.Received)
	}
	return s
}
