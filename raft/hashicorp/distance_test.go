package hashicorp_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/raft/hashicorp"
)

// Without Config.MaxInFlight there are pipelines to a server that is known to be far, and only to such.
func TestThereArePipelinesWhereTheWayIsLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := clustertest.NewNetwork(t, 1, 3)
		var all []*hashicorp.Transport
		for _, node := range net.Start() {
			transport, err := hashicorp.New(node, hashicorp.Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer transport.Close()
			all = append(all, transport)
			transport.SetHeartbeatHandler(func(rpc raft.RPC) { rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil) })
		}
		take := func(delay time.Duration) { net.Set(clustertest.Faults{Delay: clustertest.Fixed(delay)}) }
		pipelined := func(want bool) {
			t.Helper()
			p, err := all[0].AppendEntriesPipeline("1", "1")
			switch {
			case want && err != nil:
				t.Errorf("no pipeline: %v", err)
			case want:
				p.Close()
			case !errors.Is(err, raft.ErrPipelineReplicationNotSupported):
				t.Errorf("a pipeline, or another error: %v", err)
			}
		}
		beat := func(times int) {
			t.Helper()
			for range times {
				if err := all[0].AppendEntries("1", "1", heartbeat(), new(raft.AppendEntriesResponse)); err != nil {
					t.Fatal(err)
				}
			}
		}
		take(400 * time.Microsecond)
		pipelined(false) // nothing is known
		beat(20)
		pipelined(false)
		take(600 * time.Microsecond)
		beat(7) // That may be a busy machine.
		pipelined(false)
		beat(1)
		pipelined(true)

		// A request that is slow tells nothing: Raft may have been busy. One that is quick does.
		vote := func(wait time.Duration) {
			t.Helper()
			go func() { // ends with the answer
				rpc := <-all[1].Consumer()
				time.Sleep(wait)
				rpc.Respond(&raft.RequestVoteResponse{}, nil)
			}()
			if err := all[0].RequestVote("1", "1", &raft.RequestVoteRequest{}, new(raft.RequestVoteResponse)); err != nil {
				t.Fatal(err)
			}
		}
		take(400 * time.Microsecond)
		vote(0)
		pipelined(false)
		for range 20 {
			vote(time.Second)
		}
		pipelined(false)
	})
}
