package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/abhishekg16/cluster"
)

func main() {
	id := flag.Int("id", -1, "this server's `id` in the configuration")
	config := flag.String("config", findConfig(), "the configuration `file`")
	state := flag.String("state", "", "the `file` that keeps this server's term and vote (default election-<id>.json)")
	if flag.Parse(); *id < 0 {
		fmt.Println("Invalid Arguments")
		flag.Usage()
		os.Exit(2)
	}
	if *state == "" {
		*state = fmt.Sprintf("election-%d.json", *id)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := elect(ctx, *id, *config, File(*state)); err != nil {
		fmt.Fprintln(os.Stderr, "election:", err)
		os.Exit(1)
	}
}

// elect takes part in the election, and prints what it learns, until ctx ends.
func elect(ctx context.Context, id int, config string, storage Storage) error {
	server, err := cluster.New(id, config)
	if err != nil {
		return err
	}
	defer server.Close()
	if self, _ := server.Catalog().Get(id); self.Observer {
		return fmt.Errorf("server %d is an observer in %s: it has no vote, and cannot take part", id, config)
	}
	e, err := NewElection(server, storage, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), func(s Status) { fmt.Println(s) })
	if err != nil {
		return err
	}
	return e.Run(ctx)
}

// findConfig looks for Config.json in the working directory and upward from there.
func findConfig() string {
	const name = "Config.json"
	for dir, _ := os.Getwd(); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return filepath.Join(dir, name)
		}
	}
	return name
}
