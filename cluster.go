// Package cluster sends messages between a handful of servers that a
// configuration file names. A program calls New with its own id and the file,
// puts an Envelope into Outbox to send, and takes from Inbox what it receives.
// The servers talk to one another directly, over ZeroMQ; there is no broker.
//
// # Delivery
//
// Sends are asynchronous. An envelope that is put into Outbox is handed over:
// neither it nor what it points to may be changed afterwards, and the library
// does not change it either. A MsgId of 0 means "give it one"; another is kept.
//
// What one server sends to another arrives in the order sent, or not at all, and
// never twice. There is no order between different senders or receivers.
//
// A received envelope carries its sender's id in Pid, so that a reply is
// Envelope{Pid: env.Pid, ...}. It is fresh, and belongs to the receiver. Receive takes from
// Inbox, too, and has a message that comes alone sooner.
//
// BROADCAST goes to every other server. A send to one's own id arrives in one's
// own inbox, through the same encoding as any other.
//
// # Slow, stalled and dead peers
//
// While a peer takes messages, ours or others', nothing is dropped: if it takes
// more slowly than we send, its queue fills, then Outbox does, and the sender
// waits.
//
// A message that cannot be written because its peer has taken nothing for
// SendTimeout (one second unless Config says otherwise) is dropped: the peer is
// not up yet, gone, or stalled, or its program has stopped reading its Inbox.
// The link to it is then down, and messages for it are dropped at once, until it
// takes again or has started anew. So servers may start in any order within
// SendTimeout and lose nothing; a dead peer is not sent stale messages when it
// comes back; and a peer that stalls delays the others by at most one SendTimeout
// each time. While our own process is stopped, no time passes for its peers.
//
// What was already written when a peer died, or a connection broke, may be lost.
// Each of two servers must be able to connect to the other: what one sends, the
// other acknowledges on a connection of its own.
//
// A program should not send much from the goroutine that reads its Inbox: two
// servers that both wait for room, and do not read, are stalled for each other.
//
// # Accounts
//
// Stats tells what became of every message. For each peer, accepted = sent +
// queued + dropped, by reason. The receiver counts gaps in each sender's sequence
// as lost, and what it refuses by reason. Nothing vanishes uncounted, and nothing
// disturbs the program: what comes from the network is never a reason to panic,
// to exit, or to print.
//
// # Bounds
//
// Each link queues at most QueueBytes, or one message that is larger. Inbox holds
// InboxSize envelopes and about QueueBytes of payload, or one message; as much
// again may be on its way there, and of each peer at least 256 KiB and one message
// in parts (peers that are added later come on top). A message larger than
// MaxMessageBytes is refused by its sender, and by its receiver.
//
// # Closing
//
// Shutdown takes no more, delivers what it had accepted until its context ends,
// closes Inbox so that a range over it ends, and returns when every goroutine
// and socket is gone. A process that exits right after it has lost nothing. Who
// was blocked on Outbox meanwhile is let go. Afterwards Send returns ErrClosed,
// and nobody reads Outbox any more: a sender that may outlive the node selects on
// Done beside it. A program that closes Outbox says that it sends no more; it
// goes on receiving.
//
// # Trust
//
// Where the peers have public keys, only they get in, each as itself alone, and what
// they say is encrypted. Without keys frames travel in the clear: what a frame claims
// is checked against the catalogue, but anybody who can reach a server's port can
// claim it, so the network must be trusted.
package cluster

import (
	"path/filepath"
	"sync"
)

// New returns the server pid of the cluster that the file at path describes (see
// LoadConfig), running and ready to receive. If this process runs that server
// from that file already, it is returned; after it has closed, a new one is.
//
// New returns an error, and leaves nothing open, if the file cannot be used (the
// error tells every fault of it), if it has no server pid (ErrUnknownPeer), or if
// the server's address cannot be listened on. It does not wait for other
// servers. The caller should Close the node.
func New(pid int, path string) (*Node, error) {
	file, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if resolved, err := filepath.EvalSymlinks(file); err == nil {
		file = resolved
	}
	return running.get(nodeKey{pid, file}, func() (*Node, error) {
		cfg, err := LoadConfig(path)
		if err != nil {
			return nil, err
		}
		return NewFromConfig(pid, cfg)
	})
}

// NewFromConfig returns a new server pid of the cluster that cfg describes, and
// errors as New does. It keeps a copy of cfg.
func NewFromConfig(pid int, cfg Config) (*Node, error) {
	cfg, err := cfg.prepared()
	if err != nil {
		return nil, err
	}
	return start(pid, cfg)
}

// running are the nodes that New has made and that have not closed.
var running = registry{nodes: make(map[nodeKey]*Node)}

type registry struct {
	mu    sync.Mutex
	nodes map[nodeKey]*Node
}

type nodeKey struct {
	pid  int
	file string
}

// get returns the node of k, which make makes if there is none. One that is
// closing is waited for.
func (r *registry) get(k nodeKey, make func() (*Node, error)) (*Node, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.nodes[k] != nil {
		n := r.nodes[k]
		select {
		case <-n.closing:
		default:
			return n, nil
		}
		r.mu.Unlock()
		<-n.done
		r.mu.Lock()
	}
	n, err := make()
	if err != nil {
		return nil, err
	}
	n.unlist = func() { r.forget(k, n) }
	r.nodes[k] = n
	return n, nil
}

func (r *registry) forget(k nodeKey, n *Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.nodes[k] == n {
		delete(r.nodes, k)
	}
}
