package outgoing

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/wire"
)

// A Fate is what became of a message. The zero value is that it was delivered.
type Fate struct {
	Dropped stream.Reason  // it was never written, for this reason,
	Refused stream.Refusal // or the peer has refused it,
	Unknown bool           // or nobody knows whether it arrived,
}

// A Waiter waits to hear what becomes of one message. It belongs to the link from Put to Told or Leave.
type Waiter struct {
	told  chan struct{} // holds a token when fate is known
	of    *Waiters
	reads atomic.Bool // who waits reads the network meanwhile, or may be about to

	// The link's mu guards what follows, until fate is known.
	number  uint64 // of the record
	next    *Waiter
	fate    Fate
	settled bool
	first   bool // nobody waited for the peer when it was put
	left    bool // nobody waits any more
}

// Waiters are those of one node that are free to be used again. The zero value is none.
type Waiters struct {
	// Interrupt makes the one of who wait that reads the network look whether it was told. It is called with locks held, and does not block.
	Interrupt func()

	pool sync.Pool
}

// New makes a waiter, to be passed to Put.
func (ws *Waiters) New() *Waiter {
	if w, ok := ws.pool.Get().(*Waiter); ok {
		return w
	}
	return &Waiter{told: make(chan struct{}, 1), of: ws}
}

// Free gives back a waiter that the link has not got.
func (w *Waiter) Free() {
	w.reads.Store(false)
	w.next, w.fate, w.settled, w.first, w.left = nil, Fate{}, false, false, false
	w.of.pool.Put(w)
}

// Told holds a token when it is known what became of the message. Who takes it calls Fate, and makes no more use of the waiter.
func (w *Waiter) Told() <-chan struct{} { return w.told }

// First reports whether nobody else waited for the peer when the message was put.
func (w *Waiter) First() bool { return w.first }

// Reads notes that who waits will read the network. It looks for the token after that.
func (w *Waiter) Reads() { w.reads.Store(true) }

// Fate is what became of the message.
func (w *Waiter) Fate() Fate {
	f := w.fate
	w.Free()
	return f
}

// Leave ends the waiting, and returns what is known of the message. The caller makes no more use of the waiter.
func (l *Link) Leave(w *Waiter) Fate {
	l.mu.Lock()
	if !w.settled {
		w.left = true
		l.passed(1)
		l.mu.Unlock()
		return Fate{Unknown: true}
	}
	l.mu.Unlock()
	<-w.told // It comes at once.
	return w.Fate()
}

// waiters are those of one link, in the order of their records.
type waiters struct {
	first, last *Waiter
	count       atomic.Int32 // of those that have not left; changed with mu held
}

// gatherLeast is from how many waiters on the link's goroutine lets others run before it writes: those who were just told what became of
// their messages come back with others.
const gatherLeast = 8

// gathers reports whether messages had better gather than be written one by one.
func (l *Link) gathers() bool { return l.waiters.count.Load() >= gatherLeast }

// A chain is waiters in a row that are to be told.
type chain struct{ first *Waiter }

// wake tells the waiters of the chain. It does not wait. Reader tells that the caller reads the network, so that none of the waiters does.
func (c chain) wake(reader bool) {
	for w := c.first; w != nil; {
		next := w.next
		if w.left {
			w.Free()
		} else {
			w.told <- struct{}{} // the only one that it gets
			if !reader && w.reads.Load() {
				w.of.Interrupt() // it may be another one's by now, which does no harm
			}
		}
		w = next
	}
}

// Awaited reports whether somebody waits to hear what becomes of a message.
func (l *Link) Awaited() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiters.count.Load() > 0
}

// Knowing is what Knows returns.
type Knowing uint8

// What is known of whether a peer tells what becomes of messages.
const (
	Tells    Knowing = iota // it does, or Put says why it takes none
	TellsNot                // it does not
	Silent                  // it has not answered for as long as a peer may take nothing
	Stopped                 // stop was closed before it has answered
)

// Knows waits until it is known whether the peer tells what becomes of messages, or that it takes none. It asks the peer, which has time to
// answer since a time. The caller has told the link what the peer had announced before.
func (l *Link) Knows(since time.Time, stop <-chan struct{}) Knowing {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if verdict, _ := l.sender.Admit(true, true); verdict != stream.Accept {
			return Tells
		}
		now := time.Now()
		confirming, due := l.sender.Confirming(), l.sender.AnswerDue(since)
		if confirming == stream.Confirms {
			return Tells
		}
		if l.sender.Query(now) { // also one that does not: it may have become another since
			l.wakeUp()
		}
		switch {
		case confirming == stream.ConfirmsNot:
			return TellsNot
		case !now.Before(due) && l.sender.Unanswered(since):
			return TellsNot
		case !now.Before(due):
			return Silent
		}
		if !l.awaitWord(min(due.Sub(now), stream.QueryInterval), stop) {
			return Stopped
		}
	}
}

// Query has the peer asked whether it tells what becomes of messages, if that is not known. It does not wait.
func (l *Link) Query() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sender.Confirming() == stream.ConfirmsUnknown && l.sender.Query(time.Now()) {
		l.wakeUp()
	}
}

