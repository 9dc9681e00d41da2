// Counter is a number that all servers of a cluster agree on: each line that is typed into one of them adds one to it.
// docs/raft.md explains it.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/raft/etcd"
)

func main() {
	id := flag.Int("id", -1, "this server's `id` in the configuration")
	config := flag.String("config", "Config.json", "the configuration `file`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *id, *config); err != nil {
		fmt.Fprintln(os.Stderr, "counter:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, id int, config string) error {
	node, err := cluster.New(id, config)
	if err != nil {
		return err
	}
	defer node.Close()
	s := &server{store: raft.NewMemoryStorage()} // A server that is to come back after it has ended needs a store on disk.
	s.raft = raft.StartNode(&raft.Config{
		ID: etcd.ID(id), Storage: s.store, ElectionTick: 10, HeartbeatTick: 1, PreVote: true, CheckQuorum: true,
		MaxSizePerMsg: 1 << 20, MaxInflightMsgs: 256, MaxInflightBytes: 4 << 20,
		Logger: &raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)},
	}, voters(node))
	defer s.raft.Stop()
	if s.transport, err = etcd.New(node, s.raft, etcd.Options{}); err != nil {
		return err
	}
	defer s.transport.Close()
	return s.run(ctx, lines(os.Stdin))
}

// voters are all servers of the configuration, in the same order at each of them.
func voters(node *cluster.Node) (all []raft.Peer) {
	pids := append(node.Peers(), node.Pid())
	slices.Sort(pids)
	for _, pid := range pids {
		all = append(all, raft.Peer{ID: etcd.ID(pid)})
	}
	return all
}

type server struct {
	raft      raft.Node
	store     *raft.MemoryStorage
	transport *etcd.Transport
	n         int // the counter
}

func (s *server) run(ctx context.Context, typed <-chan string) error {
	ticks := time.NewTicker(100 * time.Millisecond) // An election takes about ten of them.
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			s.raft.Tick()
		case rd := <-s.raft.Ready():
			if err := s.handle(rd); err != nil {
				return err
			}
			s.raft.Advance()
		case _, ok := <-typed:
			if !ok {
				typed = nil
				continue
			}
			go s.add(ctx) // which waits for a leader, for a second
		case <-ctx.Done():
			return nil
		}
	}
}

// handle does what Raft asks for: it stores, then sends, then applies.
func (s *server) handle(rd raft.Ready) error {
	if !raft.IsEmptyHardState(rd.HardState) {
		if err := s.store.SetHardState(rd.HardState); err != nil {
			return err
		}
	}
	if err := s.store.Append(rd.Entries); err != nil {
		return err
	}
	s.transport.Send(rd.Messages)
	for _, entry := range rd.CommittedEntries {
		switch {
		case entry.GetType() == raftpb.EntryConfChange:
			change := new(raftpb.ConfChange)
			if err := proto.Unmarshal(entry.GetData(), change); err != nil {
				return err
			}
			s.raft.ApplyConfChange(change)
		case len(entry.GetData()) > 0: // A new leader begins with an empty one.
			s.n++
			fmt.Println("counter:", s.n)
		}
	}
	return nil
}

// add lets the leader, wherever it is, add one: Raft sends it what others propose.
func (s *server) add(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := s.raft.Propose(ctx, []byte("+1")); err != nil {
		fmt.Println("not added:", err)
	}
}

// lines is what is typed, until the input ends.
func lines(r io.Reader) <-chan string {
	out := make(chan string)
	go func() { // ends with the input, or with the program
		defer close(out)
		for s := bufio.NewScanner(r); s.Scan(); {
			out <- s.Text()
		}
	}()
	return out
}
