package hashicorp

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
)

// Nobody takes from the other server's Inbox, so that large entries and a snapshot fill the way to it, and there is no room for more. A
// heartbeat and a vote pass them all the same.
func TestAHeartbeatPassesWhatFillsTheWay(t *testing.T) {
	nodes := clustertest.StartLocal(t, 2, func(cfg *cluster.Config) { cfg.SendTimeout, cfg.Linger, cfg.QueueBytes = deadline, -1, 64<<10 })
	transport, err := New(nodes[0], Config{Timeout: deadline, HeartbeatTimeout: deadline, MaxInFlight: 100})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { transport.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	until := func(what string, cond func(cluster.PeerStats) bool) {
		t.Helper()
		for !cond(nodes[0].Stats().Peers[0]) {
			if ctx.Err() != nil {
				t.Fatalf("%s:\n%v", what, nodes[0].Stats())
			}
			time.Sleep(time.Millisecond)
		}
	}
	until("the other is not known to have an urgent stream", func(p cluster.PeerStats) bool {
		if err := nodes[0].SendUrgent(ctx, &cluster.Envelope{Pid: 1, Msg: "hello"}); err != nil {
			t.Fatal(err)
		}
		return p.Urgent
	})
	const count = 12
	for index := range uint64(count) {
		entries := []*raft.Log{{Index: index + 1, Data: make([]byte, 2<<20)}}
		go transport.AppendEntries("1", "1", &raft.AppendEntriesRequest{Term: 7, Entries: entries}, new(raft.AppendEntriesResponse)) // It ends with the transport.
	}
	go transport.InstallSnapshot("1", "1", &raft.InstallSnapshotRequest{Size: 4 << 20}, new(raft.InstallSnapshotResponse), bytes.NewReader(make([]byte, 4<<20))) // Likewise.
	until("nothing waits", func(p cluster.PeerStats) bool { return p.Sent.Queued > 0 })
	before := nodes[0].Stats().Peers[0].Sent.Sent
	go transport.AppendEntries("1", "1", &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{Addr: []byte("0")}, Term: 7}, new(raft.AppendEntriesResponse)) // Likewise.
	go transport.RequestVote("1", "1", &raft.RequestVoteRequest{Term: 8}, new(raft.RequestVoteResponse))                                                     // Likewise.
	until("they are not written", func(p cluster.PeerStats) bool { return p.Sent.Sent >= before+2 })
	large, passed := 0, 0
	for passed < 2 {
		env, err := nodes[1].Receive(ctx)
		if err != nil {
			t.Fatalf("%d of the 2 came, and %d requests with entries: %v", passed, large, err)
		}
		msg, _ := env.Msg.([]byte)
		switch r, _ := decodeMessage(msg).(request); {
		case len(r.Body) > 1<<20:
			large++
		case r.Kind == appendEntries, r.Kind == requestVote:
			passed++
		}
	}
	if large > count/2 {
		t.Errorf("they came behind %d of %d requests with entries", large, count)
	}
}
