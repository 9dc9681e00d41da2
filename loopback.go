package cluster

import (
	"bytes"
	"strings"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/mem"
	"github.com/abhishekg16/cluster/internal/transport/zmq"
)

// network is the transport for an endpoint.
func (n *Node) network(endpoint string) transport.Network {
	if strings.HasPrefix(endpoint, "mem://") {
		return mem.Of(endpoint)
	}
	return zmq.Network{}
}

// A loopback is the connection of a node to itself: frames go straight to the
// inbox. All above it is the same as for any peer, windows included.
type loopback struct{ inbox *inbox }

func (l loopback) TrySend(head, tail []byte) (bool, error) {
	l.inbox.frame(bytes.Clone(head), bytes.Clone(tail), "", true)
	return true, nil
}

func (loopback) Wait(time.Time) error      { return nil }
func (loopback) Interrupt()                {}
func (loopback) Close(time.Duration) error { return nil }
