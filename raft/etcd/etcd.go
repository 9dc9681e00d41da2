// Package etcd carries go.etcd.io/raft over a cluster of servers: a Transport sends Raft's messages through a cluster.Node,
// over the connections that the node has anyway, with its keys where it has some.
//
// Raft's id of a server is its id in the cluster and 1 (see ID), since 0 means nobody to Raft. Where the server is, the
// node's catalogue knows.
//
//	node, err := cluster.New(pid, "Config.json")
//	...
//	r := raft.StartNode(&raft.Config{ID: etcd.ID(pid), ...}, peers)
//	transport, err := etcd.New(node, r, etcd.Options{})
//	...
//	for rd := range r.Ready() { // after HardState, Entries and Snapshot are stored:
//		transport.Send(rd.Messages)
//		...
//	}
//
// # Delivery
//
// Messages reach Step of the other server's Raft in the order sent, but for three things: messages that append entries or propose
// some (MsgApp, MsgProp) are overtaken by others that wait behind them here; heartbeats, votes and the answers to them
// overtake all others, on the way as well; and
// proposals do not hold up the rest at their receiver, where they wait as long as there is no leader.
//
// Heartbeats and votes do not wait for what is to be written to the same server, entries or a snapshot, but go between two pieces
// of it (see cluster.Node.SendUrgent); what the connection has taken already is before them. To a server of an earlier version of the library they go
// behind as much of the entries as Raft sends without an answer (raft.Config.MaxInflightBytes bounds that), and Options.SnapshotWindow
// bytes of a snapshot. One that goes so, before it is known what the server can do, may be overtaken by the next.
//
// A snapshot is sent in pieces, as fast as its receiver takes them. It is in memory as a whole on both sides, as Raft
// wants it, and takes half as much again while it comes. A larger one than Options.MaxSnapshotBytes is refused by its receiver.
//
// # What Raft is told
//
// ReportUnreachable is called for the destination of each message that was dropped: because the node returned an error, or because more
// waits for that server than there is room for; and when the node finds the server down or started anew, or gives up what it
// had accepted. Drops in a row that Raft has not been told of yet are one report. ReportSnapshot is called exactly once for each MsgSnap that
// Send was given before Close: with SnapshotFinish when Step of its receiver has returned nil, and with SnapshotFailure otherwise.
//
// # The node
//
// The transport takes from the node's Inbox as long as it is open. What is not Raft's goes to Options.Other.
// The program may send what it likes. Closing the transport leaves the node open.
//
// # Trust
//
// What comes is checked before Raft sees it: it has to be a message that travels, for this server, and from the one that it says it is
// from. What the message claims of terms, logs and commits is for Raft to believe: one that lies can stop a Raft, as in etcd itself. So where the
// network is not trusted, give the servers keys.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/abhishekg16/cluster"
)

// A Raft is what messages are for. raft.Node is one. Its methods are called by goroutines of the transport, several at a
// time, and never by Send; they may wait, but have to return once the Raft has stopped, and Step when its context ends.
type Raft interface {
	// Step takes a message of another server. Its error is of interest for a snapshot alone, which has then failed.
	Step(ctx context.Context, m *raftpb.Message) error
	// ReportUnreachable says that a message to a server was dropped.
	ReportUnreachable(id uint64)
	// ReportSnapshot says what became of a snapshot.
	ReportSnapshot(id uint64, status raft.SnapshotStatus)
}

// Options say how a Transport works. The zero value of each field means its default.
type Options struct {
	// Timeout is how long the other side of a snapshot may be silent; at least 1 ms; 0 means 5 s. While a receiver's Step takes, it is not
	// silent.
	Timeout time.Duration

	// SnapshotWindow is how much of a snapshot may be on its way to this server, in bytes; at least 65,536; 0 means 1 MiB. A larger
	// one makes snapshots faster where the way is long, and heartbeats wait longer where it is narrow.
	SnapshotWindow int

	// MaxSnapshotBytes is the largest snapshot that this server takes, without its metadata; 0 means 1 GiB. A server can
	// make this one hold that much.
	MaxSnapshotBytes int

	// Other is called for each message that is not Raft's, in the order of their coming, by the goroutine that receives:
	// as long as it has not returned, nothing is received, not even a heartbeat. Without it such messages are dropped,
	// and Logger is told.
	Other func(*cluster.Envelope)

	// Logger is told of mistakes, once each: messages that nobody takes, that are too large, or that Raft's configuration
	// does not fit. Nil means slog.Default().
	Logger *slog.Logger
}

const (
	usualTimeout     = 5 * time.Second
	leastTimeout     = time.Millisecond // of which a receiver uses fractions
	usualWindow      = 1 << 20
	usualMaxSnapshot = 1 << 30
)

// prepared is the options with their defaults, or what is wrong with them.
func (o Options) prepared() (Options, error) {
	var errs []error
	switch {
	case o.Timeout == 0:
		o.Timeout = usualTimeout
	case o.Timeout < leastTimeout:
		errs = append(errs, fmt.Errorf("etcd: Options.Timeout is %v: it must be at least %v", o.Timeout, leastTimeout))
	}
	switch {
	case o.SnapshotWindow == 0:
		o.SnapshotWindow = usualWindow
	case o.SnapshotWindow < pieceBytes:
		errs = append(errs, fmt.Errorf("etcd: Options.SnapshotWindow is %d: it must be at least %d", o.SnapshotWindow, pieceBytes))
	}
	switch {
	case o.MaxSnapshotBytes == 0:
		o.MaxSnapshotBytes = usualMaxSnapshot
	case o.MaxSnapshotBytes < 0:
		errs = append(errs, fmt.Errorf("etcd: Options.MaxSnapshotBytes is %d: it must not be negative", o.MaxSnapshotBytes))
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, errors.Join(errs...)
}
