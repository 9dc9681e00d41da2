package cluster

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
)

const (
	// maxWindow is the most that one peer is allowed to have on its way here;
	// more does not go faster.
	maxWindow = 4 << 20
	// ackDelay is how long an acknowledgment that is not urgent waits for a
	// frame to travel with.
	ackDelay = 50 * time.Millisecond
	// ackInterval is how often a sender is told about an inbox that is full
	// and still being read.
	ackInterval = 100 * time.Millisecond
)

// inbox is the receiving half of a node: it checks what comes, brings it into
// order (source), decodes it and puts it into the channel that Inbox returns.
//
// The listener is always read, however slowly the program takes its envelopes:
// what it has no room for waits in the backlog, which the senders' windows keep
// small. So ZeroMQ's heartbeats and the acknowledgments of the other direction
// pass at all times.
type inbox struct {
	node    *Node
	c       chan *Envelope
	window  uint32        // granted to each peer
	stop    chan struct{} // closed to end deliver
	deliver sync.WaitGroup

	mu         sync.Mutex // guards what follows
	sources    map[int]*source
	holding    bool // some source may hold frames
	backlog    []chunk
	delivering bool // deliverBacklog runs, and it alone sends on c; else who holds mu does
	closed     bool
	refused    [refusals]uint64 // frames of no known peer

	heavy    heavy     // used by who sends on c
	reported time.Time // likewise: a slow program was last reported to a sender
}

// A chunk is what one frame contained.
type chunk struct {
	source      *source
	incarnation uint64
	envelopes   []*Envelope
	sizes       int           // of all payloads
	bytes       int           // of the frame
	end         wire.Position // after it in the stream
}

func newInbox(n *Node) *inbox {
	window := n.cfg.QueueBytes / max(1, n.catalog.Len()-1)
	return &inbox{
		node:    n,
		c:       make(chan *Envelope, n.cfg.InboxSize),
		window:  uint32(min(max(window, wire.InitialWindow), maxWindow)),
		stop:    make(chan struct{}),
		sources: make(map[int]*source),
		heavy:   heavy{limit: n.cfg.QueueBytes},
	}
}

// run reads the listener until it is interrupted. It is the listener's owner,
// and closes it.
func (in *inbox) run(l transport.Listener) {
	for {
		head, tail, err := l.Recv(in.deadline())
		switch {
		case err == nil:
			in.frame(head, tail)
		case errors.Is(err, transport.ErrTimeout):
		case errors.Is(err, transport.ErrInterrupted):
			if err := l.Close(); err != nil {
				in.node.log.Warn("cluster: closing the listener", "error", err)
			}
			return
		default:
			in.node.log.Error("cluster: cannot receive any more", "error", err)
			l.Close()
			return
		}
		in.overdue()
	}
}

// deadline is when some source will have waited long enough for what it misses.
func (in *inbox) deadline() time.Time {
	in.mu.Lock()
	defer in.mu.Unlock()
	var d time.Time
	if !in.holding {
		return d
	}
	in.holding = false
	for _, s := range in.sources {
		if len(s.held) > 0 {
			d = earliest(d, s.gapSince.Add(holdTime))
			in.holding = true
		}
	}
	return d
}

func (in *inbox) overdue() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.holding {
		return
	}
	now := time.Now()
	for _, s := range in.sources {
		if s.overdue(now, func(a arrival) { in.take(s, a) }) && s.asked {
			in.acknowledge(s, now)
		}
	}
}

// frame takes one frame, which it owns, from the network.
func (in *inbox) frame(head, tail []byte) {
	n := in.node
	h, err := wire.ParseHeader(head)
	if err != nil {
		reason := RefusedMalformed
		if errors.Is(err, wire.ErrVersion) {
			reason = RefusedVersion
		}
		in.refuse(nil, reason, err)
		return
	}
	from := int(h.From)
	switch {
	case h.Cluster != n.cluster:
		in.refuse(nil, RefusedCluster, nil)
	case int(h.To) != n.pid:
		in.refuse(nil, RefusedDestination, fmt.Errorf("it is for %d", h.To))
	case !n.catalog.Has(from):
		in.refuse(nil, RefusedSender, fmt.Errorf("it names %d as its sender", from))
	default:
		a := arrival{h, head[wire.HeaderSize:], tail}
		in.mu.Lock()
		defer in.mu.Unlock()
		in.fromPeer(in.source(from), a)
	}
}

