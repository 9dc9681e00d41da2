package cluster_test

import (
	"expvar"
	"log"

	"github.com/abhishekg16/cluster"
)

// One line makes the Stats a variable of expvar, which shows them at /debug/vars of net/http's default server.
func ExampleNode_Stats_expvar() {
	node, err := cluster.New(0, "Config.json")
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()

	expvar.Publish("cluster", expvar.Func(func() any { return node.Stats() }))
}
