package cluster

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// Reason says why a message was dropped by its sender.
type Reason int

const (
	ReasonUnknownPeer  Reason = iota + 1 // no server or group has that id
	ReasonUnreachable                    // the link to the peer is down
	ReasonTimedOut                       // the peer did not take it within SendTimeout, or the queue was full
	ReasonTooLarge                       // larger than MaxMessageBytes
	ReasonNotEncodable                   // of a type that is not registered or cannot be sent
	ReasonClosed                         // the node was closed before it could be sent
	reasons
)

var reasonNames = [reasons]string{
	"none", "unknown peer", "unreachable", "timed out", "too large", "not encodable", "closed",
}

func (r Reason) String() string { return name(reasonNames[:], int(r)) }

// MarshalText lets a map by Reason marshal to a JSON object.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Refusal says why something that came from the network was not delivered.
type Refusal int

const (
	RefusedVersion      Refusal = iota + 1 // a frame of another version of the format
	RefusedMalformed                       // a frame that breaks the format
	RefusedCluster                         // a frame of another cluster
	RefusedDestination                     // a frame for another server
	RefusedSender                          // a frame of a server that is not in the catalogue
	RefusedIncarnation                     // a frame of an earlier life of the peer, or of another server with its id
	RefusedSequence                        // a frame that had come before, or too late
	RefusedWindow                          // a frame beyond what the peer may have on its way
	RefusedTooLarge                        // a message larger than MaxMessageBytes
	RefusedUnregistered                    // a message of a type that is not registered here
	RefusedUndecodable                     // a message that its kind or type cannot be read from
	RefusedClosed                          // a message that the program had not taken when the node was closed
	RefusedKey                             // a connection, or a frame, of a key that no peer has
	RefusedIdentity                        // a frame that names another sender than the one whose key was proved
	// RefusedHandshake is a connection that did not get through ZeroMQ's handshake: of
	// another protocol, with keys where there are none or the reverse, for another
	// server's key, without a word for 3 s, or gone before the end. It shows a second
	// later, or, where ZeroMQ does not say so, when no other connection can be meant.
	RefusedHandshake
	refusals
)

var refusalNames = [refusals]string{
	"none", "version", "malformed", "cluster", "destination", "unknown sender", "older incarnation",
	"sequence", "window", "too large", "unregistered", "undecodable", "closed", "unlisted key", "another's identity",
	"handshake",
}

func (r Refusal) String() string { return name(refusalNames[:], int(r)) }

// MarshalText lets a map by Refusal marshal to a JSON object.
func (r Refusal) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

func name(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return fmt.Sprint(i)
	}
	return names[i]
}

// LinkState is what is known of the way to a peer.
type LinkState int

const (
	LinkIdle       LinkState = iota // nothing was sent to the peer yet
	LinkConnecting                  // the peer has not taken anything yet
	LinkUp                          // the peer took the last that was sent
	LinkDown                        // the peer took nothing for SendTimeout; messages for it are dropped
)

func (s LinkState) String() string { return name([]string{"idle", "connecting", "up", "down"}, int(s)) }

