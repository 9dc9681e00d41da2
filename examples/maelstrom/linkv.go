package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/raft/hashicorp"
)

// A forwarded op goes from the server that a client has asked to the leader, which answers with a result.
type forwarded struct {
	ID int64
	Op []byte
}

func init() {
	cluster.Register("maelstrom.forwarded", forwarded{})
	cluster.Register("maelstrom.result", result{})
}

const (
	// electionTimeout is how long a leader may be silent before another is elected.
	electionTimeout = 500 * time.Millisecond
	// requestTimeout is how long a request of Raft waits for its reply: one that is lost delays its follower by as much.
	requestTimeout = 300 * time.Millisecond
	// opTimeout is how long an op waits for the leader. Maelstrom's clients of lin-kv wait for 1 s, or for ten times its mean
	// latency if that is more, and ignore an answer that comes later.
	opTimeout = 2 * time.Second
)

// A store is a replicated key-value store. All ops, reads too, go through Raft's log, so that each sees all that ended
// before it began. The log is in memory: a server that has ended must not come back.
type store struct {
	node    *cluster.Node
	raft    *raft.Raft
	machine *machine
	started chan struct{}  // closed when raft is set
	running sync.WaitGroup // what answers clients and other servers

	mu    sync.Mutex // guards what follows
	calls map[int64]chan result
	last  int64 // the greatest key that calls has had
}

// linKV is a store whose ops are linearizable.
func linKV(s *server) error { return serveKV(s, (*store).do) }

// serveKV answers clients by do, each in a goroutine of its own.
func serveKV(s *server, do func(*store, op) result) error {
	st := &store{
		node:    s.node,
		machine: &machine{values: make(map[string]string)},
		started: make(chan struct{}),
		calls:   make(map[int64]chan result),
	}
	if err := st.start(); err != nil {
		return err
	}
	for r := range s.requests {
		o, err := opOf(r)
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			s.unsupported(r)
		case err != nil:
			s.refuse(r, codeMalformed, err.Error())
		default:
			st.running.Go(func() { st.answer(s, r, do(st, o)) })
		}
	}
	err := st.raft.Shutdown().Error() // It closes the transport, so that nothing begins any more, and ends what waits for Raft.
	st.running.Wait()
	return err
}

// opOf is what a client asks for.
func opOf(r request) (op, error) {
	var body struct{ Key, Value, From, To json.RawMessage }
	want := map[string][]*json.RawMessage{
		"read":  {&body.Key},
		"write": {&body.Key, &body.Value},
		"cas":   {&body.Key, &body.From, &body.To},
	}[r.kind]
	if want == nil {
		return op{}, errors.ErrUnsupported
	}
	if err := r.decode(&body); err != nil {
		return op{}, err
	}
	for _, field := range want {
		if *field == nil {
			return op{}, fmt.Errorf("a field of %s is missing: want key; and value to write; and from and to for cas", r.kind)
		}
	}
	o := op{Type: r.kind, Key: compact(body.Key)}
	switch r.kind {
	case "write":
		o.Value = compact(body.Value)
	case "cas":
		o.From, o.To = compact(body.From), compact(body.To)
	}
	return o, nil
}

func (st *store) answer(s *server, r request, res result) {
	switch {
	case res.Text != "":
		s.refuse(r, res.Code, res.Text)
	case r.kind == "read":
		s.reply(r, "read_ok", map[string]any{"value": json.RawMessage(res.Value)})
	default:
		s.reply(r, r.kind+"_ok", nil)
	}
}

// start runs Raft among all servers.
func (st *store) start() error {
	transport, err := hashicorp.New(st.node, hashicorp.Config{
		Timeout: requestTimeout, HeartbeatTimeout: electionTimeout / 2, Other: st.receive,
	})
	if err != nil {
		return err
	}
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(transport.LocalAddr())
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = electionTimeout, electionTimeout, electionTimeout
	conf.Logger = hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Warn})
	logs := raft.NewInmemStore()
	if st.raft, err = raft.NewRaft(conf, st.machine, logs, logs, raft.NewInmemSnapshotStore(), transport); err != nil {
		return errors.Join(err, transport.Close())
	}
	close(st.started)
	var all raft.Configuration
	for _, pid := range append(st.node.Peers(), st.node.Pid()) {
		address := hashicorp.Address(pid)
		all.Servers = append(all.Servers, raft.Server{ID: raft.ServerID(address), Address: address})
	}
	return st.raft.BootstrapCluster(all).Error()
}

// do has the leader apply an op, wherever it is.
func (st *store) do(o op) result {
	entry, err := json.Marshal(o)
	if err != nil {
		panic(err) // An op is made of strings.
	}
	address, _ := st.raft.LeaderWithID()
	leader, err := hashicorp.Pid(address)
	switch {
	case err != nil:
		return result{Code: codeUnavailable, Text: "there is no leader at the moment"}
	case leader == st.node.Pid():
		return st.apply(entry)
	default:
		return st.forward(leader, entry)
	}
}

// apply puts an op into the log, if this server leads, and waits until it is applied.
func (st *store) apply(entry []byte) result {
	applied := st.raft.Apply(entry, opTimeout)
	err := applied.Error()
	switch {
	case err == nil:
		return applied.Response().(result)
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout):
		return result{Code: codeUnavailable, Text: err.Error()} // It has not come into the log.
	default:
		return result{Code: codeCrash, Text: err.Error()}
	}
}

// forward has the leader apply an op. It is sent once: it may be in the log although no answer comes.
func (st *store) forward(leader int, entry []byte) result {
	answer := make(chan result, 1)
	st.mu.Lock()
	st.last++
	id := st.last
	st.calls[id] = answer
	st.mu.Unlock()
	defer func() {
		st.mu.Lock()
		defer st.mu.Unlock()
		delete(st.calls, id)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	if err := st.node.Send(ctx, &cluster.Envelope{Pid: leader, Msg: forwarded{id, entry}}); err != nil {
		return result{Code: codeUnavailable, Text: err.Error()} // It was not sent.
	}
	select {
	case res := <-answer:
		return res
	case <-ctx.Done():
		return result{Code: codeTimeout, Text: fmt.Sprintf("the leader, server %d, has not answered within %v", leader, opTimeout)}
	}
}

// receive takes what other servers send beside Raft's messages. Raft waits for it.
func (st *store) receive(env *cluster.Envelope) {
	switch m := env.Msg.(type) {
	case forwarded:
		st.running.Go(func() {
			<-st.started
			res := st.apply(m.Op)
			res.ID = m.ID
			ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
			defer cancel()
			// The error says that the answer was dropped. Who waits for it gives up by itself.
			_ = st.node.Send(ctx, &cluster.Envelope{Pid: env.Pid, Msg: res})
		})
	case result:
		st.mu.Lock()
		defer st.mu.Unlock()
		if answer := st.calls[m.ID]; answer != nil {
			answer <- m // An op is answered once, and the channel holds one.
		}
	}
}
