// Counter is a number that all servers of a cluster agree on: each line that is typed into one of them adds one to it.
// docs/raft.md explains it.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/raft/hashicorp"
)

// Add is sent to the leader by a server that is to add one.
type Add struct{ From int }

func init() { cluster.Register("counter.Add", Add{}) }

// A Counter is the state machine: what each server does with the entries of the log, in the same order.
type Counter struct{ n int }

func (c *Counter) Apply(*raft.Log) any {
	c.n++
	fmt.Println("counter:", c.n)
	return nil
}

// Snapshots let Raft throw away the log behind them.
func (c *Counter) Snapshot() (raft.FSMSnapshot, error) { return Counter{c.n}, nil }

func (c *Counter) Restore(r io.ReadCloser) error {
	defer r.Close()
	_, err := fmt.Fscan(r, &c.n)
	return err
}

func (c Counter) Persist(sink raft.SnapshotSink) error {
	_, err := fmt.Fprint(sink, c.n)
	return errors.Join(err, sink.Close())
}

func (Counter) Release() {}

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

	// What the others ask for waits here: Other must not wait for Raft.
	asked := make(chan Add, 1000)
	transport, err := hashicorp.New(node, hashicorp.Config{Other: func(env *cluster.Envelope) {
		if add, ok := env.Msg.(Add); ok {
			select {
			case asked <- add:
			default: // more than we can do: who asks has to repeat it
			}
		}
	}})
	if err != nil {
		return err
	}
	r, err := start(node, transport)
	if err != nil {
		return err
	}
	defer func() { r.Shutdown().Error() }() // closes the transport, too

	typed := lines(os.Stdin)
	for {
		select {
		case _, ok := <-typed:
			if !ok {
				typed = nil
				continue
			}
			if err := add(ctx, node, r); err != nil {
				fmt.Println("not added:", err)
			}
		case <-asked:
			r.Apply(nil, time.Second) // Whoever asked sees the counter change, or not if there is another leader.
		case <-ctx.Done():
			return nil
		}
	}
}

// start runs Raft among all servers of the configuration.
func start(node *cluster.Node, transport raft.Transport) (*raft.Raft, error) {
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(transport.LocalAddr())
	conf.Logger = hclog.NewNullLogger()
	store := raft.NewInmemStore() // A server that is to come back after it has ended needs a store on disk.
	r, err := raft.NewRaft(conf, new(Counter), store, store, raft.NewInmemSnapshotStore(), transport)
	if err != nil {
		return nil, err
	}
	var all raft.Configuration
	for _, pid := range append(node.Peers(), node.Pid()) {
		address := hashicorp.Address(pid)
		all.Servers = append(all.Servers, raft.Server{ID: raft.ServerID(address), Address: address})
	}
	return r, r.BootstrapCluster(all).Error()
}

// add lets the leader, wherever it is, add one.
func add(ctx context.Context, node *cluster.Node, r *raft.Raft) error {
	address, _ := r.LeaderWithID()
	if address == "" {
		return errors.New("there is no leader at the moment")
	}
	leader, err := hashicorp.Pid(address)
	if err != nil {
		return err
	}
	if leader == node.Pid() {
		return r.Apply(nil, time.Second).Error()
	}
	return node.Send(ctx, &cluster.Envelope{Pid: leader, Msg: Add{node.Pid()}})
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
