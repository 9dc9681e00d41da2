package cluster

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
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
	halted  atomic.Bool   // run is to end
	stop    chan struct{} // closed to end deliver
	deliver sync.WaitGroup

	// rx is held while frames are taken, by run or by the loopback, one at a time.
	// It comes before mu, which is let go of for decoding.
	rx sync.Mutex

	mu      sync.Mutex // guards what follows
	sources map[int]*source
	holding bool // some source may hold frames
	// turns are the sources with a backlog, in the order of their turns.
	turns      []*source
	delivering bool // deliverBacklog runs, and it alone sends on c; else who holds mu does
	closed     bool
	refused    [refusals]uint64 // frames of no known peer
	heavy      heavy            // used by who sends on c
	spare      []*Envelope      // empty, for the next chunk; guarded by rx
}

// A chunk is what one frame contained.
type chunk struct {
	life      int // of the source
	envelopes []*Envelope
	each      int           // bytes of a payload, on average
	bytes     int           // of the frame
	end       wire.Position // after it in the stream
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

// halt makes run end.
func (in *inbox) halt() {
	in.halted.Store(true)
	in.node.listener.Interrupt()
}

// run reads the listener until halt. It is the listener's owner, and closes it.
func (in *inbox) run(l transport.Listener) {
	for {
		head, tail, err := l.Recv(in.deadline())
		switch {
		case err == nil:
			in.frame(head, tail, false)
		case errors.Is(err, transport.ErrMalformed):
			in.refuse(nil, RefusedMalformed, err)
		case errors.Is(err, transport.ErrTimeout):
		case errors.Is(err, transport.ErrInterrupted) && !in.halted.Load():
			// The loopback holds a frame: there is a deadline now.
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
		if due := s.deadline(); !due.IsZero() {
			d = earliest(d, due)
			in.holding = true
		}
	}
	return d
}

// overdue gives up waiting for what should have come by now.
func (in *inbox) overdue() {
	in.rx.Lock()
	defer in.rx.Unlock()
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
		if s.nextDue(now) {
			in.begin(s, s.next[0].Incarnation)
		}
	}
}

// frame takes one frame, which it owns. own tells that it comes from this node
// and not from the network.
func (in *inbox) frame(head, tail []byte, own bool) {
	n := in.node
	h, err := wire.ParseHeader(head)
	if size := len(head) + len(tail); err == nil && size > wire.MaxFrame {
		err = fmt.Errorf("%w: %d bytes", wire.ErrMalformed, size)
	}
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
	case from == n.pid && !own:
		in.refuse(nil, RefusedIncarnation, errors.New("another server uses this one's id"))
	default:
		a := arrival{h, head[wire.HeaderSize:], tail, time.Now()}
		err := a.check()
		in.rx.Lock()
		defer in.rx.Unlock()
		in.mu.Lock()
		defer in.mu.Unlock()
		s := in.source(from)
		if err != nil {
			in.refuseLocked(s, RefusedMalformed, err)
			return
		}
		in.fromPeer(s, a)
	}
}

// fromPeer takes a frame that names s as its sender. The caller holds mu.
func (in *inbox) fromPeer(s *source, a arrival) {
	limit := int(in.window)
	switch {
	case in.closed:
	case s.isEarlier(a.Incarnation):
		in.refuseLocked(s, RefusedIncarnation, errors.New("a newer incarnation was heard before: do two servers use the id?"))
	case a.Incarnation == s.incarnation:
		in.present(s, a)
	case s.incarnation != 0 && a.came.Sub(s.heard) < holdTime:
		in.holding = true
		if len(s.next) > 0 && s.next[0].Incarnation != a.Incarnation || !s.holdNext(a, limit) {
			// Yet another, or too much: the turn of the next has come.
			in.begin(s, s.next[0].Incarnation)
			if a.Incarnation != s.incarnation {
				in.fromPeer(s, a)
			}
		}
	default:
		s.holdNext(a, limit)
		in.begin(s, a.Incarnation)
	}
}

// present takes a frame of the present incarnation. The caller holds mu.
func (in *inbox) present(s *source, a arrival) {
	if l := in.node.linkIfAny(s.id); l != nil {
		l.acked(a.AckIncarnation, a.Ack, a.Window)
	}
	if !a.Bare() && !s.fits(a.size(), int(in.window)) {
		in.refuseLocked(s, RefusedWindow, nil)
		return
	}
	s.asked = s.asked || a.Flags&wire.FlagAckNow != 0
	if reason := s.arrive(a, int(in.window), func(a arrival) { in.take(s, a) }); reason != 0 {
		in.refuseLocked(s, reason, nil)
	}
	if len(s.held) > 0 && !in.holding {
		in.holding = true
		if s.id == in.node.pid {
			in.node.listener.Interrupt() // run has to look at its deadline
		}
	}
	if a.Bare() && s.asked {
		in.acknowledge(s, a.came)
	}
}

