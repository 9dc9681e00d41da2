package etcd_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
	"github.com/abhishekg16/cluster/raft/etcd"
)

// Three servers agree on a counter, to which each of them adds one. They are in one process here, and in three in docs/raft.md.
func Example() {
	cfg := cluster.Config{Cluster: "counter"}
	var voters []raft.Peer
	for pid := range 3 {
		cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: pid, Address: fmt.Sprintf("mem://raft/etcd/%d", pid)})
		voters = append(voters, raft.Peer{ID: etcd.ID(pid)})
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	reached := make(chan int)
	var all []raft.Node
	for pid := range 3 {
		node, err := cluster.NewFromConfig(pid, cfg)
		if err != nil {
			log.Fatal(err)
		}
		defer node.Close()
		store := raft.NewMemoryStorage()
		r := raft.StartNode(&raft.Config{
			ID: etcd.ID(pid), Storage: store, ElectionTick: 10, HeartbeatTick: 1,
			MaxSizePerMsg: 1 << 20, MaxInflightMsgs: 256, Logger: quiet,
		}, voters)
		defer r.Stop()
		transport, err := etcd.New(node, r, etcd.Options{})
		if err != nil {
			log.Fatal(err)
		}
		defer transport.Close()
		all = append(all, r)
		go serve(ctx, r, store, transport, func(n int) { // ends with cancel
			if n == 3 {
				reached <- pid
			}
		})
	}
	for _, r := range all {
		for r.Status().Lead == raft.None { // What is proposed meanwhile is dropped.
			time.Sleep(10 * time.Millisecond)
		}
		if err := r.Propose(ctx, []byte("+1")); err != nil {
			log.Fatal(err)
		}
	}
	for missing := len(all); missing > 0; {
		select {
		case <-reached:
			missing--
		case <-time.After(10 * time.Second): // Raft loses what is proposed while one leader follows another.
			all[0].Propose(ctx, []byte("+1"))
		case <-ctx.Done():
			log.Fatal("the counter is not 3 everywhere")
		}
	}
	fmt.Println("the counter is 3 at all servers")
	// Output: the counter is 3 at all servers
}

// serve does what Raft asks for: it stores, then sends, then counts.
func serve(ctx context.Context, r raft.Node, store *raft.MemoryStorage, transport *etcd.Transport, counted func(int)) {
	ticks := time.NewTicker(50 * time.Millisecond)
	defer ticks.Stop()
	n := 0
	for {
		select {
		case <-ticks.C:
			r.Tick()
		case rd := <-r.Ready():
			if !raft.IsEmptyHardState(rd.HardState) {
				store.SetHardState(rd.HardState)
			}
			store.Append(rd.Entries)
			transport.Send(rd.Messages)
			for _, entry := range rd.CommittedEntries {
				if entry.GetType() == raftpb.EntryConfChange {
					change := new(raftpb.ConfChange)
					if err := proto.Unmarshal(entry.GetData(), change); err != nil {
						log.Fatal(err)
					}
					r.ApplyConfChange(change)
				} else if len(entry.GetData()) > 0 {
					n++
					counted(n)
				}
			}
			r.Advance()
		case <-ctx.Done():
			return
		}
	}
}