// MarshalText gives the state its name in JSON.
func (s LinkState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Stats is what a node has done since it started. It is a copy: it does not
// change, and the node does not see changes to it.
type Stats struct {
	Pid         int
	Incarnation uint64 // drawn anew at each start; frames carry it
	OutboxLen   int    // envelopes in the Outbox channel
	InboxLen    int    // envelopes in the Inbox channel
	// Peers is in order of id. The node itself is among them once it has sent
	// to its own id.
	Peers []PeerStats
	// Unaddressed counts messages that never got as far as a peer: an unknown
	// destination, a message too large or not encodable.
	Unaddressed SentStats
	// Refused counts what came from the network and could be laid at no known
	// peer's door.
	Refused map[Refusal]uint64
	// Sent and Received are the sums of all of the above.
	Sent     SentStats
	Received ReceivedStats
}

// PeerStats is the part of Stats about one peer.
type PeerStats struct {
	ID        int
	State     LinkState
	Since     time.Time // of State
	Encrypted bool      // what goes to and comes from the peer is, unless it stays inside the process (mem://)
	Sent      SentStats
	Received  ReceivedStats
}

// SentStats counts messages to a peer. At each moment Accepted = Sent + Queued +
// the sum of Dropped.
type SentStats struct {
	Accepted uint64 // taken from Outbox, or given to Send, for this peer
	Sent     uint64 // written to the wire
	Bytes    uint64 // of Sent: records with their payloads
	Queued   uint64 // waiting to be written
	Dropped  map[Reason]uint64

	QueueBytes  int // of Queued
	FlightBytes int // written and not yet acknowledged
}

// ReceivedStats counts messages from a peer. What one incarnation of the peer has
// sent is, once all of it has come, Received + Lost + Missed + what was refused
// one message at a time (too large, unregistered, undecodable, closed).
type ReceivedStats struct {
	Received uint64 // put into Inbox; of each peer, the last may still be waiting for room there
	Bytes    uint64 // of Received: payloads
	Lost     uint64 // never came, as a gap in the sequence shows
	// Missed is how many the peer had numbered before the first that this node
	// heard of: they were sent to an earlier life of this node, or were lost.
	Missed   uint64
	Restarts uint64 // times that the peer was seen to have started anew
	Refused  map[Refusal]uint64

	BacklogBytes int // of frames whose messages wait for room in Inbox
	HeldBytes    int // of frames that came before others that are missing
}

// sentBooks is SentStats in the making. Whoever owns it guards it.
type sentBooks struct {
	accepted, sent, sentBytes uint64
	dropped                   [reasons]uint64
}

// refuse counts messages that are dropped instead of being queued.
func (b *sentBooks) refuse(r Reason, count int) Reason {
	b.accepted += uint64(count)
	b.dropped[r] += uint64(count)
	return r
}

func (b *sentBooks) stats() SentStats {
	s := SentStats{Accepted: b.accepted, Sent: b.sent, Bytes: b.sentBytes}
	for r, n := range b.dropped {
		s.Dropped = count(s.Dropped, Reason(r), n)
	}
	return s
}

// receivedBooks is ReceivedStats in the making.
type receivedBooks struct {
	received, receivedBytes, lost, missed, restarts uint64
	refused                                         [refusals]uint64
}

// receive counts messages that are put into Inbox now.
func (b *receivedBooks) receive(ready []decoded) {
	for _, d := range ready {
		b.received++
		b.receivedBytes += uint64(d.bytes)
	}
}

// unreceive takes back what receive has counted, for want of room in Inbox.
func (b *receivedBooks) unreceive(ready []decoded) {
	for _, d := range ready {
		b.received--
		b.receivedBytes -= uint64(d.bytes)
	}
}

func (b *receivedBooks) stats() ReceivedStats {
	s := ReceivedStats{Received: b.received, Bytes: b.receivedBytes, Lost: b.lost, Missed: b.missed, Restarts: b.restarts}
	for r, n := range b.refused {
		s.Refused = count(s.Refused, Refusal(r), n)
	}
	return s
}

// count adds n to m[k], making the map only if there is something to count.
func count[K comparable](m map[K]uint64, k K, n uint64) map[K]uint64 {
	if n == 0 {
		return m
	}
	if m == nil {
		m = make(map[K]uint64)
	}
	m[k] += n
	return m
}

func (s *SentStats) add(o SentStats) {
	s.Accepted += o.Accepted
	s.Sent += o.Sent
	s.Bytes += o.Bytes
	s.Queued += o.Queued
	s.QueueBytes += o.QueueBytes
	s.FlightBytes += o.FlightBytes
	for r, n := range o.Dropped {
		s.Dropped = count(s.Dropped, r, n)
	}
}

func (s *ReceivedStats) add(o ReceivedStats) {
	s.Received += o.Received
	s.Bytes += o.Bytes
	s.Lost += o.Lost
	s.Missed += o.Missed
	s.Restarts += o.Restarts
	s.BacklogBytes += o.BacklogBytes
	s.HeldBytes += o.HeldBytes
	for r, n := range o.Refused {
		s.Refused = count(s.Refused, r, n)
	}
}

// DroppedTotal is the sum of Dropped.
func (s SentStats) DroppedTotal() uint64 { return sum(s.Dropped) }

// RefusedTotal is the sum of Refused.
func (s ReceivedStats) RefusedTotal() uint64 { return sum(s.Refused) }

func sum[K comparable](m map[K]uint64) uint64 {
	var t uint64
	for _, n := range m {
		t += n
	}
	return t
}

// String is a table with a line for each peer, and under it the reasons for what was
// dropped or refused.
func (s Stats) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "server %d\n", s.Pid)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "peer\tlink\taccepted\tsent\tqueued\tdropped\treceived\tlost\tmissed\trefused\trestarts\t")
	row := func(name, state string, sent SentStats, recv ReceivedStats) {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", name, state,
			sent.Accepted, sent.Sent, sent.Queued, sent.DroppedTotal(),
			recv.Received, recv.Lost, recv.Missed, recv.RefusedTotal(), recv.Restarts)
	}
	for _, p := range s.Peers {
		row(fmt.Sprint(p.ID), p.State.String(), p.Sent, p.Received)
	}
	if s.Unaddressed.Accepted > 0 || len(s.Refused) > 0 {
		row("none", "-", s.Unaddressed, ReceivedStats{Refused: s.Refused})
	}
	row("total", "", s.Sent, s.Received)
	w.Flush()
	for _, p := range s.Peers {
		why(&b, fmt.Sprintf("dropped for %d", p.ID), p.Sent.Dropped, reasons)
		why(&b, fmt.Sprintf("refused from %d", p.ID), p.Received.Refused, refusals)
	}
	why(&b, "dropped for none", s.Unaddressed.Dropped, reasons)
	why(&b, "refused from none", s.Refused, refusals)
	return b.String()
}

// why lists the reasons for what was counted, in the order of their constants.
func why[K interface {
	comparable
	~int
	String() string
}](b *strings.Builder, what string, m map[K]uint64, end K) {
	var parts []string
	for r := K(1); r < end; r++ {
		if n := m[r]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", r.String(), n))
		}
	}
	if len(parts) > 0 {
		fmt.Fprintf(b, "%s: %s\n", what, strings.Join(parts, ", "))
	}
}
