package stream

import (
	"slices"

	"github.com/abhishekg16/cluster/internal/wire"
)

// hold keeps a frame that came too early, in its place. When more would be held than the
// window, what is missing is given up; or, if it will be sent again, the last that is held, which will be, too.
func (r *Receiver) hold(f *Frame) {
	i := len(r.held)
	if f.Bare() && (r.resends || i > 0) {
		// It says only that something before it is missing, which is known, unless it is
		// beyond all others.
		if r.resends {
			return // the horizon has it
		}
		last := &r.held[i-1]
		if !last.Start.Before(f.Start) {
			return
		}
		if last.Bare() {
			last.Start = f.Start
			return
		}
	}
	for i > 0 && f.Start.Before(r.held[i-1].Start) {
		i--
	}
	if i > 0 && r.held[i-1].Start == f.Start && !r.held[i-1].Bare() {
		if r.resends {
			r.Books.Repeated++
		} else {
			r.refuse(RefusedSequence, nil)
		}
		return
	}
	r.held = slices.Insert(r.held, i, *f)
	r.heldBytes += f.size()
	for r.holdsTooMuch() && len(r.held) > 0 {
		if r.resends {
			r.letGo(len(r.held) - 1)
		} else {
			r.giveUp()
		}
	}
}

// holdsTooMuch reports whether more is held than may be on the way of a sender that keeps to its window, or so many small frames that
// holding them costs more than that beside.
func (r *Receiver) holdsTooMuch() bool {
	return max(r.heldBytes, (len(r.held)+len(r.next))*heldCost) > r.limits.Window
}

// letGo holds the frames from the i-th on no more.
func (r *Receiver) letGo(i int) {
	for _, f := range r.held[i:] {
		r.heldBytes -= f.size()
	}
	clear(r.held[i:])
	r.held = r.held[:i]
}

// release takes the held frames that are in order now, and drops those that have become useless.
func (r *Receiver) release() {
	for len(r.held) > 0 && !r.want.Before(r.held[0].Start) {
		f := r.held[0]
		r.held[0] = Frame{}
		r.held = r.held[1:]
		r.heldBytes -= f.size()
		if f.Start == r.want {
			r.take(&f)
		}
	}
	if len(r.held) == 0 {
		r.held = nil
	}
}

// giveUp counts what is missing before the first held frame as lost, and goes on from there.
func (r *Receiver) giveUp() {
	to := r.held[0].Start
	if to.Offset > 0 {
		to = wire.Position{Seq: to.Seq + 1} // its beginning is missing
	}
	r.lose(to)
	r.release()
}

// lose counts the records before a place as lost that have not come whole, and goes on from there. The one of
// which pieces have come was counted already if it is too large.
func (r *Receiver) lose(to wire.Position) {
	lost, missed := r.lacks(to)
	r.Books.Lost, r.Books.Missed = r.Books.Lost+lost, r.Books.Missed+missed
	if r.part.discard {
		r.Books.Lost--
	}
	if n := to.Seq - r.want.Seq; r.confirms && n > 0 {
		r.undelivered.add(r.want.Seq, n, wire.WhyUnknown)
	}
	r.want, r.part = to, assembly{}
}

// lacks is how many records before a place are lost if none of them comes, and how many of them are missed instead, since they were numbered
// before the first that was heard.
func (r *Receiver) lacks(to wire.Position) (lost, missed uint64) {
	if r.want.Before(r.first) {
		missed = min(to.Seq, r.first.Seq) - r.want.Seq
	}
	return to.Seq - r.want.Seq - missed, missed
}
