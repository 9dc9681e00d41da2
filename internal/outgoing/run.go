package outgoing

import (
	"time"

	"github.com/abhishekg16/cluster/internal/calls"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
)

// step is what run does next: what the stream says, or what concerns the connection.
type step uint8

const (
	stepDial      step = iota // connect to where the peer is now
	stepReplace               // see to the connection that is to take the place of one that is stalled
	stepWrite                 // hand the sender's frame to the connection
	stepAwaitConn             // wait until the connection takes frames again
	stepSleep                 // wait until something is to be written
	stepPark                  // end the goroutine until there is such a peer again
	stepEnd
)

// run is the link's goroutine. Finish or Abandon end it; it parks while there is no such peer.
func (l *Link) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	l.io.Lock()
	defer l.io.Unlock()
	now := time.Now()
	for {
		switch step, deadline := l.plan(now, true); step {
		case stepDial:
			l.dial()
		case stepReplace:
			l.replaceStalled()
		case stepWrite:
			now, _ = l.write(false, now)
			continue
		case stepAwaitConn:
			l.awaitConn(deadline)
		case stepSleep:
			l.sleepUntil(deadline)
			l.io.Unlock()
			l.sleep(timer, deadline)
			l.gather()
			l.io.Lock()
		case stepPark:
			return
		case stepEnd:
			l.end()
			close(l.finished)
			return
		}
		now = time.Now()
	}
}

// plan decides what is done next, and until when at most. The caller holds io; only run may park.
func (l *Link) plan(now time.Time, byRun bool) (step, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	step, deadline := l.decide(now)
	switch {
	case l.activity == parked: // run has ended, since a sender queued what it drives now; wakeAll begins it again
	case step == stepSleep && l.current != nil:
		l.activity = awaitingAck
	case step == stepSleep:
		l.activity = sleeping
	case step == stepAwaitConn && l.current == nil:
		l.activity = awaitingRoom
	case step == stepPark && byRun:
		l.activity = parked
	default:
		l.activity = working
	}
	return step, stream.Even(deadline)
}

func (l *Link) decide(now time.Time) (step, time.Time) {
	if l.route.endpoint == "" {
		l.drop(stream.UnknownPeer)
	}
	l.load(now)
	l.sender.Look(now)
	l.loadUrgent(now)
	if l.ended() {
		return stepEnd, time.Time{}
	}
	retryAt := l.route.retryAt(l.sender.SilentSince(), l.onItsWay() > 0)
	if dial, at := l.route.due(now, retryAt); dial {
		return stepDial, time.Time{}
	} else if l.route.endpoint == "" {
		return stepPark, time.Time{} // and the connection was left
	} else if l.conn == nil || !at.IsZero() {
		return stepSleep, at
	}
	if l.replacing(now) {
		return stepReplace, time.Time{}
	}
	pollAt := l.look(now)
	write, urgentAt := l.nextUrgent(now)
	if write {
		return stepWrite, time.Time{}
	}
	l.sender.Queued(!l.queue.empty() && !l.cork)
	next, deadline := l.next(now)
	if l.urgent.hasPassed() && (next == stream.Sleep || next == stream.AwaitConn) {
		return l.decide(now)
	}
	l.noteUnheard(now)
	l.settle() // it may keep nothing more, since the peer says nothing
	if next != stream.Write && l.cork && l.current == nil && !l.queue.empty() && !l.corked() {
		return l.decide(now)
	}
	switch next {
	case stream.GiveUp:
		l.giveUp()
		return l.decide(now)
	case stream.Write:
		l.note()
		f := l.sender.Pending()
		l.kept.use(l.parcelOf(f))
		if p := l.current; p != nil && p == l.kept.used && p.confirm && !f.Confirm {
			p.confirm = false
			l.unasked(p.seq + uint64(p.count)) // it has become a peer that does not tell
		}
		return stepWrite, time.Time{}
	}
	l.note()
	deadline = stream.Earlier(stream.Earlier(deadline, pollAt), urgentAt)
	if l.spare != nil {
		deadline = stream.Earlier(deadline, l.lookAt)
	}
	if next == stream.AwaitConn {
		return stepAwaitConn, stream.Earlier(deadline, retryAt)
	}
	return stepSleep, deadline
}

// parcelOf is the parcel that a frame is a part of; nil for one without records. The caller holds io and mu.
func (l *Link) parcelOf(f *stream.Outbound) *parcel {
	if f.Bare {
		return nil
	}
	if f.Again {
		if p := l.kept.find(f.Header.Start.Seq); p != nil {
			return p
		}
	}
	return l.current
}