// begin makes incarnation, of which frames are held, the one that is heard of s,
// and takes those frames. The caller holds mu.
func (in *inbox) begin(s *source, incarnation uint64) {
	frames := s.takeNext()
	if s.incarnation != 0 {
		s.books.restarts++
		if now := time.Now(); now.Sub(s.logged) >= time.Second {
			s.logged = now
			in.node.log.Info("cluster: peer has restarted", "peer", s.id)
		}
	}
	s.flush(func(a arrival) { in.take(s, a) })
	s.begin(incarnation)
	if l := in.node.linkIfAny(s.id); l != nil {
		l.peerBegan()
	}
	for _, a := range frames {
		in.present(s, a)
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
// caller holds rx and mu, of which mu is let go of meanwhile: decoding may run
// code of the program.
func (in *inbox) take(s *source, a arrival) {
	start := s.want
	c := chunk{life: s.life, bytes: a.size(), envelopes: in.spare}
	if in.spare = nil; cap(c.envelopes) < int(a.Count) {
		c.envelopes = make([]*Envelope, 0, a.Count)
	}
	if a.Flags&wire.FlagPiece != 0 {
		in.assemble(s, a, &c)
	} else {
		s.want = wire.Position{Seq: s.want.Seq + uint64(a.Count)}
		if r, ok := wire.ParseSplit(a.body, a.tail, a.Count); ok {
			in.decode(s, &c, r, nil)
		} else if a.Count > 0 {
			first, rest := wire.NextRecord(a.body)
			in.decode(s, &c, first, rest)
		}
	}
	c.end = s.want
	if in.closed {
		return
	}
	decoded := c.envelopes
	if len(c.envelopes) > 0 && !in.delivering {
		in.pushNow(s, &c)
	}
	if len(c.envelopes) == 0 && len(s.chunks) == 0 {
		clear(decoded)
		in.spare = decoded[:0]
		in.taken(s, &c)
		return
	}
	if s.backlog == 0 {
		s.taken = start
	}
	s.backlog += len(c.envelopes)
	s.waiting += c.bytes
	s.present += c.bytes
	if s.chunks = append(s.chunks, c); len(s.chunks) == 1 {
		in.turns = append(in.turns, s)
	}
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
			in.refuseLocked(s, RefusedTooLarge, errTooLargeHere)
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
		if free := cap(p.data) - len(p.data); free < len(piece.Data) {
			p.data = slices.Grow(p.data, min(max(len(p.data), len(piece.Data)), p.total-len(p.data)))
		}
		p.data = append(p.data, piece.Data...)
	}
	if end < p.total {
		s.want.Offset = uint32(end)
		return
	}
	whole := *p
	s.want, *p = wire.Position{Seq: s.want.Seq + 1}, assembly{}
	if !whole.discard {
		in.decode(s, c, wire.Record{MsgID: whole.msgID, Kind: whole.kind, Payload: whole.data}, nil)
	}
}

// slabMost and slabBytes say how many envelopes, and contents of []byte, are
// allocated together, and up to which payload: who keeps one of them keeps all.
const (
	slabMost  = 16
	slabBytes = 64
)

// decode adds the messages of a frame to the chunk: of the record r, and of those
// in rest. If there is only r its payload belongs to nobody else. The caller holds
// mu, which is let go of meanwhile.
func (in *inbox) decode(s *source, c *chunk, r wire.Record, rest []byte) {
	in.mu.Unlock()
	var faults [refusals]uint64
	var causes [refusals]error // the first of each kind
	fault := func(r Refusal, err error) {
		if faults[r]++; faults[r] == 1 {
			causes[r] = err
		}
	}
	owned := len(rest) == 0
	size := 0
	var slab []Envelope
	var bytes []byte // for small []byte, which codec would allocate one by one
	for {
		payload, own := r.Payload, owned
		if codec.Kind(r.Kind) == codec.Bytes && !owned && len(payload) <= slabBytes {
			if n := len(payload); cap(bytes)-len(bytes) < n {
				bytes = make([]byte, 0, n*slabSize(n, len(rest)))
			}
			at := len(bytes)
			bytes = append(bytes, payload...)
			payload, own = bytes[at:len(bytes):len(bytes)], true
		}
		if len(r.Payload) > in.node.cfg.MaxMessageBytes {
			fault(RefusedTooLarge, errTooLargeHere)
		} else if msg, err := codec.Decode(codec.Kind(r.Kind), payload, own); err == nil {
			if len(slab) == 0 {
				slab = make([]Envelope, slabSize(len(r.Payload), len(rest)))
			}
			slab[0] = Envelope{Pid: s.id, MsgId: r.MsgID, Msg: msg}
			c.envelopes = append(c.envelopes, &slab[0])
			slab = slab[1:]
			size += len(r.Payload)
		} else if errors.Is(err, codec.ErrUnregistered) {
			fault(RefusedUnregistered, err)
		} else {
			fault(RefusedUndecodable, err)
		}
		if len(rest) == 0 {
			break
		}
		r, rest = wire.NextRecord(rest)
	}
	in.mu.Lock()
	for r, n := range faults {
		if n > 0 {
			in.refuseLocked(s, Refusal(r), causes[r])
			s.books.refused[r] += n - 1
		}
	}
	if n := len(c.envelopes); n > 0 {
		c.each = size / n
		s.books.received += uint64(n)
		s.books.receivedBytes += uint64(size)
	}
}

// slabSize is how many envelopes to allocate for a message of that payload, with
// rest still to come.
func slabSize(payload, rest int) int {
	if payload > slabBytes {
		return 1
	}
	return min(1+rest/(wire.RecordSize+slabBytes), slabMost)
}

var errTooLargeHere = errors.New("larger than maxMessageBytes")

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
		r.BacklogBytes, r.HeldBytes = s.waiting+len(s.part.data), s.heldBytes
		peer(id).Received.add(r)
	}
	var m map[Refusal]uint64
	for r, c := range in.refused {
		m = count(m, Refusal(r), c)
	}
	return m
}
