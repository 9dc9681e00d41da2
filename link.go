package cluster

import (
	"slices"
	"sync"
	"time"

	"github.com/abhishekg16/cluster/internal/flaw"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
)

const (
	// probeInterval is how often a sender that waits for the peer's window asks
	// for an acknowledgment: what it waits for may have been lost.
	probeInterval = 250 * time.Millisecond
	// redialInterval is the pause after a connection could not even be set up,
	// for want of sockets or descriptors.
	redialInterval = 250 * time.Millisecond
	// quietTime is after how long without a word a sender asks what became of the
	// last that it sent: until then nobody could know that it was lost.
	quietTime = 3 * time.Second
	// maxPeerWindow is the most that a peer is granted to grant.
	maxPeerWindow = 64 << 20
	// keyInterval is how long a connection may take nothing before another of the
	// peer's keys is tried, in the first round; it doubles with each, so that at last
	// it is enough for a handshake over any distance.
	keyInterval = 500 * time.Millisecond
	// afreshInterval is how long a connection may take nothing before it is made
	// afresh: ZeroMQ never comes back to a server that has once broken the protocol,
	// as a stranger on its port does. It is longer than a heartbeat takes to end a
	// connection with a peer that has only stopped, so that nothing on it is lost.
	// While something may be on its way, and only be slow, it is cautiousInterval.
	afreshInterval   = 5 * time.Second
	cautiousInterval = 10 * time.Second
	// looksPerTimeout is how often a link looks, within SendTimeout, whether its
	// peer has taken something.
	looksPerTimeout = 8
)

// A link is one peer as seen by a sender: a queue bounded in bytes, the peer's
// window, the policy that decides when messages are dropped, and a goroutine that
// writes; while that sleeps, a sender may write in its place. There is one for each id that was ever sent to; its
// sequence and its books go on if the peer is removed, comes back, or moves.
//
// While the peer takes what it is sent, a full queue makes senders wait. When
// something is to be written and the peer has taken nothing for SendTimeout,
// the link is down: what is queued is dropped, and so is what comes, until the
// peer takes again.
type link struct {
	node     *Node
	id       int
	wake     chan struct{} // holds a token when run should look again
	finished chan struct{} // closed when run has returned
	version  uint64        // of the catalogue that endpoint is from; the node's mu guards it

	// io is held by who uses conn and the writer: run, or a sender that drives the
	// link while run sleeps. It comes before mu.
	io sync.Mutex

	mu       sync.Mutex     // guards what follows
	endpoint string         // of the peer; empty while the catalogue does not have it
	keys     []string       // its public keys: none, one, or two while it changes from one to the other
	keyAt    int            // which of keys is tried
	tries    int            // connections made in a row that took nothing
	dialed   target         // of conn; run alone sets it
	conn     transport.Conn // nil while there is none; used with io held, but for Interrupt
	redialAt time.Time      // not before then, after dialing has failed
	queue    queue
	writer   writer
	room     chan struct{} // closed when senders that wait should look again; nil if none waits
	flight   flight
	ack      ack
	books    sentBooks

	state    LinkState
	since    time.Time // of state
	stuck    bool      // the connection took no frame, and has not taken one since
	stuckAt  time.Time // when it last got stuck, or was made
	ready    bool      // it may take one now
	starved  bool      // the link went down with its window closed, and no news since
	progress time.Time // when the peer last took something, or could have
	ackedAt  time.Time // when it last said so
	looked   time.Time // when plan last ran
	wrote    time.Time // a frame with records was last written
	begun    time.Time // a new incarnation of the peer was last heard
	asleep   bool      // nobody is about to write the queue
	untimed  bool      // run waits for the connection, with nothing to write and so without the deadline of that
	until    time.Time // when run last went to sleep: its deadline
	draining bool      // no more is taken; end when all is written
	ending   bool      // the connection is being closed, and only a cut may end that early
	cut      bool      // end at once
}

// A target is what a connection is made to.
type target struct {
	endpoint string
	key      string // the public key that the peer has to prove; empty: none
}

// target is where the peer is now. The caller holds mu.
func (l *link) target() target {
	t := target{endpoint: l.endpoint}
	if len(l.keys) > 0 {
		t.key = l.keys[l.keyAt]
	}
	return t
}

// ack is the latest acknowledgment for the peer. It travels with each frame,
// and in one of its own when it is due.
type ack struct {
	incarnation uint64
	upTo        wire.Position
	taking      bool          // the program takes envelopes, if slowly
	due         time.Time     // zero: not due
	aboard      wire.Position // what the frame at hand says, and
	tellsTaking bool          // whether it says that too
}

