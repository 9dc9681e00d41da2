package stream

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// QueryInterval is how often a peer is asked at most whether it tells what becomes of records.
const QueryInterval = 250 * time.Millisecond

// Confirming is whether a peer tells what becomes of the records that it is asked about.
type Confirming uint8

// What is known of it.
const (
	ConfirmsUnknown Confirming = iota // the peer has yet to be asked
	Confirms
	ConfirmsNot
)

// Confirming is whether the peer tells what becomes of records. If it is not known, it is to be asked: see Query.
func (s *Sender) Confirming() Confirming {
	if !s.self.Knows.Has(wire.CapConfirm | wire.CapResend) {
		return ConfirmsNot
	}
	return s.confirming
}

// Query makes the sender ask the peer what it knows, unless it was asked a moment ago. It reports whether there is something to write.
func (s *Sender) Query(now time.Time) bool {
	s.query = s.query || s.self.Knows&(wire.CapConfirm|wire.CapCalls) != 0 && now.Sub(s.queriedAt) >= QueryInterval
	return s.query
}

// AnswerDue is until when the peer has to answer what it has been asked since a time: for as long as it may take nothing; or, if it
// has acknowledged other things meanwhile, for as long as it may be silent, since its answer may be on its way.
func (s *Sender) AnswerDue(since time.Time) time.Time {
	if s.ackedAt.After(since) {
		since = since.Add(PieceBytes * silencePerByte)
	}
	return since.Add(s.policy.Patience)
}

// Unanswered takes in that the answer is overdue. It reports whether the peer is taken for one that does not tell what becomes of records, since
// it has acknowledged other things.
func (s *Sender) Unanswered(since time.Time) bool {
	if !s.ackedAt.After(since) {
		return false
	}
	s.confirming = ConfirmsNot
	return true
}

// Await notes that somebody waits to hear what becomes of the records before one, the last of them included.
func (s *Sender) Await(before uint64) { s.awaited = before }

// Queued notes whether there is more to write after the load.
func (s *Sender) Queued(more bool) { s.more = more }

// Done is the place before which the peer is done with all, as it has said.
func (s *Sender) Done() wire.Position { return s.window.done }

// Torn reports whether some of the record that is being written is kept no more.
func (s *Sender) Torn() bool { return s.torn }

// learnConfirming takes in what a frame of the peer shows of whether that tells what becomes of records.
func (s *Sender) learnConfirming(h *wire.Header) {
	const both = wire.CapConfirm | wire.CapResend
	if !s.self.Knows.Has(both) {
		return
	}
	c, announces := h.Announced()
	switch {
	case announces && c.Has(both):
		s.confirming = Confirms
		s.owesWord = s.owesWord || h.Bare() && h.Flags&wire.FlagAckNow != 0
	case h.Flags&wire.FlagConfirm != 0:
		s.confirming = Confirms
	case announces:
		s.confirming = ConfirmsNot
	}
}

// awaits reports whether the peer is to tell what became of something that was written.
func (s *Sender) awaits() bool {
	w := &s.window
	return s.confirming == Confirms && w.kept < len(w.frames) && w.frames[w.kept].start.Seq < s.awaited
}

// confirmFlags are the flags of a frame of the load that concern what becomes of its records. An acknowledgment is asked for
// with the last frame that there is to write, and before it whenever none is under way that was asked for.
func (s *Sender) confirmFlags(f *Outbound) (flags uint8) {
	f.Confirm = s.load.Confirm && s.confirming == Confirms && s.resends
	if !f.Confirm {
		return 0
	}
	if flags = wire.FlagConfirm; f.whole && !s.more || !s.window.done.Before(s.promptTo) {
		flags |= wire.FlagAckNow
		s.promptTo = f.upTo
	}
	return flags
}

// word makes a bare frame the pending one that announces what this sender knows, and asks the peer for the same if there is
// a query.
func (s *Sender) word(now time.Time) {
	var flags uint8
	if s.query {
		flags = wire.FlagAckNow
	}
	s.bare(flags, now)
	s.ack.aboard.Ack, s.ack.aboard.Named = Ack{}, false
	h := &s.pending.Header
	h.Flags &^= wire.FlagTaking
	h.AckIncarnation, h.Ack = 0, wire.Position{}
	s.announce(h)
}

// name makes a frame the pending one that names the records which were not delivered.
func (s *Sender) name(now time.Time) {
	s.bare(wire.FlagConfirm, now)
	s.ack.aboard.Named = true
	f := &s.pending
	f.Names = s.ack.Undelivered
	f.Header.Ack = s.ack.Done
}

