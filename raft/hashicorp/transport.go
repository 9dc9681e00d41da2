// Package hashicorp carries github.com/hashicorp/raft over a cluster of servers: Transport is a raft.Transport whose
// messages go through a cluster.Node, over the connections that the node has anyway, with its keys where it has some.
//
// A server's raft.ServerAddress is its id in decimal (see Address): where the server is, the node's catalogue knows. So
// a server that moves keeps its address in Raft's configuration. Its raft.ServerID may be anything; the same number
// serves.
//
//	node, err := cluster.New(id, "Config.json")
//	...
//	transport, err := hashicorp.New(node, hashicorp.Config{})
//	...
//	r, err := raft.NewRaft(conf, fsm, logs, stable, snapshots, transport)
//
// # Delivery
//
// Requests of one server reach another's Raft in the order sent. A request that is lost, or whose reply
// is, fails after Config.Timeout, a heartbeat after Config.HeartbeatTimeout. One to a server that the node finds down fails within 0.2 s, but for
// a snapshot; so does one to append entries if the server has started anew. Raft repeats what it still wants. Whether a
// request that failed was seen is not known.
//
// Heartbeats do not wait for Raft, but go to its heartbeat handler at once. On the way they, and votes, do not wait for what
// is to be written to the same server, entries or a snapshot, but go between two pieces of it (see cluster.Node.SendUrgent);
// what the connection has taken already is before them. To a server of an earlier version of the
// library they go behind the entries of Config.MaxInFlight requests, and Config.SnapshotWindow bytes of a snapshot, at most.
//
// A snapshot is sent in pieces, as its receiver takes them: neither side keeps more than a window of it.
//
// # The node
//
// The transport takes from the node's Inbox as long as it is open. What is not Raft's goes to Config.Other.
// The program may send what it likes. Closing the transport, which Raft does as it shuts down, leaves the node open.
package hashicorp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/abhishekg16/cluster"
)

// Config says how a Transport works. The zero value of each field means its default.
type Config struct {
	// Timeout is how long a request waits for its reply; 0 means 2 s. It has to be longer than the follower takes to
	// store entries. For a snapshot it is how long the follower may be silent.
	Timeout time.Duration

	// HeartbeatTimeout is how long a heartbeat waits for its reply before the next is sent; 0 means 500 ms. It should be
	// at most half of raft.Config's field of that name, so that the loss of one heartbeat brings no election.
	HeartbeatTimeout time.Duration

	// MaxInFlight is how many requests to append entries may be under way to one server; 1 means that each
	// waits for the reply to the one before. More help only where the way to the server is long: while requests are under
	// way, those that wait become larger, and a few large ones take less than many small ones. 0 means 2 where the latest heartbeats
	// to the server all took a millisecond or more to be answered, and 1 elsewhere. Once there are 2 it stays so as long as this
	// server leads, and no request fails.
	MaxInFlight int

	// SnapshotWindow is how much of a snapshot this server takes before it has stored what came before, in bytes; at least
	// 65,536; 0 means 1 MiB. A larger one makes snapshots faster where the way is long, and heartbeats wait longer where it
	// is narrow.
	SnapshotWindow int

	// Other is called for each message that is not Raft's, in the order of their coming, by the goroutine that receives:
	// as long as it has not returned, nothing is received, not even a heartbeat. Without it such messages are dropped,
	// and Logger is told.
	Other func(*cluster.Envelope)

	// Logger is told of messages that nobody takes, once for each type. Nil means slog.Default().
	Logger *slog.Logger
}

const (
	usualTimeout          = 2 * time.Second
	usualHeartbeatTimeout = 500 * time.Millisecond
	farInFlight           = 2
	usualSnapshotWindow   = 1 << 20
)

