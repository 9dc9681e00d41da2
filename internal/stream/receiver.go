package stream

import (
	"errors"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

const (
	// HoldTime is how long frames that came too early wait for those before them, which may
	// still be on their way through an older connection.
	HoldTime = 150 * time.Millisecond
	// heldCost is what holding a frame costs beside its bytes. It is bounded by the window apart from these: a sender counts bytes alone,
	// and all that it may have on its way is to be held.
	heldCost = 512
)

// Limits bound what a Receiver holds.
type Limits struct {
	Window     int  // granted to the peer, in bytes of frames
	MaxMessage int  // bytes of the largest message
	Resends    bool // what a peer announces of resending counts, since this node does it too
}

// A Receiver is one direction as its receiver sees it: which life of the peer is heard, what comes
// next in its stream, and what came too early. It makes sure that records leave it in order
// and once, and counts those that never will.
//
// Its methods return effects, which are to be carried out in their order. They stay valid until the next call, or Forget.
type Receiver struct {
	limits      *Limits
	incarnation uint64        // 0: nothing heard yet
	heard       time.Time     // when a frame of it last came
	earlier     []earlierLife // the oldest first
	life        int           // counts lives, for deliveries to tell them apart

	want wire.Position // where the next frame must begin
	part assembly      // of record want.Seq, while want.Offset > 0

	// held are frames that wait: those of this life beyond want, in the order of the stream; and,
	// in the order in which they came, those of the next one, since what this one sent last may
	// still be on its way through another connection. The first of each waits for no longer
	// than HoldTime.
	held, next []Frame
	heldBytes  int // of both

	// A peer that resends sends what is missing again, as long as it keeps it, and says from where on it does. So
	// nothing is given up but what lies before that.
	resends bool
	horizon wire.Position // the farthest that a frame of it began, held or not
	first   wire.Position // where the first frame that was heard began
	gap     gap

	backlog backlog
	unacked int  // bytes taken since an acknowledgment was last due
	asked   bool // the peer has asked for one, and is to have it

	confirms    bool // it has asked what becomes of records
	prompt      asked
	undelivered undelivered

	effects []Effect
	Books   Books
}

// Books count what the stream itself shows of a peer's messages.
type Books struct {
	Lost     uint64 // never came, as a gap shows
	Missed   uint64 // numbered before the first that was heard
	Repeated uint64 // frames that had come before, of a peer that resends
	Restarts uint64 // times that a new life began
}

// Do says what kind an Effect is.
type Do uint8

const (
	Deliver Do = iota // Delivery leaves the stream
	Refused           // a frame or message was refused, as Refusal for Cause; of one in pieces that is too large, Delivery.Record has the first of them
	Present           // a frame of the present life has come: the acknowledgment in its Header counts
	NewLife           // a life of the peer begins, the First that is heard or another, or one has Returned; Key is of its first frame
	AckNow            // the peer is to be told at once how far it was taken
)

// An Effect is what is to be done after an event.
type Effect struct {
	Do       Do
	Delivery Delivery
	Header   wire.Header
	Names    []byte // records that were not delivered, with Header
	Key      string
	First    bool
	Returned bool // the life is an earlier one
	Refusal  Refusal
	Cause    error
}

// NewReceiver makes a receiver that has heard nothing. The limits may change later.
func NewReceiver(l *Limits) *Receiver { return &Receiver{limits: l} }

// State is how the receiver stands to what its peer sends.
func (r *Receiver) State() StreamState {
	switch {
	case r.incarnation == 0:
		return Unheard
	case len(r.next) > 0:
		return Handover
	case len(r.held) > 0 || r.missing():
		return Gap
	}
	return InOrder
}

// Incarnation is that of the peer's present life; 0: none was heard.
func (r *Receiver) Incarnation() uint64 { return r.incarnation }

// Held is how many bytes of frames came before others that are missing.
func (r *Receiver) Held() int { return r.heldBytes }

// Arrive takes a frame that names this peer as its sender.
func (r *Receiver) Arrive(f Frame) []Effect {
	r.Forget()
	r.arrive(&f)
	return r.effects
}

// Forget lets go of the effects that were returned last, and of the memory that they refer to.
func (r *Receiver) Forget() {
	for i := range r.effects {
		if e := &r.effects[i]; e.Do == Present {
			e.Names = nil // a header refers to nothing, and of another effect nobody reads it
		} else {
			*e = Effect{}
		}
	}
	r.effects = r.effects[:0]
}

// effect adds one, which is made where it stays: it is large.
func (r *Receiver) effect(do Do) *Effect {
	if n := len(r.effects); n < cap(r.effects) {
		r.effects = r.effects[:n+1]
	} else {
		r.effects = append(r.effects, Effect{})
	}
	e := &r.effects[len(r.effects)-1]
	e.Do = do
	return e
}

// present takes a frame of the present life.
func (r *Receiver) present(f *Frame) {
	r.heard = f.Came
	e := r.effect(Present)
	if e.Header = f.Header; f.names() {
		e.Names = f.Body
	}
	if f.Flags&wire.FlagResend != 0 && len(r.undelivered) > 0 {
		r.undelivered.heard(f.Kept.Seq)
	}
	r.resends = r.resends || r.limits.Resends && f.ShowsResending()
	if !f.Bare() && !r.backlog.fits(f.size(), r.limits) {
		r.refuse(RefusedWindow, nil)
		return
	}
	ask := f.Flags&wire.FlagAckNow != 0
	r.asked = r.asked || ask
	if f.Flags&wire.FlagConfirm != 0 && !f.Bare() {
		r.confirms = true
		if ask {
			r.prompt.add(f.end())
		}
	}
	r.place(f)
	if f.Bare() && ask {
		r.gap.told = true
		r.ackNow()
	}
}

// place puts a frame of the present life where it belongs.
func (r *Receiver) place(f *Frame) {
	if r.want.Seq == 0 {
		r.meet(f)
	}
	if r.resends {
		r.follow(f)
	}
	a := InPlace
	switch {
	case r.want.Before(f.Start):
		a = Early
	case f.Start.Before(r.want) && r.resends:
		a = Repeated
	case f.Start.Before(r.want):
		a = Late
	}
	switch judge(r.State(), a) {
	case Take:
		r.take(f)
		r.release()
		r.closeIn(f.Came)
	case Hold:
		r.hold(f)
	case Skip:
		if !f.Bare() {
			r.Books.Repeated++
		}
	case RefuseSeq:
		if !f.Bare() {
			r.refuse(RefusedSequence, nil)
		}
	}
}

// meet takes the first frame of a life that is heard. What the peer wrote before and does not keep was for an earlier
// life of this node, or was lost: from here that cannot be told.
func (r *Receiver) meet(f *Frame) {
	r.first, r.want = whole(f.Start), whole(f.Start)
	if from, ok := f.KeptFrom(); ok && r.resends && whole(from).Before(r.want) {
		r.want = whole(from)
	}
	r.horizon = r.want
	r.Books.Missed += r.want.Seq - 1
}

// whole is the first place from there on where a record begins: the rest of one is of no use.
func whole(p wire.Position) wire.Position {
	if p.Offset > 0 {
		return wire.Position{Seq: p.Seq + 1}
	}
	return p
}

func (r *Receiver) refuse(why Refusal, cause error) {
	e := r.effect(Refused)
	e.Refusal, e.Cause = why, cause
}

// Deadline is when the first of the held frames has waited long enough; zero if there is none.
func (r *Receiver) Deadline() time.Time {
	var d time.Time
	if r.resends {
		d = r.gap.askAt
	} else if len(r.held) > 0 {
		d = r.held[0].Came.Add(HoldTime)
	}
	if len(r.next) > 0 {
		d = Earlier(d, r.next[0].Came.Add(HoldTime))
	}
	return d
}

// Overdue gives up what has been missing for too long, or has the peer told what to send again, and begins the next life
// if it has waited for as long.
func (r *Receiver) Overdue(now time.Time) []Effect {
	r.Forget()
	if r.resends {
		r.ask(now)
	} else {
		r.outwait(now)
	}
	if len(r.next) > 0 && now.Sub(r.next[0].Came) >= HoldTime {
		r.begin()
	}
	return r.effects
}

// outwait gives up what has been missing for too long.
func (r *Receiver) outwait(now time.Time) {
	gaveUp := false
	for len(r.held) > 0 && now.Sub(r.held[0].Came) >= HoldTime {
		r.giveUp()
		gaveUp = true
	}
	if gaveUp && r.asked {
		r.ackNow()
	}
}

// Release lets go of all that is held, since the peer is no peer any more: what is missing is given up, what came
// behind it is delivered, unless it may be sent again, and frames of a next life are refused. What tells the peer's lives
// and its place in the stream stays, for the peer may come back.
func (r *Receiver) Release() []Effect {
	r.Forget()
	if r.resends {
		r.letGo(0)
		r.losePart()
		r.horizon, r.gap = r.want, gap{}
	} else {
		r.flush()
	}
	for i := range r.next {
		r.heldBytes -= r.next[i].size()
		r.refuse(RefusedSender, errRemoved)
	}
	r.next, r.asked = nil, false
	return r.effects
}

var errRemoved = errors.New("it was removed from the catalogue")

// flush gives up everything that is missing, since it cannot come any more. Of a peer that resends that is not certain: then
// nothing behind it is delivered, and what was counted as lost and as missed is returned, but for the record of which pieces have come.
func (r *Receiver) flush() (lost, missed uint64) {
	r.losePart()
	if r.resends && r.missing() {
		lost, missed = r.lacks(r.end())
		r.letGo(0)
		r.Books.Lost, r.Books.Missed = r.Books.Lost+lost, r.Books.Missed+missed
	}
	for len(r.held) > 0 {
		r.giveUp()
	}
	r.losePart()
	return lost, missed
}

// losePart gives up the record of which pieces have come.
func (r *Receiver) losePart() {
	if r.want.Offset > 0 {
		r.lose(wire.Position{Seq: r.want.Seq + 1})
	}
}
