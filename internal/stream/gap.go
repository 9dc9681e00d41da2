package stream

import (
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

const (
	// askAfter is how long frames that came too early wait before the peer is told what is missing, if it sends that again:
	// it may still be on its way through an older connection. It doubles while that is of no use, up to askMost.
	askAfter = 25 * time.Millisecond
	askMost  = 800 * time.Millisecond
)

// A gap is what a Receiver misses of a peer that sends it again.
type gap struct {
	askAt time.Time     // when the peer is to be told; zero: nothing is missing
	wait  time.Duration // until it is told again
	told  bool          // the peer is told with each acknowledgment
}

// missing reports whether something is missing before the farthest that was heard of, as far as the peer resends.
func (r *Receiver) missing() bool { return r.want.Before(r.horizon) }

// follow takes in where a frame of a peer that resends stands, and gives up what the peer keeps no more.
func (r *Receiver) follow(f *Frame) {
	if from, ok := f.KeptFrom(); ok && r.want.Before(from) {
		for len(r.held) > 0 && r.held[0].Start.Before(from) {
			r.giveUp() // what is missing before it
		}
		if r.want.Before(from) {
			r.lose(whole(from))
			r.release()
		}
		r.closeIn(f.Came)
		r.ackNow() // or each frame to the peer would still say that this is missing
	}
	if r.horizon.Before(f.Start) {
		r.horizon = f.Start
	}
	if n := len(r.held); n > 0 && r.horizon.Before(r.held[n-1].Start) {
		r.horizon = r.held[n-1].Start // from before the peer was known to resend
	}
	if r.missing() && r.gap.askAt.IsZero() {
		r.gap = gap{askAt: f.Came.Add(askAfter), wait: askAfter}
	}
}

// closeIn notes that the stream has moved on.
func (r *Receiver) closeIn(now time.Time) {
	switch {
	case !r.missing():
		r.gap = gap{}
	case !r.gap.askAt.IsZero():
		r.gap = gap{askAt: now.Add(askAfter), wait: askAfter}
	}
}

// end is behind the last record that was heard of, as far as that is known.
func (r *Receiver) end() wire.Position {
	end := whole(r.horizon)
	if n := len(r.held); n > 0 {
		last := &r.held[n-1]
		end.Seq = max(end.Seq, last.Start.Seq+uint64(last.Count))
	}
	return end
}

// ask has the peer told what is missing, if it is time to.
func (r *Receiver) ask(now time.Time) {
	g := &r.gap
	if g.askAt.IsZero() || now.Before(g.askAt) {
		return
	}
	g.told = true
	g.wait = min(2*g.wait, askMost)
	g.askAt = now.Add(g.wait)
	r.ackNow()
}

// heldFrom is where what is missing ends, as far as the peer is to be told.
func (r *Receiver) heldFrom() wire.Position {
	switch {
	case !r.gap.told || !r.missing():
		return r.want
	case len(r.held) > 0:
		return r.held[0].Start
	}
	return r.horizon
}
