package hashicorp_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/raft/hashicorp"
)

// hasty lets a server close without waiting for what another one, which has closed before, has not acknowledged.
func hasty(cfg *cluster.Config) { cfg.Linger = -1 }

func TestRequestsToAppendOfAnySizeArriveAsTheyWereSent(t *testing.T) {
	a, b, _ := pair(t, hashicorp.Config{}, hasty)
	for _, size := range []int{0, 1, 3 << 10, 4<<10 - 100, 4 << 10, 4<<10 + 100, 40 << 10, 1 << 20} {
		data := bytes.Repeat([]byte("data"), size/4+1)[:size]
		sent := &raft.AppendEntriesRequest{
			RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("a"), Addr: []byte("0")},
			Term:      7, PrevLogEntry: 1, PrevLogTerm: 6, LeaderCommitIndex: 1,
			Entries: []*raft.Log{{Index: 2, Term: 7, Data: data, Extensions: []byte{1}}, {Index: 3, Term: 7, Data: []byte{}}},
		}
		done := result(func() error { return a.AppendEntries("1", hashicorp.Address(1), sent, new(raft.AppendEntriesResponse)) })
		rpc := next(t, b)
		if diff := cmp.Diff(sent, rpc.Command, cmp.Comparer(bytes.Equal)); diff != "" {
			t.Errorf("%d bytes: (-sent +arrived)\n%s", size, diff)
		}
		rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
		if err := outcome(t, done); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// Raft goes on using what it has sent, and may change it.
func TestEntriesMayChangeWhenTheRequestWasSent(t *testing.T) {
	a, b, _ := pair(t, hashicorp.Config{}, hasty)
	p, err := a.AppendEntriesPipeline("1", hashicorp.Address(1))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, size := range []int{1 << 10, 100 << 10} {
		data := bytes.Repeat([]byte{1}, size)
		sent := &raft.AppendEntriesRequest{Term: 7, PrevLogEntry: 1, Entries: []*raft.Log{{Index: 2, Data: data}}}
		f, err := p.AppendEntries(sent, new(raft.AppendEntriesResponse))
		if err != nil {
			t.Fatal(err)
		}
		clear(data)
		rpc := next(t, b)
		if got := rpc.Command.(*raft.AppendEntriesRequest).Entries[0].Data; !bytes.Equal(got, bytes.Repeat([]byte{1}, size)) {
			t.Errorf("%d bytes did not arrive as they were when they were sent", size)
		}
		rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
		if err := f.Error(); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkAppendEntries sends requests with entries of 1 KiB one after another. What is allocated is that of both servers.
func BenchmarkAppendEntries(b *testing.B) {
	for _, entries := range []int{1, 64, 1024} {
		b.Run(fmt.Sprint(entries), func(b *testing.B) {
			from, to, _ := pair(b, hashicorp.Config{}, hasty)
			stop, ended := make(chan struct{}), make(chan struct{})
			defer func() { close(stop); <-ended }()
			go func() { // It ends with the benchmark, which waits for it.
				defer close(ended)
				for {
					select {
					case rpc := <-to.Consumer():
						rpc.Respond(&raft.AppendEntriesResponse{Term: 7, Success: true}, nil)
					case <-stop:
						return
					}
				}
			}()
			args := &raft.AppendEntriesRequest{Term: 7, PrevLogEntry: 1}
			for i := range entries {
				args.Entries = append(args.Entries, &raft.Log{Index: uint64(2 + i), Term: 7, Data: make([]byte, 1024)})
			}
			b.SetBytes(int64(entries) << 10)
			b.ReportAllocs()
			for b.Loop() {
				if err := from.AppendEntries("1", hashicorp.Address(1), args, new(raft.AppendEntriesResponse)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
