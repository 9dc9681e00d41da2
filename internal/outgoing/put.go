package outgoing

import (
	"github.com/abhishekg16/cluster/internal/calls"
	"github.com/abhishekg16/cluster/internal/stream"
)

// Waiting tells how Put is to wait for room in a full queue.
type Waiting struct {
	ForRoom bool            // false: not at all
	Leave   bool            // instead of waiting, leave the rest of the batch
	Stop    <-chan struct{} // if not nil, until it is closed
	Then    stream.Reason   // and then this is the reason of the drop
	Give    bool            // the queue may have the batch's buffer, and leave it another
	Urgent  bool            // by the urgent stream, if the peer has one: see urgent
	Aside   bool            // the link's goroutine writes it: the caller reads the network, and has others to serve
	Ticket  *Ticket         // if not nil, is made out for the batch, which is one message; it is left if the peer may not tell what becomes of it: see Knows
	Later   bool            // the caller has others to put before it waits for what the ticket tells
	Call    *calls.Call     // if not nil, the batch is the request of this call; it is left if that has ended, or the peer may not take calls: see TakesCalls
}

// Put queues a batch. If the queue is full it waits for room, or for the link to go down, as w
// says, which it does not change. It returns the reason of the last drop, which it has counted, or 0. The batch is empty
// after it, or is what w said to leave.
func (l *Link) Put(b *Batch, w *Waiting) stream.Reason {
	lone := b.count == 1
	reason, wake := l.enqueue(b, w)
	switch {
	case !wake:
	case w.Aside || l.id == int(l.cfg.Self.ID) || !l.io.TryLock():
		// What a node sends to itself is received where it is written. That is run's, since the
		// sender may hold what receiving needs.
		l.wakeUp()
	case w.Ticket != nil && !w.Later && l.gathers():
		l.io.Unlock()
		l.wakeUp()
	default:
		// It leaves from here, without waking run.
		l.drive(lone, driveMost)
		l.io.Unlock()
	}
	return reason
}

// enqueue is the part of Put that needs mu. It reports whether nobody is about to write the
// queue.
func (l *Link) enqueue(b *Batch, w *Waiting) (reason stream.Reason, wake bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for b.count > 0 {
		q, limit := l.way(w.Urgent)
		if w.Aside {
			limit += asideBytes
		}
		// As much as fits goes in: all of it, or one message.
		var did placing
		var why stream.Reason
		if b.count > 1 && (b.size() > limit || !q.fits(b.size(), limit)) {
			did, why = l.placeFirst(q, b, w, limit, &wake)
		} else {
			did, why = l.place(q, b, w, limit, &wake)
		}
		if why != 0 {
			reason = why
		}
		switch did {
		case left:
			return reason, wake
		case refused:
			l.refuse(b, why)
		case full:
			if wake {
				wake = false
				l.wakeUp()
			}
			if !l.awaitRoom(w.Stop) {
				return l.refuse(b, w.Then), false
			}
		}
	}
	return reason, wake
}

// placing is what place has done with messages.
type placing uint8

const (
	placed  placing = iota // they are queued, or each is dropped for a reason of its own
	left                   // nothing, and the caller is to have them back
	full                   // nothing, and they are to wait for room
	refused                // nothing, and the link takes no others either, for a reason
)

// place queues a batch that fits into q, or is one message. It sets wake if nobody is about to write it. The caller holds mu.
func (l *Link) place(q *queue, b *Batch, w *Waiting, limit int, wake *bool) (placing, stream.Reason) {
	if l.cork && !q.fits(b.size(), limit) && l.uncork() {
		*wake = true
	}
	verdict, why := l.admit(q, q.fits(b.size(), limit), w.ForRoom)
	switch {
	case verdict == stream.Accept && w.Ticket != nil && l.sender.Confirming() != stream.Confirms:
		return left, 0
	case verdict == stream.Accept && w.Call != nil && (l.sender.Calling() != stream.TakesCalls || !w.Call.Place(q.pushed+1)):
		return left, 0
	case verdict == stream.Accept:
		l.accept(q, b, w, wake)
		b.count = 0
		return placed, 0
	case verdict == stream.Refuse && why != stream.TimedOut:
		return refused, why
	case verdict == stream.Refuse:
		return placed, l.refuse(b, why)
	case w.Leave:
		return left, 0
	}
	return full, 0
}

// placeFirst is place for the first message of a batch alone. The caller holds mu.
func (l *Link) placeFirst(q *queue, b *Batch, w *Waiting, limit int, wake *bool) (placing, stream.Reason) {
	first, behind := b.first()
	shared := *w
	shared.Give = false
	did, why := l.place(q, &first, &shared, limit, wake)
	if did == placed {
		*b = behind
	}
	return did, why
}

// awaitRoom waits until there may be room in the queue. It reports false if stop was closed before. The caller holds
// mu, which is let go of meanwhile.
func (l *Link) awaitRoom(stop <-chan struct{}) bool {
	room := l.roomMade()
	l.mu.Unlock()
	defer l.mu.Lock()
	select {
	case <-room:
		return true
	case <-stop:
		return false
	}
}

// Drop counts messages to the peer that are dropped before they are put.
func (l *Link) Drop(r stream.Reason, count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.books.drop(r, count)
}

// refuse counts all of a batch as dropped, and empties it. The caller holds mu.
func (l *Link) refuse(b *Batch, r stream.Reason) stream.Reason {
	l.books.drop(r, b.count)
	b.count = 0
	return r
}

// accept queues messages for which there is room in q, and sets wake if nobody is about to write
// them, and to decide is of use: whether current is written does not depend on what is behind it, unless somebody waits for
// that, and so the peer may have to be asked. The caller holds mu.
func (l *Link) accept(q *queue, b *Batch, w *Waiting, wake *bool) {
	if q == &l.queue {
		l.putsMore(w.Later)
	}
	q.push(b, w.Give)
	if w.Ticket != nil {
		l.await(w.Ticket, l.queue.newest(), w.Later)
	}
	l.books.Accepted += uint64(b.count)
	switch {
	case q == &l.queue && l.corked():
	case l.activity == sleeping, l.activity == awaitingAck && (q != &l.queue || w.Ticket != nil || w.Call != nil):
		l.activity, *wake = working, true
	case l.activity == awaitingRoom:
		l.activity = working
		l.conn.Interrupt()
	}
}
