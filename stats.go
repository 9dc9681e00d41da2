package cluster

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/abhishekg16/cluster/internal/incoming"
	"github.com/abhishekg16/cluster/internal/outgoing"
	"github.com/abhishekg16/cluster/internal/quantity"
	"github.com/abhishekg16/cluster/internal/stream"
)

// Reason says why a message was dropped by its sender.
type Reason int

const (
	ReasonUnknownPeer  Reason = iota + 1 // no server or group has that id
	ReasonUnreachable                    // the peer has taken nothing for SendTimeout, and has not since
	ReasonTimedOut                       // the peer did not take it within SendTimeout, or the queue was full
	ReasonTooLarge                       // larger than MaxMessageBytes, or too large to be urgent, or too large once it is decoded
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

// UnmarshalText reads what MarshalText writes.
func (r *Reason) UnmarshalText(text []byte) error { return unname(r, "reason", reasonNames[:], text) }

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
	RefusedTooLarge                        // a message larger than MaxMessageBytes, or too large once it is decoded
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
	RefusedLate // a reply, when the call had ended before it came, or was never made
	refusals
)

var refusalNames = [refusals]string{
	"none", "version", "malformed", "cluster", "destination", "unknown sender", "older incarnation",
	"sequence", "window", "too large", "unregistered", "undecodable", "closed", "unlisted key", "another's identity",
	"handshake", "late reply",
}

func (r Refusal) String() string { return name(refusalNames[:], int(r)) }

// MarshalText lets a map by Refusal marshal to a JSON object.
func (r Refusal) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (r *Refusal) UnmarshalText(text []byte) error {
	return unname(r, "refusal", refusalNames[:], text)
}

func name(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return fmt.Sprint(i)
	}
	return names[i]
}

// unname is the reverse of name.
func unname[T ~int](value *T, what string, names []string, text []byte) error {
	if i := slices.Index(names, string(text)); i >= 0 {
		*value = T(i)
		return nil
	}
	i, err := strconv.Atoi(string(text))
	if err != nil {
		return fmt.Errorf("cluster: %.40q is no %s: want one of %q, or a number", text, what, names)
	}
	*value = T(i)
	return nil
}

// Stats is what a node has done since it started. It is a copy: it does not
// change, and the node does not see changes to it.
type Stats struct {
	Pid         int
	Incarnation uint64 // drawn anew at each start; frames carry it
	Transport   string // what carries its connections: "libzmq", "go", or "mem" where its address is mem:// (see Config.Transport)
	OutboxLen   int    // envelopes in the Outbox channel
	InboxLen    int    // envelopes in the Inbox channel
	Cluster     string // the name of its cluster: Config.Cluster
	QueueBytes  int    // the bound of what waits for each peer: Config.QueueBytes
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
	// Reload is about the file of the configuration.
	Reload ReloadStats
}

// PeerStats is the part of Stats about one peer.
type PeerStats struct {
	ID        int
	State     LinkState
	Since     time.Time // of State
	Encrypted bool      // what goes to and comes from the peer is, unless it stays inside the process (mem://)
	Urgent    bool      // it is known to have a stream of its own for urgent messages: see Node.SendUrgent
	Trouble   string    // why it does not answer, as far as that is known: its name cannot be looked up, for example. Empty if it does, or nothing is known
	// LastHeard is when anything last came from it, and LastAcknowledged when it last acknowledged what this node sent, or answered when it
	// was asked; zero if it has not yet.
	LastHeard, LastAcknowledged time.Time
	// RoundTrip is how long it takes to answer, with the way there and back: smoothed, or less if an acknowledgment came sooner. Zero: not measured yet.
	RoundTrip time.Duration
	// Flaps is how often it went down after it was up, since it was added.
	Flaps    uint64
	Sent     SentStats
	Received ReceivedStats
}

// SentStats counts messages to a peer. At each moment Accepted = Sent + Queued +
// the sum of Dropped. Of what is Sent, what is neither Confirmed nor Unconfirmed is kept, and sent again if it is lost.
type SentStats struct {
	Accepted uint64 // for this peer: taken from Outbox, or given to Send, SendUrgent, Deliver, StartDelivery, Call or Reply
	Sent     uint64 // written to the wire
	// Confirmed is how many the peer is done with: it has put them into Inbox, or refused them one at a time.
	Confirmed uint64
	// Unconfirmed is how many were written and may have arrived or not: the link went down, the peer began anew, or said nothing for
	// long, before it had confirmed them; or it is of a version that does not confirm.
	Unconfirmed uint64
	Resent      uint64 // frames, of one message or many, that were written again
	Bytes       uint64 // of Sent: records with their payloads
	Queued      uint64 // waiting to be written
	Dropped     map[Reason]uint64

	QueueBytes  int // of Queued
	FlightBytes int // written and not yet acknowledged
}

