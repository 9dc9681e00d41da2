package stream

import (
	"bytes"
	"fmt"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// A model is two servers of which each has a Sender and a Receiver, and what lies between them, in virtual time.
// It does what packages outgoing and incoming do, and nothing more: it decides nothing that the protocol decides.
// After each step check says whether the invariants hold.
type model struct {
	now      time.Time
	ends     [2]*end
	patience time.Duration
	silence  time.Duration
	sees     bool // the transport can tell whether bytes move
	watch    time.Duration
	limits   Limits
	instant  bool              // a frame arrives, and is answered, before its sender knows that it was taken
	written  map[uint64]uint64 // by life: the number of the last record of which anything was written
	lives    uint64
	got      map[arrival]bool
	err      error
	logf     func(format string, args ...any) // nil: nobody reads it
}

// arrival is a message that has left the stream in a life of its receiver.
type arrival struct {
	life uint64
	id   int64
}

const (
	modelQueue    = 1 << 20 // bytes that an end queues
	modelCapacity = 8       // frames that a connection holds
	modelRedial   = 250 * time.Millisecond
	modelAckDelay = 50 * time.Millisecond
)

// payloads are what messages consist of: each of a part of it, by its id.
var payloads = func() []byte {
	b := make([]byte, 1<<19)
	for i, x := 0, uint32(1); i < len(b); i++ {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}()

func payload(id int64, size int) []byte { return payloads[id&63:][:size] }

// A modelLoad is messages that are queued: count of them without payload, or one of a size.
type modelLoad struct {
	id          int64 // of the first
	count, size int
	seq         uint64 // of the first, once it is written
}

func (l modelLoad) bytes() int { return l.count*wire.RecordSize + l.size }

// load is what the sender is to write for it: the payload travels apart from the records' headers.
func (l modelLoad) load() Load {
	return Load{Count: l.count, Small: wire.HeaderSize + l.count*wire.RecordSize, Large: l.size}
}

// waiting is what an end's link waits for.
type waiting uint8

const (
	forNothing waiting = iota
	forWork
	forConn
)

// An end is one of the two servers.
type end struct {
	*model
	id   int
	peer *end
	way  *way // to the peer
	life uint64
	able bool // it resends; it is of an earlier version if not
	s    *Sender
	r    *Receiver

	// The link.
	queue    []modelLoad
	queued   int // bytes, with what is loaded
	current  modelLoad
	loaded   bool
	kept     []modelLoad // written, and maybe to be written again
	dialed   bool
	moved    bool // another connection is to be made
	again    bool // to where the last one led
	failing  bool // the next connection cannot be made
	removed  bool // the catalogue has no peer
	redialAt time.Time
	triedAt  time.Time // the first connection to where the peer is now was made
	waits    waiting
	until    time.Time
	token    bool      // it is to look again, if it waits for work
	hurried  bool      // whatever it waits for
	idle     bool      // it waits for the connection, with nothing to write
	busy     bool      // it is in drive
	came     uint64    // bytes that had reached the peer when it was last looked
	target   uint64    // when so many have, those have that were on their way when it was first looked
	waiting  bool      // at the last look enough did
	sawAt    time.Time // when that was last looked

	// The program.
	stalled bool // it takes nothing
	backlog []untaken
	limits  Limits

	oracle   oracle
	lastID   int64 // of all lives
	tooLarge map[int64]bool
	began    []int64 // the first id of each
}

type untaken struct {
	Delivery
	left int
}

// A way is what carries the frames of one end to the other.
type way struct {
	up, full, broken bool // it stands; it takes nothing; it fails for good with the next frame
	swallows         bool // what it takes goes nowhere
	frames           []Frame
	came             uint64 // bytes that have reached the other end
}

func (w *way) takes() bool { return w.up && !w.full && len(w.frames) < modelCapacity }

func (m *model) log(format string, args ...any) {
	if m.logf != nil {
		m.logf("%9v  "+format, append([]any{m.now.Sub(modelEpoch)}, args...)...)
	}
}

func (m *model) fail(format string, args ...any) {
	if m.err == nil {
		m.err = fmt.Errorf(format, args...)
	}
}

var modelEpoch = time.Unix(1_000_000, 0)

func newModel(logf func(string, ...any)) *model {
	m := &model{now: modelEpoch, written: make(map[uint64]uint64), got: make(map[arrival]bool), logf: logf}
	for i := range m.ends {
		m.ends[i] = &end{model: m, id: i, way: &way{up: true}, tooLarge: make(map[int64]bool)}
	}
	m.ends[0].peer, m.ends[1].peer = m.ends[1], m.ends[0]
	return m
}

// start begins a life of the end: the first, or another after it was killed.
func (e *end) start() {
	e.lives++
	e.life = e.lives
	e.began = append(e.began, e.lastID+1)
	self := Self{ID: uint16(e.id), Incarnation: e.life, Grant: uint32(e.model.limits.Window), Knows: 1 << 40}
	if e.limits.Resends = e.able; e.able {
		self.Knows |= wire.CapResend
	}
	e.s = NewSender(self, uint16(1-e.id), Policy{Patience: e.patience, Silence: e.silence, Watch: e.watch}, e.now)
	e.s.Appeared(e.now)
	e.r = NewReceiver(&e.limits)
	e.queue, e.queued, e.loaded, e.kept = nil, 0, false, nil
	e.dialed, e.moved, e.again, e.failing, e.removed, e.redialAt = false, false, false, false, false, time.Time{}
	e.waits, e.token, e.hurried = forNothing, false, false
	e.backlog = nil
	e.oracle = newOracle(e)
}

// enqueue hands messages to the link, if it takes them without waiting.
func (e *end) enqueue(l modelLoad) bool {
	e.lastID += int64(l.count)
	l.id = e.lastID - int64(l.count) + 1
	if l.size > e.model.limits.MaxMessage {
		e.tooLarge[l.id] = true
	}
	e.oracle.accepted += uint64(l.count)
	verdict, why := e.s.Admit(e.queued == 0 || e.queued+l.bytes() <= modelQueue, false)
	if verdict != Accept {
		e.oracle.dropped[why] += uint64(l.count)
		return false
	}
	e.oracle.admits()
	e.queue = append(e.queue, l)
	e.queued += l.bytes()
	switch {
	case e.waits == forWork:
		e.token = true
	case e.waits == forConn && e.idle:
		e.hurried = true
	}
	return true
}

// hurry makes the link look again, whatever it waits for.
func (e *end) hurry() { e.token, e.hurried = true, true }

// runs reports whether the link has something to do.
func (e *end) runs() bool {
	if e.busy {
		return false
	}
	over := !e.until.IsZero() && !e.now.Before(e.until)
	switch e.waits {
	case forWork:
		return e.token || over
	case forConn:
		return e.hurried || over || e.way.takes()
	}
	return true
}

// drive does what the link's goroutine does until it has to wait.
func (e *end) drive() {
	e.busy = true
	defer func() { e.busy = false }()
	if e.waits == forConn && e.way.takes() {
		e.writable()
	}
	e.token, e.hurried, e.waits = e.token && e.waits != forWork, false, forNothing
	for range 10_000 {
		if e.err != nil {
			return
		}
		step, until := e.plan()
		over := !until.IsZero() && !e.now.Before(until)
		switch {
		case step == Write:
			e.write()
		case step == AwaitConn && e.way.takes():
			e.writable()
		case step == AwaitConn && !over:
			e.waits, e.until, e.idle = forConn, until, !e.loaded
			return
		case step == Sleep && e.token:
			e.token = false
		case step == Sleep && !over:
			e.waits, e.until = forWork, until
			return
		}
	}
	e.fail("the link of end %d does not come to rest: %v", e.id, e.s.state)
}

func (e *end) writable() {
	e.oracle.writable()
	e.s.Writable(e.now)
}

// plan decides what the link does next, and until when.
func (e *end) plan() (Step, time.Time) {
	if e.removed {
		e.drop(UnknownPeer)
	}
	if e.s.GivenUp() {
		e.log("end %d lets go of a message that was given up halfway", e.id)
		e.oracle.abandoned()
		e.sent()
	}
	if !e.loaded && len(e.queue) > 0 {
		e.current, e.queue, e.loaded = e.queue[0], e.queue[1:], true
		e.current.seq = e.s.next
		e.s.Load(e.current.load(), e.now)
		e.oracle.loaded()
	}
	e.oracle.looks()
	e.s.Look(e.now)
	if e.dialed && (e.moved || e.removed) {
		e.dialed = false
		e.oracle.left()
		e.s.Left(e.now)
	}
	if !e.dialed {
		if e.removed {
			e.moved, e.again = false, false // there is no connection that another one would replace
			return Sleep, time.Time{}
		}
		if e.now.Before(e.redialAt) {
			return Sleep, e.redialAt
		}
		e.dial()
	}
	if !e.dialed {
		return Sleep, e.redialAt
	}
	if end := e.s.silenceEnds(); !end.IsZero() && !e.now.Before(end) {
		e.oracle.hearsNothing()
	}
	e.see()
	before, broken := e.s.reach.state, !e.s.reach.broken.IsZero()
	had := *e.s
	step, until := e.s.Next(e.now)
	if wait, soon := e.s.looksIn(e.now); soon && !e.now.Add(wait).Equal(e.s.looksByAll(e.now)) {
		e.fail("end %d looks again in %v, it says, and is to at %v", e.id, wait, e.s.looksByAll(e.now).Sub(modelEpoch))
	}
	for _, at := range []time.Time{until, until.Add(1), until.Add(2), e.now.Add(time.Millisecond), e.now.Add(50 * time.Millisecond)} {
		if had.Rests(e.now, at) && (step != Sleep || until.IsZero() || until.Before(at.Add(-1))) {
			e.fail("end %d rests until %v, it says, and then wants step %d, or to look at %v", e.id, at.Sub(modelEpoch), step, until.Sub(modelEpoch))
		}
	}
	e.oracle.judged(before, broken)
	if step == GiveUp {
		e.log("end %d gives up: %v", e.id, e.s.state)
		e.oracle.gaveUp()
		e.drop(TimedOut)
		return e.plan()
	}
	e.oracle.decided(step)
	return step, Earlier(until, e.s.SeeAt())
}

// see looks whether frames move towards the peer, if the sender wants to know.
func (e *end) see() {
	if at := e.s.SeeAt(); at.IsZero() || e.now.Before(at) {
		return
	}
	var waits uint64
	for i := range e.way.frames {
		waits += uint64(e.way.frames[i].size())
	}
	o, came := &e.oracle, e.way.came
	if !e.sees {
		came, waits = 0, 0
	}
	waiting := waits >= waitsLeast || waits > 0 && e.s.state.Path == Blocked
	switch {
	case o.owedAt.IsZero():
	case !o.looked:
		if e.target = 0; waiting {
			e.target = came + max(waits, uint64(o.away()))
		}
	case e.waiting && came > e.came && e.came < e.target:
		o.reachable()
		o.passes(e.sawAt)
	}
	o.looked, e.came, e.sawAt, e.waiting = true, came, e.now, waiting
	e.s.Saw(e.sees, came, waits, e.now)
}

func (e *end) dial() {
	if e.failing {
		e.failing, e.redialAt = false, e.now.Add(modelRedial)
		e.oracle.letsGo()
		e.oracle.settles()
		e.oracle.wasDown = true
		e.s.Failed(e.now)
		e.drop(Unreachable)
		return
	}
	e.s.Dialed(e.moved && e.again, e.now)
	e.oracle.settles()
	if !(e.moved && e.again) {
		e.oracle.met, e.triedAt = false, e.now
		e.oracle.progress()
		e.oracle.newsAt, e.oracle.unheardFor, e.oracle.wasDown = e.now, 0, false
	}
	e.dialed, e.moved, e.again = true, false, false
	e.way.broken, e.way.swallows = false, false
}

// sent counts what is loaded as sent.
func (e *end) sent() {
	e.oracle.sent += uint64(e.current.count)
	e.queued -= e.current.bytes()
	e.kept, e.loaded = append(e.kept, e.current), false
	e.trim()
}

// trim lets go of what the sender keeps no more.
func (e *end) trim() {
	from := e.s.KeptFrom()
	for len(e.kept) > 0 && e.kept[0].seq+uint64(e.kept[0].count) <= from.Seq {
		e.kept = e.kept[1:]
	}
}

// loadOf is the load that the frame is of.
func (e *end) loadOf(f *Outbound) modelLoad {
	if !f.Again {
		return e.current
	}
	for _, l := range append(e.kept, e.current) {
		if seq := f.Header.Start.Seq; l.seq <= seq && seq < l.seq+uint64(l.count) {
			return l
		}
	}
	e.fail("end %d: kept: it writes %v again, which is not there any more", e.id, f.Header.Start)
	return e.current
}

// drop drops all that is queued.
func (e *end) drop(r Reason) {
	if e.loaded {
		if e.s.Abandon() {
			e.oracle.abandoned()
			e.sent()
		} else {
			e.oracle.dropped[r] += uint64(e.current.count)
			e.queued -= e.current.bytes()
			e.loaded = false
		}
	}
	for _, l := range e.queue {
		e.oracle.dropped[r] += uint64(l.count)
		e.queued -= l.bytes()
	}
	e.queue = nil
}

// write hands the sender's frame to the connection.
func (e *end) write() {
	f := e.s.Pending()
	e.oracle.writes(f)
	switch {
	case e.way.broken:
		e.s.Full(e.now)
		e.dialed, e.redialAt = false, e.now.Add(modelRedial)
		e.way.broken = false
		e.oracle.letsGo()
		e.oracle.settles()
		e.oracle.wasDown = true
		e.s.Failed(e.now)
		e.drop(Unreachable)
		return
	case !e.way.takes():
		e.s.Full(e.now)
		return
	}
	frame := e.frame(f)
	bare, again, upTo, size, header := f.Bare, f.Again, f.upTo, f.bytes, f.Header
	fresh := !bare && !again
	if fresh {
		e.oracle.leaves(upTo)
	}
	if !e.way.swallows {
		e.way.frames = append(e.way.frames, frame)
	}
	if e.instant && len(e.way.frames) == 1 {
		e.arrive(0)
		if e.peer.runs() {
			e.peer.drive()
		}
		for range e.peer.way.frames {
			e.peer.arrive(0)
		}
	}
	if fresh {
		e.oracle.wrote(&header, upTo, size)
	}
	if e.s.Took(e.now) {
		e.sent()
	}
	if again {
		e.oracle.wroteAgain(header.Start)
	}
	e.oracle.asks(&header, bare)
	e.oracle.carried(&header)
}

// frame is what the pending frame is to its receiver.
func (e *end) frame(f *Outbound) Frame {
	frame := Frame{Header: f.Header}
	if f.Bare {
		return frame
	}
	load := e.loadOf(f)
	if f.Offset == 0 {
		frame.Body = make([]byte, 0, load.count*wire.RecordSize)
		for i := range load.count {
			size := 0
			if i == load.count-1 {
				size = load.size
			}
			frame.Body = wire.AppendRecordHeader(frame.Body, load.id+int64(i), 0, size)
		}
	}
	if f.End > f.Offset {
		frame.Tail = payload(load.id, load.size)[f.Offset:f.End]
	}
	return frame
}

// arrive lets the frame that is i-th on the way of e reach the peer.
func (e *end) arrive(i int) {
	f := e.way.frames[i]
	e.way.frames = append(e.way.frames[:i:i], e.way.frames[i+1:]...)
	e.way.came += uint64(f.size())
	e.peer.hear(f)
}

// hear takes a frame that has come.
func (e *end) hear(f Frame) {
	if e.err != nil || e.removed {
		return
	}
	if !e.able && f.Flags&wire.FlagResend != 0 {
		return // it is malformed to it
	}
	f.Came = e.now
	if err := f.Check(); err != nil {
		e.fail("end %d gets a frame that is malformed: %v", e.id, err)
		return
	}
	e.carryOut(e.r.Arrive(f))
}

func (e *end) carryOut(effects []Effect) {
	for i := range effects {
		switch f := &effects[i]; f.Do {
		case Deliver:
			e.oracle.delivered(&f.Delivery)
			if e.backlog = append(e.backlog, untaken{f.Delivery, f.Delivery.Count}); e.stalled {
				e.take(0)
			} else {
				e.take(1 << 20)
			}
		case Refused:
			e.oracle.refused(f.Refusal)
		case Present:
			e.oracle.acked(&f.Header)
			confirmed := e.s.Books.Confirmed
			if e.s.Acked(&f.Header, e.now) || len(e.queue) > 0 {
				e.token = true
			}
			e.oracle.confirmed(e.s.Books.Confirmed - confirmed)
			e.trim()
		case NewLife:
			e.oracle.peerBegan(f.First)
			e.s.PeerBegan(f.First, e.now)
			e.oracle.excused = e.oracle.excused || f.Returned
			e.trim()
			e.hurry()
		case AckNow:
			e.tell(false, e.now)
		}
	}
}

// take has the program take so many records. What has none does not wait for it, but for what comes before.
func (e *end) take(records int) {
	for len(e.backlog) > 0 && (records > 0 || e.backlog[0].left == 0) {
		d := &e.backlog[0]
		n := min(records, d.left)
		records -= n
		d.left -= n
		gone := *d
		if d.left == 0 {
			e.backlog = e.backlog[1:]
		}
		switch e.r.Taken(gone.Place, n, gone.left) {
		case AckAtOnce:
			e.tell(false, e.now)
		case AckSoon:
			e.tell(false, e.now.Add(modelAckDelay))
		case AckAlong:
			e.tell(false, time.Time{})
		}
	}
}

// tell hands an acknowledgment to the link.
func (e *end) tell(taking bool, due time.Time) {
	a := e.r.Ack(taking, due)
	e.oracle.tells(a)
	if e.s.Acknowledge(a) {
		e.token = true
	}
}

// rest lets both ends do what they have to do now.
func (m *model) rest() {
	for range 1000 {
		ran := false
		for _, e := range m.ends {
			if d := e.r.Deadline(); !d.IsZero() && !m.now.Before(d) {
				ran = true
				e.carryOut(e.r.Overdue(m.now))
			}
			if should, _ := e.s.Stands(); should && e.dialed && !e.way.up {
				e.log("the connection of end %d has broken", e.id)
				e.s.Broke(e.now)
				e.oracle.settles()
				e.token = true
			}
			if e.runs() {
				ran = true
				e.drive()
			}
		}
		if !ran || m.err != nil {
			return
		}
	}
	m.fail("the ends do not come to rest")
}

// run lets time pass, in which both ends keep their deadlines. With deliver, frames arrive at once and in order.
func (m *model) run(d time.Duration, deliver bool) {
	end := m.now.Add(d)
	for range 100_000 {
		m.rest()
		came := false
		for _, e := range m.ends {
			for deliver && len(e.way.frames) > 0 {
				came = true
				e.arrive(0)
			}
		}
		m.check()
		if m.err != nil {
			return
		}
		if came {
			continue
		}
		next := end
		for _, e := range m.ends {
			if d := e.r.Deadline(); !d.IsZero() && d.Before(next) {
				next = d
			}
			if !e.until.IsZero() && e.until.Before(next) {
				next = e.until
			}
		}
		if next == end && m.now == end {
			return
		}
		m.now = next
	}
	m.fail("time stands still: %v, %v", m.ends[0].s.state, m.ends[1].s.state)
}

// sound reports whether a delivery's records are what the peer's messages were.
func sound(d *Delivery, each func(id int64)) bool {
	if d.Assembled {
		each(d.Record.MsgID)
		return bytes.Equal(d.Record.Payload, payload(d.Record.MsgID, len(d.Record.Payload)))
	}
	if r, ok := wire.ParseSplit(d.Body, d.Tail, uint32(d.Count)); ok {
		each(r.MsgID)
		return len(r.Payload) == 0 || &r.Payload[0] == &payload(r.MsgID, 1)[0]
	}
	rest := d.Body
	for range d.Count {
		var r wire.Record
		r, rest = wire.NextRecord(rest, 0)
		each(r.MsgID)
	}
	return true
}
