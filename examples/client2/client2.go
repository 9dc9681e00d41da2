// Client2 prints what it receives, until it is interrupted:
//
//	go run client2.go -id 1
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
	wait := flag.Duration("wait", 20*time.Second, "say so when nothing has arrived for this `long`")
	if flag.Parse(); *id < 0 || *wait <= 0 {
		fmt.Println("Invalid Arguments")
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	server, err := cluster.New(*id, *config)
	if err != nil {
		fmt.Fprintln(os.Stderr, "client2:", err)
		os.Exit(1)
	}
	defer server.Close()
	for {
		select {
		case env, open := <-server.Inbox():
			if !open {
				return
			}
			fmt.Printf("Received msg from %d: '%v'\n", env.Pid, env.Msg)
		case <-time.After(*wait):
			fmt.Printf("Waited %g seconds, and no message came\n", wait.Seconds())
		case <-ctx.Done():
			return
		}
	}
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
