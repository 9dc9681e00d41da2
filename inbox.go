package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/abhishekg16/cluster/internal/flaw"
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
	node      *Node
	c         chan *Envelope
	window    uint32 // granted to each peer
	slack     int    // how many times as large a peer's frames may be as it wrote them
	seat      *seat
	halted    atomic.Bool    // run is to end
	stop      chan struct{}  // closed to end deliver
	delivered sync.WaitGroup // deliverBacklog

	// rx is held while frames are taken, by run or by the loopback, one at a time.
	// It comes before mu, which is let go of for decoding.
	rx sync.Mutex

	mu      sync.Mutex // guards what follows
	sources map[int]*source
	holding bool // some source may hold frames
	// turns are the sources with a backlog, in the order of their turns.
	turns      []*source
	reported   time.Time // those were last told that they will have it
	delivering bool      // somebody sends on c, and is alone in that: take, or deliverBacklog
	closed     bool
	refused    [refusals]uint64 // of no known peer
	shakes     map[string]bool  // the causes of failed handshakes that were logged
	heavy      heavy            // used by who sends on c
}

func newInbox(n *Node) *inbox {
	window := n.cfg.QueueBytes / max(1, n.catalog.Len()-1)
	return &inbox{
		node:    n,
		c:       make(chan *Envelope, n.cfg.InboxSize),
		window:  uint32(min(max(window, wire.InitialWindow), maxWindow)),
		seat:    newSeat(),
		stop:    make(chan struct{}),
		sources: make(map[int]*source),
		shakes:  make(map[string]bool),
		heavy:   heavy{limit: n.cfg.QueueBytes},
		slack:   slack(n),
	}
}

// halt makes run end.
func (in *inbox) halt() {
	in.halted.Store(true)
	in.node.listener.Interrupt()
	in.seat.recall()
}

// run reads the listener until halt, but for when a Receive does. It closes the listener.
func (in *inbox) run(l transport.Listener) {
	for !in.halted.Load() {
		if in.seat.inside.Load() > 0 {
			in.seat.lend()
			continue
		}
		if in.read() && len(in.c) == 0 {
			// The program was waiting for it: it goes first.
			runtime.Gosched()
		}
	}
	if err := l.Close(); err != nil {
		in.node.log.Warn("cluster: closing the listener", "error", err)
	}
}

