package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/raft/hashicorp"
)

const (
	// A follower that hears nothing of the leader for one to two times electionTimeout asks for votes. A leader steps
	// down when it has heard nothing of a majority for leaseTimeout.
	electionTimeout = 400 * time.Millisecond
	leaseTimeout    = 200 * time.Millisecond

	// When a server looks whether there are enough entries for a snapshot, how many that are, and how many stay
	// before it, for followers that are a little behind.
	snapshotInterval = 20 * time.Second
	snapshotEntries  = 10_000
	trailingEntries  = 10_000
)

// A server is one of those that have a copy of the store: a node of the cluster, Raft on it, and an HTTP server.
type server struct {
	node  *cluster.Node
	raft  *raft.Raft
	store *store
	reads fence

	listener net.Listener
	close    []func() error // what has been opened, in this order
}

// open starts a server, which is to be closed. Its data is in the directory data, which is made if it is missing. Where
// that has nothing yet, and bootstrap says so, the server begins a new store with all servers of the configuration.
func open(id int, config, data string, bootstrap bool) (_ *server, failed error) {
	s := &server{store: newStore()}
	defer func() {
		if failed != nil {
			failed = errors.Join(failed, s.Close())
		}
	}()
	node, err := cluster.New(id, config)
	if err != nil {
		return nil, err
	}
	s.node = node
	s.opened(node.Close)
	if err := s.startRaft(data, bootstrap); err != nil {
		return nil, err
	}
	address, err := s.httpAddress(id)
	if err != nil {
		return nil, err
	}
	s.listener, err = net.Listen("tcp", address)
	return s, err
}

func (s *server) opened(c func() error) { s.close = append(s.close, c) }

// Close closes what is open, the last first. What is not committed then may be lost or not.
func (s *server) Close() (err error) {
	for i := len(s.close) - 1; i >= 0; i-- {
		err = errors.Join(err, s.close[i]())
	}
	return err
}

func (s *server) startRaft(data string, bootstrap bool) error {
	conf := raft.DefaultConfig()
	conf.LocalID = raftID(s.node.Pid())
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = electionTimeout, electionTimeout, leaseTimeout
	conf.SnapshotInterval, conf.SnapshotThreshold, conf.TrailingLogs = snapshotInterval, snapshotEntries, trailingEntries
	conf.ShutdownOnRemove = false // A server that is removed answers as a follower until somebody ends it.
	conf.Logger = hclog.New(&hclog.LoggerOptions{Name: "raft", Level: hclog.Warn, Output: os.Stderr})

	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	file := filepath.Join(data, "raft.db")
	options := *bbolt.DefaultOptions
	options.Timeout = time.Second // of waiting for another process that has it
	disk, err := raftboltdb.New(raftboltdb.Options{Path: file, BoltOptions: &options})
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	s.opened(disk.Close)
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(data, 2, conf.Logger)
	if err != nil {
		return err
	}
	transport, err := hashicorp.New(s.node, hashicorp.Config{HeartbeatTimeout: electionTimeout / 2})
	if err != nil {
		return err
	}
	s.opened(transport.Close) // which Raft does, too
	if bootstrap {
		if err := s.bootstrap(conf, disk, snapshots, transport); err != nil {
			return err
		}
	}
	s.raft, err = raft.NewRaft(conf, s.store, disk, disk, snapshots, transport)
	if err != nil {
		return err
	}
	s.reads.raft = s.raft
	s.opened(func() error { return s.raft.Shutdown().Error() })
	return nil
}

// bootstrap writes the first entry of the log, which says who votes, unless there is a log already.
func (s *server) bootstrap(conf *raft.Config, disk *raftboltdb.BoltStore, snapshots raft.SnapshotStore, transport raft.Transport) error {
	var first raft.Configuration
	for _, id := range s.node.Catalog().Participants() {
		first.Servers = append(first.Servers, raft.Server{ID: raftID(id), Address: hashicorp.Address(id)})
	}
	err := raft.BootstrapCluster(conf, disk, disk, snapshots, transport, first)
	if errors.Is(err, raft.ErrCantBootstrap) {
		return nil
	}
	return err
}

// raftID is a server's name in Raft, which is its id, as its address is.
func raftID(id int) raft.ServerID { return raft.ServerID(hashicorp.Address(id)) }

// serve answers HTTP until ctx ends, and then what has been asked until then, for a while.
func (s *server) serve(ctx context.Context) error {
	h := &http.Server{Handler: s.routes(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(s.listener) }() // Shutdown ends it, at once
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	limited, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := h.Shutdown(limited); err != nil {
		return h.Close()
	}
	return nil
}
