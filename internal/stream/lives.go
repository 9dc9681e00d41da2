package stream

import (
	"errors"
	"slices"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

const (
	// rememberedLives is how many earlier lives of a peer are told apart from a new one.
	rememberedLives = 8
	// returnTime is for how long frames of an earlier life have to come, and none of the present one, until that life is
	// taken for the living one after all. What a life that is over has left on the way comes within moments.
	returnTime = 2 * time.Second
)

// An earlierLife is one that another has replaced.
type earlierLife struct {
	incarnation  uint64
	want, first  wire.Position // where its stream stood, and began to be heard
	resends      bool
	confirms     bool
	lost, missed uint64    // counted as that, though it may still be sent again
	came         time.Time // the first of its frames that came while the present life was silent
}

// arrive is Arrive for a frame of any life.
func (r *Receiver) arrive(f *Frame) {
	if f.Incarnation == r.incarnation {
		r.present(f)
		return
	}
	a := OfNextLifeLater
	past := slices.IndexFunc(r.earlier, func(l earlierLife) bool { return l.incarnation == f.Incarnation })
	switch {
	case past >= 0:
		if a = OfEarlierLife; r.alone(&r.earlier[past], f.Came) {
			a = OfEarlierLifeAlone
		}
	case f.Came.Sub(r.heard) < HoldTime:
		a = OfNextLife
	}
	switch judge(r.State(), a) {
	case RefuseLife:
		r.refuse(RefusedIncarnation, errEarlierLife)
	case Return:
		l := r.earlier[past]
		r.earlier = slices.Delete(r.earlier, past, past+1)
		r.change(l, Effect{Do: NewLife, Key: f.Key, Returned: true})
		r.present(f)
	case HoldNext:
		if len(r.next) > 0 && r.next[0].Incarnation != f.Incarnation {
			// Yet another: the turn of the next has come.
			r.begin()
			r.arrive(f)
			return
		}
		if r.holdNext(f); r.holdsTooMuch() {
			r.begin()
		}
	case Begin:
		if len(r.next) > 0 && r.next[0].Incarnation != f.Incarnation {
			r.begin()
			r.arrive(f)
			return
		}
		r.holdNext(f)
		r.begin()
	}
}

var errEarlierLife = errors.New("a newer incarnation was heard before: do two servers use the id?")

// alone notes that a frame of an earlier life has come, and reports whether such have come for returnTime in which
// the present life was silent.
func (r *Receiver) alone(l *earlierLife, came time.Time) bool {
	if l.came.IsZero() || !l.came.After(r.heard) {
		l.came = came
	}
	return came.Sub(l.came) >= returnTime
}

// holdNext keeps a frame of the next life until its turn comes.
func (r *Receiver) holdNext(f *Frame) {
	r.next = append(r.next, *f)
	r.heldBytes += f.size()
}

// begin makes the life whose frames are held the present one, and takes those frames.
func (r *Receiver) begin() {
	frames := r.next
	r.next = nil
	for i := range frames {
		r.heldBytes -= frames[i].size()
	}
	first := r.incarnation == 0
	if !first {
		r.Books.Restarts++
	}
	r.change(earlierLife{incarnation: frames[0].Incarnation}, Effect{Do: NewLife, Key: frames[0].Key, First: first})
	for i := range frames {
		r.present(&frames[i])
	}
}

// change makes another life the present one, which goes on from where its stream stood, and tells of it.
func (r *Receiver) change(to earlierLife, e Effect) {
	if r.incarnation != 0 {
		from := earlierLife{incarnation: r.incarnation, first: r.first, resends: r.resends, confirms: r.confirms}
		from.lost, from.missed = r.flush()
		from.want = r.want
		if r.earlier = append(r.earlier, from); len(r.earlier) > rememberedLives {
			r.earlier = slices.Delete(r.earlier, 0, 1)
		}
	}
	r.incarnation, r.want, r.part, r.resends = to.incarnation, to.want, assembly{}, to.resends
	r.horizon, r.first, r.gap = to.want, to.first, gap{}
	r.Books.Lost, r.Books.Missed = r.Books.Lost-to.lost, r.Books.Missed-to.missed
	r.life++
	r.backlog.begin()
	r.unacked, r.asked = 0, false
	r.confirms, r.prompt, r.undelivered = to.confirms, asked{}, nil
	if n := to.want.Seq; to.confirms && n > 1 {
		// What left its stream before is not told any more when it is taken, or refused.
		r.undelivered.add(1, n-1, wire.WhyUnknown)
	}
	*r.effect(e.Do) = e
}