// prepared is the configuration with its defaults, or what is wrong with it.
func (c Config) prepared() (Config, error) {
	var errs []error
	for _, d := range []struct {
		name  string
		value *time.Duration
		usual time.Duration
	}{
		{"Timeout", &c.Timeout, usualTimeout},
		{"HeartbeatTimeout", &c.HeartbeatTimeout, usualHeartbeatTimeout},
	} {
		switch {
		case *d.value < 0:
			errs = append(errs, fmt.Errorf("hashicorp: Config.%s is %v: it must not be negative", d.name, *d.value))
		case *d.value == 0:
			*d.value = d.usual
		}
	}
	if c.MaxInFlight < 0 {
		errs = append(errs, fmt.Errorf("hashicorp: Config.MaxInFlight is %d: it must not be negative", c.MaxInFlight))
	}
	switch {
	case c.SnapshotWindow == 0:
		c.SnapshotWindow = usualSnapshotWindow
	case c.SnapshotWindow < pieceBytes:
		errs = append(errs, fmt.Errorf("hashicorp: Config.SnapshotWindow is %d: it must be at least %d", c.SnapshotWindow, pieceBytes))
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, errors.Join(errs...)
}

// A Transport is a raft.Transport over a cluster.Node; it also implements raft.WithPreVote and raft.WithClose. Its
// methods may be called concurrently, also after Close.
type Transport struct {
	node      *cluster.Node
	cfg       Config
	consumer  chan raft.RPC
	calls     *calls
	distances *distances
	answerers answerers
	heartbeat atomic.Pointer[func(raft.RPC)]

	// ctx ends when the transport closes; its cause is raft.ErrTransportShutdown.
	ctx    context.Context
	cancel context.CancelCauseFunc

	running sync.WaitGroup // the goroutines that start has begun
	mu      sync.Mutex     // guards closed
	closed  bool

	// The receiving goroutine's:
	peers map[int]*peer   // those that have sent requests
	told  map[string]bool // the types of messages that nobody takes, of which Logger knows
}

var (
	_ raft.Transport   = (*Transport)(nil)
	_ raft.WithPreVote = (*Transport)(nil)
	_ raft.WithClose   = (*Transport)(nil)
)

// inUse has the nodes that have a transport: two would take each other's messages.
var inUse sync.Map // *cluster.Node -> *Transport

// New returns a transport over node, which is receiving already. A node can have one at a time. The caller closes the
// transport, which raft.Raft.Shutdown does too, and then the node.
func New(node *cluster.Node, cfg Config) (*Transport, error) {
	cfg, err := cfg.prepared()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	t := &Transport{
		node: node, cfg: cfg,
		consumer: make(chan raft.RPC, consumerSize),
		calls:    newCalls(node), distances: newDistances(),
		ctx: ctx, cancel: cancel,
		peers: make(map[int]*peer),
		told:  make(map[string]bool),
	}
	if _, taken := inUse.LoadOrStore(node, t); taken {
		cancel(nil)
		return nil, fmt.Errorf("hashicorp: server %d has a transport already: close that one first", node.Pid())
	}
	t.start(t.receive)
	return t, nil
}

// consumerSize is how many requests wait for Raft before those of each server wait in their own queue.
const consumerSize = 16

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

// Close implements raft.WithClose. It ends what is under way with raft.ErrTransportShutdown, and returns when no
// goroutine of the transport is left. The node stays open.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel(raft.ErrTransportShutdown)
	t.running.Wait()
	inUse.CompareAndDelete(t.node, t)
	return nil
}

// Consumer implements raft.Transport.
func (t *Transport) Consumer() <-chan raft.RPC { return t.consumer }

// LocalAddr implements raft.Transport: the id of the node.
func (t *Transport) LocalAddr() raft.ServerAddress { return Address(t.node.Pid()) }

// EncodePeer implements raft.Transport.
func (t *Transport) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte { return []byte(addr) }

// DecodePeer implements raft.Transport.
func (t *Transport) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// SetHeartbeatHandler implements raft.Transport. The handler is called for each heartbeat, by a goroutine of the server
// that it is from. Without one, heartbeats go to Consumer.
func (t *Transport) SetHeartbeatHandler(handler func(raft.RPC)) {
	if handler == nil {
		t.heartbeat.Store(nil)
		return
	}
	t.heartbeat.Store(&handler)
}

// AppendEntries implements raft.Transport.
func (t *Transport) AppendEntries(_ raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	timeout := t.cfg.Timeout
	if isHeartbeat(args) {
		timeout = min(timeout, t.cfg.HeartbeatTimeout)
	}
	return t.call(target, timeout, appendEntries, args, resp)
}

// RequestVote implements raft.Transport.
func (t *Transport) RequestVote(_ raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.call(target, t.cfg.Timeout, requestVote, args, resp)
}

// RequestPreVote implements raft.WithPreVote.
func (t *Transport) RequestPreVote(_ raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.call(target, t.cfg.Timeout, requestPreVote, args, resp)
}

// TimeoutNow implements raft.Transport.
func (t *Transport) TimeoutNow(_ raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.call(target, t.cfg.Timeout, timeoutNow, args, resp)
}

// call sends a request and waits for the reply to it.
func (t *Transport) call(target raft.ServerAddress, timeout time.Duration, kind kind, args, resp any) error {
	pid, err := Pid(target)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(t.ctx, timeout, noReply{pid, kind, timeout})
	defer cancel()
	c := t.calls.begin(pid, kind, nil)
	defer t.calls.end(c)
	began := time.Now()
	if err := t.calls.send(ctx, c, args); err != nil {
		return err
	}
	reply, err := t.calls.wait(ctx, c)
	if err != nil {
		return err
	}
	appended, ok := args.(*raft.AppendEntriesRequest)
	t.distances.replied(pid, time.Since(began), ok && isHeartbeat(appended))
	return reply.into(resp)
}
