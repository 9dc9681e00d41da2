package main

import (
	"context"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// This file is also built against earlier versions of the library (see versions.go).
// Methods that these may lack are found by an interface; fields that they may lack
// belong into a file that the build tag least leaves out, as keyed does.

// channels is cluster as its specification has it, everything through Outbox and
// Inbox; direct is by Send and Receive.
var (
	channels = ours("cluster", bare.name, throughOutbox, throughInbox, func(*cluster.Config) {})
	direct   = ours("cluster, direct", bare.name, bySend, byReceive, func(*cluster.Config) {})
)

// The same with Go's sockets in the place of libzmq.
var (
	channelsOnGo = onGo(channels)
	directOnGo   = onGo(direct)
	keyedOnGo    = onGo(keyed)
)

// transportVariable is the environment variable that chooses what carries the library's frames.
const transportVariable = "CLUSTER_TRANSPORT"

// onGo is a peer of ours whose frames Go's own sockets carry.
func onGo(p peer) peer {
	overDefault := p.join
	p.name = strings.Replace(p.name, "cluster", "cluster on Go", 1)
	p.join = func(me int, at []string) end {
		check(os.Setenv(transportVariable, "go")) // A process measures one peer.
		return overDefault(me, at)
	}
	return p
}

// checkTransport fails where a node has not what transportVariable asks for: versions of the library
// that know no other transport than libzmq pass over it.
func checkTransport(node *cluster.Node) {
	if want := os.Getenv(transportVariable); want != "" {
		if has := reflect.ValueOf(node.Stats()).FieldByName("Transport"); !has.IsValid() || has.String() != want {
			fail("this version of the library has no transport " + want)
		}
	}
}

// keyedName is that of the peer keyed, which is channels with keys.
const keyedName = "cluster, keys"

func throughOutbox(node *cluster.Node) func(to int, v any) {
	return func(to int, v any) { node.Outbox() <- &cluster.Envelope{Pid: to, Msg: v} }
}

func throughInbox(node *cluster.Node) func() any {
	return func() any { return (<-node.Inbox()).Msg }
}

func bySend(node *cluster.Node) func(to int, v any) {
	n, ok := any(node).(interface {
		Send(context.Context, *cluster.Envelope) error
	})
	if !ok {
		fail("this version of the library has no Send")
	}
	return func(to int, v any) { check(n.Send(context.Background(), &cluster.Envelope{Pid: to, Msg: v})) }
}

func byReceive(node *cluster.Node) func() any {
	n, ok := any(node).(interface {
		Receive(context.Context) (*cluster.Envelope, error)
	})
	if !ok {
		fail("this version of the library has no Receive")
	}
	return func() any {
		env, err := n.Receive(context.Background())
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
		if me < 2 {
			checkTransport(node) // of a thousand servers, each of which says much of all others, it would be what is measured
		}
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