// read takes a frame from the listener, waiting until there is one, an interrupt, or
// something else to do. It reports whether there was a frame. The caller has the seat.
func (in *inbox) read() bool {
	l := in.node.listener
	head, tail, err := l.Recv(in.deadline())
	switch {
	case err == nil:
		in.frame(head, tail, l.Key(), false)
	case errors.Is(err, transport.ErrMalformed):
		sender, _ := in.sender(l.Key(), false)
		in.refuse(sender, RefusedMalformed, err)
	case errors.Is(err, transport.ErrInterrupted):
		return false // to look at once at what it was for; there may be another deadline now
	case errors.Is(err, transport.ErrTimeout):
	default:
		in.node.log.Error("cluster: cannot receive any more", "error", err)
		in.halt()
	}
	in.overdue()
	return err == nil
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

// frame takes one frame, which it owns, and whose sender has proved to have the
// public key, if there are keys. own tells that it comes from this node and not from
// the network.
func (in *inbox) frame(head, tail []byte, key string, own bool) {
	n := in.node
	sender, listed := in.sender(key, own)
	if !listed {
		in.refuse(sender, RefusedKey, fmt.Errorf("no peer has the public key %q", key))
		return
	}
	h, err := wire.ParseHeader(head)
	if size := len(head) + len(tail); err == nil && size > wire.MaxFrame {
		err = fmt.Errorf("%w: %d bytes", wire.ErrMalformed, size)
	}
	if err != nil {
		reason := RefusedMalformed
		if errors.Is(err, wire.ErrVersion) {
			reason = RefusedVersion
		}
		in.refuse(sender, reason, err)
		return
	}
	from := int(h.From)
	switch {
	case sender != nobody && sender != from:
		in.refuse(sender, RefusedIdentity, fmt.Errorf("it names %d as its sender", from))
	case h.Cluster != n.cluster:
		in.refuse(sender, RefusedCluster, nil)
	case int(h.To) != n.pid:
		in.refuse(sender, RefusedDestination, fmt.Errorf("it is for %d", h.To))
	case !n.catalog.Has(from):
		in.refuse(sender, RefusedSender, fmt.Errorf("it names %d as its sender", from))
	case from == n.pid && !own:
		in.refuse(sender, RefusedIncarnation, errors.New("another server uses this one's id"))
	default:
		a := arrival{h, head[wire.HeaderSize:], tail, head, time.Now(), key}
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

// nobody is the sender of frames that nothing proves to be a peer's.
const nobody = -1

// sender is the peer that has proved to have the public key, and whether who did is
// listed. It is asked for every frame, since the catalogue may have changed since the
// connection was made. Without keys, and for the node's own frames, it is nobody.
func (in *inbox) sender(key string, own bool) (id int, listed bool) {
	if in.node.security == nil || own {
		return nobody, true
	}
	if id, ok := in.node.catalog.Owner(key); ok {
		return id, true
	}
	return nobody, false
}

// fromPeer takes a frame that names s as its sender. The caller holds mu.
func (in *inbox) fromPeer(s *source, a arrival) {
	limit := int(in.window)
	switch {
	case in.closed:
	case s.isEarlier(a.Incarnation) && !flaw.On(flaw.Life):
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
		l.acked(&a.Header)
	}
	if !a.Bare() && !s.fits(a.size(), int(in.window)*in.slack) {
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
	if a.Bare() && a.Flags&wire.FlagAckNow != 0 {
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
		l.peerBegan(frames[0].key)
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

// refuse counts a frame that is not taken, of the peer with this id, or of nobody if
// it can be laid at no known peer's door.
func (in *inbox) refuse(id int, r Refusal, cause error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	var s *source
	if id != nobody {
		s = in.source(id)
	}
	in.refuseLocked(s, r, cause)
}

// refuseHandshakes counts connections that did not come about. Whose they were nobody
// knows, so each cause is logged once.
func (in *inbox) refuseHandshakes(connections int, cause error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.refused[RefusedHandshake] += uint64(connections)
	if in.shakes[cause.Error()] {
		return
	}
	in.shakes[cause.Error()] = true
	level := slog.LevelWarn
	if errors.Is(cause, transport.ErrUnfinished) {
		level = slog.LevelInfo // somebody may only have looked whether the port is open
	}
	in.node.log.Log(context.Background(), level, "cluster: refused a connection; more of the kind are only counted",
		"reason", RefusedHandshake.String(), "cause", cause)
}

// refuseLocked is refuse for callers that hold mu, and s is nil for nobody. Each
// reason is logged once for each peer.
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

// take delivers a frame whose turn it is, as far as there is room in the inbox; the
// rest joins the backlog. The caller holds rx and mu, of which mu is let go of
// meanwhile.
func (in *inbox) take(s *source, a arrival) {
	start := s.want
	c := chunk{life: s.life, bytes: a.size()}
	if a.Flags&wire.FlagPiece != 0 {
		in.assemble(s, a, &c)
		transport.PutBuffer(a.buffer)
	} else {
		s.want = wire.Position{Seq: s.want.Seq + uint64(a.Count)}
		c.fill(a)
	}
	c.end = s.want
	if !in.delivering {
		in.delivering = true
		for room := true; room && c.left() > 0 && !in.halted.Load(); {
			room = in.deliver(s, &c)
			if s.id == in.node.pid {
				in.nudge() // it did not come by the listener
			}
			if !in.seat.byRun.Load() {
				break // a Receive has something to return: the rest joins the backlog
			}
		}
		in.delivering = false
	}
	if c.left() == 0 && len(s.chunks) == 0 {
		in.taken(s, &c)
		return
	}
	if s.backlog == 0 {
		s.taken = start
	}
	s.backlog += c.left()
	s.waiting += c.bytes
	s.present += c.bytes
	if s.chunks = append(s.chunks, c); len(s.chunks) == 1 {
		in.turns = append(in.turns, s)
	}
	if !in.delivering {
		in.delivering = true
		in.delivered.Add(1)
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
		if p.total > in.node.cfg.MaxMessageBytes && !flaw.On(flaw.Size) {
			p.discard = true
			in.refuseLocked(s, RefusedTooLarge, errTooLargeHere)
		} else {
			p.data = make([]byte, 0, min(p.total, assemblyTimes*len(piece.Data)))
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
		c.record, c.count = wire.Record{MsgID: whole.msgID, Kind: whole.kind, Payload: whole.data}, 1
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
		r.BacklogBytes, r.HeldBytes = s.waiting+len(s.part.data), s.heldBytes
		peer(id).Received.add(r)
	}
	var m map[Refusal]uint64
	for r, c := range in.refused {
		m = count(m, Refusal(r), c)
	}
	return m
}
