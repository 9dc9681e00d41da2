// Package cluster sends messages between a handful of servers that a
// configuration file names. A program calls New with its own id and the file,
// puts an Envelope into Outbox to send, and takes from Inbox what it receives.
// The servers talk to one another directly, in ZeroMQ's protocol, by libzmq or in Go
// (see Config.Transport); there is no broker.
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
// SendUrgent has a second stream to each peer, for short messages such as heartbeats: they
// arrive in their own order, and pass what is sent in the other ways, also within a large
// message. All that follows holds for each stream by itself. To a peer of an earlier version,
// and before it is known what a peer can do, they go with the rest.
//
// A received envelope carries its sender's id in Pid, so that a reply is
// Envelope{Pid: env.Pid, ...}. It is fresh, and belongs to the receiver. Receive takes from
// Inbox, too, and has a message that comes alone sooner.
//
// BROADCAST goes to every other server that is no observer. A send to one's own id arrives in one's
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
// From then on messages for it are dropped at once, until it
// takes again or has started anew. What is still on its way a peer cannot take: while bytes that wait
// move towards it, as far as the kernel tells (on Linux, over TCP), the time does not run, however slow the path is. So servers may start in any order within
// SendTimeout and lose nothing; a dead peer is not sent stale messages when it
// comes back; and a peer that stalls delays the others by at most one SendTimeout
// each time. While our own process is stopped, no time passes for its peers. A
// program that is decoding one message takes, for 30 s of that at most.
//
// Whether a peer can be reached is another question, of which SendTimeout says nothing. Its link is up when its node has acknowledged what was
// sent. It is unacknowledged when it has not for a second, in which nothing moved towards it either; and down when nothing has shown for three seconds that it
// can be reached: no acknowledgment, no bytes that move towards it, as far as its kernel tells, and for 20 s no word of its own; or when
// its connection broke and no other stands. Config.WatchInterval makes these times longer or shorter, and Config.Watch has peers asked to which nothing is sent.
// A peer whose node answers, and whose program takes nothing, is stalled, and not down. Node.Events tells when a peer goes down and up. All this is what one
// node sees, and no consensus about who is alive.
//
// What one peer, one name or one message does, the others do not feel: names are looked
// up for each connection by itself, and what is slow to decode, or runs the program's own
// methods, is decoded beside the goroutine that reads the network. What its sender sends
// behind it waits. A method of the program's that ends its goroutine costs its own
// message alone.
//
// What was written is kept until the peer has acknowledged it, and sent again if a
// connection broke: between two servers that go on running, and as long as the peer
// takes messages, nothing is lost. A connection on which neither the peer nor its machine has
// acknowledged anything for a third of SendTimeout gives way to another, as soon as one stands
// (on Linux, over TCP); the next for twice as long, and so on until it gets something. When the
// peer takes nothing for SendTimeout, or has started anew, what was kept is dropped: it may have arrived or not, and counts as unconfirmed. So does
// what was written before the peer was first heard, if it has not got that, and what it does not say
// to have got though its connection takes it: after SendTimeout and two seconds without a word
// (and a second for each 64 KiB of that), or after 20 times SendTimeout. A server of an
// earlier version does not resend, and may lose what was on its way when a connection broke.
// Each of two servers must be able to connect to the other: what one sends, the
// other acknowledges on a connection of its own.
//
// Who wants to know what became of a message passes it to Deliver: nil means that the peer
// has decoded it and put it into its Inbox. An error says that it was certainly not delivered, and why,
// or is ErrUnconfirmed: it was written, and nobody knows. StartDelivery and Wait are the two halves of Deliver, for who has many
// messages on their way.
//
// A program should not send much from the goroutine that reads its Inbox: two
// servers that both wait for room, and do not read, are stalled for each other.
//
// # Calls
//
// Call sends a request and returns the reply; CallAll does that with several servers. A request is an ordinary
// message but for its type: the other program receives a *Request, and answers it by Reply or Fail. The answer goes to
// the call that waits and not into Inbox, and once it has come does not wait until what came before it is taken. If the call has ended
// meanwhile, it is counted as late. A call ends when its context does; at once when the link goes down, or the peer
// is removed or has started anew; when its request is dropped; and after SendTimeout and two seconds in which the peer says nothing at all. A reply
// that is dropped is not told to who waits for it: contexts of calls should have deadlines. The error of a call says
// whether the request may have been seen. Nothing is asked twice: who calls again sends another request.
//
// The goroutine that reads Inbox should not call: while it waits, it reads nothing.
//
// # Who is in the cluster
//
// The configuration's file lists the servers, or Config.Source does. Both may change while they run, and
// so may a node's Catalog (see Node.Reload and Config.Reload): a change takes effect as a whole or, if
// anything is wrong with it, not at all; a Source that cannot be read changes nothing. It does not disturb messages between servers that it leaves
// as they are. A server that is removed is neither sent to nor heard from then on.
//
// An observer (see peercatalog.Peer) sends, and is sent to by its id. It is in no list of Peers.
//
// # Accounts
//
// Stats tells what became of every message. For each peer, accepted = sent +
// queued + dropped, by reason; and sent = confirmed + unconfirmed + what is kept. The
// receiver counts gaps in each sender's sequence
// as lost, and what it refuses by reason. Nothing vanishes uncounted, and nothing
// disturbs the program: what comes from the network is never a reason to panic or to
// exit. Without a Logger in Config nothing is printed but mistakes of the program and
// of its configuration, once each, to slog.Default.
//
// # Bounds
//
// Each link queues at most QueueBytes, or one message that is larger, 64 KiB of refusals of
// requests, and 256 KiB of urgent messages, which have 128 KiB at most. Beside that it keeps what was written and is not acknowledged: as
// much as the peer's window allows, which is 4 MiB at most between servers of this library, and 256 KiB for urgent
// messages; no peer is believed to have room for more than 64 MiB of each. A reply that comes for a Call is held
// until that takes it. Inbox holds
// InboxSize envelopes, whose messages take about QueueBytes of memory, or one message.
// As much again may still be encoded, and of each peer at least 256 KiB, as much of urgent messages, and one message
// in parts (peers that are added later come on top); as much again, and two messages,
// may be decoded and wait for room. A reply is decoded by the call that waits for it, and
// counts in none of these. A message larger than MaxMessageBytes, or that takes
// more than eight times as much memory once it is decoded (of 1 MiB at least), is refused
// by its sender, and by its receiver. A peer that is removed keeps a few hundred bytes.
//
// # Closing
//
// Shutdown takes no more, delivers what it had accepted until its context ends,
// closes Inbox so that a range over it ends, and returns when every goroutine
// and socket is gone. A process that exits right after it has lost nothing. Who
// was blocked on Outbox meanwhile is let go; only a method of the program's own that
// encodes or decodes is waited for beyond the context. Afterwards Send returns ErrClosed,
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

