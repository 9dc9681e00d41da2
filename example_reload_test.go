package cluster_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/abhishekg16/cluster"
)

// A program that knows when the file has changed, by SIGHUP for example, tells the node. With
// "reload": true in the file the node finds out by itself.
func ExampleNode_Reload() {
	dir, err := os.MkdirTemp("", "cluster")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "Config.json")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			log.Fatal(err)
		}
	}
	write(`{"peers": [{"id": 0, "address": "mem://reload/0"}, {"id": 1, "address": "mem://reload/1"}]}`)
	server, err := cluster.New(0, file)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	fmt.Println(server.Peers())

	write(`{"peers": [{"id": 0, "address": "mem://reload/0"}, {"id": 2, "address": "mem://reload/2"}]}`)
	if err := server.Reload(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(server.Peers())

	write(`{"peers": [{"id": 2, "address": "mem://reload/2"}]}`)
	if err := server.Reload(); err != nil {
		fmt.Println("refused, and the servers are still", server.Peers())
	}

	// Output:
	// [1]
	// [2]
	// refused, and the servers are still [2]
}