// sent counts the current parcel as sent, and keeps it as long as the sender does. The caller holds io and mu.
func (l *Link) sent() {
	p := l.current
	l.books.Sent += uint64(p.count)
	l.books.SentBytes += uint64(p.size())
	l.queue.release(p.size(), p.count)
	l.wakeSenders()
	l.current = nil
	l.kept.add(p)
	l.settle()
}

// dial leaves the connection that the link had, if any, and makes one to where the peer is now.
func (l *Link) dial() {
	l.mu.Lock()
	old, to, was := l.conn, l.route.target(), l.route.dialed
	l.conn, l.route.dialed = nil, Target{}
	l.mu.Unlock()
	l.dropSpare()
	if to != was {
		l.replaced = 0
	}
	if old != nil {
		l.hangUp(old, 0)
		l.mu.Lock()
		l.sender.Left(time.Now())
		l.settle()
		l.mu.Unlock()
	}
	if to.Endpoint == "" {
		l.mu.Lock()
		l.route.dialed = to
		l.note()
		l.mu.Unlock()
		return
	}
	conn, err := l.cfg.Dial(l.id, to)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if err != nil {
		l.fail(err, now)
		return
	}
	l.attend(conn)
	l.route.dialed = to
	l.sender.Dialed(old != nil && was.Endpoint == to.Endpoint, now)
	l.note()
}

// fail takes in that no connection could be made, or that it failed for good. The caller holds io and mu.
func (l *Link) fail(err error, now time.Time) {
	l.route.dialed, l.route.redialAt = Target{}, now.Add(redialInterval)
	l.sender.Failed(now)
	l.settle()
	l.down(stream.Unreachable, "error", err)
}

// write hands the sender's frame to the connection, at a time that was read a moment ago, and returns when that was done, and, for who drives the
// link, whether it rests then. The caller holds io.
func (l *Link) write(driven bool, at time.Time) (now time.Time, rests bool) {
	if u := l.turn; u != nil {
		return l.writeUrgent(u), false
	}
	f := l.sender.Pending()
	head, tail := l.bare[:f.Header.Size()], []byte(nil)
	if p := l.kept.used; p != nil {
		head, tail = p.frame(f)
	} else if f.Names != nil {
		head = wire.AppendUndelivered(make([]byte, f.Header.Size()), f.Names)
	}
	f.Header.Put(head)
	ok, err := l.conn.TrySend(head, tail)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept.use(nil)
	now = at.Add(time.Since(at)) // takes half of what time.Now does: the wall clock is not read again
	switch {
	case ok:
		l.wrote = now
		l.route.took()
		if l.urgent != nil {
			l.urgent.inARow = 0
		}
		if l.sender.Took(now) {
			l.sent()
		}
		l.note()
		rests = driven && l.mayRest(now)
	case err != nil:
		// A socket that fails for another reason than being full does not recover; another one
		// may.
		l.sender.Full(now)
		l.fail(err, now)
	default:
		l.sender.Full(now)
	}
	return now, rests
}

// awaitConn waits until the connection takes frames, or the deadline, or something else has
// changed.
func (l *Link) awaitConn(deadline time.Time) {
	if err := l.conn.Wait(deadline); err == nil {
		l.mu.Lock()
		l.sender.Writable(time.Now())
		l.mu.Unlock()
	}
}

// sleepUntil notes how long run will sleep, before a sender may drive the link.
func (l *Link) sleepUntil(deadline time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = deadline
}

// sleep waits for something to do, or the deadline.
func (l *Link) sleep(timer *time.Timer, deadline time.Time) {
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

// end drops what was not written, and closes the connection once what was written has left the
// process, or cannot.
func (l *Link) end() {
	linger := l.cfg.Linger()
	l.mu.Lock()
	l.drop(stream.Closed)
	if l.sender.Phase() == stream.Cut || l.logged == stream.StandsDown {
		linger = 0
	}
	conn := l.conn
	l.activity = flushing
	l.mu.Unlock()
	l.dropSpare()
	if conn != nil {
		l.hangUp(conn, linger)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = nil
	l.sender.Leave()
	l.settle()
	l.urgent.leave()
	l.endCalls(calls.Closed)
}

func (l *Link) hangUp(conn transport.Conn, linger time.Duration) {
	if err := conn.Close(linger); err != nil {
		l.cfg.Log.Warn("cluster: closing a connection", "peer", l.id, "error", err)
	}
}