// fromPeer takes a frame that names s as its sender. The caller holds mu.
func (in *inbox) fromPeer(s *source, a arrival) {
	if in.closed {
		return
	}
	if err := a.check(); err != nil {
		in.refuseLocked(s, RefusedMalformed, err)
		return
	}
	if s.id == in.node.pid && a.Incarnation != in.node.incarnation {
		in.refuseLocked(s, RefusedIncarnation, errors.New("another server uses this one's id"))
		return
	}
	if s.waiting+a.size() > 2*int(in.window)+wire.MaxFrame {
		in.refuseLocked(s, RefusedWindow, nil)
		return
	}
	now := time.Now()
	take := func(a arrival) { in.take(s, a) }
	if s.isEarlier(a.Incarnation) {
		in.refuseLocked(s, RefusedIncarnation, errors.New("a newer incarnation was heard before: do two servers use the id?"))
		return
	}
	if a.Incarnation != s.incarnation {
		in.begin(s, a.Incarnation, now, take)
	}
	if l := in.node.linkIfAny(s.id); l != nil {
		l.acked(a.AckIncarnation, a.Ack, a.Window)
	}
	s.asked = s.asked || a.Flags&wire.FlagAckNow != 0
	if reason := s.arrive(a, int(in.window), now, take); reason != 0 {
		in.refuseLocked(s, reason, nil)
	}
	in.holding = in.holding || len(s.held) > 0
	if a.Bare() && s.asked {
		in.acknowledge(s, now)
	}
}

// begin makes incarnation the one that is heard of s. The caller holds mu.
func (in *inbox) begin(s *source, incarnation uint64, now time.Time, take func(arrival)) {
	if s.incarnation != 0 {
		s.books.restarts++
		in.node.log.Info("cluster: peer has restarted", "peer", s.id)
	}
	s.flush(now, take)
	s.begin(incarnation)
	if l := in.node.linkIfAny(s.id); l != nil {
		l.peerBegan()
	}
}

// source returns the source with that id. The caller holds mu.
func (in *inbox) source(id int) *source {
	s := in.sources[id]
	if s == nil {
		s = &source{id: id}
		in.sources[id] = s
	}
	return s
}

// refuse counts a frame that is not taken. s is nil if it can be laid at no
// known peer's door.
func (in *inbox) refuse(s *source, r Refusal, cause error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.refuseLocked(s, r, cause)
}

// refuseLocked is refuse for callers that hold mu. Each reason is logged once
// for each peer.
func (in *inbox) refuseLocked(s *source, r Refusal, cause error) {
	count := &in.refused[r]
	attrs := []any{"reason", r.String()}
	if s != nil {
		count = &s.books.refused[r]
		attrs = append(attrs, "peer", s.id)
	}
	if *count++; *count == 1 {
		if cause != nil {
			attrs = append(attrs, "cause", cause)
		}
		in.node.log.Warn("cluster: refused what came from the network; more of the kind is only counted", attrs...)
	}
}

// take decodes a frame whose turn it is, and delivers what it contained. The
// caller holds mu.
func (in *inbox) take(s *source, a arrival) {
	start := s.want
	c := chunk{
		source: s, incarnation: s.incarnation, bytes: a.size(),
	}
	if a.Flags&wire.FlagPiece != 0 {
		in.assemble(s, a, &c)
	} else {
		s.want = wire.Position{Seq: s.want.Seq + uint64(a.Count)}
		if r, ok := wire.ParseSplit(a.body, a.tail, a.Count); ok {
			in.decode(&c, r, true)
		} else {
			c.envelopes = make([]*Envelope, 0, a.Count)
			for rest := a.body; len(rest) > 0; {
				r, rest = wire.NextRecord(rest)
				in.decode(&c, r, false)
			}
		}
	}
	c.end = s.want
	s.books.received += uint64(len(c.envelopes))
	s.books.receivedBytes += uint64(c.sizes)
	if !in.delivering {
		in.pushNow(&c)
	}
	if len(c.envelopes) == 0 && s.backlog == 0 {
		in.taken(&c, time.Now())
		return
	}
	if s.backlog == 0 {
		s.taken = start
	}
	s.backlog += len(c.envelopes)
	s.waiting += c.bytes
	in.backlog = append(in.backlog, c)
	if !in.delivering {
		in.delivering = true
		in.deliver.Add(1)
		// It ends when the backlog is empty, or when stop is closed; close
		// waits for it.
		go in.deliverBacklog()
	}
}

