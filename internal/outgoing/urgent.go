package outgoing

import (
	"time"

	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/wire"
)

const (
	// urgentQueueBytes bounds what waits for each peer on its urgent stream, beside one message.
	urgentQueueBytes = stream.UrgentWindow
	// urgentInARow is how many urgent frames go before one of the other stream that waits.
	urgentInARow = 4
)

// urgent is the stream of urgent messages to the peer, beside the other one and on the same connection. It goes first wherever a frame
// may begin, and so between the pieces of a large message. Each of its messages is whole in one frame. There is none as long as nobody uses it.
//
// To a peer that is not known to have such a stream messages go by the other one; so does what is queued when the peer turns out to have none.
type urgent struct {
	sender  *stream.Sender
	queue   queue
	current *parcel // that sender has as its load; nil if it has none. Used like that of the link
	kept    kept
	inARow  int  // frames written since one of the other stream; used with io held
	passes  bool // it is the turn of the other stream; likewise
}

// made returns the urgent stream, and makes it at first use. The caller holds mu.
func (l *Link) made(now time.Time) *urgent {
	if l.urgent == nil {
		l.urgent = &urgent{sender: stream.NewUrgent(l.sender, now), queue: queue{single: l.cfg.Single}}
	}
	return l.urgent
}

// way is the queue that a message goes into, and the bound of that. The caller holds mu.
func (l *Link) way(urgent bool) (q *queue, limit int) {
	if !urgent {
		return &l.queue, l.cfg.QueueBytes
	}
	now := time.Now()
	if l.sender.Urgent() != 0 {
		u := l.made(now)
		u.sender.Along(l.sender, now)
		return &u.queue, urgentQueueBytes
	}
	if l.sender.AskUrgent(now) {
		l.wakeUp()
	}
	return &l.queue, l.cfg.QueueBytes
}

// admit decides what becomes of a message that is to be put into a queue of the link. The caller holds mu.
func (l *Link) admit(q *queue, fits, wait bool) (stream.Admission, stream.Reason) {
	if q != &l.queue && l.urgent.sender.IsDown() {
		fits = true // it has no room, and is not waited for
		if verdict, why := l.sender.Admit(fits, wait); verdict == stream.Refuse {
			return verdict, why
		}
		return stream.Refuse, stream.Unreachable
	}
	return l.sender.Admit(fits, wait)
}

// ended reports whether the link has nothing more to do. The caller holds mu.
func (l *Link) ended() bool {
	return l.sender.Ended() && (l.urgent == nil || l.sender.Phase() == stream.Cut || l.urgent.sender.Ended() && l.urgent.queue.empty())
}

// onItsWay is how many bytes of both streams were written and not yet acknowledged. The caller holds mu.
func (l *Link) onItsWay() int {
	n := l.sender.OnItsWay()
	if l.urgent != nil {
		n += l.urgent.sender.OnItsWay()
	}
	return n
}

// doubtsAt is the earlier of stream.Sender.DoubtsAt of both streams. The caller holds mu.
func (l *Link) doubtsAt() time.Time {
	at := l.sender.DoubtsAt()
	if l.urgent != nil {
		at = stream.Earlier(at, l.urgent.sender.DoubtsAt())
	}
	return at
}

// gotAt is the later of stream.Sender.GotAt of both streams. The caller holds mu.
func (l *Link) gotAt() time.Time {
	at := l.sender.GotAt()
	if l.urgent != nil && l.urgent.sender.GotAt().After(at) {
		at = l.urgent.sender.GotAt()
	}
	return at
}

// loadUrgent gives the urgent sender what is new of the peer, and its next parcel if it has none. The caller holds io and mu.
func (l *Link) loadUrgent(now time.Time) {
	u := l.urgent
	if u == nil {
		return
	}
	u.sender.Along(l.sender, now)
	u.sender.Look(now)
	l.sender.Suspects(u.sender, now)
	u.settle()
	if u.sender.Urgent() == 0 {
		l.moveOver(u, now)
		return
	}
	if u.current == nil && !u.queue.empty() {
		u.current = u.queue.pop()
		u.current.seq = u.sender.NextNumber()
		u.sender.Load(u.current.load(), now)
	}
}

// moveOver puts what is queued into the queue of the other stream, since the peer is not known any more to have this one. The
// caller holds io and mu.
func (l *Link) moveOver(u *urgent, now time.Time) {
	if u.current == nil && u.queue.empty() {
		return
	}
	if p := u.current; p != nil {
		u.sender.Abandon()
		u.current = nil
		l.queue.parcels = l.queue.room.Append(l.queue.parcels, p)
	}
	for !u.queue.empty() {
		l.queue.parcels = l.queue.room.Append(l.queue.parcels, u.queue.pop())
	}
	l.cork = false
	l.queue.bytes += u.queue.bytes
	l.queue.messages += u.queue.messages
	l.queue.pushed += uint64(u.queue.messages)
	u.queue.bytes, u.queue.messages = 0, 0
	l.load(now)
}

