// Play runs servers as Maelstrom does: see package runner. Its arguments are the command that starts a server, to which
// the workload is added.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/abhishekg16/cluster/examples/maelstrom/internal/runner"
)

func main() {
	var cfg runner.Config
	flag.StringVar(&cfg.Workload, "w", "lin-kv", "the workload: echo, unique-ids, broadcast or lin-kv")
	flag.IntVar(&cfg.Nodes, "nodes", 3, "how many servers")
	flag.IntVar(&cfg.Clients, "clients", 6, "how many clients")
	flag.DurationVar(&cfg.Duration, "time", 10*time.Second, "how long the clients ask")
	flag.DurationVar(&cfg.Pause, "pause", 10*time.Millisecond, "how long a client waits between two requests, on average")
	flag.DurationVar(&cfg.Latency, "latency", 2*time.Millisecond, "how long a message between servers takes, on average")
	flag.Float64Var(&cfg.Loss, "loss", 0.01, "what part of the messages between servers is lost")
	flag.DurationVar(&cfg.Partition, "partition", 2*time.Second, "how long the servers are parted, and whole, in turn; 0: always whole")
	flag.Uint64Var(&cfg.Seed, "seed", 1, "what the requests and the network's faults are drawn from")
	verbose := flag.Bool("v", false, "print what the servers write to their standard error")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if flag.NArg() > 0 {
		cfg.Command = append(flag.Args(), cfg.Workload)
	}
	if *verbose {
		cfg.Stderr = os.Stderr
	}
	report, err := runner.Run(ctx, cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, "play:", err)
		os.Exit(2)
	}
	fmt.Printf("%s, %d servers, seed %d: %v\n", cfg.Workload, cfg.Nodes, cfg.Seed, report)
	if len(report.Faults) > 0 {
		os.Exit(1)
	}
}