import "path/filepath"

// New returns the server pid of the cluster that the file at path describes (see
// LoadConfig), running and ready to receive. If this process runs that server
// from that file already, it is returned; after it has closed, a new one is. A file
// is the same by the same path, wherever symbolic links on it lead meanwhile, and by
// another path that leads to the same place now.
//
// New returns an error, and leaves nothing open, if the file cannot be used (the
// error tells every fault of it), if it has no server pid (ErrUnknownPeer), or if
// the server's address cannot be listened on. It does not wait for other
// servers, but for a call with the same pid and file that came before it, and for
// that server if it is closing. The caller should Close the node.
func New(pid int, path string) (*Node, error) {
	file, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return running.get(nodeKey{pid, file}, func(unlist func()) (*Node, error) {
		cfg, err := loadConfig(path, parsed.parse)
		if err != nil {
			return nil, err
		}
		cfg.Extra = nil // shared, and of no use to a node
		return start(pid, cfg.withDefaults(), unlist)
	})
}

// NewFromConfig returns a new server pid of the cluster that cfg describes, and
// errors as New does. It keeps a copy of cfg. Where cfg has a Source and no Peers, it
// waits for the Source, for 30 s at most.
func NewFromConfig(pid int, cfg Config) (*Node, error) {
	cfg, err := cfg.loaded()
	if err != nil {
		return nil, err
	}
	cfg, err = cfg.prepared()
	if err != nil {
		return nil, err
	}
	return start(pid, cfg, nil)
}
