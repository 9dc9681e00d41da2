// Demo starts a replicated store on this machine, kills, adds and removes servers while clients write, and shows that
// nothing that was acknowledged is lost. make demo-kv builds and starts it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"time"

	"github.com/abhishekg16/cluster/examples/kv/internal/demo"
)

// limit is how long the story may take, which takes ten seconds.
const limit = 5 * time.Minute

func main() {
	kv := flag.String("kv", "bin/kv", "the `program` of a server")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *kv); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kv string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it takes longer than %v", limit))
	defer cancel()
	dir, err := os.MkdirTemp("", "kv-demo-")
	if err != nil {
		return err
	}
	err = demo.Run(ctx, os.Stdout, dir, func(args ...string) *exec.Cmd { return exec.Command(kv, args...) })
	if err != nil {
		return fmt.Errorf("%w\nwhat the servers have, and have logged, is in %s", err, dir)
	}
	return os.RemoveAll(dir)
}