// carried is called when the frame at hand was handed over.
func (a *ack) carried() {
	if a.aboard == a.upTo && a.tellsTaking == a.taking {
		a.due = time.Time{}
	}
	if a.tellsTaking {
		a.taking = false
	}
}

func newLink(n *Node, id int) *link {
	return &link{
		node: n, id: id,
		wake:     make(chan struct{}, 1),
		finished: make(chan struct{}),
		writer:   writer{next: 1},
		flight:   flight{window: wire.InitialWindow},
		state:    LinkConnecting,
		since:    time.Now(),
	}
}

// patient tells how put is to wait for room in a full queue.
type patient struct {
	wait  bool            // false: not at all
	leave bool            // instead of waiting, leave the rest of the run
	stop  <-chan struct{} // if not nil, until it is closed
	then  Reason          // and then this is the reason of the drop
	give  bool            // the queue may have the run's buffer, and leave it another
}

// put queues a run. If the queue is full it waits for room, or for the link to go
// down, as p says. It returns the reason of the last drop, which it has counted,
// or 0. The run is empty after it, or is what p said to leave.
func (l *link) put(r *run, p patient) Reason {
	reason, wake := l.enqueue(r, p)
	switch {
	case !wake:
	case l.id == l.node.pid || !l.io.TryLock():
		// To itself, a node decodes where it writes. That is run's, since the
		// sender may be the program's code that is called to decode.
		l.kick()
	default:
		// It leaves from here, without waking run.
		l.drive()
		l.io.Unlock()
	}
	return reason
}

// enqueue is the part of put that needs mu. It reports whether nobody is about to
// write the queue.
func (l *link) enqueue(r *run, p patient) (reason Reason, wake bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for r.count > 0 {
		switch {
		case l.draining || l.cut:
			reason = l.refuse(r, ReasonClosed)
			continue
		case l.endpoint == "":
			reason = l.refuse(r, ReasonUnknownPeer)
			continue
		case l.state == LinkDown:
			reason = l.refuse(r, ReasonUnreachable)
			continue
		case (r.count == 1 || r.size() <= l.node.cfg.QueueBytes) && l.queue.fits(r.size(), l.node.cfg.QueueBytes):
			l.accept(r, p.give, &wake)
			r.count = 0
			continue
		}
		one, rest := r.first()
		switch {
		case r.count > 1 && l.queue.fits(one.size(), l.node.cfg.QueueBytes):
			l.accept(&one, false, &wake)
			*r = rest
			continue
		case !p.wait:
			reason = l.refuse(&one, ReasonTimedOut)
			*r = rest
			continue
		case p.leave:
			return reason, wake
		}
		if wake {
			wake = false
			l.kick()
		}
		if l.room == nil {
			l.room = make(chan struct{})
		}
		room := l.room
		l.mu.Unlock()
		select {
		case <-room:
			l.mu.Lock()
		case <-p.stop:
			l.mu.Lock()
			return l.refuse(r, p.then), false
		}
	}
	return reason, wake
}

// refuse counts all of a run as dropped, and empties it. The caller holds mu.
func (l *link) refuse(r *run, reason Reason) Reason {
	count := r.count
	r.count = 0
	return l.books.refuse(reason, count)
}

// accept queues messages for which there is room, and sets wake if nobody is about
// to write them. The caller holds mu.
func (l *link) accept(r *run, give bool, wake *bool) {
	l.queue.push(r, give)
	l.books.accepted += uint64(r.count)
	if l.asleep {
		l.asleep, *wake = false, true
	}
	if l.untimed {
		l.untimed = false
		l.conn.Interrupt()
	}
}

// redirect tells where the peer is now, or that it is nowhere if endpoint is
// empty, and what its public keys are. What is queued goes there, or is dropped.
func (l *link) redirect(endpoint string, keys []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.endpoint == endpoint && slices.Equal(l.keys, keys) {
		return
	}
	l.endpoint = endpoint
	if !slices.Equal(l.keys, keys) {
		// A connection stands on as long as its key is one of the peer's.
		l.keys, l.keyAt, l.tries = keys, max(0, slices.Index(keys, l.dialed.key)), 0
	}
	l.redialAt = time.Time{}
	l.stir()
}