// tookWord takes in that a frame was handed over that announces what this sender knows.
func (s *Sender) tookWord(h *wire.Header, now time.Time) {
	if _, announces := h.Announced(); !announces {
		return
	}
	s.owesWord = false
	if h.Bare() && h.Flags&wire.FlagAckNow != 0 {
		s.query, s.queriedAt = false, now
	}
}

// asked are the places up to which the peer has asked to be told as soon as all before them is taken: the
// first of them, and the last. The zero value is none.
type asked struct{ first, last wire.Position }

func (a *asked) add(p wire.Position) {
	if a.first.Seq == 0 {
		a.first, a.last = p, p
	}
	if p.Before(a.first) {
		a.first = p
	}
	if a.last.Before(p) { // else the frame has come again
		a.last = p
	}
}

// due reports whether a place has been come to, and lets go of those that have.
func (a *asked) due(taken wire.Position) bool {
	if a.first.Seq == 0 || taken.Before(a.first) {
		return false
	}
	if a.first = a.last; !taken.Before(a.last) {
		*a = asked{}
	}
	return true
}

// undelivered are the records that a Receiver is done with and has not delivered, as far as the peer is to be told, and is not known
// to have heard it: the lowest number first.
type undelivered []wire.Undelivered

// undeliveredMost is how many rows are kept at most, several times what one frame names: 256 KiB.
const undeliveredMost = 4 * wire.UndeliveredMost

// add notes some. When there are too many, what became of the last is not known.
func (u *undelivered) add(from, count uint64, why wire.Why) {
	all := *u
	if n := len(all); n > 0 {
		last := &all[n-1]
		next := last.From + uint64(last.Count)
		if why == last.Why && from == next {
			*last = unbroken(last.From, from+count, why)
			return
		}
		if n >= undeliveredMost {
			rest := unbroken(min(last.From, from), max(next, from+count), wire.WhyUnknown)
			i := all.from(rest.From)
			*u = append(all[:i], rest)
			return
		}
	}
	*u = slices.Insert(all, all.from(from), unbroken(from, from+count, why))
}

// from is the place of the first row that begins with a number, or behind it.
func (u undelivered) from(number uint64) int {
	i, _ := slices.BinarySearchFunc(u, number, func(one wire.Undelivered, number uint64) int { return cmp.Compare(one.From, number) })
	return i
}

// unbroken is a row of records. Of one that is longer than can be told it is the end: those before cannot be waited for any more, since
// no window holds so many.
func unbroken(from, end uint64, why wire.Why) wire.Undelivered {
	n := min(end-from, math.MaxUint32)
	return wire.Undelivered{From: end - n, Count: uint32(n), Why: why}
}

// heard forgets those that the peer keeps no more: it was told of them, or does not ask.
func (u *undelivered) heard(kept uint64) {
	all := (*u)[:0]
	for _, one := range *u {
		if one.From+uint64(one.Count) > kept {
			all = append(all, one)
		}
	}
	if *u = all; len(all) == 0 {
		*u = nil
	}
}

// before returns those that begin before a number, but not more than one frame can name; the first of their numbers; and up to where
// all are named: the number itself unless there are more.
func (u undelivered) before(number uint64) (some []wire.Undelivered, first, done uint64) {
	n := u.from(number)
	if n == 0 {
		return nil, number, number
	}
	if done = number; n > wire.UndeliveredMost {
		n = wire.UndeliveredMost
		done = u[n].From
	}
	return slices.Clone(u[:n]), u[0].From, done
}

// Undelivered notes that a record of the delivery at a place was refused, as far as its sender is to be told.
func (r *Receiver) Undelivered(d Place, number uint64, why Refusal) {
	if d.Confirm && d.Life == r.life {
		r.undelivered.add(number, 1, whyOf[why])
	}
}

// whyOf is what the sender of a record is told of its refusal.
var whyOf = [Refusals]wire.Why{
	RefusedMalformed:    wire.WhyMalformed,
	RefusedTooLarge:     wire.WhyTooLarge,
	RefusedUnregistered: wire.WhyUnregistered,
	RefusedUndecodable:  wire.WhyUndecodable,
	RefusedClosed:       wire.WhyClosed,
}

// RefusalOf is what a peer has told of a refusal; false: the record may have been delivered. What a later version tells is taken
// for undecodable.
func RefusalOf(w wire.Why) (Refusal, bool) {
	for r, why := range whyOf {
		if why == w && w != wire.WhyUnknown {
			return Refusal(r), true
		}
	}
	return RefusedUndecodable, w != wire.WhyUnknown
}
