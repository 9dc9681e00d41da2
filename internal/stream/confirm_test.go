package stream

import (
	"slices"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// newConfirmer makes a sender to a peer that tells what becomes of records.
func newConfirmer(now time.Time) *Sender {
	s := NewSender(Self{ID: 1, Incarnation: 7, Grant: 1 << 20, Knows: wire.CapResend | wire.CapConfirm}, 2, Policy{Patience: testPatience}, now)
	s.Appeared(now)
	s.Dialed(false, now)
	s.PeerBegan(true, now)
	s.Acked(announcing(wire.CapResend|wire.CapConfirm), now)
	s.Acked(report(at(1), at(1), at(1)), now)
	return s
}

// announcing is a bare frame of the peer that acknowledges nothing.
func announcing(c wire.Capabilities) *wire.Header {
	h := &wire.Header{Incarnation: 9, Window: 1 << 20}
	h.Announce(c)
	return h
}

func awaitedLoad(records int) Load {
	l := small(records)
	l.Confirm = true
	return l
}

// What a sender knows of whether its peer confirms, after what that has said.
func TestWhetherAPeerConfirmsIsWhatItAnnounces(t *testing.T) {
	start := time.Unix(1000, 0)
	both, old := announcing(wire.CapResend|wire.CapConfirm), announcing(wire.CapResend)
	ack := report(at(1), at(1), at(1))
	for _, c := range []struct {
		name string
		say  []*wire.Header
		want Confirming
	}{
		{"nothing", nil, ConfirmsUnknown},
		{"that it does", []*wire.Header{both}, Confirms},
		{"that it does, and then other things", []*wire.Header{both, ack}, Confirms},
		{"that it does not", []*wire.Header{old}, ConfirmsNot},
		{"that it does not any more", []*wire.Header{both, old}, ConfirmsNot},
		{"other things", []*wire.Header{ack}, ConfirmsUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewSender(Self{ID: 1, Incarnation: 7, Grant: 1, Knows: wire.CapResend | wire.CapConfirm}, 2, Policy{Patience: testPatience}, start)
			s.Appeared(start)
			s.Dialed(false, start)
			s.PeerBegan(true, start)
			for _, h := range c.say {
				s.Acked(h, start)
			}
			if got := s.Confirming(); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestAPeerIsAskedWhatItKnowsAndThisSenderAnnouncesTheSame(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newConfirmer(now)
	for _, asked := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {QueryInterval - 1, false}, {QueryInterval, true}} {
		if got := s.Query(now.Add(asked.after)); got != asked.want {
			t.Errorf("after %v: there is something to write: %v", asked.after, got)
		}
		if !asked.want {
			continue
		}
		if step, _ := s.Next(now); step != Write || !s.Pending().Bare || s.Pending().Header.Flags&wire.FlagAckNow == 0 {
			t.Fatalf("step %v, %+v: want that it is asked", step, s.Pending())
		}
		if know, ok := s.Pending().Header.Announced(); !ok || !know.Has(wire.CapConfirm) {
			t.Errorf("the question announces %v, %v", know, ok)
		}
		s.Took(now)
	}
}

// An acknowledgment says nothing of what the peer knows, however late it comes: the answer may be behind it.
func TestHowLongAnAnswerIsWaitedFor(t *testing.T) {
	start := time.Unix(1000, 0)
	const onItsWay = PieceBytes * silencePerByte
	for _, c := range []struct {
		name string
		say  []*wire.Header // a moment after it was asked
		want time.Duration
		not  bool // then it is taken for one that does not confirm
	}{
		{"nothing", nil, testPatience, false},
		{"that it heard of nothing yet", []*wire.Header{{Incarnation: 9, AckIncarnation: 5}}, testPatience, false},
		{"an acknowledgment", []*wire.Header{report(at(1), at(1), at(1))}, testPatience + onItsWay, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newResender(start.Add(-time.Hour))
			s.self.Knows |= wire.CapConfirm
			for _, h := range c.say {
				s.Acked(h, start.Add(time.Millisecond))
			}
			if got := s.AnswerDue(start).Sub(start); got != c.want {
				t.Errorf("it is waited for %v, want %v", got, c.want)
			}
			if s.Confirming() != ConfirmsUnknown {
				t.Errorf("before that is over, it is taken for one that confirms: %d", s.Confirming())
			}
			if got := s.Unanswered(start); got != c.not || (s.Confirming() == ConfirmsNot) != c.not {
				t.Errorf("after it: %v, %d", got, s.Confirming())
			}
			if s.Acked(announcing(wire.CapResend|wire.CapConfirm), start.Add(time.Minute)); s.Confirming() != Confirms {
				t.Error("it has answered at last, and that does not count")
			}
		})
	}
}

func TestWhoIsAskedAnnouncesItBeforeAllElse(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newConfirmer(now)
	s.Acknowledge(Ack{Incarnation: 9, UpTo: at(5), Due: now})
	s.Load(small(1), now)
	question := announcing(wire.CapResend | wire.CapConfirm)
	question.Flags = wire.FlagAckNow
	if !s.Acked(question, now) {
		t.Error("there is nothing to write")
	}
	s.Next(now)
	if know, ok := s.Pending().Header.Announced(); !ok || !know.Has(wire.CapConfirm) {
		t.Errorf("it writes %+v", s.Pending().Header)
	}
	s.Took(now)
	s.Next(now)
	if h := s.Pending().Header; h.Count != 1 || h.Ack != at(5) {
		t.Errorf("then it writes %+v", h)
	}
}

func TestAnAcknowledgmentIsAskedForOncePerTripAndWithTheLast(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newConfirmer(now)
	write := func(more bool) (flags uint8) {
		s.Load(awaitedLoad(1), now)
		s.Queued(more)
		return s.writes(now)[0].Flags & (wire.FlagConfirm | wire.FlagAckNow)
	}
	const asks = wire.FlagConfirm | wire.FlagAckNow
	for i, want := range []uint8{asks, wire.FlagConfirm, wire.FlagConfirm} {
		if got := write(true); got != want {
			t.Errorf("frame %d, with more behind it: flags %#x, want %#x", i, got, want)
		}
	}
	s.Acked(report(at(2), at(4), at(4)), now)
	if got := write(true); got != asks {
		t.Errorf("after the answer: flags %#x, want %#x", got, asks)
	}
	if got := write(false); got != asks {
		t.Errorf("the last: flags %#x, want %#x", got, asks)
	}
	s.Load(small(1), now)
	if got := s.writes(now)[0].Flags; got&asks != 0 {
		t.Errorf("one that nobody waits for has the flags %#x", got)
	}
}

func TestAPeerIsAskedAsLongAsSomebodyWaits(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newConfirmer(now)
	s.Load(awaitedLoad(1), now)
	s.Await(2)
	s.writes(now)
	s.Acked(report(at(1), at(2), at(2)), now) // it has come, and is not taken
	for range 3 {
		_, next := s.Next(now)
		if d := next.Sub(now); d <= 0 || d > probeInterval+offBeat {
			t.Fatalf("it sleeps for %v", d)
		}
		now = now.Add(probeInterval + offBeat)
		if step, _ := s.Next(now); step != Write || s.Pending().Header.Flags&wire.FlagAckNow == 0 {
			t.Fatalf("step %v, %+v: want that it asks", step, s.Pending().Header)
		}
		s.Took(now)
		s.Acked(report(at(1), at(2), at(2)), now)
	}
	for end := now.Add(testPatience + 10*time.Second); now.Before(end) && s.KeptFrom() == at(1); now = now.Add(10 * time.Millisecond) {
		s.Look(now)
		if step, _ := s.Next(now); step == Write {
			s.Took(now)
		}
	}
	if s.KeptFrom() != at(2) {
		t.Error("a peer that says nothing more is waited for on and on")
	}
}

// takeAll has the program take all that leaves the stream, of which some records are refused.
func takeAll(r *Receiver, effects []Effect, refused ...uint64) (when AckWhen) {
	for _, d := range delivered(effects) {
		for n := d.End.Seq - uint64(d.Count); n < d.End.Seq; n++ {
			if slices.Contains(refused, n) {
				r.Undelivered(d.Place, n, RefusedUndecodable)
			}
		}
		when = r.Taken(d.Place, d.Count, 0)
	}
	return when
}

func TestWhatWasRefusedIsNotAcknowledgedWithoutSayingSo(t *testing.T) {
	now := time.Unix(1000, 0)
	r := newTestReceiver()
	send := func(seq uint64, flags uint8, kept wire.Position, refused ...uint64) Ack {
		f := smallFrame(1, seq, 0, wire.FlagResend|flags, now)
		f.Kept = kept
		takeAll(r, r.Arrive(f), refused...)
		return r.Ack(false, time.Time{})
	}
	for _, c := range []struct {
		name       string
		ack        Ack
		upTo, done wire.Position
		named      []wire.Undelivered
	}{
		{"nobody waits", send(1, 0, at(1), 1), at(2), at(2), nil},
		{"it was delivered", send(2, wire.FlagConfirm, at(1)), at(3), at(3), nil},
		{"it was refused", send(3, wire.FlagConfirm, at(1), 3), at(3), at(4), []wire.Undelivered{{From: 3, Count: 1, Why: wire.WhyUndecodable}}},
		{"so was the next", send(4, wire.FlagConfirm, at(3), 4), at(3), at(5), []wire.Undelivered{{From: 3, Count: 2, Why: wire.WhyUndecodable}}},
		{"another is delivered", send(5, wire.FlagConfirm, at(3)), at(3), at(6), []wire.Undelivered{{From: 3, Count: 2, Why: wire.WhyUndecodable}}},
		{"the peer has heard it", send(6, wire.FlagConfirm, at(6)), at(7), at(7), nil},
	} {
		if c.ack.UpTo != c.upTo || c.ack.Done != c.done || !slices.Equal(c.ack.Undelivered, c.named) {
			t.Errorf("%s: acknowledged are %v and, with %v, %v; want %v and, with %v, %v",
				c.name, c.ack.UpTo, c.ack.Undelivered, c.ack.Done, c.upTo, c.named, c.done)
		}
	}
}

func TestWhatWasRefusedIsNamedBeforeAnythingElseIsWritten(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newConfirmer(now)
	named := []wire.Undelivered{{From: 3, Count: 1, Why: wire.WhyTooLarge}}
	s.Acknowledge(Ack{Incarnation: 9, UpTo: at(3), Done: at(5), Undelivered: named, Due: now})
	s.Load(small(1), now)
	s.Next(now)
	if f := s.Pending(); !f.Bare || !slices.Equal(f.Names, named) || f.Header.Ack != at(5) || f.Header.Flags&wire.FlagConfirm == 0 {
		t.Errorf("it writes %+v", f)
	}
	s.Took(now)
	s.Next(now)
	if f := s.Pending(); f.Bare || f.Names != nil || f.Header.Ack != at(3) || f.Header.Flags&wire.FlagConfirm != 0 {
		t.Errorf("then it writes %+v", f)
	}
}

func TestWhatOneFrameCannotNameIsNamedByTheNext(t *testing.T) {
	now := time.Unix(1000, 0)
	const count = 2*wire.UndeliveredMost + 10
	r := newTestReceiver()
	for _, seq := range []uint64{2, 1} { // a large record may be refused by its first piece
		r.undelivered.add(seq, 1, []wire.Why{0, wire.WhyTooLarge, wire.WhyMalformed}[seq])
	}
	for n := uint64(4); n <= 2*count; n += 2 {
		r.undelivered.add(n, 1, wire.WhyUndecodable)
	}
	r.want = at(2*count + 1)
	named, upTo := 0, at(1)
	for range 3 {
		a := r.Ack(false, now)
		if a.UpTo != upTo || len(a.Undelivered) > wire.UndeliveredMost {
			t.Fatalf("up to %v with %d named, want up to %v", a.UpTo, len(a.Undelivered), upTo)
		}
		for i, u := range a.Undelivered {
			if !(wire.Position{Seq: u.From}).Before(a.Done) || i > 0 && u.From <= a.Undelivered[i-1].From {
				t.Errorf("%v is named up to %v, behind the one before: %v", u, a.Done, i)
			}
		}
		named += len(a.Undelivered)
		// Whether or not it is named now, no record that was delivered is.
		for n := uint64(3); n < a.Done.Seq; n += 2 {
			if slices.ContainsFunc(a.Undelivered, func(u wire.Undelivered) bool { return n-u.From < uint64(u.Count) }) {
				t.Fatalf("record %d was delivered, and is named", n)
			}
		}
		r.undelivered.heard(a.Done.Seq)
		if upTo = a.Done; len(r.undelivered) > 0 && r.undelivered[0].From != upTo.Seq {
			t.Fatalf("all before %v is told, and the next to be named is %v", upTo, r.undelivered[0])
		}
	}
	if named != count+1 || len(r.undelivered) > 0 || upTo != at(2*count+1) {
		t.Errorf("%d of %d were named, up to %v, and %d are left", named, count+1, upTo, len(r.undelivered))
	}
}

func TestMoreThanIsNotedMayHaveBeenDelivered(t *testing.T) {
	var u undelivered
	for n := range uint64(2 * undeliveredMost) {
		u.add(1+2*n, 1, wire.WhyTooLarge)
	}
	if len(u) != undeliveredMost {
		t.Fatalf("%d are noted", len(u))
	}
	for n := uint64(1); n < 4*undeliveredMost; n++ {
		i := slices.IndexFunc(u, func(u wire.Undelivered) bool { return n-u.From < uint64(u.Count) })
		switch {
		case i < 0 && n%2 == 1:
			t.Errorf("record %d is not named", n)
		case i >= 0 && n%2 == 0 && u[i].Why != wire.WhyUnknown:
			t.Errorf("record %d was delivered, and is named %v", n, u[i].Why)
		}
	}
}

func TestAnAcknowledgmentThatIsWaitedForIsDueWhenWhatItIsAboutIsTaken(t *testing.T) {
	now := time.Unix(1000, 0)
	r := newTestReceiver()
	const asks = wire.FlagResend | wire.FlagConfirm | wire.FlagAckNow
	var all []Effect
	for seq, flags := range []uint8{asks, wire.FlagResend | wire.FlagConfirm, asks, wire.FlagResend | wire.FlagConfirm} {
		f := smallFrame(1, uint64(seq+1), 0, flags, now)
		f.Kept = at(1)
		all = append(all, r.Arrive(f)...)
	}
	var got []AckWhen
	for _, d := range delivered(all) {
		got = append(got, r.Taken(d.Place, d.Count, 0))
	}
	if want := []AckWhen{AckPrompt, AckSoon, AckPrompt, AckSoon}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// While it is not known whether the peer resends, nothing can be named: then it is told what comes before, once.
func TestWhatCannotBeNamedIsNotWrittenOnAndOn(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newConfirmer(now)
	s.estrange()
	s.Acknowledge(Ack{Incarnation: 9, UpTo: at(3), Done: at(5), Undelivered: []wire.Undelivered{{From: 3, Count: 1}}, Due: now})
	for n := 0; ; n++ {
		if step, _ := s.Next(now); step != Write {
			break
		}
		if f := s.Pending(); f.Names != nil || f.Header.Flags&wire.FlagConfirm != 0 || n == 3 {
			t.Fatalf("it writes %+v", f)
		}
		s.Took(now)
	}
}

func TestWhatAnEarlierLifeAskedIsNotToldTheNext(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newConfirmer(now)
	s.Acknowledge(Ack{Incarnation: 9, UpTo: at(3), Done: at(5), Undelivered: []wire.Undelivered{{From: 3, Count: 1}}, Due: now})
	s.PeerBegan(false, now)
	s.Acked(announcing(wire.CapResend), now) // it is of an earlier version
	for step, _ := s.Next(now); step == Write; step, _ = s.Next(now) {
		if f := s.Pending(); f.Header.Flags&wire.FlagConfirm != 0 {
			t.Fatalf("it writes %+v", f)
		}
		s.Took(now)
	}
}

func TestAPeerThatConfirmsNoMoreIsNotAskedAgain(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newConfirmer(now)
	s.Load(awaitedLoad(1), now)
	s.writes(now)
	s.Acked(announcing(wire.CapResend), now)
	s.Acked(report(at(1), at(1), at(2)), now) // it misses what was written
	for n, h := range s.writes(now) {
		if h.Flags&wire.FlagConfirm != 0 {
			t.Errorf("frame %d has the flags %#x", n, h.Flags)
		}
	}
	if s.Books.Resent != 1 {
		t.Errorf("%d frames were written again, want 1", s.Books.Resent)
	}
}

// When a life returns that another had replaced, nobody has noted what was taken or refused meanwhile.
func TestOfALifeThatReturnsNothingIsSaidToBeDelivered(t *testing.T) {
	now := time.Unix(1000, 0)
	r := newTestReceiver()
	send := func(life, seq uint64, kept wire.Position) []Delivery {
		f := smallFrame(life, seq, 0, wire.FlagResend|wire.FlagConfirm, now)
		f.Kept = kept
		r.Overdue(now)
		return delivered(r.Arrive(f))
	}
	waits := send(1, 1, at(1)) // not taken yet
	now = now.Add(time.Second)
	send(2, 1, at(1))
	for _, d := range waits {
		r.Undelivered(d.Place, 1, RefusedUndecodable)
		r.Taken(d.Place, 1, 0)
	}
	var back []Delivery
	for range 4 {
		now = now.Add(returnTime)
		back = append(back, send(1, 2, at(1))...)
	}
	for _, d := range back {
		r.Taken(d.Place, 1, 0)
	}
	a := r.Ack(false, now)
	if want := []wire.Undelivered{{From: 1, Count: 1}}; a.Incarnation != 1 || a.Done != at(3) || !slices.Equal(a.Undelivered, want) || at(1).Before(a.UpTo) {
		t.Errorf("it is told %+v, want that nobody knows of 1", a)
	}
	send(1, 3, at(3))
	if a := r.Ack(false, now); a.Undelivered != nil {
		t.Errorf("when it has heard that, it is told %v", a.Undelivered)
	}
}

// Rows that are too long to be told are told from where somebody may still wait.
func TestOfALongRowTheEndIsTold(t *testing.T) {
	const most = 1<<32 - 1
	for _, c := range []struct {
		name string
		add  [][2]uint64 // from, count
		want []wire.Undelivered
	}{
		{"one row", [][2]uint64{{1, most + 10}}, []wire.Undelivered{{From: 11, Count: most}}},
		{"two in a row", [][2]uint64{{1, most}, {most + 1, 10}}, []wire.Undelivered{{From: 11, Count: most}}},
		{"two that are not", [][2]uint64{{1, 1}, {3, 1}}, []wire.Undelivered{{From: 1, Count: 1}, {From: 3, Count: 1}}},
	} {
		var u undelivered
		for _, row := range c.add {
			u.add(row[0], row[1], wire.WhyUnknown)
		}
		if !slices.Equal(u, c.want) {
			t.Errorf("%s: %v, want %v", c.name, u, c.want)
		}
	}
	var u undelivered
	for n := range uint64(undeliveredMost) {
		u.add(1+2*n, 1, wire.WhyTooLarge)
	}
	const late = 1 << 40
	u.add(late, 1, wire.WhyTooLarge)
	if last := u[len(u)-1]; last.From+uint64(last.Count) != late+1 {
		t.Errorf("the last is %v, want that it ends with %d", last, uint64(late))
	}
}

// While a frame that names records is being written, more is taken behind the first of them: that is still due.
func TestWhatIsTakenWhileRecordsAreNamedStaysDue(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newConfirmer(now)
	named := []wire.Undelivered{{From: 3, Count: 1, Why: wire.WhyTooLarge}}
	s.Acknowledge(Ack{Incarnation: 9, UpTo: at(3), Done: at(5), Wanted: at(9), Held: at(9), Undelivered: named, Due: now})
	s.Next(now)
	if f := s.Pending(); f.Header.Ack != at(5) {
		t.Fatalf("it writes %+v", f)
	}
	s.Acknowledge(Ack{Incarnation: 9, UpTo: at(3), Done: at(9), Wanted: at(9), Held: at(9), Undelivered: named, Due: now})
	s.Took(now)
	if step, until := s.Next(now); step != Write || s.Pending().Header.Ack != at(9) {
		t.Errorf("that more was taken is not told: step %v, until %v, %+v", step, until, s.Pending().Header)
	}
}

// A frame that comes again does not make an acknowledgment forgotten that was asked for with a later one.
func TestARepeatedFrameDoesNotPutOffAnAcknowledgment(t *testing.T) {
	now := time.Unix(1000, 0)
	r := newTestReceiver()
	const asks = wire.FlagResend | wire.FlagConfirm | wire.FlagAckNow
	var all []Effect
	for _, seq := range []uint64{1, 2, 1} {
		f := smallFrame(1, seq, 0, asks, now)
		f.Kept = at(1)
		all = append(all, r.Arrive(f)...)
	}
	ds := delivered(all)
	if len(ds) != 2 {
		t.Fatalf("%d deliveries", len(ds))
	}
	for i, d := range ds {
		if got := r.Taken(d.Place, d.Count, 0); got != AckPrompt {
			t.Errorf("delivery %d: %v, want AckPrompt", i, got)
		}
	}
}

// A peer that is done with a record and says that it does not know what became of it has not confirmed it.
func TestWhatAPeerDoesNotKnowOfIsUnconfirmed(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, c := range []struct {
		name                   string
		from, count            uint64
		confirmed, unconfirmed uint64
	}{
		{"one of a frame", 2, 1, 5, 1},
		{"across frames", 3, 2, 4, 2},
		{"all, and more", 1, 100, 0, 6},
		{"none of these", 7, 3, 6, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newConfirmer(now)
			for range 2 {
				s.Load(small(3), now)
				s.writes(now)
			}
			for range 2 { // it may say so again
				s.Unknown(c.from, c.count)
			}
			s.Acked(report(at(7), at(7), at(7)), now)
			if s.Books.Confirmed != c.confirmed || s.Books.Unconfirmed != c.unconfirmed {
				t.Errorf("got %+v, want %d confirmed and %d not", s.Books, c.confirmed, c.unconfirmed)
			}
		})
	}
}
