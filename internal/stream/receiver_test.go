package stream

import (
	"slices"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// pieceFrame is one piece of a record of a size, from offset on.
func pieceFrame(life, seq uint64, offset, end, size int, came time.Time) Frame {
	f := Frame{
		Header: wire.Header{Flags: wire.FlagPiece, Incarnation: life, Start: at(seq, uint32(offset)), Count: 1},
		Tail:   make([]byte, end-offset), Came: came,
	}
	if offset == 0 {
		f.Body = make([]byte, wire.RecordSize)
		wire.PutRecordHeader(f.Body, int64(seq), 0, size)
	}
	return f
}

func TestAMessageThatIsTooLargeHasOneFate(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, c := range []struct {
		name string
		rest func(r *Receiver) []Effect
	}{
		{"it comes whole", func(r *Receiver) []Effect { return r.Arrive(pieceFrame(1, 1, 100, 200, 200, now)) }},
		{"the rest is lost", func(r *Receiver) []Effect {
			r.Arrive(smallFrame(1, 2, 0, 0, now))
			return r.Overdue(now.Add(HoldTime))
		}},
		{"the peer begins anew", func(r *Receiver) []Effect { return r.Arrive(bareFrame(2, 1, 0, now.Add(HoldTime))) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReceiver(&Limits{Window: 1 << 20, MaxMessage: 150})
			refused := 0
			for _, e := range r.Arrive(pieceFrame(1, 1, 0, 100, 200, now)) {
				if e.Do == Refused && e.Refusal == RefusedTooLarge {
					refused++
				}
			}
			c.rest(r)
			if refused != 1 || r.Books.Lost != 0 {
				t.Errorf("it is refused %d times, and %d messages are lost; want 1 and 0", refused, r.Books.Lost)
			}
		})
	}
}

func TestAcknowledgmentsDoNotGoBack(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, c := range []struct {
		name       string
		maxMessage int
		next       func(r *Receiver, first Delivery) (late Place, left int)
	}{
		{"a piece is taken after what comes behind a message that is too large", 150, func(r *Receiver, first Delivery) (Place, int) {
			r.Arrive(pieceFrame(1, 1, 100, 200, 200, now)) // no record waits
			r.Arrive(smallFrame(1, 2, 0, 0, now))
			return first.Place, 0
		}},
		{"nothing yet is taken of a message whose first piece is", 1 << 20, func(r *Receiver, first Delivery) (Place, int) {
			r.Taken(first.Place, 0, 0)
			return delivered(r.Arrive(pieceFrame(1, 1, 100, 200, 200, now)))[0].Place, 1
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReceiver(&Limits{Window: 1 << 20, MaxMessage: c.maxMessage})
			first := delivered(r.Arrive(pieceFrame(1, 1, 0, 100, 200, now)))[0]
			late, left := c.next(r, first)
			told := r.Ack(false, now).UpTo
			if r.Taken(late, 0, left); r.Ack(false, now).UpTo.Before(told) {
				t.Errorf("%v after %v", r.Ack(false, now).UpTo, told)
			}
		})
	}
}

// refusals are those among effects.
func refusals(effects []Effect) (all []Refusal) {
	for _, e := range effects {
		if e.Do == Refused {
			all = append(all, e.Refusal)
		}
	}
	return all
}

func TestAFrameThatIsHeldIsNotHeldTwice(t *testing.T) {
	now := time.Unix(1000, 0)
	r := NewReceiver(&Limits{Window: 1 << 20, MaxMessage: 1 << 20})
	r.Arrive(smallFrame(1, 1, 0, 0, now))
	r.Arrive(smallFrame(1, 3, 0, 0, now))
	held := r.Held()
	if got := refusals(r.Arrive(smallFrame(1, 3, 0, 0, now))); !slices.Equal(got, []Refusal{RefusedSequence}) || r.Held() != held {
		t.Errorf("the second is refused as %v, and %d bytes are held instead of %d", got, r.Held(), held)
	}
}

func TestAPeerThatDoesNotKeepToItsWindowIsRefused(t *testing.T) {
	now := time.Unix(1000, 0)
	limits := Limits{Window: 256 << 10, MaxMessage: 1 << 20}
	most := 2*limits.Window + wire.MaxFrame
	for _, c := range []struct {
		name  string
		lives uint64
		most  int
	}{
		{"in one life", 1, most},
		{"in any number of lives", 40, (rememberedLives + 1) * most},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReceiver(&limits)
			refused := 0
			for life := uint64(1); life <= c.lives; life++ {
				for seq := uint64(1); seq < 20; seq++ {
					came := now.Add(time.Duration(life) * HoldTime)
					for _, why := range refusals(r.Arrive(smallFrame(life, seq, 100<<10, 0, came))) {
						if why == RefusedWindow {
							refused++
						}
					}
				}
			}
			if refused == 0 || r.Backlog() > c.most || r.Backlog() < c.most-200<<10 {
				t.Errorf("%d bytes wait, of at most %d, and %d frames are refused", r.Backlog(), c.most, refused)
			}
		})
	}
}