// assemble takes a piece of a large message. The caller holds mu.
func (in *inbox) assemble(s *source, a arrival, c *chunk) {
	piece, err := wire.ParsePiece(a.body, a.tail, a.Start.Offset)
	if err != nil {
		panic("cluster: piece was not checked: " + err.Error())
	}
	p := &s.part
	if a.Start.Offset == 0 {
		*p = assembly{msgID: piece.MsgID, kind: piece.Kind, total: piece.Total}
		if p.total > in.node.cfg.MaxMessageBytes {
			p.discard = true
			in.refuseLocked(s, RefusedTooLarge, fmt.Errorf("%d bytes", p.total))
		} else {
			p.data = make([]byte, 0, min(p.total, assemblyBytes))
		}
	}
	end := int(a.Start.Offset) + len(piece.Data)
	if end > p.total {
		// The record ends here for us; what its sender meant by the rest will
		// be refused as a sequence that went back.
		in.refuseLocked(s, RefusedMalformed, errors.New("more pieces than the message announced"))
		s.want, *p = wire.Position{Seq: s.want.Seq + 1}, assembly{}
		return
	}
	if !p.discard {
		p.data = append(p.data, piece.Data...)
	}
	if end < p.total {
		s.want.Offset = uint32(end)
		return
	}
	whole := *p
	s.want, *p = wire.Position{Seq: s.want.Seq + 1}, assembly{}
	if !whole.discard {
		in.decode(c, wire.Record{MsgID: whole.msgID, Kind: whole.kind, Payload: whole.data}, true)
	}
}

// decode adds the message of r to the chunk, if it is one. The caller holds mu.
func (in *inbox) decode(c *chunk, r wire.Record, owned bool) {
	if len(r.Payload) > in.node.cfg.MaxMessageBytes {
		in.refuseLocked(c.source, RefusedTooLarge, fmt.Errorf("%d bytes", len(r.Payload)))
		return
	}
	msg, err := codec.Decode(codec.Kind(r.Kind), r.Payload, owned)
	switch {
	case err == nil:
		c.envelopes = append(c.envelopes, &Envelope{Pid: c.source.id, MsgId: r.MsgID, Msg: msg})
		c.sizes += len(r.Payload)
	case errors.Is(err, codec.ErrUnregistered):
		in.refuseLocked(c.source, RefusedUnregistered, err)
	default:
		in.refuseLocked(c.source, RefusedUndecodable, err)
	}
}

// check reports whether the frame's content is well formed, so that it is taken
// whole or not at all.
func (a *arrival) check() error {
	if a.Flags&wire.FlagPiece != 0 {
		_, err := wire.ParsePiece(a.body, a.tail, a.Start.Offset)
		return err
	}
	if _, ok := wire.ParseSplit(a.body, a.tail, a.Count); ok {
		return nil
	}
	a.body, a.tail = wire.Join(a.body, a.tail), nil
	return wire.CheckRecords(a.body, a.Count)
}

// addTo adds the books of the receiving side to the peers', and returns what is
// no known peer's.
func (in *inbox) addTo(peer func(id int) *PeerStats) map[Refusal]uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	for id, s := range in.sources {
		r := s.books.stats()
		r.BacklogBytes, r.HeldBytes = s.waiting, s.heldBytes
		peer(id).Received.add(r)
	}
	var m map[Refusal]uint64
	for r, c := range in.refused {
		m = count(m, Refusal(r), c)
	}
	return m
}
