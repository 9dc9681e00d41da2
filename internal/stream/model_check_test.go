package stream

import (
	"fmt"
	"slices"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// An oracle knows of one life of an end what the protocol should know, and counts it in its own way.
type oracle struct {
	*end

	// Of what is sent.
	accepted, sent uint64
	dropped        [Reasons]uint64
	expect         wire.Position // where the next frame has to begin
	last           wire.Position // the end of the newest frame
	done           wire.Position // the latest acknowledgment that can be true
	grant          int
	flight         []flown         // not acknowledged
	resets         int             // times that it was forgotten
	unconfirmed    uint64          // records that were written, and of which nobody knows what became
	mayDrop        bool            // something has happened that lets the sender drop what it keeps
	toldKept       wire.Position   // the sender has said that it keeps nothing before
	toldBy         map[uint64]bool // by life of the peer: it has announced that it resends
	covered        []flown         // of the latest acknowledgment
	coveredBy      uint64          // the life of the peer that this is of
	wanted         wire.Position   // what the peer has said that it has
	sentTo         wire.Position   // the end of the newest frame that was written
	newsAt         time.Time       // it last said that it has more, or had all
	unheardFor     time.Duration   // since, as far as this end was looking
	torn           bool            // the beginning of the message at hand is kept no more
	resends        bool            // the peer, as far as this end knows
	spoken         bool            // it has acknowledged something, or nothing, since
	wasDown        bool            // when it was last looked
	wordAt         time.Time       // anything was last heard of the peer
	took           time.Time       // the peer last took something, or could have
	waited         time.Duration   // since, as far as this end was looking
	lookedAt       time.Time
	begunAt        time.Time
	down           downFor

	// Of whether the peer answers.
	owedAt    time.Time // since when it owes an answer; zero: it owes none
	owedFor   time.Duration
	silentAt  time.Time // since when nothing has shown that it is reachable, while it owes one
	silentFor time.Duration
	looked    bool // whether anything moves towards it, since then
	met       bool // it has ever answered, on a connection to where it is
	instant   bool // it has answered while the frame at hand was written

	// Of what is received.
	lastID           int64
	excused          bool          // the stream may have been given up though the sender was there: the peer was removed, or a life returned
	lastOf           map[int]int64 // by life of the peer, of which nothing says in which order they come
	received, tooBig uint64
	receiverLife     int
	base             int64 // what was counted before it
	told             Ack
	owed             time.Time // when the peer has to be told at the latest; zero: with what is written next
}

// A flown frame is one that was written.
type flown struct {
	start, end wire.Position
	bytes      int
	ids        []int64 // of the records that end with it
	certain    bool    // an acknowledgment of one who resends says that they were delivered
	again      time.Time
	early      bool // it was written before the peer was first heard
	gone       bool // it is kept no more
}

// downFor is what would show that a peer takes again on which the sender has given up.
type downFor uint8

const (
	notDown downFor = iota
	wantsRoom
	wantsNews
)

func newOracle(e *end) oracle {
	return oracle{end: e, toldBy: make(map[uint64]bool), newsAt: e.now, lastOf: make(map[int]int64), expect: at(1), last: at(1), done: at(1), wanted: at(1), grant: wire.InitialWindow, took: e.now, lookedAt: e.now}
}

func (o *oracle) onItsWay() (bytes int) {
	for _, f := range o.flight {
		bytes += f.bytes
	}
	return bytes
}

// away is how much of it the peer has not said that it has.
func (o *oracle) away() (bytes int) {
	for _, f := range o.flight {
		if o.wanted.Before(f.end) {
			bytes += f.bytes
		}
	}
	return bytes
}

// progress notes that the peer has taken something, or could have.
func (o *oracle) progress() { o.took, o.waited, o.down = o.now, 0, notDown }

// passes notes that something that waited came to the peer after that time, which it could not have taken before.
func (o *oracle) passes(at time.Time) {
	if o.took.Before(at) {
		o.took, o.waited = at, min(o.waited, o.now.Sub(at))
	}
}

func (o *oracle) loaded() { o.progress() }

// looks counts the time that this end was looking whether its peer takes something.
func (o *oracle) looks() {
	look := min(o.now.Sub(o.lookedAt), max(o.patience/looksPerPatience, time.Millisecond))
	o.waited += look
	o.unheardFor += look
	look = min(look, o.silenceLook())
	o.owedFor += look
	o.silentFor += look
	o.lookedAt = o.now
}

func (o *oracle) silenceLook() time.Duration { return max(o.silence/looksPerSilence, time.Millisecond) }

// answers notes that the peer has answered, and that it owes another answer if it lacks something.
func (o *oracle) answers() {
	o.owedAt, o.instant, o.met = time.Time{}, true, true
	if o.resends && o.unheard() {
		o.owes()
	}
}

// owes notes that the peer owes an answer from now on, if it does not.
func (o *oracle) owes() {
	if o.owedAt.IsZero() {
		o.owedAt, o.owedFor, o.looked = o.now, 0, false
		o.reachable()
	}
}

// reachable notes that something has shown that the peer is.
func (o *oracle) reachable() { o.silentAt, o.silentFor = o.now, 0 }

// speaks notes that the peer has said something, whatever it is. That alone shows for a while only that it is reachable.
func (o *oracle) speaks() {
	if min(o.now.Sub(o.owedAt), o.owedFor) < hearsayMost-2*o.silenceLook() {
		o.reachable()
	}
}

// asks notes that a frame was written that asks for an answer.
func (o *oracle) asks(h *wire.Header, bare bool) {
	if bare && h.Flags&wire.FlagAckNow == 0 || o.instant && !(o.resends && o.unheard()) {
		return
	}
	o.owes()
}

// settles notes that the peer owes nothing: it is to be asked afresh.
func (o *oracle) settles() { o.owedAt = time.Time{} }

// silent is for how long nothing has shown that the peer is reachable, as far as this end was looking.
func (o *oracle) silent() time.Duration {
	if o.owedAt.IsZero() {
		return 0
	}
	return min(o.now.Sub(o.silentAt), o.silentFor)
}

// judged checks what the sender makes of the peer's silence: before is what it made of it before it looked.
func (o *oracle) judged(before ReachState, broken bool) {
	least := o.silence
	if !o.met {
		least = max(least, meetingTime)
	}
	most := least + 6*o.silenceLook() + o.patience/looksPerPatience
	if !o.sees {
		most += time.Duration(o.away()) * silencePerByte
	}
	// One that is watched, and to which there was never a connection.
	unmet := o.watch > 0 && !o.met && o.owedAt.IsZero() && o.s.state.Path == Blocked && o.now.Sub(o.triedAt) >= least
	switch after := o.s.reach.state; {
	case after == Lost && unmet:
	case after == Lost && before != Lost && o.silent() < least && !broken && (o.met || !isDown(o.s.state.Peer)):
		o.fail("end %d: reach: the peer is lost after %v", o.id, o.silent())
	case after != Lost && o.silent() > most:
		o.fail("end %d: reach: nothing has shown for %v that the peer is reachable, and it is %v", o.id, o.silent(), after)
	}
}

// decided checks what the sender has decided.
func (o *oracle) decided(step Step) {
	if step == Write && o.s.state.Path == Clear && !o.s.pending.Bare && (!o.s.pending.Again || !o.closed(o.s.frameSize())) {
		o.waited = 0 // nothing keeps it from going out, as far as the sender knows
	}
	if o.wasDown && !isDown(o.s.state.Peer) {
		o.newsAt, o.unheardFor = o.now, 0 // the peer has its time again
	}
	o.wasDown = isDown(o.s.state.Peer)
	since := o.newsAt
	if o.wordAt.After(since) {
		if since = o.wordAt; o.newsAt.Add((silenceMost - 1) * o.patience).Before(since) {
			since = o.newsAt.Add((silenceMost - 1) * o.patience)
		}
	}
	if o.able && o.unheard() && o.s.window.kept < len(o.s.window.frames) &&
		min(o.now.Sub(since), o.unheardFor-max(0, since.Sub(o.newsAt))) > o.patience+3*o.patience/looksPerPatience+time.Duration(o.away()+PieceBytes)*silencePerByte {
		o.fail("end %d: silence: the peer has not said for %v that it got what was written", o.id, o.unheardFor)
	}
	if o.s.state.Path == NoPath && step == Write {
		o.fail("end %d: it writes without a connection", o.id)
	}
	if o.end.loaded && !isDown(o.s.state.Peer) && step != Write && o.waited > o.patience+o.patience/looksPerPatience {
		o.fail("end %d: patience: a message waits for longer than %v", o.id, o.patience)
	}
	if step == Sleep && o.end.loaded && o.s.state.Path == Clear && o.s.window.open(o.s.frameSize()) && o.s.state.Peer != Starved {
		o.fail("end %d: it sleeps with something to write", o.id)
	}
}

// gaveUp checks that the peer has had its time, in which this end was looking.
func (o *oracle) gaveUp() {
	if since := min(o.now.Sub(o.took), o.waited); since < o.patience {
		o.fail("end %d: patience: it gave up after %v", o.id, since)
	}
	o.resends, o.spoken, o.wasDown = false, false, true
	switch {
	case o.s.state.Peer == Starved:
	case !o.met:
		o.settles() // it is asked when the connection takes frames again
	case o.s.reach.state != Lost:
		o.owes()
	}
	if o.down = wantsRoom; o.closed(o.s.frameSize()) {
		o.down = wantsNews
	} else if o.s.state.Path == Ready {
		o.down = notDown // the connection has said that it takes frames
	}
	o.letsGo()
}

// hearsNothing checks that the peer, for which nothing is kept from now on, has had its time to say that it got something.
func (o *oracle) hearsNothing() {
	if since := min(o.now.Sub(o.newsAt), o.unheardFor); since < o.patience {
		o.fail("end %d: patience: it keeps nothing any more after %v", o.id, since)
	}
	o.resends, o.spoken = false, false
	o.letsGo()
}

// letsGo notes that the sender keeps nothing more.
func (o *oracle) letsGo() {
	o.mayDrop, o.torn = true, o.s.offset > 0
	for i := range o.flight {
		o.flight[i].certain, o.flight[i].gone = false, true
	}
}

// closed reports whether the window has no room for a frame of a size.
func (o *oracle) closed(size int) bool {
	bytes := o.onItsWay()
	return bytes > 0 && bytes+size > o.grant
}

// writable notes that the connection takes frames again.
func (o *oracle) writable() {
	if o.down == wantsRoom {
		o.down = notDown
	}
}

// admits checks that the peer of a message that is accepted takes what it is sent, as far as the sender can know.
func (o *oracle) admits() {
	if o.down != notDown {
		o.fail("end %d: down: a message is accepted, and nothing has shown that the peer takes again", o.id)
	}
}

// writes checks a frame that is about to be written.
func (o *oracle) writes(f *Outbound) {
	h := &f.Header
	o.checkResend(f)
	o.instant = false
	switch want := o.expect; {
	case f.Again:
		o.checkAgain(f)
		return
	case h.Incarnation != o.end.life || int(h.To) != o.peer.id:
		o.fail("end %d: wrong frame: %+v", o.id, h)
	case h.Start != want && !(f.Bare && !o.able && h.Start == o.done):
		o.fail("end %d: order: it writes %v after %v", o.id, h.Start, want)
	case f.Bare:
		return
	case o.s.state.Peer == Idle, isDown(o.s.state.Peer):
		o.fail("end %d: it writes in state %v", o.id, o.s.state)
	case !o.done.Before(f.upTo):
		o.fail("end %d: giving up: it writes up to %v, and the peer is done with all before %v", o.id, f.upTo, o.done)
	}
	if o.closed(f.bytes) {
		o.fail("end %d: window: %d bytes are on their way, and %d more are beyond %d", o.id, o.onItsWay(), f.bytes, o.grant)
	}
	// It may be acknowledged from now on.
	o.last = f.upTo
}

// checkResend checks what a frame says to one who resends.
func (o *oracle) checkResend(f *Outbound) {
	h := &f.Header
	if h.Flags&wire.FlagResend != 0 && !o.toldBy[o.r.incarnation] {
		o.fail("end %d: announced: the peer's life %d has not said that it resends", o.id, o.r.incarnation)
	}
	from, ok := h.KeptFrom()
	if ok && h.Flags&wire.FlagResend != 0 {
		if from.Before(o.toldKept) {
			o.fail("end %d: kept: it is from %v on, and was from %v on", o.id, from, o.toldKept)
		}
		o.toldKept = from
	}
	if ok && h.Start.Before(from) {
		o.fail("end %d: kept: from %v on, and it writes %v", o.id, from, h.Start)
	}
}

// checkAgain checks a frame that was written before.
func (o *oracle) checkAgain(f *Outbound) {
	h := &f.Header
	i := slices.IndexFunc(o.flight, func(x flown) bool { return x.start == h.Start })
	switch {
	case i < 0 || o.flight[i].end != f.upTo:
		o.fail("end %d: again: %v to %v is not on its way", o.id, h.Start, f.upTo)
	case h.Start.Before(o.toldKept):
		o.fail("end %d: again: %v, and it has said that it keeps nothing before %v", o.id, h.Start, o.toldKept)
	case o.s.state.Peer == Idle, isDown(o.s.state.Peer):
		o.fail("end %d: it writes again in state %v", o.id, o.s.state)
	case o.flight[i].early:
		o.fail("end %d: again: %v was written before the peer was heard, maybe to an earlier life of it", o.id, h.Start)
	case !o.flight[i].again.IsZero() && o.now.Sub(o.flight[i].again) < resendInterval:
		o.fail("end %d: again: %v after %v", o.id, h.Start, o.now.Sub(o.flight[i].again))
	case h.Flags&wire.FlagResend == 0:
		o.fail("end %d: again: it is written to one that does not resend", o.id)
	}
}

func (o *oracle) wroteAgain(start wire.Position) {
	if i := slices.IndexFunc(o.flight, func(x flown) bool { return x.start == start }); i >= 0 {
		o.flight[i].again = o.now
	}
}

// leaves notes that the connection takes it.
func (o *oracle) leaves(upTo wire.Position) {
	o.expect = upTo
	o.written[o.life] = upTo.Seq - 1
	if upTo.Offset > 0 {
		o.written[o.life] = upTo.Seq
	}
}

// wrote notes that the connection has taken it, which may have been answered meanwhile.
func (o *oracle) wrote(h *wire.Header, upTo wire.Position, bytes int) {
	if !o.unheard() {
		o.newsAt, o.unheardFor, o.wasDown = o.now, 0, false
	}
	o.progress()
	o.sentTo = upTo
	x := flown{start: h.Start, end: upTo, bytes: bytes, certain: h.ShowsResending() && !o.torn}
	if upTo.Offset == 0 {
		for i := range o.current.count {
			x.ids = append(x.ids, o.current.id+int64(i))
		}
		if o.torn {
			o.mayDrop, o.torn = true, false
		}
	}
	if o.done.Before(upTo) {
		o.flight = append(o.flight, x)
	} else if !o.s.resends {
		o.mayDrop = true
	}
}

// unheard reports whether the peer has not said that it has all that was written.
func (o *oracle) unheard() bool { return len(o.flight) > 0 && o.wanted.Before(o.sentTo) }

// abandoned notes that the sender lets go of the rest of a message.
func (o *oracle) abandoned() {
	o.letsGo()
	o.torn = false
	o.expect = at(o.expect.Seq + 1)
	o.last = o.expect
}

// left notes that the connection is left.
func (o *oracle) left() {
	if o.s.tells() && len(o.flight) > 0 && o.s.window.kept < len(o.s.window.frames) {
		if o.down == wantsNews {
			o.down = wantsRoom
		}
		return
	}
	o.reset()
}

// reset notes that what is on its way is forgotten.
func (o *oracle) reset() {
	o.letsGo()
	o.flight, o.resets = nil, o.resets+1
	if o.down == wantsNews {
		o.down = wantsRoom
	}
}

// carried notes which acknowledgment has left with a frame.
func (o *oracle) carried(h *wire.Header) {
	if !h.ShowsResending() {
		o.mayDrop = true
		for i := range o.flight {
			o.flight[i].certain = false
		}
	}
	if h.AckIncarnation == o.told.Incarnation && (h.Ack == o.told.UpTo || h.AckIncarnation == 0) {
		o.owed = time.Time{}
	}
}

// peerBegan notes that a new life of the peer was heard, for which messages may wait once in a while.
func (o *oracle) peerBegan(first bool) {
	if first && o.s.tells() {
		for i := range o.flight {
			o.flight[i].early = true
		}
	} else {
		o.resends, o.spoken = false, false
		o.reset()
	}
	if o.now.Sub(o.begunAt) >= 2*o.patience {
		o.begunAt = o.now
		o.progress()
		o.newsAt, o.unheardFor, o.wasDown = o.now, 0, false
	}
}

// acked takes an acknowledgment in.
func (o *oracle) acked(h *wire.Header) {
	o.covered, o.coveredBy, o.wordAt = nil, h.Incarnation, o.now
	o.speaks()
	if _, announces := h.Announced(); o.able && (announces || h.ShowsResending()) {
		o.resends = h.ShowsResending()
		o.toldBy[h.Incarnation] = o.resends
	}
	if h.AckIncarnation != o.end.life {
		return
	}
	o.grant, o.spoken = int(min(h.Window, maxGrant)), true
	if h.Flags&wire.FlagTaking != 0 {
		o.progress()
	}
	whole, done, wanted := !o.unheard(), o.done, o.wanted
	news := !o.resends || whole
	if h.Flags&wire.FlagResend != 0 && o.wanted.Before(h.Wanted) && o.possible(h.Wanted) {
		o.wanted, news = h.Wanted, true
	}
	if h.Flags&wire.FlagResend != 0 {
		o.missesEarly(h)
	}
	if o.possible(h.Ack) && o.done.Before(h.Ack) {
		news = true
		o.cover(h.Ack)
		o.progress()
	}
	if news {
		o.newsAt, o.unheardFor, o.wasDown = o.now, 0, false
	}
	moved := news && (o.resends && !whole || o.done != done || o.wanted != wanted)
	if lost := o.s.reach.state == Lost; news && (moved || !lost || o.s.state.Path == Clear || o.s.state.Path == Ready) {
		o.answers()
	}
}

// missesEarly takes in that the peer lacks something that was written before it was first heard: then nothing of that is kept.
func (o *oracle) missesEarly(h *wire.Header) {
	misses := false
	for i := range o.flight {
		x := &o.flight[i]
		misses = misses || x.early && !x.gone && h.Wanted == o.wanted && !x.start.Before(h.Wanted) && x.start.Before(h.Held) && h.Ack.Before(x.end)
	}
	if !misses {
		return
	}
	dropped := false
	for i := range o.flight {
		x := &o.flight[i]
		if dropped = x.early || dropped && x.start.Offset > 0; dropped {
			x.gone, x.certain = true, x.certain && !o.wanted.Before(x.end)
		}
	}
	o.mayDrop = true
	o.torn = o.torn || dropped && o.s.offset > 0
}

// possible reports whether the peer can be done with what comes before a place.
func (o *oracle) possible(upTo wire.Position) bool {
	return !o.last.Before(upTo) || o.last.Offset > 0 && upTo == at(o.last.Seq+1)
}

// cover takes in that the peer is done with all before a place.
func (o *oracle) cover(upTo wire.Position) {
	o.done = upTo
	if o.wanted.Before(upTo) {
		o.wanted = upTo
	}
	n := 0
	for n < len(o.flight) && !upTo.Before(o.flight[n].end) {
		n++
	}
	o.covered, o.flight = o.flight[:n], o.flight[n:]
}

// confirmed checks that the records that the sender takes for delivered were.
func (o *oracle) confirmed(count uint64) {
	want := uint64(0)
	for _, x := range o.covered {
		if x.certain {
			want += uint64(len(x.ids))
		}
	}
	if !o.s.resends {
		o.mayDrop, want = true, 0
	}
	if count != want {
		o.fail("end %d: confirmed: %d records, want %d", o.id, count, want)
	}
	for _, x := range o.covered {
		for _, id := range x.ids {
			if count > 0 && x.certain && !o.got[arrival{o.coveredBy, id}] && !o.peer.oracle.excused && !o.tooLarge[id] {
				o.fail("end %d: confirmed: message %d is, and was not delivered", o.id, id)
			}
		}
	}
}

// delivered checks what leaves the stream.
func (o *oracle) delivered(d *Delivery) {
	ok := sound(d, func(id int64) {
		o.received++
		o.got[arrival{o.end.life, id}] = true
		life, _ := slices.BinarySearch(o.peer.began, id+1)
		switch last := o.lastOf[life]; {
		case id <= last:
			o.fail("end %d: order: message %d comes after %d", o.id, id, last)
		case id > o.peer.lastID:
			o.fail("end %d: message %d was never sent", o.id, id)
		}
		o.lastID, o.lastOf[life] = id, id
	})
	if !ok {
		o.fail("end %d: message %d is not what was sent", o.id, o.lastID)
	}
	if d.Count == 1 && d.Assembled && len(d.Record.Payload) > o.limits.MaxMessage {
		o.fail("end %d: message %d is too large", o.id, o.lastID)
	}
}

func (o *oracle) refused(why Refusal) {
	switch why {
	case RefusedTooLarge:
		o.tooBig++
	case RefusedMalformed:
		o.fail("end %d: what the peer wrote is malformed", o.id)
	case RefusedWindow:
		if o.peer.oracle.resets < 2 {
			o.fail("end %d: window: it refuses what it has granted", o.id)
		}
	}
}

// tells checks an acknowledgment.
func (o *oracle) tells(a Ack) {
	if a.Incarnation == o.told.Incarnation && a.UpTo.Before(o.told.UpTo) {
		o.fail("end %d: acknowledgments: %v after %v", o.id, a.UpTo, o.told.UpTo)
	}
	if a.Incarnation == o.told.Incarnation && a.Wanted.Before(o.told.Wanted) {
		o.fail("end %d: acknowledgments: it wants %v, and wanted %v", o.id, a.Wanted, o.told.Wanted)
	}
	if a.Wanted.Before(a.UpTo) {
		o.fail("end %d: acknowledgments: all before %v is taken, and it wants %v", o.id, a.UpTo, a.Wanted)
	}
	o.told, o.owed = a, Earlier(o.owed, a.Due)
	for i := range o.backlog {
		if d := &o.backlog[i]; d.Life == o.r.life && d.left > 0 {
			// The pieces of a large message may be acknowledged before it is taken.
			if first := d.End.Seq - uint64(d.left); first < a.UpTo.Seq {
				o.fail("end %d: acknowledgments: %v, and record %d waits", o.id, a.UpTo, first)
			}
			return
		}
	}
}

// check holds the invariants of both ends.
func (m *model) check() {
	for _, e := range m.ends {
		if m.err == nil {
			e.oracle.checkSender()
		}
		if m.err == nil {
			e.oracle.checkReceiver()
		}
	}
}

func (o *oracle) checkSender() {
	queued := uint64(0)
	for _, l := range o.queue {
		queued += uint64(l.count)
	}
	if o.end.loaded {
		queued += uint64(o.current.count)
	}
	fates := o.sent + queued
	for _, n := range o.dropped {
		fates += n
	}
	s := o.s
	drops := o.mayDrop
	o.mayDrop = false
	before := o.unconfirmed
	o.unconfirmed = s.Books.Unconfirmed
	kept := 0
	for _, f := range s.window.frames {
		kept += int(f.count)
	}
	switch bytes := o.onItsWay(); {
	case !drops && s.Books.Unconfirmed != before:
		o.fail("end %d: kept: %d records are let go of", o.id, s.Books.Unconfirmed-before)
	case o.sent != s.Books.Confirmed+s.Books.Unconfirmed+uint64(kept):
		o.fail("end %d: conservation: %d messages sent; %d confirmed, %d unconfirmed, %d kept", o.id, o.sent, s.Books.Confirmed,
			s.Books.Unconfirmed, kept)
	case o.accepted != fates:
		o.fail("end %d: conservation: %d messages accepted; %d sent, %d queued, dropped %v", o.id, o.accepted, o.sent, queued, o.dropped)
	case s.next-1 != o.sent:
		o.fail("end %d: conservation: %d messages sent, and %d numbered", o.id, o.sent, s.next-1)
	case s.window.bytes != bytes:
		o.fail("end %d: window: %d bytes are on their way, and it says %d", o.id, bytes, s.window.bytes)
	case s.window.away != o.away():
		o.fail("end %d: window: %d bytes have not come, and it says %d", o.id, o.away(), s.window.away)
	case s.window.done != o.done:
		o.fail("end %d: window: all before %v is acknowledged, and it says %v", o.id, o.done, s.window.done)
	case !o.owed.IsZero() && !o.now.Before(o.owed) && o.dialed && o.way.takes() && !o.runs():
		o.fail("end %d: acknowledgments: one is due, and not written", o.id)
	case s.loaded != o.end.loaded:
		o.fail("end %d: it has something to write: %v, and it says %v", o.id, o.end.loaded, s.loaded)
	}
}

func (o *oracle) checkReceiver() {
	r := o.r
	held := heldSize(r.held) + heldSize(r.next)
	waits, present := 0, 0
	for i := range o.backlog {
		waits += o.backlog[i].Bytes
		if o.backlog[i].Life == r.life {
			present += o.backlog[i].Bytes
		}
	}
	most := 2*r.limits.Window + wire.MaxFrame
	switch {
	case r.heldBytes != held:
		o.fail("end %d: bounds: frames of %d bytes are held, and it says %d", o.id, held, r.heldBytes)
	case held > r.limits.Window || (len(r.held)+len(r.next))*heldCost > r.limits.Window:
		o.fail("end %d: bounds: %d bytes are held in %d frames", o.id, held, len(r.held)+len(r.next))
	case r.backlog.bytes != waits || r.backlog.present != present:
		o.fail("end %d: bounds: %d and %d bytes wait, and it says %d and %d", o.id, waits, present, r.backlog.bytes, r.backlog.present)
	case present > most || waits > (rememberedLives+1)*most:
		o.fail("end %d: bounds: %d bytes wait, %d of them of this life", o.id, waits, present)
	case r.part.came > r.limits.MaxMessage || len(r.earlier) > rememberedLives:
		o.fail("end %d: bounds: a part of %d bytes, and %d lives", o.id, r.part.came, len(r.earlier))
	case r.want.Seq > 0 && r.want.Offset == 0:
		o.checkBooks()
	}
}

func heldSize(frames []Frame) (bytes int) {
	for i := range frames {
		bytes += frames[i].size()
	}
	return bytes
}

// checkBooks checks that each record before the place where the stream stands has one fate.
func (o *oracle) checkBooks() {
	r := o.r
	handled := int64(r.Books.Missed + r.Books.Lost + o.received + o.tooBig)
	before := int64(r.want.Seq - 1)
	if o.receiverLife != r.life {
		o.receiverLife = r.life
		o.base = handled - before
	}
	written := int64(o.written[r.incarnation])
	switch {
	case o.base < 0:
		o.fail("end %d: conservation: a new life makes up for %d messages of an earlier one", o.id, -o.base)
	case handled != o.base+before:
		o.fail("end %d: conservation: of %d messages %d are received, %d lost, %d missed, %d too large, and %d of earlier lives",
			o.id, before, o.received, r.Books.Lost, r.Books.Missed, o.tooBig, o.base)
	case before > written:
		o.fail("end %d: conservation: %d messages are dealt with, of %d that were written", o.id, before, written)
	}
}

// settle ends all faults, and checks that traffic resumes, and that the books of both ends agree at last.
func (m *model) settle() {
	sound := [2]bool{m.ends[0].oracle.sound(), m.ends[1].oracle.sound()}
	unconfirmed := [2]uint64{m.ends[0].s.Books.Unconfirmed, m.ends[1].s.Books.Unconfirmed}
	for _, e := range m.ends {
		if e.removed {
			e.removed = false
			e.s.Appeared(m.now)
		}
		e.failing = false
		*e.way = way{up: true, frames: e.way.frames, came: e.way.came}
		e.stalled = false
		e.take(1 << 20)
		e.hurry()
	}
	// Long enough for what is queued to be given up, for what is held to be released, for what is on its way to be
	// asked for, and for the answer.
	m.run(max(m.patience, quietTime)+2*time.Second, true)
	for i, e := range m.ends {
		if n := e.s.Books.Unconfirmed - unconfirmed[i]; m.err == nil && sound[i] && n > 0 {
			m.fail("end %d: resending: %d messages are not confirmed, though all faults have ended", i, n)
		}
	}
	for _, e := range m.ends {
		if r := e.peer.r; m.err == nil && e.able && e.peer.able && r.incarnation == e.life && e.r.incarnation == e.peer.life &&
			r.missing() && r.resends {
			m.fail("end %d: traffic: it waits for %v, and is not told that it is not kept", e.peer.id, r.want)
		}
	}
	for _, e := range m.ends {
		if r := e.peer.r; r.incarnation != 0 && r.incarnation != e.life {
			// Another life of it was heard last. It is heard again once it has spoken for a while.
			m.log("end %d has to make itself heard", e.id)
			e.enqueue(modelLoad{count: 1})
		}
	}
	m.run(quietTime+returnTime+time.Second, true)
	var ids [2]int64
	for i, e := range m.ends {
		if m.err == nil && !e.enqueue(modelLoad{count: 1}) {
			m.fail("end %d: traffic: nothing is accepted in state %v", i, e.s.state)
		}
		ids[i] = e.lastID
	}
	m.run(200*time.Millisecond, true)
	for i, e := range m.ends {
		if m.err == nil && (e.peer.oracle.lastID != ids[i] || e.s.state != State{Up, Clear}) {
			m.fail("end %d: traffic: a message does not arrive in state %v", i, e.s.state)
		}
	}
	m.run(quietTime+time.Second, true)
	for _, e := range m.ends {
		if m.err == nil && e.s.standing != StandsUp {
			m.fail("end %d: traffic: it stands %v: %v, %v", e.id, e.s.standing, e.s.state, e.s.reach.state)
		}
		if m.err == nil {
			e.oracle.checkQuiet()
		}
	}
}

// sound reports whether all that is kept has to be delivered if no more goes wrong: both ends resend, and hear each other, and the
// peer has most of its patience left.
func (o *oracle) sound() bool {
	for _, e := range o.ends {
		if !e.s.resends || e.removed || !e.dialed || e.moved || e.way.broken || e.s.state.Peer != Up ||
			e.r.incarnation != e.peer.life || len(e.r.next) > 0 || e.s.torn || e.s.window.early > e.s.window.kept ||
			e.s.reach.state != Reached || e.oracle.owedFor > e.patience/4 ||
			slices.ContainsFunc(e.way.frames, func(f Frame) bool { return f.Incarnation != e.life }) {
			return false
		}
	}
	return o.patience >= time.Second && (!o.unheard() || o.unheardFor < o.patience/4) && (!o.end.loaded || o.waited < o.patience/4)
}

// checkQuiet checks what has to be so when nothing is on its way, and nothing waits.
func (o *oracle) checkQuiet() {
	r := o.peer.r
	switch {
	case r.incarnation != o.end.life:
		o.fail("end %d: its peer hears its life %d, not %d", o.id, r.incarnation, o.end.life)
	case r.want != at(o.s.next):
		o.fail("end %d: conservation: %d messages are sent, and the peer stands before %v", o.id, o.s.next-1, r.want)
	case r.heldBytes != 0 || r.backlog.bytes != 0 || r.backlog.records != 0 || !r.Deadline().IsZero():
		o.fail("end %d: at rest %d bytes are held, and %d wait", o.peer.id, r.heldBytes, r.backlog.bytes)
	case o.s.OnItsWay() != 0 || len(o.s.window.frames) != 0:
		o.fail("end %d: window: at rest %d bytes are not acknowledged", o.id, o.s.OnItsWay())
	case r.asked:
		o.fail("end %d: it is asked for an acknowledgment, and has not told", o.peer.id)
	}
}

func (o *oracle) String() string {
	return fmt.Sprintf("end %d: life %d, %v, %d on their way; hears life %d, %v, want %v", o.id, o.end.life, o.s.state, o.onItsWay(),
		o.r.incarnation, o.r.State(), o.r.want)
}