// ReceivedStats counts messages from a peer. What one incarnation of the peer has
// sent is, once all of it has come, Received + Lost + Missed + what was refused
// one message at a time (too large, unregistered, undecodable, closed, late reply).
type ReceivedStats struct {
	Received uint64 // put into Inbox, or given to the call that waited for it; of each peer, the last may still be waiting for room there
	Bytes    uint64 // of Received: payloads
	Lost     uint64 // never came, as a gap in the sequence shows
	// Missed is how many the peer had numbered before the first that this node
	// heard of: they were sent to an earlier life of this node, or were lost.
	Missed uint64
	// Repeated is how many frames had come before: the peer sends again what may have been lost. They are without effect.
	Repeated uint64
	Restarts uint64 // times that the peer was seen to have started anew
	Refused  map[Refusal]uint64

	BacklogBytes int // of frames whose messages wait for room in Inbox
	HeldBytes    int // of frames that came before others that are missing
}

// sentBooks are the books of messages that got as far as no link.
type sentBooks struct {
	Accepted uint64
	Dropped  [reasons]uint64
}

func (b *sentBooks) drop(r Reason, count int) {
	b.Accepted += uint64(count)
	b.Dropped[r] += uint64(count)
}

func (b *sentBooks) stats() SentStats {
	s := SentStats{Accepted: b.Accepted}
	for r, n := range b.Dropped {
		s.Dropped = count(s.Dropped, Reason(r), n)
	}
	return s
}

// What the halves of a node call the reasons, the refusals and the states.
var (
	reasonOf = [stream.Reasons]Reason{
		stream.UnknownPeer: ReasonUnknownPeer,
		stream.Unreachable: ReasonUnreachable,
		stream.TimedOut:    ReasonTimedOut,
		stream.Closed:      ReasonClosed,
	}
	refusalOf = [stream.Refusals]Refusal{
		stream.RefusedVersion:      RefusedVersion,
		stream.RefusedMalformed:    RefusedMalformed,
		stream.RefusedCluster:      RefusedCluster,
		stream.RefusedDestination:  RefusedDestination,
		stream.RefusedSender:       RefusedSender,
		stream.RefusedIncarnation:  RefusedIncarnation,
		stream.RefusedSequence:     RefusedSequence,
		stream.RefusedWindow:       RefusedWindow,
		stream.RefusedTooLarge:     RefusedTooLarge,
		stream.RefusedUnregistered: RefusedUnregistered,
		stream.RefusedUndecodable:  RefusedUndecodable,
		stream.RefusedClosed:       RefusedClosed,
		stream.RefusedKey:          RefusedKey,
		stream.RefusedIdentity:     RefusedIdentity,
		stream.RefusedHandshake:    RefusedHandshake,
		stream.RefusedLate:         RefusedLate,
	}
	linkStateOf = [stream.Standings]LinkState{
		stream.StandsIdle:           LinkIdle,
		stream.StandsConnecting:     LinkConnecting,
		stream.StandsUp:             LinkUp,
		stream.StandsDown:           LinkDown,
		stream.StandsStalled:        LinkStalled,
		stream.StandsUnacknowledged: LinkUnacknowledged,
	}
)

// setLink takes in the books of the link to the peer.
func (p *PeerStats) setLink(s outgoing.Stats) {
	p.State, p.Since = linkStateOf[s.State], s.Since
	p.LastHeard, p.LastAcknowledged, p.RoundTrip = s.Heard, s.Answered, s.RoundTrip
	p.Urgent = s.Urgent
	if s.Trouble != nil {
		p.Trouble = s.Trouble.Error()
	}
	p.Sent = SentStats{
		Accepted: s.Accepted, Sent: s.Sent, Bytes: s.SentBytes,
		Confirmed: s.Fates.Confirmed, Unconfirmed: s.Fates.Unconfirmed, Resent: s.Fates.Resent,
		Queued: uint64(s.Queued), QueueBytes: s.QueueBytes, FlightBytes: s.OnItsWay,
	}
	for r, n := range s.Dropped {
		p.Sent.Dropped = count(p.Sent.Dropped, reasonOf[r], n)
	}
}

// setSource takes in the books of what came from the peer in one stream.
func (p *PeerStats) setSource(s incoming.Stats) {
	p.Received.add(ReceivedStats{
		Received: s.Received, Bytes: s.Bytes,
		Lost: s.Lost, Missed: s.Missed, Repeated: s.Repeated, Restarts: s.Restarts,
		Refused:      refused(s.Refused),
		BacklogBytes: s.Backlog, HeldBytes: s.Held,
	})
}

func refused(counts [stream.Refusals]uint64) map[Refusal]uint64 {
	var m map[Refusal]uint64
	for r, n := range counts {
		m = count(m, refusalOf[r], n)
	}
	return m
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
	s.Confirmed += o.Confirmed
	s.Unconfirmed += o.Unconfirmed
	s.Resent += o.Resent
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
	s.Repeated += o.Repeated
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
	fmt.Fprintln(w, "peer\tlink\taccepted\tsent\tqueued\tin flight\tdropped\treceived\tlost\tmissed\trefused\trestarts\t")
	row := func(name, state string, sent SentStats, recv ReceivedStats) {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t\n", name, state,
			sent.Accepted, sent.Sent, sent.Queued, quantity.Size(float64(sent.FlightBytes)), sent.DroppedTotal(),
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
	if s.Reload.Generation > 0 || s.Reload.Error != "" {
		fmt.Fprintln(&b, s.Reload)
	}
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