// acked takes in what the peer says of the frames it got.
func (l *link) acked(h *wire.Header) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.AckIncarnation != l.node.incarnation {
		return
	}
	l.flight.window = int(min(h.Window, maxPeerWindow))
	if l.flight.acked(h.Ack) || h.Flags&wire.FlagTaking != 0 {
		l.progress, l.starved = time.Now(), false
		l.ackedAt = l.progress
	}
	if l.state == LinkDown || l.writer.batch != nil || !l.queue.empty() {
		l.kick() // there may be something to be written now
	}
}

// peerBegan is called when a new incarnation of the peer is heard. What is on
// its way to an earlier one will not be acknowledged; and since this one is
// there, messages for it wait for the connection as they would at the start. A
// peer that begins again and again gets that once in a while only. Key is the one
// that it has now, if there are keys.
func (l *link) peerBegan(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flight.reset()
	if at := slices.Index(l.keys, key); at >= 0 {
		l.keyAt, l.tries, l.stuckAt = at, 0, time.Now()
	}
	if now := time.Now(); now.Sub(l.begun) >= 2*l.node.patience {
		l.begun, l.progress, l.starved = now, now, false
		if l.state == LinkDown {
			l.enter(LinkConnecting)
		}
	}
	l.stir()
}

// offer notes the latest acknowledgment for the peer, and whether the program is
// taking envelopes. Unless due is zero it is written by then.
func (l *link) offer(incarnation uint64, upTo wire.Position, taking bool, due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ack.incarnation, l.ack.upTo = incarnation, upTo
	l.ack.taking = l.ack.taking || taking
	if !due.IsZero() && (l.ack.due.IsZero() || due.Before(l.ack.due)) {
		l.ack.due = due
		l.kick()
	}
}

// finish makes the link write what it has, and end. It takes no more.
func (l *link) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draining = true
	l.cut = l.cut || flaw.On(flaw.Close)
	l.stir()
}

// abandon makes the link drop what it has, and end.
func (l *link) abandon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	l.stir()
}

// kick makes run look again, if it waits for something to do.
func (l *link) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// stir makes run and waiting senders look again, whatever they wait for. The
// caller holds mu.
func (l *link) stir() {
	l.release()
	l.kick()
	if l.conn != nil && (!l.ending || l.cut) {
		l.conn.Interrupt()
	}
}

// release lets waiting senders look again. The caller holds mu.
func (l *link) release() {
	if l.room != nil {
		close(l.room)
		l.room = nil
	}
}

// run is the link's goroutine. finish or abandon end it.
func (l *link) run() {
	defer close(l.finished)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	l.io.Lock()
	defer l.io.Unlock()
	for {
		switch step, deadline := l.plan(time.Now()); step {
		case stepDial:
			l.dial()
		case stepWrite:
			l.write()
		case stepAwaitConn:
			l.awaitConn(deadline)
		case stepSleep:
			l.sleepUntil(deadline)
			l.io.Unlock()
			l.sleep(timer, deadline)
			l.io.Lock()
		case stepEnd:
			l.end()
			return
		}
	}
}

// driveMost is how much drive does: others may go on queueing while it writes, and its
// caller has a message to send and no more.
const driveMost = 64

// drive does run's work while run sleeps, as far as that needs no waiting. The
// caller holds io.
func (l *link) drive() {
	for range driveMost {
		step, deadline := l.plan(time.Now())
		switch {
		case step == stepWrite:
			l.write()
		case step == stepSleep && !l.oversleeps(deadline):
			return
		default:
			l.kick()
			return
		}
	}
	l.kick()
}

// oversleeps reports whether run sleeps beyond the deadline.
func (l *link) oversleeps(deadline time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !deadline.IsZero() && (l.until.IsZero() || deadline.Before(l.until))
}

type step int

const (
	stepDial      step = iota // connect to where the peer is now
	stepWrite                 // hand the writer's frame to the connection
	stepAwaitConn             // wait until the connection takes frames again
	stepSleep                 // wait until something is to be written
	stepEnd
)

// plan decides what run does next, and until when at most. All policy is here.
// The caller holds io.
func (l *link) plan(now time.Time) (step, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	step, deadline := l.planLocked(now)
	l.asleep = step == stepSleep
	l.untimed = step == stepAwaitConn && l.writer.batch == nil
	return step, deadline
}

