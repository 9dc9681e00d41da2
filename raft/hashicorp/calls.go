package hashicorp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/abhishekg16/cluster"
)

// calls matches responses to requests.
type calls struct {
	node  *cluster.Node
	lives lives

	mu      sync.Mutex // guards what follows
	number  uint64     // of the last call. The first is drawn: a response to an earlier transport of the node fits none
	pending map[uint64]*call
}

// A call is a request under way.
type call struct {
	pid      int
	kind     kind
	number   uint64
	restarts uint64        // of the server, before the call: see lives
	future   *future       // of a pipeline; nil: somebody waits for the reply
	reply    chan response // of one, for whoever waits
	progress chan uint64   // of one: the latest limit of a snapshot that was not looked at
}

func newCalls(node *cluster.Node) *calls {
	return &calls{
		node:    node,
		lives:   lives{node: node, every: watchInterval},
		number:  rand.Uint64(),
		pending: make(map[uint64]*call),
	}
}

// begin makes a call, which end must be called for. It is that of a future, or f is nil, and its reply is waited for.
func (c *calls) begin(pid int, kind kind, f *future) *call {
	k := &call{pid: pid, kind: kind, future: f, restarts: c.lives.restarts(pid)}
	if f == nil {
		k.reply = make(chan response, 1)
	}
	if kind == installSnapshot {
		k.progress = make(chan uint64, 1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.number++
	k.number = c.number
	c.pending[k.number] = k
	return k
}

func (c *calls) end(k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, k.number)
}

// of is the call that something from a server belongs to; nil if that is over.
func (c *calls) of(pid int, number uint64) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.pending[number]; k != nil && k.pid == pid {
		return k
	}
	return nil
}

// answered hands a response to who waits for it. One that comes too late is not missed by anybody.
func (c *calls) answered(pid int, r response) {
	switch k := c.of(pid, r.Number); {
	case k == nil:
	case k.future != nil:
		k.future.pipeline.answered(k.future, r)
	default:
		select {
		case k.reply <- r:
		default: // a second response
		}
	}
}

// advanced hands the progress of a snapshot to who sends it.
func (c *calls) advanced(pid int, p progress) {
	k := c.of(pid, p.Number)
	if k == nil || k.progress == nil {
		return
	}
	// This is the only goroutine that puts something in, so that there is room after one was taken out.
	select {
	case <-k.progress:
	default:
	}
	k.progress <- p.Limit
}

// send sends the request of a call; args is a pointer to one of Raft's, and is not needed any more when send returns.
func (c *calls) send(ctx context.Context, k *call, args any) error {
	return post(ctx, way(c.node, args), k.pid, requestMessage(k.number, k.kind, args))
}

// A sending is a method of a node that sends.
type sending = func(context.Context, *cluster.Envelope) error

// way is how a request, and the response to it, are sent: that a leader lives, and votes, wait neither for entries nor for a snapshot.
func way(node *cluster.Node, args any) sending {
	switch args := args.(type) {
	case *raft.AppendEntriesRequest:
		if isHeartbeat(args) {
			return node.SendUrgent
		}
	case *raft.RequestVoteRequest, *raft.RequestPreVoteRequest:
		return node.SendUrgent
	}
	return node.Send
}

// post sends a message, and waits for room until ctx ends. The error names the server, and is the cause where ctx ended.
func post(ctx context.Context, send sending, pid int, msg any) error {
	err := send(ctx, &cluster.Envelope{Pid: pid, Msg: msg})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, cluster.ErrTooLarge):
		return fmt.Errorf("hashicorp: %w: let raft.Config.MaxAppendEntries be less, or the cluster's maxMessageBytes more", err)
	}
	return fmt.Errorf("hashicorp: %w", err)
}

// wait waits for the response to a call until ctx ends, or the server does not live any more.
func (c *calls) wait(ctx context.Context, k *call) (response, error) {
	watch := time.NewTimer(c.lives.every)
	defer watch.Stop()
	for {
		select {
		case r := <-k.reply:
			return r, nil
		case <-ctx.Done():
			return response{}, context.Cause(ctx)
		case <-watch.C:
			if err := c.lives.ended(k); err != nil {
				return response{}, err
			}
			watch.Reset(c.lives.every)
		}
	}
}

// noReply is the error of a call that took too long.
type noReply struct {
	pid     int
	kind    kind
	timeout time.Duration
}

func (e noReply) Error() string {
	return fmt.Sprintf("hashicorp: server %d has not answered the %v for %v; it may have seen it", e.pid, e.kind, e.timeout)
}

// Timeout tells who asks for it by an interface that the error is one of time.
func (e noReply) Timeout() bool { return true }
