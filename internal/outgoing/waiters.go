package outgoing

import (
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/wire"
)

// Leave ends the waiting, and returns what is known of the message. The caller makes no more use of the ticket.
func (l *Link) Leave(t *Ticket) Fate {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := t.round
	for r.settled {
		f, known := r.fate(t.number)
		if known {
			return f
		}
		r = r.rest
	}
	if i, found := slices.BinarySearch(r.numbers, t.number); found {
		r.numbers = slices.Delete(r.numbers, i, i+1)
		if l.passed(1); l.cork {
			l.wakeUp() // for what waits for others, there may be none on their way now
		}
	}
	return Fate{Unknown: true}
}

// waiters are those of one link, in the order of their records.
type waiters struct {
	first, last *round
	count       atomic.Int32 // of those who wait; changed with mu held, like crowd
	crowd       atomic.Int32 // what count was when some were last told what they waited for
	later       atomic.Bool  // who put the latest message has others to put before it waits for that; changed with mu held
	parked      atomic.Int32 // those who put others first, and wait now: see Parks
	spare       []uint64     // the numbers of a round that is settled, for the next
}

// add adds a round behind all others.
func (ws *waiters) add(r *round) {
	if ws.first == nil {
		ws.first, ws.last = r, r
	} else {
		ws.last.next, ws.last = r, r
	}
}

const (
	// gatherLeast is from how many waiters on the link's goroutine lets others run before it writes: those who were just told what
	// became of their messages come back with others.
	gatherLeast = 8
	// gatherMost is how many times it lets them at most.
	gatherMost = 16
)

// most is how many wait, or did before some of them were told, who may come back.
func (ws *waiters) most() int { return int(max(ws.count.Load(), ws.crowd.Load())) }

// gathers reports whether messages had better gather than be written one by one: many wait for what becomes of theirs, and for nothing else.
func (l *Link) gathers() bool {
	ws := &l.waiters
	return ws.most() >= gatherLeast && (!ws.later.Load() || ws.parked.Load() >= gatherLeast)
}

// gather lets others run, as long as that brings more to be written, which is less than one frame holds, and than half of what
// is waited for: the peer takes the one half while the other is gathered.
func (l *Link) gather() {
	for n, had := 0, 0; n < gatherMost && l.gathers(); n++ {
		runtime.Gosched()
		l.mu.Lock()
		has, bytes := l.queue.messages, l.queue.bytes
		l.mu.Unlock()
		if has == had || bytes >= BatchBytes || 2*has >= l.waiters.most() {
			return
		}
		had = has
	}
}

// A chain is rounds in a row that are to be told.
type chain struct{ first *round }

// tell tells those who wait in the rounds of a chain. It does not wait. Reader tells that the caller reads the network, so that none of
// them does.
func (l *Link) tell(c chain, reader bool) {
	for r := c.first; r != nil; {
		next := r.next
		r.next = nil
		r.over.Store(true)
		close(r.told)
		if !reader && r.reads.Load() {
			l.cfg.Interrupt()
		}
		r = next
	}
}

// Awaited reports whether somebody waits to hear what becomes of a message.
func (l *Link) Awaited() bool { return l.waiters.count.Load() > 0 }

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

// await makes out a ticket for the message that was queued last, and is in a parcel. Later tells that the caller has others to put before it
// waits. The caller holds mu.
func (l *Link) await(t *Ticket, p *parcel, later bool) {
	if l.waiters.later.Load() != later {
		l.waiters.later.Store(later)
	}
	number := l.sender.NextNumber() + uint64(l.queue.messages) - 1
	r := p.round
	if r == nil || r.settled {
		r = newRound(l.waiters.spare)
		l.waiters.spare = nil
		l.waiters.add(r)
		p.round, p.confirm = r, true
	}
	r.numbers = append(r.numbers, number)
	*t = Ticket{r, number, l.waiters.count.Add(1) == 1}
	l.sender.Await(number + 1)
}

// passed takes in that so many of those who waited do so no more. When nobody does, the peer is not asked either. The caller holds mu.
func (l *Link) passed(n int) {
	if l.waiters.count.Add(-int32(n)) == 0 {
		l.sender.Await(0)
	}
}

// settle lets go of what the sender keeps no more, and tells those who waited to hear what became of it. The caller holds mu.
func (l *Link) settle() {
	l.kept.release(l.sender.KeptFrom())
	l.tell(l.fates(nil), false)
}

// fates takes the waiters out of whose messages it is known what became. Names are the records that the peer is done with
// and has not delivered. The caller holds mu.
func (l *Link) fates(names []byte) chain {
	if l.waiters.first == nil {
		return chain{}
	}
	done, kept := l.sender.Done().Seq, l.sender.KeptFrom()
	lost := kept.Seq
	if kept.Offset > 0 && l.sender.Torn() {
		lost++
	}
	if len(names) == 0 && lost <= done {
		return l.take(done, nil)
	}
	return l.take(max(done, lost), func(number uint64) Fate {
		if number < done {
			return fateOf(number, names)
		}
		return Fate{Unknown: true}
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
	told := l.take(before, func(uint64) Fate { return Fate{Unknown: true} })
	l.tell(told, false)
}

// dropWaiters tells those whose messages were queued that these were dropped. The caller holds mu.
func (l *Link) dropWaiters(why stream.Reason) {
	ws := &l.waiters
	next := l.sender.NextNumber()
	var last *round // of those whose messages were written
	awaited, gone := uint64(0), 0
	r := ws.first
	for ; r != nil && (len(r.numbers) == 0 || r.numbers[0] < next); last, r = r, r.next {
		if n := len(r.numbers); n > 0 {
			awaited = r.numbers[n-1] + 1
		}
	}
	told := chain{r}
	for ; r != nil; r = r.next {
		r.dropped, r.settled = why, true
		gone += len(r.numbers)
	}
	if told.first == nil {
		return
	}
	if ws.last = last; last == nil {
		ws.first = nil
	} else {
		last.next = nil
	}
	l.sender.Await(awaited) // others will have the numbers of those who are told
	l.passed(gone)
	l.tell(told, false)
}

// take takes in what became of the records before a number, and returns the rounds in which somebody waited for that. Without fate
// all were delivered. The caller holds mu.
func (l *Link) take(before uint64, fate func(number uint64) Fate) (told chain) {
	ws := &l.waiters
	gone := 0
	var last *round // of those that are told
	for r := ws.first; r != nil; r = ws.first {
		n, _ := slices.BinarySearch(r.numbers, before)
		if n == 0 && len(r.numbers) > 0 {
			break
		}
		gone += n
		r.settle(before, n, fate)
		if ws.first = r.next; r.rest == nil {
			ws.spare, r.numbers = r.numbers[:0], nil
		} else {
			ws.first, r.rest.next = r.rest, r.next
		}
		if ws.last == r {
			ws.last = r.rest
		}
		if r.next = nil; last == nil {
			told.first = r
		} else {
			last.next = r
		}
		last = r
	}
	if gone > 0 {
		ws.crowd.Store(ws.count.Load())
		l.passed(gone)
	}
	return told
}

// Prompt is Acknowledge for what is to be told at once. It writes to the connection itself, if nobody else is about to.
func (l *Link) Prompt(a stream.Ack) {
	l.mu.Lock()
	sooner := l.sender.Acknowledge(a)
	idle := sooner && (l.activity == sleeping || l.activity == awaitingAck)
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
