package main

import (
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// channels is cluster as its users see it: everything through Outbox and Inbox.
var channels = contestant{
	name: "cluster",
	sink: func(at addresses, size, n int) time.Duration {
		node := join(0, at)
		<-node.Inbox()
		start := time.Now()
		for range n - 1 {
			<-node.Inbox()
		}
		return time.Since(start)
	},
	source: func(at addresses, size, n int) {
		node := join(1, at)
		b := make([]byte, size)
		for range n {
			node.Outbox() <- &cluster.Envelope{Pid: 0, Msg: b}
		}
		time.Sleep(time.Minute) // until it is killed
	},
	echo: func(at addresses) {
		node := join(1, at)
		for env := range node.Inbox() {
			node.Outbox() <- &cluster.Envelope{Pid: env.Pid, Msg: env.Msg}
		}
	},
	ping: func(at addresses, size, n int) []time.Duration {
		node := join(0, at)
		b := make([]byte, size)
		return trips(n, func() {
			node.Outbox() <- &cluster.Envelope{Pid: 1, Msg: b}
			<-node.Inbox()
		})
	},
}

func join(pid int, at addresses) *cluster.Node {
	node, err := cluster.NewFromConfig(pid, cluster.Config{
		SendTimeout: 10 * time.Second, // the processes need not start together
		Peers:       []peercatalog.Peer{{ID: 0, Address: at[0]}, {ID: 1, Address: at[1]}},
	})
	check(err)
	return node
}
