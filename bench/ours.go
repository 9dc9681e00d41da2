package main

import (
	"context"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// channels is cluster as its specification has it, everything through Outbox and
// Inbox; direct is by Send and Receive; keyed is channels with keys.
var (
	channels = ours("cluster", bare.name, throughOutbox, throughInbox, func(*cluster.Config) {})
	direct   = ours("cluster, direct", bare.name, bySend, byReceive, func(*cluster.Config) {})
	keyed    = ours("cluster, keys", bareCurve.name, throughOutbox, throughInbox, withKeys)
)

func throughOutbox(node *cluster.Node) func(to int, v any) {
	return func(to int, v any) { node.Outbox() <- &cluster.Envelope{Pid: to, Msg: v} }
}

func throughInbox(node *cluster.Node) func() any {
	return func() any { return (<-node.Inbox()).Msg }
}

func bySend(node *cluster.Node) func(to int, v any) {
	return func(to int, v any) { check(node.Send(context.Background(), &cluster.Envelope{Pid: to, Msg: v})) }
}

func byReceive(node *cluster.Node) func() any {
	return func() any {
		env, err := node.Receive(context.Background())
		check(err)
		return env.Msg
	}
}

func ours(name, base string, sending func(*cluster.Node) func(int, any), receiving func(*cluster.Node) func() any,
	change func(*cluster.Config)) peer {
	return peer{name: name, base: base, join: func(me int, at []string) end {
		cfg := cluster.Config{SendTimeout: 10 * time.Second} // the processes need not start together
		for i, a := range at {
			cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: i, Address: a})
		}
		change(&cfg)
		node, err := cluster.NewFromConfig(me, cfg)
		check(err)
		send := sending(node)
		return end{
			sendValue:    send,
			receiveValue: receiving(node),
			broadcast:    func(b []byte) { send(cluster.BROADCAST, b) },
			lost: func() map[string]uint64 {
				s := node.Stats()
				lost := map[string]uint64{"on the way": s.Received.Lost}
				for reason, n := range s.Sent.Dropped {
					lost[reason.String()] = n
				}
				return lost
			},
		}
	}}
}

// withKeys gives each server a key.
func withKeys(cfg *cluster.Config) {
	cfg.KeyDir = keyDir()
	for i := range cfg.Peers {
		cfg.Peers[i].PublicKey = benchKey(i).public
	}
}
