package etcd

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/abhishekg16/cluster"
)

// A peer is a server that has sent something. Its messages wait for Raft apart from those of others.
type peer struct {
	pid       int
	messages  queue // all but proposals
	proposals queue // for which Raft waits as long as there is no leader
	snapshot  *download
}

// receive takes in messages until the transport or the node closes. It answers none of them itself, but hands them on, and so has them from Inbox: by
// Receive it would wait for them with a thread, where the transport is Go's, which those that it has woken could use.
func (t *Transport) receive() {
	defer t.cancel(errClosed) // The node has closed, if it was not the transport.
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
		case message:
			t.received(env.Pid, msg.Body)
		case snapshot:
			t.announced(env.Pid, msg)
		case piece:
			if d := t.peer(env.Pid).snapshot; d != nil && d.number == msg.Number {
				d.add(msg)
			}
		case progress:
			if u := t.uploadTo(env.Pid, msg.Number); u != nil {
				u.advance(msg.Limit)
			}
		case outcome:
			if u := t.uploadTo(env.Pid, msg.Number); u != nil {
				u.end(msg)
			}
		default:
			t.pass(env)
		}
	}
}

// pass hands on a message that is not Raft's.
func (t *Transport) pass(env *cluster.Envelope) {
	if t.o.Other != nil {
		t.o.Other(env)
		return
	}
	t.complain(fmt.Sprintf("a message of type %T is not Raft's, and dropped: Options.Other would get it", env.Msg), "from", env.Pid)
}

// peer is the part of a server. Only the receiving goroutine calls it.
func (t *Transport) peer(pid int) *peer {
	p := t.peers[pid]
	if p == nil {
		step := func(body any) { t.step(pid, body.([]byte)) }
		p = &peer{pid: pid}
		p.messages = queue{start: t.start, work: step}
		p.proposals = queue{start: t.start, work: step}
		t.peers[pid] = p
	}
	return p
}

// received queues a message for Raft. Nothing here waits: this is the goroutine that receives. What there is no room for is
// dropped, as if it had been lost on the way.
func (t *Transport) received(from int, body []byte) {
	h, err := headOf(body)
	if err == nil {
		err = h.check(from, t.node.Pid())
	}
	if err == nil && h.typ == raftpb.MsgSnap {
		err = errors.New("it is a snapshot, and not sent as one")
	}
	if err != nil {
		t.refuse(from, err)
		return
	}
	p := t.peer(from)
	if h.typ == raftpb.MsgProp {
		p.proposals.put(body, len(body), false)
	} else {
		p.messages.put(body, len(body), isUrgent(h.typ))
	}
}

// step gives a message to Raft. It is decoded as late as this, so that of what waits only one takes the memory for that.
func (t *Transport) step(from int, body []byte) {
	m, err := decode(body, from, t.node.Pid())
	if err != nil {
		t.refuse(from, err)
		return
	}
	_ = t.raft.Step(t.ctx, m) // Raft has stopped, or does not want it: its sender repeats what matters.
}

// refuse tells of a message that Raft does not see.
func (t *Transport) refuse(from int, err error) {
	t.complain(fmt.Sprintf("a message of server %d is refused", from), "reason", err)
}
