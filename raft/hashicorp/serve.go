package hashicorp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/abhishekg16/cluster"
)

// A peer is a server that has sent requests. Its requests wait for Raft apart from those of others.
type peer struct {
	pid        int
	requests   queue[*inbound]
	heartbeats queue[*inbound]
	refusals   queue[response]
	snapshot   *stream // that is being received; only the receiving goroutine uses it
}

// An inbound is a request of another server.
type inbound struct {
	from     int
	number   uint64
	rpc      raft.RPC
	answer   chan raft.RPCResponse // see answers
	snapshot *stream               // of a request to install one
}

// answers makes a channel for Raft's answer, with room for it: Raft never waits. Without it, an answerer has one.
func (in *inbound) answers() {
	in.answer = make(chan raft.RPCResponse, 1)
	in.rpc.RespChan = in.answer
}

const (
	// maxRequests and maxRequestBytes bound what waits for Raft of one server. Who follows Config.MaxInFlight has
	// no more than a few requests under way; it takes many that have timed out to reach these bounds.
	maxRequests     = 64
	maxRequestBytes = 16 << 20
	// maxHeartbeats is how many wait that Raft has not taken. The server sends the next when one has timed out.
	maxHeartbeats = 4
)

var errBusy = errors.New("hashicorp: too many requests of this server wait already")

// receive takes in messages until the transport or the node closes. It answers none of them itself, but hands them on, and so has them from Inbox: by
// Receive it would wait for them with a thread, where the transport is Go's, which those that it has woken could use.
func (t *Transport) receive() {
	defer t.cancel(raft.ErrTransportShutdown) // The node has closed, if it was not the transport.
	for {
		var env *cluster.Envelope
		select {
		case env = <-t.node.Inbox():
		case <-t.ctx.Done():
		}
		if env == nil {
			return
		}
		switch msg := env.Msg.(type) {
		case []byte:
			switch msg := decodeMessage(msg).(type) {
			case request:
				t.requested(env.Pid, msg)
			case response:
				t.calls.answered(env.Pid, msg)
			default:
				t.pass(env)
			}
		case piece:
			if s := t.peer(env.Pid).snapshot; s != nil && s.number == msg.Number {
				s.add(msg)
			}
		case progress:
			t.calls.advanced(env.Pid, msg)
		default:
			t.pass(env)
		}
	}
}

// pass hands on a message that is not Raft's.
func (t *Transport) pass(env *cluster.Envelope) {
	if t.cfg.Other != nil {
		t.cfg.Other(env)
		return
	}
	if name := fmt.Sprintf("%T", env.Msg); !t.told[name] {
		t.told[name] = true
		t.cfg.Logger.Warn("hashicorp: a message is not Raft's, and dropped: Config.Other would get it", "from", env.Pid, "type", name)
	}
}

// peer is the part of a server. Only the receiving goroutine calls it.
func (t *Transport) peer(pid int) *peer {
	if p := t.peers[pid]; p != nil {
		return p
	}
	p := &peer{pid: pid}
	p.requests = queue[*inbound]{start: t.start, work: t.deliver, items: maxRequests, maxBytes: maxRequestBytes}
	p.heartbeats = queue[*inbound]{start: t.start, work: t.beat, items: maxHeartbeats, maxBytes: maxRequestBytes}
	p.refusals = queue[response]{start: t.start, items: maxRequests, maxBytes: maxRequestBytes}
	p.refusals.work = func(r response) { t.reply(t.node.Send, pid, r.message()) }
	t.peers[pid] = p
	return p
}

