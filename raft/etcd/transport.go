package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/abhishekg16/cluster"
)

// A Transport carries the messages of one Raft. Its methods may be called concurrently, also after Close.
type Transport struct {
	node *cluster.Node
	raft Raft
	o    Options
	id   uint64 // of the node, in Raft

	// ctx ends when the transport closes; its cause is errClosed.
	ctx    context.Context
	cancel context.CancelCauseFunc

	running sync.WaitGroup // the goroutines that start has begun
	number  atomic.Uint64  // of the last snapshot. The first is drawn: nothing to an earlier transport of the node fits

	mu      sync.Mutex // guards what follows
	closed  bool
	outward map[uint64]*outbox // by ids in Raft
	uploads map[uint64]*upload // the latest snapshot for each, as long as it is under way
	told    map[string]bool    // the mistakes that Logger knows of

	peers map[int]*peer // those that have sent something; the receiving goroutine's
}

var errClosed = errors.New("etcd: the transport is closed")

// inUse has the nodes that have a transport: two would take each other's messages.
var inUse sync.Map // *cluster.Node -> *Transport

// New returns a transport over node for a Raft whose id is that of the node (see ID). It is receiving already. A node can
// have one at a time. The caller closes the transport, before or after it stops the Raft, and then the node.
func New(node *cluster.Node, r Raft, o Options) (*Transport, error) {
	o, err := o.prepared()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	t := &Transport{
		node: node, raft: r, o: o, id: ID(node.Pid()),
		ctx: ctx, cancel: cancel,
		outward: make(map[uint64]*outbox),
		uploads: make(map[uint64]*upload),
		told:    make(map[string]bool),
		peers:   make(map[int]*peer),
	}
	t.number.Store(rand.Uint64())
	if _, taken := inUse.LoadOrStore(node, t); taken {
		cancel(nil)
		return nil, fmt.Errorf("etcd: server %d has a transport already: close that one first", node.Pid())
	}
	t.start(t.receive)
	before := t.look() // whatever is sent by the transport comes later
	t.start(func() { t.watch(before) })
	return t, nil
}

// start runs f in a goroutine that Close waits for, and that has to end when ctx does. It reports false, and does not
// run f, if the transport has closed.
func (t *Transport) start(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.running.Go(f)
	return true
}

// Close drops what has not been sent, reports the snapshots that are under way as failed, and returns when no goroutine of the
// transport is left. It waits for calls of the Raft's methods, so that what serves these must not call it. The node stays
// open.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel(errClosed)
	t.running.Wait()
	inUse.CompareAndDelete(t.node, t)
	return nil
}

// Send sends messages to the servers that they are for. It encodes them, never waits, and calls no method of the Raft;
// what becomes of them is reported to that later. The messages belong to the caller again when it returns, but the data of a
// snapshot must not be changed.
//
// Messages for nobody (To is 0), for this server itself and for the threads that store and apply, and those of types that stay
// within a Raft are not for the network: they are passed over. So a program with raft.Config.AsyncStorageWrites can give all
// it gets to Send, and has to step the responses to itself. After Close messages are dropped, and nothing is reported.
func (t *Transport) Send(msgs []*raftpb.Message) {
	for _, m := range msgs {
		to := m.GetTo()
		if to == raft.None || to == t.id || raft.IsLocalMsgTarget(to) || isLocal(m.GetType()) {
			continue
		}
		if m.GetType() == raftpb.MsgSnap {
			t.upload(m)
			continue
		}
		o := t.toward(to)
		body, err := t.encode(m)
		if err != nil {
			o.put(drop{err}, 0, true)
			continue
		}
		if isUrgent(m.GetType()) && len(body) <= maxUrgentBytes {
			o.urgent.put(message{body}, len(body), true)
			continue
		}
		o.put(message{body}, len(body), !isBulky(m.GetType()))
	}
}

// encode is what goes over the wire of a message that is no snapshot.
func (t *Transport) encode(m *raftpb.Message) ([]byte, error) {
	if err := t.own(m); err != nil {
		return nil, err
	}
	switch {
	case len(m.GetEntries()) > maxEntries:
		return nil, fmt.Errorf("%w: let raft.Config.MaxSizePerMsg be less", errEntries)
	case len(m.GetResponses()) > 0:
		return nil, errResponses
	}
	return proto.Marshal(m)
}

// own returns an error if a message is not from this server's Raft.
func (t *Transport) own(m *raftpb.Message) error {
	if from := m.GetFrom(); from != t.id && !isForwarded(m.GetType()) {
		return fmt.Errorf("it is from %d in Raft, but this is server %d: let raft.Config.ID be etcd.ID(%d), which is %d",
			from, t.node.Pid(), t.node.Pid(), t.id)
	}
	return nil
}

// complain tells Logger of a mistake, once.
func (t *Transport) complain(mistake string, args ...any) {
	t.mu.Lock()
	known := t.told[mistake] || len(t.told) >= maxTold
	if !known {
		t.told[mistake] = true
	}
	t.mu.Unlock()
	if !known {
		t.o.Logger.Warn("etcd: "+mistake, args...)
	}
}

// maxTold bounds the mistakes that are told: others can make up types.
const maxTold = 1000

// An outbox is what waits to be sent to one server.
type outbox struct {
	queue
	urgent queue // which does not wait for room that the other waits for
	t      *Transport
	id     uint64 // in Raft
	down   bool   // as was told; used by watch
}

// A drop stands for a message that cannot be sent.
type drop struct{ err error }

// toward is the outbox for a server.
func (t *Transport) toward(id uint64) *outbox {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.outward[id]
	if o == nil {
		o = &outbox{t: t, id: id}
		o.queue = queue{start: t.start, work: func(msg any) { o.send(t.node.Send, msg) }, full: o.unreachable}
		o.urgent = queue{start: t.start, work: func(msg any) { o.send(t.node.SendUrgent, msg) }, full: o.unreachable}
		t.outward[id] = o
	}
	return o
}

func (o *outbox) unreachable() { o.t.raft.ReportUnreachable(o.id) }

// send gives a message to the node by a method of that, and waits for room there.
func (o *outbox) send(how sending, msg any) {
	err := o.t.post(o.t.ctx, how, o.id, msg)
	switch _, raftsOwn := msg.(message); {
	case err == nil || o.t.ctx.Err() != nil:
	case raftsOwn:
		o.unreachable()
	default:
		if d, ok := msg.(drop); ok {
			o.t.complain("a message of Raft's cannot be sent", "to", o.id, "reason", d.err)
			o.unreachable()
		}
	}
}

// A sending is a method of a node that sends.
type sending = func(context.Context, *cluster.Envelope) error

// post sends a message to a server by its id in Raft. The error is the cause where ctx ended.
func (t *Transport) post(ctx context.Context, send sending, id uint64, msg any) error {
	if d, ok := msg.(drop); ok {
		return d.err
	}
	pid, err := Pid(id)
	if err != nil {
		t.complain("a message of Raft's cannot be sent", "to", id, "reason", err)
		return err
	}
	err = send(ctx, &cluster.Envelope{Pid: pid, Msg: msg})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, cluster.ErrTooLarge):
		t.complain("a message of Raft's is too large: let raft.Config.MaxSizePerMsg be less, or the cluster's maxMessageBytes more", "to", id, "reason", err)
	}
	return err
}
