package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/mem"
	"github.com/abhishekg16/cluster/internal/wire"
	"github.com/abhishekg16/cluster/peercatalog"
)

// frameType is the type of the messages that servers send to one another. Each carries one frame, in base64.
const frameType = "frame"

type frameBody struct {
	Type  string `json:"type"`
	Frame []byte `json:"frame"`
}

// network is a transport of the library inside Maelstrom's messages. It is the in-memory network with one listener on it,
// this server's, and stands between connections and listeners: a frame for another server leaves as a message, and one
// that comes as a message is given to the listener.
//
// Maelstrom loses messages and changes their order. The library brings frames that come within 150 ms of one another
// into order; later ones, and lost ones, are counted as lost. Nothing is sent again: that is left to the workloads.
type network struct {
	mem.Network
	pid   int
	names []string // of the servers, by their ids in the cluster
	out   *output
	own   transport.Conn // to this server's listener; the reader's

	close func() // forgets the network; the server must have closed
}

// newNetwork is the network of the server that is called self among names.
func newNetwork(self string, names []string, out *output) (*network, error) {
	n := &network{pid: slices.Index(names, self), names: names, out: out}
	if n.pid < 0 {
		return nil, fmt.Errorf("the node_id of init is %q: want one of its node_ids, %q", self, names)
	}
	n.Carrier = n
	n.close = n.Name(networkName)
	var err error
	n.own, err = n.Dial(endpoint(n.pid), nil, "")
	return n, err
}

const networkName = "maelstrom"

func endpoint(pid int) string { return fmt.Sprintf("mem://%s/%d", networkName, pid) }

// config is the configuration of the cluster. A server's id is its place among the names.
func (n *network) config() cluster.Config {
	c := cluster.Config{Cluster: networkName}
	for pid := range n.names {
		c.Peers = append(c.Peers, peercatalog.Peer{ID: pid, Address: endpoint(pid)})
	}
	return c
}

// Carry implements mem.Carrier.
func (n *network) Carry(head, tail []byte, deliver func(head, tail []byte) bool) bool {
	h, err := wire.ParseHeader(head)
	if err != nil || int(h.To) >= len(n.names) {
		return true // It is lost: no server has written it.
	}
	if int(h.To) == n.pid {
		return deliver(head, tail)
	}
	line := n.out.line(n.names[h.To], frameBody{frameType, slices.Concat(head, tail)})
	select {
	case n.out.lines <- line:
	default: // Maelstrom takes less than we send, and the frame is lost. A connection does not wait here.
	}
	return true
}

// Full implements mem.Carrier: a frame can always be sent.
func (n *network) Full(from, to string) <-chan struct{} { return nil }

// Stands implements mem.Carrier: there are no connections that could break.
func (n *network) Stands(from, to string) bool { return true }

// Listens implements mem.Carrier.
func (n *network) Listens(string, bool) {}

// receive gives a frame to the listener. It waits for room there for a second at most; then the frame is lost.
func (n *network) receive(r request) {
	var body frameBody
	if err := r.decode(&body); err != nil {
		return // no frame
	}
	if h, err := wire.ParseHeader(body.Frame); err != nil || int(h.To) != n.pid {
		return // It is none of ours.
	}
	for deadline := time.Now().Add(time.Second); ; {
		if taken, err := n.own.TrySend(body.Frame, nil); taken || err != nil {
			return
		}
		if n.own.Wait(deadline) != nil {
			return
		}
	}
}