// requested queues a request for Raft. Nothing here waits: this is the goroutine that receives.
func (t *Transport) requested(from int, msg request) {
	p := t.peer(from)
	args, err := decodeRequest(msg.Kind, msg.Body)
	if err != nil {
		p.refuse(msg.Number, err)
		return
	}
	in := &inbound{from: from, number: msg.Number, rpc: raft.RPC{Command: args}}
	switch args := args.(type) {
	case *raft.AppendEntriesRequest:
		if isHeartbeat(args) && t.heartbeat.Load() != nil {
			in.answers()
			if !p.heartbeats.put(in, len(msg.Body)) {
				p.refuse(msg.Number, errBusy)
			}
			return
		}
	case *raft.InstallSnapshotRequest:
		if p.snapshot != nil {
			p.snapshot.fail(errReplaced)
		}
		p.snapshot = newStream(t, from, msg.Number, args.Size)
		in.snapshot, in.rpc.Reader = p.snapshot, p.snapshot
		in.answers()
		t.start(func() { t.attend(in) }) // at once: Raft may take a while until it gets to the snapshot
	}
	t.enqueue(p, in, len(msg.Body))
}

// enqueue gives a request to Raft at once if nothing is before it, and otherwise to the queue of its server.
func (t *Transport) enqueue(p *peer, in *inbound, bytes int) {
	if in.snapshot == nil {
		if p.requests.idle() && t.offer(in) {
			return
		}
		in.answers()
	}
	switch {
	case p.requests.put(in, bytes):
	case in.snapshot != nil:
		in.answer <- raft.RPCResponse{Error: errBusy} // attend sends it
	default:
		p.refuse(in.number, errBusy)
	}
}

// refuse answers a request that Raft does not see. If the server does not even take refusals, its request times out.
func (p *peer) refuse(number uint64, err error) {
	p.refusals.put(response{Number: number, Failed: failure(err)}, 0)
}

// deliver waits until Raft takes a request. That of a snapshot is attended to already.
func (t *Transport) deliver(in *inbound) {
	select {
	case t.consumer <- in.rpc:
		if in.snapshot == nil {
			t.start(func() { t.await(in) })
		}
	case <-t.ctx.Done():
	}
}

// beat lets Raft's heartbeat handler answer.
func (t *Transport) beat(in *inbound) {
	handler := t.heartbeat.Load()
	if handler == nil { // It was taken away meanwhile.
		t.deliver(in)
		return
	}
	(*handler)(in.rpc)
	select {
	case r := <-in.answer:
		t.reply(way(t.node, in.rpc.Command), in.from, in.response(r).message())
	default: // A Raft that has shut down does not answer.
	}
}

// await waits for Raft's answer to a request, and sends it.
func (t *Transport) await(in *inbound) {
	limit := time.NewTimer(patience * t.cfg.Timeout)
	defer limit.Stop()
	select {
	case r := <-in.answer:
		t.reply(way(t.node, in.rpc.Command), in.from, in.response(r).message())
	case <-limit.C:
	case <-t.ctx.Done():
	}
}

// response is what an answer of Raft's looks like on the wire.
func (in *inbound) response(r raft.RPCResponse) response {
	out := response{Number: in.number}
	if r.Error != nil {
		out.Failed = failure(r.Error)
	}
	if r.Response == nil {
		return out
	}
	body, err := encodeResponse(r.Response)
	if err != nil {
		out.Failed = failure(err)
	}
	out.Body = body
	return out
}

// reply sends a message of this side of a request. Whether it arrives is for who made the request to notice.
func (t *Transport) reply(send sending, to int, msg any) {
	ctx, cancel := context.WithTimeout(t.ctx, t.cfg.Timeout)
	defer cancel()
	_ = post(ctx, send, to, msg) // The other side repeats its request when no reply comes; Stats of the node counts it.
}

// isHeartbeat reports whether a request is one that Raft sends apart from replication, to tell that there is a leader.
func isHeartbeat(a *raft.AppendEntriesRequest) bool {
	//lint:ignore SA1019 An earlier version of Raft has its leader's name there alone.
	named := len(a.Addr) > 0 || a.Leader != nil
	return a.Term != 0 && named && a.PrevLogEntry == 0 && a.PrevLogTerm == 0 && len(a.Entries) == 0 && a.LeaderCommitIndex == 0
}
