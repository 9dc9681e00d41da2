// Kv is one server of a replicated key-value store: HTTP in front, hashicorp/raft over the library's transport between
// the servers, and the log in a file of bbolt. README.md says how it is used.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	id := flag.Int("id", -1, "this server's `id` in the configuration")
	config := flag.String("config", "Config.json", "the configuration `file`")
	data := flag.String("data", "", "the `directory` of this server's log and snapshots")
	bootstrap := flag.Bool("bootstrap", false, "begin a new store with all servers of the configuration, if the directory has none yet; for one server alone")
	flag.Parse()
	if *id < 0 || *data == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "kv: -id and -data are needed, and nothing but flags is taken")
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *id, *config, *data, *bootstrap); err != nil {
		fmt.Fprintln(os.Stderr, "kv:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, id int, config, data string, bootstrap bool) error {
	s, err := open(id, config, data, bootstrap)
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Printf("server %d answers at http://%s\n", id, s.listener.Addr())
	return s.serve(ctx)
}