// nextUrgent decides whether an urgent frame is to be written now, and until when to wait at most if not. The caller holds io and mu.
func (l *Link) nextUrgent(now time.Time) (write bool, deadline time.Time) {
	u := l.urgent
	if l.turn = nil; u == nil || u.sender.Urgent() == 0 || l.sender.HasWord() {
		return false, time.Time{}
	}
	if u.passes = u.inARow >= urgentInARow; u.passes {
		u.inARow = 0
		return false, time.Time{}
	}
	next, deadline := u.sender.Next(now)
	if u.sender.Silent() {
		l.sender.Doubt()
		return false, now
	}
	switch next {
	case stream.Write:
		l.turn = u
		u.kept.use(u.parcelOf(u.sender.Pending()))
	case stream.GiveUp:
		if u.sender.Starves() {
			l.books.Dropped[stream.TimedOut] += uint64(u.drop())
			l.wakeSenders()
		} else {
			l.sender.Exhaust(now)
			l.giveUp()
		}
		return false, now
	}
	return l.turn != nil, deadline
}

// hasPassed reports whether the urgent stream has left a turn to the other one. If that has no use for it, it is asked again.
func (u *urgent) hasPassed() (passed bool) {
	if u != nil {
		passed, u.passes = u.passes, false
	}
	return passed
}

// parcelOf is as Link.parcelOf.
func (u *urgent) parcelOf(f *stream.Outbound) *parcel {
	switch {
	case f.Bare:
		return nil
	case f.Again:
		return u.kept.find(f.Header.Start.Seq)
	}
	return u.current
}

// writeUrgent is write for the urgent sender's frame.
func (l *Link) writeUrgent(u *urgent) time.Time {
	f := u.sender.Pending()
	head, tail := l.bare[:f.Header.Size()], []byte(nil)
	if p := u.kept.used; p != nil {
		head, tail = p.frame(f)
	}
	f.Header.Put(head)
	ok, err := l.conn.TrySend(head, tail)
	l.mu.Lock()
	defer l.mu.Unlock()
	u.kept.use(nil)
	now := time.Now()
	if l.sender.Carried(ok, now); !ok {
		u.sender.Full(now)
		if err != nil {
			l.fail(err, now)
		}
		return now
	}
	l.wrote = now
	l.route.took()
	u.inARow++
	if u.sender.Took(now) {
		p := u.current
		l.books.Sent += uint64(p.count)
		l.books.SentBytes += uint64(p.size())
		u.queue.release(p.size(), p.count)
		l.wakeSenders()
		u.current = nil
		u.kept.add(p)
		u.settle()
	}
	l.note()
	return now
}

// settle lets go of what the sender keeps no more. The caller holds mu.
func (u *urgent) settle() { u.kept.release(u.sender.KeptFrom()) }

// drop empties the queue, and reports how many messages that cost. The caller holds io and mu.
func (u *urgent) drop() (n int) {
	if u == nil {
		return 0
	}
	if p := u.current; p != nil {
		u.sender.Abandon()
		n += u.release(p)
		u.current = nil
	}
	for !u.queue.empty() {
		n += u.release(u.queue.pop())
	}
	u.settle()
	return n
}

// release is as Link.release.
func (u *urgent) release(p *parcel) int {
	n := p.count
	u.queue.release(p.size(), n)
	p.free()
	return n
}

// leave keeps nothing more, since the link has ended. The caller holds mu.
func (u *urgent) leave() {
	if u != nil {
		u.sender.Leave()
		u.settle()
	}
}

// addUrgent adds what is of the urgent stream to the books of the other. The caller holds mu.
func (l *Link) addUrgent(s *Stats) {
	s.Urgent, s.OnItsWay = l.sender.Urgent() != 0, l.onItsWay()
	u := l.urgent
	if u == nil {
		return
	}
	b := u.sender.Books
	s.Fates.Confirmed += b.Confirmed
	s.Fates.Unconfirmed += b.Unconfirmed
	s.Fates.Resent += b.Resent
	s.Queued += u.queue.messages
	s.QueueBytes += u.queue.bytes
}

// Urgent is a link as the receiver of urgent messages uses it.
type Urgent struct{ l *Link }

// Urgent returns the link as the receiver of urgent messages uses it.
func (l *Link) Urgent() Urgent { return Urgent{l} }

// Acked takes in what an urgent frame of the peer says of what it got.
func (v Urgent) Acked(h *wire.Header, _ []byte, now time.Time) {
	l := v.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sender.Urgent() != h.Incarnation && l.sender.Query(now) {
		l.wakeUp() // without its word it is not acknowledged anything
	}
	u := l.urgent
	if u == nil || !u.sender.About(h.Incarnation) {
		return
	}
	if l.sender.Urgent() == h.Incarnation {
		l.sender.Overhears(now)
	}
	if u.sender.Acked(h, now) || !u.queue.empty() {
		l.wakeUp()
	}
	if l.ended() {
		l.wakeAll()
	}
	u.settle()
}

// PeerBegan is for the other stream to tell.
func (v Urgent) PeerBegan(string, bool) {}

// Acknowledge notes the latest acknowledgment of the peer's urgent stream, which is written by the time at which it is due.
func (v Urgent) Acknowledge(a stream.Ack) {
	l := v.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made(time.Now()).sender.Acknowledge(a) {
		l.wakeUp()
	}
}

// Prompt is Acknowledge.
func (v Urgent) Prompt(a stream.Ack) { v.Acknowledge(a) }
