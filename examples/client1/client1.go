// Client1 broadcasts "hello there" once a second, nine times, and exits:
//
//	go run client1.go -id 0
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/abhishekg16/cluster"
)

func main() {
	id := flag.Int("id", -1, "this server's `id` in the configuration")
	config := flag.String("config", findConfig(), "the configuration `file`")
	flag.Parse()
	if *id < 0 {
		fmt.Println("Invalid Arguments")
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *id, *config); err != nil {
		fmt.Fprintln(os.Stderr, "client1:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, id int, config string) (err error) {
	server, err := cluster.New(id, config)
	if err != nil {
		return err
	}
	for i := 1; i < 10 && ctx.Err() == nil; i++ {
		server.Outbox() <- &cluster.Envelope{Pid: cluster.BROADCAST, Msg: "hello there"}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done(): // interrupted: stop early
		}
	}
	return server.Close() // what was handed to Outbox leaves before it returns
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
