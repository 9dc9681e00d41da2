// Package loopback is transports over servers in one process that tests connect and disconnect at will: what the tests
// of github.com/hashicorp/raft take where they have that module's own in memory.
package loopback

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
	"github.com/abhishekg16/cluster/raft/hashicorp"
)

// A Transport is a raft.LoopbackTransport: a hashicorp.Transport over a server of its own, whose requests reach only
// those whom it is connected to.
type Transport struct {
	*hashicorp.Transport
	node *cluster.Node

	mu        sync.Mutex // guards what follows
	connected map[raft.ServerAddress]bool
	pipelines map[raft.AppendPipeline]raft.ServerAddress
}

var _ raft.LoopbackTransport = (*Transport)(nil)

// timeout is that of Raft's transport in memory.
const timeout = 500 * time.Millisecond

// inFlight is for pipelines, which the tests want: the way is short here.
const inFlight = 2

// addresses has where each server listens, by its id, also when it is closed: it may come back.
var addresses struct {
	mu     sync.Mutex // guards listen
	listen []string
}

// New starts the server of an address that New has returned before, and that is closed; or another one if it is empty.
// It is of the same form as raft.NewInmemTransport.
func New(addr raft.ServerAddress) (raft.ServerAddress, raft.LoopbackTransport) {
	t, err := start(addr)
	if err != nil {
		panic(err) // as there is nobody to return it to
	}
	return t.LocalAddr(), t
}

func start(addr raft.ServerAddress) (*Transport, error) {
	pid, err := idOf(addr)
	if err != nil {
		return nil, err
	}
	for tries := 3; ; tries-- {
		cfg := cluster.Config{Cluster: "loopback", Peers: []peercatalog.Peer{{ID: pid, Address: listen(pid)}}}
		node, err := cluster.NewFromConfig(pid, cfg)
		if errors.Is(err, syscall.EADDRINUSE) && addr == "" && tries > 1 {
			move(pid)
			continue
		}
		if err != nil {
			return nil, err
		}
		t := &Transport{node: node, connected: make(map[raft.ServerAddress]bool), pipelines: make(map[raft.AppendPipeline]raft.ServerAddress)}
		t.Transport, err = hashicorp.New(node, hashicorp.Config{Timeout: timeout, HeartbeatTimeout: timeout, MaxInFlight: inFlight})
		return t, err
	}
}

// idOf is the id of an address; one of its own if that is empty.
func idOf(addr raft.ServerAddress) (int, error) {
	if addr != "" {
		return hashicorp.Pid(addr)
	}
	free, err := freeAddress()
	if err != nil {
		return 0, err
	}
	addresses.mu.Lock()
	defer addresses.mu.Unlock()
	addresses.listen = append(addresses.listen, free)
	return len(addresses.listen) - 1, nil
}

func listen(pid int) string {
	addresses.mu.Lock()
	defer addresses.mu.Unlock()
	return addresses.listen[pid]
}

// move gives a server another port, since somebody else has taken its.
func move(pid int) {
	if free, err := freeAddress(); err == nil {
		addresses.mu.Lock()
		defer addresses.mu.Unlock()
		addresses.listen[pid] = free
	}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// Connect implements raft.WithPeers.
func (t *Transport) Connect(peer raft.ServerAddress, _ raft.Transport) {
	pid, err := hashicorp.Pid(peer)
	if err == nil {
		err = t.node.Catalog().Put(peercatalog.Peer{ID: pid, Address: listen(pid)})
	}
	if err != nil {
		panic(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.connected[peer] = true
}

// Disconnect implements raft.WithPeers.
func (t *Transport) Disconnect(peer raft.ServerAddress) {
	t.disconnect(func(addr raft.ServerAddress) bool { return addr == peer })
}

// DisconnectAll implements raft.WithPeers.
func (t *Transport) DisconnectAll() {
	t.disconnect(func(raft.ServerAddress) bool { return true })
}

func (t *Transport) disconnect(from func(raft.ServerAddress) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for addr := range t.connected {
		if from(addr) {
			delete(t.connected, addr)
		}
	}
	for p, addr := range t.pipelines {
		if from(addr) {
			p.Close()
			delete(t.pipelines, p)
		}
	}
}

// Close implements raft.WithClose. It closes the server, too.
func (t *Transport) Close() error {
	t.DisconnectAll()
	return errors.Join(t.Transport.Close(), t.node.Close())
}

// to returns an error unless t is connected to a server.
func (t *Transport) to(target raft.ServerAddress) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.connected[target] {
		return fmt.Errorf("loopback: server %s is not connected to %s", t.LocalAddr(), target)
	}
	return nil
}

// AppendEntriesPipeline implements raft.Transport.
func (t *Transport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	if err := t.to(target); err != nil {
		return nil, err
	}
	p, err := t.Transport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pipelines[p] = target
	return p, nil
}

// AppendEntries implements raft.Transport.
func (t *Transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if err := t.to(target); err != nil {
		return err
	}
	return t.Transport.AppendEntries(id, target, args, resp)
}

// RequestVote implements raft.Transport.
func (t *Transport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	if err := t.to(target); err != nil {
		return err
	}
	return t.Transport.RequestVote(id, target, args, resp)
}

// RequestPreVote implements raft.WithPreVote.
func (t *Transport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	if err := t.to(target); err != nil {
		return err
	}
	return t.Transport.RequestPreVote(id, target, args, resp)
}

// InstallSnapshot implements raft.Transport.
func (t *Transport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	if err := t.to(target); err != nil {
		return err
	}
	return t.Transport.InstallSnapshot(id, target, args, resp, data)
}

// TimeoutNow implements raft.Transport.
func (t *Transport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	if err := t.to(target); err != nil {
		return err
	}
	return t.Transport.TimeoutNow(id, target, args, resp)
}
