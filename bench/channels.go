package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// channels is cluster as its users see it: everything through Outbox and Inbox. keyed
// is the same with keys.
var (
	channels = throughChannels("cluster", "bare", func(*cluster.Config) {})
	keyed    = throughChannels("cluster, keys", "bare, CURVE", withKeys)
)

func throughChannels(name, base string, change func(*cluster.Config)) contestant {
	join := func(pid int, at addresses) *cluster.Node {
		cfg := cluster.Config{
			SendTimeout: 10 * time.Second, // the processes need not start together
			Peers:       []peercatalog.Peer{{ID: 0, Address: at[0]}, {ID: 1, Address: at[1]}},
		}
		change(&cfg)
		node, err := cluster.NewFromConfig(pid, cfg)
		check(err)
		return node
	}
	return contestant{
		name: name,
		base: base,
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
}

// withKeys gives each server a key. Both processes have to know the same ones.
func withKeys(cfg *cluster.Config) {
	dir, err := os.MkdirTemp("", "bench")
	check(err)
	cfg.KeyDir = dir
	for i, k := range benchKeys {
		cfg.Peers[i].PublicKey = k.public
		check(os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.key", i)), []byte(k.secret), 0o600))
	}
}
