package stream

import (
	"slices"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// resent is a frame of one record, of a peer that keeps what is from a place on.
func resent(seq uint64, size int, kept wire.Position, came time.Time) Frame {
	f := smallFrame(1, seq, size, wire.FlagResend, came)
	f.Kept = kept
	return f
}

func newTestReceiver() *Receiver {
	return NewReceiver(&Limits{Window: 256 << 10, MaxMessage: 1 << 20, Resends: true})
}

// takes is how many records leave the stream.
func takes(effects []Effect) (records int) {
	for _, d := range delivered(effects) {
		records += d.Count
	}
	return records
}

func TestWhatIsMissingIsGivenUpWhenItsSenderKeepsItNoMore(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, c := range []struct {
		name string
		then Frame
		want int // records that leave with it
		lost uint64
	}{
		{"all of it is kept", resent(6, 0, at(2), now), 0, 0},
		{"a part of it is", resent(6, 0, at(3), now), 0, 1},
		{"none of it is", resent(6, 0, at(5), now), 2, 3},
		{"what has come is delivered all the same", resent(6, 0, at(6), now), 2, 3},
		{"the rest of a record is", resent(6, 0, at(4, 9), now), 2, 3},
		{"it has come", resent(2, 0, at(2), now), 1, 0},
		{"nothing is said of it", smallFrame(1, 6, 0, 0, now), 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newTestReceiver()
			r.Arrive(resent(1, 0, at(1), now))
			r.Arrive(resent(5, 0, at(1), now)) // 2, 3 and 4 are missing
			for d := time.Duration(0); d < time.Hour; d += time.Second {
				if e := r.Overdue(now.Add(d)); takes(e) > 0 || r.Books.Lost > 0 {
					t.Fatalf("it is given up after %v", d)
				}
			}
			if got := takes(r.Arrive(c.then)); got != c.want || r.Books.Lost != c.lost {
				t.Errorf("%d leave, and %d are lost; want %d, %d", got, r.Books.Lost, c.want, c.lost)
			}
		})
	}
}

func TestAPeerIsToldWhatIsMissingMoreAndMoreSeldom(t *testing.T) {
	start := time.Unix(1000, 0)
	r := newTestReceiver()
	r.Arrive(resent(1, 0, at(1), start))
	r.Arrive(resent(5, 0, at(1), start))
	if a := r.Ack(false, start); a.Wanted != at(2) || a.Held != at(2) {
		t.Errorf("at once it is told %+v: it may still be on its way", a)
	}
	var told []int
	for ms := range 2000 {
		now := start.Add(time.Duration(ms) * time.Millisecond)
		for _, e := range r.Overdue(now) {
			if a := r.Ack(false, now); e.Do == AckNow && a.Wanted == at(2) && a.Held == at(5) {
				told = append(told, ms)
			}
		}
	}
	if want := []int{25, 75, 175, 375, 775, 1575}; !slices.Equal(told, want) {
		t.Errorf("it is told after %d ms, want %d", told, want)
	}
	r.Arrive(resent(2, 0, at(1), start))
	r.Arrive(resent(3, 0, at(1), start))
	r.Arrive(resent(4, 0, at(1), start))
	if a := r.Ack(false, start); a.Wanted != at(6) || a.Held != at(6) || !r.Deadline().IsZero() {
		t.Errorf("when all has come it is told %+v, and the next is due at %v", a, r.Deadline())
	}
}

func TestAPeerThatAsksIsToldAtOnceWhatIsMissing(t *testing.T) {
	now := time.Unix(1000, 0)
	r := newTestReceiver()
	r.Arrive(resent(1, 0, at(1), now))
	ask := bareFrame(1, 4, wire.FlagResend|wire.FlagAckNow, now)
	ask.Kept = at(1)
	effects := r.Arrive(ask)
	if !slices.ContainsFunc(effects, func(e Effect) bool { return e.Do == AckNow }) {
		t.Error("it is not told at once")
	}
	if a := r.Ack(false, now); a.Wanted != at(2) || a.Held != at(4) {
		t.Errorf("it is told %+v: the last two are missing", a)
	}
}

func TestWhatDoesNotFitTheWindowIsHeldNoMoreAndAskedFor(t *testing.T) {
	now := time.Unix(1000, 0)
	r := newTestReceiver()
	r.Arrive(resent(1, 0, at(1), now))
	const size = 30 << 10
	for seq := uint64(3); seq < 20; seq++ { // 2 is missing
		r.Arrive(resent(seq, size, at(1), now))
		if r.Held() > r.limits.Window {
			t.Fatalf("%d bytes are held", r.Held())
		}
	}
	got := takes(r.Arrive(resent(2, 0, at(1), now)))
	if got < 5 || r.Books.Lost != 0 || r.State() != Gap {
		t.Errorf("%d records leave, %d are lost, in state %d", got, r.Books.Lost, r.State())
	}
	r.Overdue(now.Add(askAfter))
	if a := r.Ack(false, now); a.Wanted != at(uint64(2+got)) || !a.Wanted.Before(a.Held) {
		t.Errorf("the peer is told %+v", a)
	}
}

// What it could not hold would be sent again, but not by a sender that hears only now that its peer has begun anew: it keeps nothing then.
func TestAllThatASenderMayHaveOnItsWayIsHeld(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, frame := range []int{1 << 10, 8 << 10, 64 << 10} {
		r := newTestReceiver()
		r.Arrive(resent(1, 0, at(1), now))
		seq, size := uint64(3), frame-wire.HeaderSize-wire.RecordSize // 2 is missing
		for bytes := frame; bytes <= r.limits.Window; bytes += frame {
			r.Arrive(resent(seq, size, at(1), now))
			seq++
		}
		if got := takes(r.Arrive(resent(seq, 0, at(seq), now))); got != int(seq-2) || r.Books.Lost != 1 {
			t.Errorf("of a window of frames of %d bytes behind one that is missing, %d records are taken, and %d are lost; want %d and 1",
				frame, got, r.Books.Lost, seq-2)
		}
	}
}

