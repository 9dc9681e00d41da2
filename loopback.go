package cluster

import (
	"bytes"
	"strings"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/mem"
	"github.com/abhishekg16/cluster/internal/transport/zmq"
	"github.com/abhishekg16/cluster/internal/wire"
)

// network is the transport for an endpoint.
func (n *Node) network(endpoint string) transport.Network {
	if strings.HasPrefix(endpoint, "mem://") {
		return mem.Of(endpoint)
	}
	return zmq.Network{}
}

// slack is 1 but where a network for tests cuts frames into one for each message: then it is
// what the smallest gains by that.
func slack(n *Node) int {
	self, _ := n.catalog.Get(n.pid)
	if e := self.BindEndpoint(); strings.HasPrefix(e, "mem://") && mem.Of(e).Carrier != nil {
		return (wire.HeaderSize + wire.RecordSize + wire.ShortSize - 1) / wire.ShortSize
	}
	return 1
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