func (l *link) planLocked(now time.Time) (step, time.Time) {
	if l.endpoint == "" {
		l.drop(ReasonUnknownPeer)
	}
	l.writer.givenUp(l)
	if l.writer.batch == nil && !l.queue.empty() {
		l.writer.load(l.queue.pop())
	}
	pending := l.writer.batch != nil
	l.look(now)
	if l.cut || l.draining && !pending {
		return stepEnd, time.Time{}
	}
	retryAt := l.retryAt()
	retry := l.dialed == l.target() && !retryAt.IsZero() && !now.Before(retryAt)
	if retry {
		l.tries++
		l.keyAt = (l.keyAt + 1) % max(1, len(l.keys))
	}
	if retry || l.dialed != l.target() {
		if now.Before(l.redialAt) {
			return stepSleep, l.redialAt
		}
		return stepDial, time.Time{}
	}
	if l.conn == nil {
		return stepSleep, time.Time{}
	}

	open := l.flight.open(l.writer.frameSize())
	if !pending || open && !l.stuck {
		// Nothing is kept from going out.
		l.progress = now
	}
	patienceEnds := l.progress.Add(l.node.patience)
	if pending && l.state != LinkDown && !now.Before(patienceEnds) {
		l.starved = !open
		l.down(ReasonTimedOut, nil)
		return l.planLocked(now)
	}
	if l.state == LinkDown && l.stuck && l.ready {
		l.stuck = false // it has a connection, and would have nothing to try it with
	}
	if l.state == LinkDown && !l.stuck && !l.starved {
		l.enter(LinkUp)
	}
	open = open && !l.starved

	var deadline time.Time
	if pending {
		deadline = earliest(patienceEnds, now.Add(l.lookInterval()))
	}
	probe, probeAt := l.flight.probe(now)
	unheard := l.wrote.Add(quietTime) // when to ask after frames that were not acknowledged
	switch {
	case l.stuck && !l.ready:
		return stepAwaitConn, earliest(deadline, retryAt)
	case pending && open:
		l.writer.message(l)
		return stepWrite, deadline
	case !open && probe, l.flight.bytes > 0 && !l.flight.asked && !now.Before(unheard):
		l.flight.probed, l.flight.asked = now, true
		l.writer.bare(l, wire.FlagAckNow)
		return stepWrite, deadline
	case !l.ack.due.IsZero() && !now.Before(l.ack.due):
		l.writer.bare(l, 0)
		return stepWrite, deadline
	}
	if !open {
		deadline = earliest(deadline, probeAt)
	}
	if l.flight.bytes > 0 && !l.flight.asked {
		deadline = earliest(deadline, unheard)
	}
	return stepSleep, earliest(deadline, l.ack.due)
}

// retryAt is when another connection should be tried, with another key of the peer if
// it has two; zero: not at all. The caller holds mu.
func (l *link) retryAt() time.Time {
	if !l.stuck || l.ready || l.conn == nil {
		return time.Time{}
	}
	interval := afreshInterval
	if l.flight.bytes > 0 {
		interval = cautiousInterval
	}
	if keys := len(l.keys); keys > 1 {
		interval = min(interval, keyInterval<<min(l.tries/keys, 10))
	}
	// While the peer acknowledges, the connection stands, and is only slow.
	if l.ackedAt.After(l.stuckAt) {
		return l.ackedAt.Add(interval)
	}
	return l.stuckAt.Add(interval)
}

// look sees to it that the time since the last look counts against the peer for no
// more than lookInterval. It is longer if this process did not run: it was stopped,
// or its machine was. What the peer has said meanwhile is yet to be read then.
func (l *link) look(now time.Time) {
	since := l.looked
	if since.Before(l.progress) {
		since = l.progress
	}
	if asleep := now.Sub(since) - l.lookInterval(); asleep > 0 {
		l.progress = l.progress.Add(asleep)
	}
	l.looked = now
}

func (l *link) lookInterval() time.Duration {
	return max(l.node.patience/looksPerTimeout, time.Millisecond)
}

// dial leaves the connection that the link had, if any, and makes one to where
// the peer is now.
func (l *link) dial() {
	l.mu.Lock()
	old, to, was := l.conn, l.target(), l.dialed
	l.conn, l.dialed = nil, target{}
	l.mu.Unlock()
	if old != nil {
		l.hangUp(old, 0)
		l.mu.Lock()
		l.flight.reset()
		l.starved = false
		l.mu.Unlock()
	}
	var conn transport.Conn
	var err error
	if to.endpoint != "" {
		conn, err = l.node.dial(l.id, to)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.redialAt = time.Now().Add(redialInterval)
		l.down(ReasonUnreachable, err)
		return
	}
	l.conn, l.dialed = conn, to
	l.stuck, l.ready, l.stuckAt = false, false, time.Now()
	if old != nil && was.endpoint == to.endpoint {
		// It is only another try: the peer's time runs on.
		l.stuck = true
		return
	}
	l.progress = l.stuckAt
	switch {
	case to.endpoint == "":
		l.enter(LinkIdle)
	case l.state != LinkConnecting:
		l.enter(LinkConnecting)
	}
}