func TestSmallFramesAreHeldInABoundedNumber(t *testing.T) {
	now := time.Unix(1000, 0)
	r := newTestReceiver()
	r.Arrive(resent(1, 0, at(1), now))
	for seq := uint64(3); seq < 5000; seq++ { // 2 is missing
		r.Arrive(resent(seq, 0, at(1), now))
	}
	if most := r.limits.Window / heldCost; len(r.held) != most {
		t.Errorf("%d frames are held, want %d", len(r.held), most)
	}
}

func TestWhatHasComeBeforeIsWithoutEffect(t *testing.T) {
	now := time.Unix(1000, 0)
	r := newTestReceiver()
	for range 3 {
		effects := r.Arrive(resent(1, 0, at(1), now))
		effects = append(slices.Clone(effects), r.Arrive(resent(3, 0, at(1), now))...) // it is held
		if got := refusals(effects); len(got) > 0 {
			t.Errorf("it is refused as %v", got)
		}
	}
	if got := takes(r.Arrive(resent(2, 0, at(1), now))); got != 2 || r.Books.Lost != 0 || r.Books.Repeated != 4 || r.Held() != 0 {
		t.Errorf("%d records leave at last, %+v, %d bytes held; want 2, 4 frames repeated", got, r.Books, r.Held())
	}
}

func TestTheFirstFrameOfAPeerThatResendsTellsWhatCanStillCome(t *testing.T) {
	now := time.Unix(1000, 0)
	announce := func(seq uint64, kept wire.Position) Frame {
		f := smallFrame(1, seq, 0, 0, now)
		f.Announce(wire.CapResend)
		f.AnnounceKept(kept)
		return f
	}
	for _, c := range []struct {
		name   string
		first  Frame
		want   wire.Position
		missed uint64
	}{
		{"all since the first", resent(5, 0, at(1), now), at(1), 0},
		{"some", resent(5, 0, at(3), now), at(3), 2},
		{"nothing", resent(5, 0, at(5), now), at(6), 4},
		{"the rest of a record", resent(5, 0, at(3, 7), now), at(4), 3},
		{"one who announces it", announce(5, at(2)), at(2), 1},
		{"who announces that it keeps nothing", announce(5, at(5)), at(6), 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newTestReceiver()
			r.Arrive(c.first)
			if r.want != c.want || r.Books.Missed != c.missed || r.Books.Lost != 0 {
				t.Errorf("it wants %v, %+v; want %v, %d missed", r.want, r.Books, c.want, c.missed)
			}
			r.Arrive(resent(6, 0, at(6), now))
			if r.Books.Missed != 4 || r.Books.Lost != 0 {
				t.Errorf("what was numbered before the first is given up as %+v, want 4 missed", r.Books)
			}
		})
	}
}

func TestWhatWasNumberedBeforeTheFirstIsMissedAlsoWhenAnotherLifeBegins(t *testing.T) {
	now := time.Unix(1000, 0)
	r := newTestReceiver()
	check := func(when string, missed, lost uint64) {
		t.Helper()
		if r.Books.Missed != missed || r.Books.Lost != lost {
			t.Errorf("%s: %d missed, %d lost; want %d, %d", when, r.Books.Missed, r.Books.Lost, missed, lost)
		}
	}
	r.Arrive(resent(5, 0, at(2), now))
	check("2 to 4 may still come", 1, 0)
	r.Arrive(bareFrame(2, 1, 0, now.Add(HoldTime)))
	check("another life begins, and 5 was held", 4, 1)
	for i := range uint64(6) {
		r.Arrive(resent(6+i, 0, at(2), now.Add(HoldTime+time.Duration(i)*time.Second)))
	}
	if r.incarnation != 1 {
		t.Fatalf("life %d is heard, want 1 again", r.incarnation)
	}
	check("it returns", 1, 0)
	r.Arrive(resent(12, 0, at(6), now.Add(10*time.Second)))
	check("it keeps no more of it", 4, 1)
}

func TestALifeThatReturnsHasLostNothingThatItStillKeeps(t *testing.T) {
	now := time.Unix(1000, 0)
	r := newTestReceiver()
	r.Arrive(resent(1, 0, at(1), now))
	r.Arrive(resent(4, 0, at(1), now))
	other := bareFrame(2, 1, 0, now.Add(HoldTime))
	if r.Arrive(other); r.incarnation != 2 || r.Books.Lost != 3 || r.Held() != 0 {
		t.Fatalf("life %d is heard, %d lost, %d bytes held; want 2, 3, 0", r.incarnation, r.Books.Lost, r.Held())
	}
	got := 0
	for i := range uint64(6) {
		got += takes(r.Arrive(resent(2+i, 0, at(1), now.Add(HoldTime+time.Duration(i)*time.Second))))
	}
	for seq := uint64(2); seq < 8; seq++ {
		got += takes(r.Arrive(resent(seq, 0, at(1), now.Add(10*time.Second))))
	}
	if r.incarnation != 1 || r.Books.Lost != 0 || got != 6 {
		t.Errorf("life %d is heard, %d lost, %d delivered", r.incarnation, r.Books.Lost, got)
	}
}