// awaitWord waits until there may be an answer of the peer, or some time has passed. It reports false if stop was closed before. The caller
// holds mu, which is let go of meanwhile.
func (l *Link) awaitWord(most time.Duration, stop <-chan struct{}) bool {
	t := time.NewTimer(time.Until(stream.Even(time.Now().Add(most))))
	defer t.Stop()
	room := l.roomMade()
	l.mu.Unlock()
	defer l.mu.Lock()
	select {
	case <-room:
	case <-t.C:
	case <-stop:
		return false
	}
	return true
}

// await adds a waiter for the message that is queued next. The caller holds mu.
func (l *Link) await(w *Waiter) {
	w.number = l.sender.NextNumber() + uint64(l.queue.messages)
	ws := &l.waiters
	if ws.first == nil {
		ws.first, ws.last = w, w
	} else {
		ws.last.next, ws.last = w, w
	}
	w.first = ws.count.Add(1) == 1
	l.sender.Await(w.number + 1)
}

// passed takes in that so many of those who waited do so no more. When nobody does, the peer is not asked either. The caller holds mu.
func (l *Link) passed(n int32) {
	if l.waiters.count.Add(-n) == 0 {
		l.sender.Await(0)
	}
}

// settle lets go of what the sender keeps no more, and tells those who waited to hear what became of it. The caller holds mu.
func (l *Link) settle() {
	l.kept.release(l.sender.KeptFrom())
	told := l.fates(nil)
	told.wake(false)
}

// fates takes the waiters out of whose messages it is known what became. Names are the records that the peer is done with
// and has not delivered. The caller holds mu.
func (l *Link) fates(names []byte) chain {
	if l.waiters.first == nil {
		return chain{}
	}
	done, kept := l.sender.Done().Seq, l.sender.KeptFrom()
	return l.take(func(w *Waiter) bool {
		switch {
		case w.number < done:
			w.fate = fateOf(w.number, names)
		case w.number < kept.Seq, w.number == kept.Seq && kept.Offset > 0 && l.sender.Torn():
			w.fate.Unknown = true
		default:
			return false
		}
		return true
	})
}

// unknown takes in of which of the records that are named nobody knows what became. The caller holds mu.
func (l *Link) unknown(names []byte) {
	for len(names) > 0 {
		var u wire.Undelivered
		if u, names = wire.SplitUndelivered(names); u.Why == wire.WhyUnknown {
			l.sender.Unknown(u.From, uint64(u.Count))
		}
	}
}

// fateOf is that of a record that the peer is done with.
func fateOf(number uint64, names []byte) Fate {
	for len(names) > 0 {
		var u wire.Undelivered
		if u, names = wire.SplitUndelivered(names); number-u.From < uint64(u.Count) {
			refusal, known := stream.RefusalOf(u.Why)
			return Fate{Refused: refusal, Unknown: !known}
		}
	}
	return Fate{}
}

// unasked takes in that records before a number are written to a peer that is not asked to tell what becomes of them. The caller
// holds mu.
func (l *Link) unasked(before uint64) {
	told := l.take(func(w *Waiter) bool {
		w.fate.Unknown = w.number < before
		return w.fate.Unknown
	})
	told.wake(false)
}

// dropWaiters tells those whose messages were queued that these were dropped. The caller holds mu.
func (l *Link) dropWaiters(r stream.Reason) {
	ws := &l.waiters
	next := l.sender.NextNumber()
	var last *Waiter // of those whose messages were written
	w := ws.first
	for w != nil && w.number < next {
		last, w = w, w.next
	}
	told, gone := chain{w}, int32(0)
	for ; w != nil; w = w.next {
		w.fate, w.settled = Fate{Dropped: r}, true
		if !w.left {
			gone++
		}
	}
	if told.first == nil {
		return
	}
	if ws.last = last; last == nil {
		ws.first = nil
	} else {
		last.next = nil
		l.sender.Await(last.number + 1) // others will have the numbers of those who are told
	}
	l.passed(gone)
	told.wake(false)
}

// take takes waiters out, from the first on, as long as known says what became of their messages. The caller holds mu.
func (l *Link) take(known func(*Waiter) bool) (told chain) {
	ws := &l.waiters
	var last *Waiter
	told.first = ws.first
	gone := int32(0)
	for ws.first != nil && known(ws.first) {
		last = ws.first
		last.settled = true
		if !last.left {
			gone++
		}
		ws.first = last.next
	}
	if last == nil {
		return chain{}
	}
	l.passed(gone)
	if last.next = nil; ws.first == nil {
		ws.last = nil
	}
	return told
}

// Prompt is Acknowledge for what is to be told at once. It writes to the connection itself, if nobody else is about to.
func (l *Link) Prompt(a stream.Ack) {
	l.mu.Lock()
	sooner := l.sender.Acknowledge(a)
	idle := sooner && l.activity == sleeping
	if idle {
		l.activity = working
	}
	l.mu.Unlock()
	switch {
	case !sooner:
	case idle && l.io.TryLock():
		l.drive(false, promptMost)
		l.io.Unlock()
	default:
		l.wakeUp()
	}
}

// roomMade is closed when senders that wait should look again. The caller holds mu.
func (l *Link) roomMade() <-chan struct{} {
	if l.room == nil {
		l.room = make(chan struct{})
	}
	return l.room
}