// write hands the writer's frame to the connection. If that takes none now, the
// link is stuck until it does.
func (l *link) write() {
	ok, err := l.conn.TrySend(l.writer.head, l.writer.tail)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok && !l.stuck {
		l.stuckAt = time.Now()
	}
	l.stuck, l.ready = !ok, false
	if !ok && l.writer.isBare() {
		l.flight.asked = false // it has not
	}
	switch {
	case ok:
		l.tries = 0
		l.writer.wrote(l)
		if l.state == LinkConnecting {
			l.enter(LinkUp)
		}
	case err != nil:
		// A socket that fails for another reason than being full does not
		// recover; another one may.
		l.down(ReasonUnreachable, err)
		l.dialed, l.redialAt = target{}, time.Now().Add(redialInterval)
	}
}

// awaitConn waits until the connection takes frames, or the deadline, or
// something else has changed.
func (l *link) awaitConn(deadline time.Time) {
	err := l.conn.Wait(deadline)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ready = err == nil
}

// sleepUntil notes how long run will sleep, before a sender may drive the link.
func (l *link) sleepUntil(deadline time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = deadline
}

// sleep waits for something to do, or the deadline.
func (l *link) sleep(timer *time.Timer, deadline time.Time) {
	if deadline.IsZero() {
		<-l.wake
		return
	}
	timer.Reset(time.Until(deadline))
	select {
	case <-l.wake:
	case <-timer.C:
	}
}

// end drops what was not written, and closes the connection once what was
// written has left the process, or cannot.
func (l *link) end() {
	linger := l.node.lingerLeft()
	l.mu.Lock()
	l.drop(ReasonClosed)
	if l.cut || l.state == LinkDown {
		linger = 0
	}
	conn := l.conn
	l.ending = true
	l.mu.Unlock()
	if conn != nil {
		l.hangUp(conn, linger)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = nil
}

func (l *link) hangUp(conn transport.Conn, linger time.Duration) {
	if err := conn.Close(linger); err != nil {
		l.node.log.Warn("cluster: closing a connection", "peer", l.id, "error", err)
	}
}

// down drops what is queued and makes the link refuse messages until the peer
// takes again. The caller holds io and mu.
func (l *link) down(r Reason, cause error) {
	dropped := l.drop(r)
	if l.state == LinkDown {
		return
	}
	attrs := []any{"dropped", dropped}
	if cause != nil {
		attrs = append(attrs, "error", cause)
	} else {
		attrs = append(attrs, "took nothing for", l.node.patience)
	}
	l.enter(LinkDown, attrs...)
}

// drop empties the queue and the writer, and reports how many messages that
// cost. The caller holds io, since the writer's frame may be on its way, and mu.
func (l *link) drop(r Reason) int {
	n := l.writer.abandon(l)
	for !l.queue.empty() {
		b := l.queue.pop()
		l.queue.release(b.size(), b.count)
		n += b.count
		b.free()
	}
	if !flaw.On(flaw.Drops) {
		l.books.dropped[r] += uint64(n)
	}
	l.release()
	return n
}

// enter changes the state, which is an event worth a line in the log. The caller
// holds mu.
func (l *link) enter(s LinkState, attrs ...any) {
	l.state, l.since = s, time.Now()
	attrs = append([]any{"peer", l.id, "endpoint", l.endpoint, "encrypted", l.node.encrypts(l.id)}, attrs...)
	if s == LinkDown {
		l.node.log.Warn("cluster: link is down", attrs...)
	} else {
		l.node.log.Info("cluster: link is "+s.String(), attrs...)
	}
}

// addTo adds the link's books to the peer's.
func (l *link) addTo(p *PeerStats) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.books.stats()
	s.Queued, s.QueueBytes, s.FlightBytes = uint64(l.queue.messages), l.queue.bytes, l.flight.bytes
	p.Sent.add(s)
	p.State, p.Since = l.state, l.since
}

// earliest returns the earlier of two deadlines, where zero means none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