func TestWhatWasWrittenBeforeAnybodyListenedIsMissed(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, c := range []struct {
		name   string
		first  Frame
		missed uint64
	}{
		{"the first record", smallFrame(1, 1, 0, 0, now), 0},
		{"a later one", smallFrame(1, 5, 0, 0, now), 4},
		{"no record", bareFrame(1, 5, 0, now), 4},
		{"the rest of one", pieceFrame(1, 5, 100, 200, 0, now), 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReceiver(&Limits{Window: 1 << 20, MaxMessage: 1 << 20})
			r.Arrive(c.first)
			if r.Books.Missed != c.missed || r.Books.Lost != 0 || r.Held() != 0 {
				t.Errorf("%d missed, %d lost, %d bytes held; want %d, 0, 0", r.Books.Missed, r.Books.Lost, r.Held(), c.missed)
			}
		})
	}
}

func TestAThirdLifeIsNotTakenForTheSecond(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, c := range []struct {
		name  string
		after time.Duration
	}{{"soon", HoldTime / 2}, {"when nobody has looked for a while", 2 * HoldTime}} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReceiver(&Limits{Window: 1 << 20, MaxMessage: 1 << 20})
			var lives []int
			take := func(effects []Effect) {
				for _, d := range delivered(effects) {
					lives = append(lives, d.Life)
				}
			}
			take(r.Arrive(smallFrame(1, 1, 0, 0, now)))
			take(r.Arrive(smallFrame(2, 1, 0, 0, now)))
			take(r.Arrive(smallFrame(3, 1, 0, 0, now.Add(c.after))))
			take(r.Overdue(now.Add(4 * HoldTime)))
			if !slices.Equal(lives, []int{1, 2, 3}) || r.Books.Restarts != 2 {
				t.Errorf("messages of the lives %v are delivered, after %d restarts", lives, r.Books.Restarts)
			}
		})
	}
}

func TestTheLivingOneOfTwoLivesIsHeardAtLast(t *testing.T) {
	now := time.Unix(1000, 0)
	// A frame of a life, and when it comes.
	type frame struct {
		life, seq uint64
		at        time.Duration
	}
	const s = time.Second
	for _, c := range []struct {
		name      string
		frames    []frame
		delivered []int // how many records have left after each frame
		present   uint64
		lost      uint64
		restarts  uint64
	}{
		{"a frame of the old life comes for the first time after the new one", []frame{
			{2, 1, 0}, {2, 2, s}, {1, 7, 2 * s}, {2, 3, 3 * s}, {2, 4, 4 * s}, {2, 5, 5 * s}, {2, 6, 5*s + 1},
		}, []int{1, 2, 3, 3, 3, 3, 3}, 2, 2, 1},
		{"it comes again where its stream stood", []frame{
			{2, 1, 0}, {1, 7, 2 * s}, {2, 2, 3 * s}, {2, 1, 5 * s}, {2, 2, 5*s + 1}, {2, 3, 5*s + 2},
		}, []int{1, 2, 2, 2, 3, 4}, 2, 0, 1},
		{"what a life that is over has left comes within moments", []frame{
			{1, 1, 0}, {2, 1, 2 * s}, {1, 2, 12 * s}, {1, 3, 12*s + returnTime - 1},
		}, []int{1, 2, 2, 2}, 2, 0, 1},
		{"both speak", []frame{
			{1, 1, 0}, {2, 1, 2 * s}, {1, 2, 3 * s}, {1, 3, 4 * s}, {2, 2, 4*s + 1}, {1, 4, 5 * s}, {1, 5, 6 * s}, {2, 3, 6*s + 1}, {1, 6, 8 * s},
		}, []int{1, 2, 2, 2, 3, 3, 3, 4, 4}, 2, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReceiver(&Limits{Window: 1 << 20, MaxMessage: 1 << 20})
			count := 0
			for i, f := range c.frames {
				came := now.Add(f.at)
				count += len(delivered(r.Overdue(came)))
				if count += len(delivered(r.Arrive(smallFrame(f.life, f.seq, 0, 0, came)))); count != c.delivered[i] {
					t.Errorf("%d records are delivered after frame %d, want %d", count, i, c.delivered[i])
				}
			}
			r.Overdue(now.Add(c.frames[len(c.frames)-1].at + HoldTime))
			if r.incarnation != c.present || r.Books.Lost != c.lost || r.Books.Restarts != c.restarts {
				t.Errorf("life %d is heard, %d are lost, %d restarts; want %d, %d, %d",
					r.incarnation, r.Books.Lost, r.Books.Restarts, c.present, c.lost, c.restarts)
			}
		})
	}
}

func TestWhatWasRefusedOfTheLivingLifeIsLost(t *testing.T) {
	now := time.Unix(1000, 0)
	r := NewReceiver(&Limits{Window: 1 << 20, MaxMessage: 1 << 20})
	r.Arrive(smallFrame(2, 1, 0, 0, now))
	r.Arrive(smallFrame(1, 1, 0, 0, now.Add(HoldTime)))
	refused := 0
	for seq := uint64(2); r.incarnation != 2 && seq < 20; seq++ {
		came := now.Add(time.Duration(seq) * returnTime / 4)
		effects := r.Arrive(smallFrame(2, seq, 0, 0, came))
		refused += len(refusals(effects))
		if i := slices.IndexFunc(effects, func(e Effect) bool { return e.Do == NewLife }); i >= 0 && !effects[i].Returned {
			t.Error("it is taken for another life")
		}
	}
	r.Overdue(now.Add(time.Minute))
	if refused == 0 || r.Books.Lost != uint64(refused) || r.Books.Missed != 0 || r.want != at(uint64(3+refused)) {
		t.Errorf("%d are refused, %d lost, %d missed; the stream stands at %v", refused, r.Books.Lost, r.Books.Missed, r.want)
	}
}
