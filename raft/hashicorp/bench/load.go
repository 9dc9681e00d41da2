package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
	"github.com/abhishekg16/cluster/raft/hashicorp"
)

const (
	servers = 3
	timeout = 10 * time.Second
	// patience is how long followers wait for a leader, and a leader for them.
	patience = 2 * time.Second
)

// A load is what the servers are given to do.
type load struct {
	duration time.Duration
	writers  int
	bytes    int
	inFlight int
}

// A member is a server of a Raft.
type member struct {
	raft      *raft.Raft
	transport raft.Transport
	close     func() error // of what is below the transport
}

// A carrier makes transports.
type carrier struct {
	// open makes that of a server.
	open func(l load, id int, addresses []string) (member, error)
	// address is what a server's is called by Raft.
	address func(id int, addresses []string) raft.ServerAddress
}

// network is hashicorp/raft's NetworkTransport over TCP.
var network = carrier{openNetwork, func(id int, addresses []string) raft.ServerAddress { return raft.ServerAddress(addresses[id]) }}

func openNetwork(l load, id int, addresses []string) (m member, err error) {
	layer, err := net.Listen("tcp", addresses[id])
	if err != nil {
		return m, err
	}
	m.transport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: stream{layer}, MaxPool: 3, MaxRPCsInFlight: l.inFlight, Timeout: timeout, Logger: hclog.NewNullLogger(),
	})
	return m, nil
}

// A stream is a raft.StreamLayer of plain TCP.
type stream struct{ net.Listener }

func (stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", string(address), timeout)
}

// node is this module's transport, over nodes that are connected by the transport in Go.
var node = carrier{openNode, func(id int, _ []string) raft.ServerAddress { return hashicorp.Address(id) }}

func openNode(l load, id int, addresses []string) (m member, err error) {
	cfg := cluster.Config{Transport: "go"}
	for id, address := range addresses {
		cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: id, Address: address})
	}
	n, err := cluster.NewFromConfig(id, cfg)
	if err != nil {
		return m, err
	}
	t, err := hashicorp.New(n, hashicorp.Config{Timeout: timeout, MaxInFlight: l.inFlight})
	if err != nil {
		return m, errors.Join(err, n.Close())
	}
	return member{transport: t, close: n.Close}, nil
}

// inMemory is hashicorp/raft's transport for tests, of servers in one process.
func inMemory() carrier {
	var all []*raft.InmemTransport
	address := func(id int, addresses []string) raft.ServerAddress { return raft.ServerAddress(addresses[id]) }
	open := func(_ load, id int, addresses []string) (m member, err error) {
		_, t := raft.NewInmemTransportWithTimeout(address(id, addresses), timeout)
		if len(all) == servers {
			all = nil // They are of the measurement before.
		}
		for _, other := range all {
			other.Connect(t.LocalAddr(), t)
			t.Connect(other.LocalAddr(), other)
		}
		all = append(all, t)
		return member{transport: t}, nil
	}
	return carrier{open, address}
}

// freeAddresses are those of all servers.
func freeAddresses() (addresses []string, err error) {
	for range servers {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // when all are known, so that they differ
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

// measure starts the servers, and measures them once they have a leader.
func (l load) measure(carry carrier) (f figures, err error) {
	runtime.GC() // What the run before has left is not this one's.
	addresses, err := freeAddresses()
	if err != nil {
		return f, err
	}
	var members []member
	defer func() {
		for _, m := range members {
			err = errors.Join(err, m.end())
		}
	}()
	for id := range servers {
		m, err := start(l, carry, id, addresses)
		if err != nil {
			return f, err
		}
		members = append(members, m)
	}
	leader, err := elected(members)
	if err != nil {
		return f, err
	}
	return l.lead(leader)
}

// lead measures a leader.
func (l load) lead(leader *raft.Raft) (f figures, err error) {
	if _, err := l.run(leader, l.duration/10); err != nil { // until all are used to it
		return f, err
	}
	return l.run(leader, l.duration)
}

// end shuts a member down; Raft closes its transport.
func (m member) end() error {
	err := m.raft.Shutdown().Error()
	if m.close != nil {
		err = errors.Join(err, m.close())
	}
	return err
}

// start runs Raft on one of the servers.
func start(l load, carry carrier, id int, addresses []string) (m member, err error) {
	var all raft.Configuration
	for id := range addresses {
		all.Servers = append(all.Servers, raft.Server{ID: raft.ServerID(strconv.Itoa(id)), Address: carry.address(id, addresses)})
	}
	if m, err = carry.open(l, id, addresses); err != nil {
		return m, err
	}
	conf := raft.DefaultConfig()
	conf.LocalID, conf.Logger = all.Servers[id].ID, hclog.NewNullLogger()
	conf.SnapshotThreshold = 1 << 40 // none is taken
	// A machine that is busy for half a second is no reason for an election.
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = patience, patience, patience
	store := raft.NewInmemStore()
	m.raft, err = raft.NewRaft(conf, nothing{}, store, store, raft.NewDiscardSnapshotStore(), m.transport)
	if err != nil {
		return m, err
	}
	return m, m.raft.BootstrapCluster(all).Error()
}

// elected waits for a leader.
func elected(members []member) (*raft.Raft, error) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		for _, m := range members {
			if m.raft.State() == raft.Leader && m.raft.Barrier(time.Second).Error() == nil {
				return m.raft, nil
			}
		}
	}
	return nil, errors.New("no leader was elected within a minute")
}

// figures are what was measured once.
type figures struct {
	rate     float64 // entries per second
	p50, p99 time.Duration
}

func (f figures) String() string {
	return fmt.Sprintf("%9.0f %8v %8v", f.rate, f.p50.Round(10*time.Microsecond), f.p99.Round(10*time.Microsecond))
}

// run lets the writers write for a time.
func (l load) run(leader *raft.Raft, duration time.Duration) (figures, error) {
	var (
		writers sync.WaitGroup
		mu      sync.Mutex // guards what follows
		took    []time.Duration
		failed  error
	)
	began := time.Now()
	end := began.Add(duration)
	for range l.writers {
		writers.Go(func() {
			var mine []time.Duration
			var err error
			for now := time.Now(); err == nil && now.Before(end); {
				err = leader.Apply(make([]byte, l.bytes), timeout).Error()
				then := time.Now()
				mine, now = append(mine, then.Sub(now)), then
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
			failed = cmp.Or(failed, err) // One is enough: they all fail for the same reason.
		})
	}
	writers.Wait()
	if failed != nil {
		return figures{}, fmt.Errorf("writing: %w", failed)
	}
	slices.Sort(took)
	return figures{
		rate: float64(len(took)) / time.Since(began).Seconds(),
		p50:  took[len(took)/2],
		p99:  took[len(took)*99/100],
	}, nil
}

// nothing is a state machine that keeps nothing.
type nothing struct{}

func (nothing) Apply(*raft.Log) any { return nil }
func (nothing) Snapshot() (raft.FSMSnapshot, error) {
	return nil, errors.New("no snapshots are taken here")
}
func (nothing) Restore(r io.ReadCloser) error { return r.Close() }
