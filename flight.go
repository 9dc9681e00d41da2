package cluster

import (
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// flight is what was written to a peer and not yet acknowledged, against the
// window that the peer has granted. Acknowledgments are for pacing, and cover
// what was lost on the way as well: nothing is ever sent again.
type flight struct {
	frames []flown // oldest first
	bytes  int
	window int
	pace   pace
	most   int           // how many bytes may be on the way: the window, or less on a slow path
	last   wire.Position // the end of the newest frame, which may still be being written
	done   wire.Position // the latest acknowledgment
	asked  bool          // a frame of its own has asked for an acknowledgment since the last with records
	probed time.Time     // when it did
}

type flown struct {
	end   wire.Position
	bytes int
}

// open reports whether a frame of size bytes may be written now. One that is
// larger than that may when nothing is on the way.
func (f *flight) open(size int) bool {
	return f.bytes == 0 || f.bytes+size <= f.most
}

// full reports whether the window would be used up if what is queued were on the way, too.
func (f *flight) full(queued int) bool { return f.bytes > 0 && f.bytes+queued > f.window }

// look decides how many bytes may be on the way from now on.
func (f *flight) look(now time.Time) { f.most = min(f.window, f.pace.most(now)) }

// piece is how much of a large message the next frame may carry: on a slow path little,
// so that the peer can be seen to take it.
func (f *flight) piece() int {
	if f.most == f.window {
		return pieceBytes
	}
	return min(max(leastPiece, f.most/8), pieceBytes)
}

// probe reports whether a frame of its own should ask for an acknowledgment now
// that the window is closed: because nothing has asked for one yet, or because
// the answer may have been lost. If not, it says when.
func (f *flight) probe(now time.Time) (bool, time.Time) {
	at := f.probed.Add(probeInterval)
	return !f.asked || !now.Before(at), at
}

// crowded reports whether another size bytes fill more than half of what may be on
// the way, so that the receiver should tell how far it is.
func (f *flight) crowded(size int) bool { return f.bytes+size > f.most/2 }

// leaving notes that the frame that ends there is being written: it may be
// acknowledged before add is called.
func (f *flight) leaving(end wire.Position) { f.last = end }

// add notes that the frame was written.
func (f *flight) add(end wire.Position, size int) {
	f.asked = false
	if f.done.Before(end) {
		f.frames = append(f.frames, flown{end, size})
		f.bytes += size
	}
}

// acked takes in that the peer is done with everything before upTo, and reports
// whether that was news. A peer cannot be done with what was not written, but
// for the record of which a part was written: it may have given that up.
func (f *flight) acked(upTo wire.Position, now time.Time) bool {
	givenUp := f.last.Offset > 0 && upTo == wire.Position{Seq: f.last.Seq + 1}
	if f.last.Before(upTo) && !givenUp || !f.done.Before(upTo) {
		return false
	}
	f.done = upTo
	n, bytes := 0, f.bytes
	for n < len(f.frames) && !upTo.Before(f.frames[n].end) {
		f.bytes -= f.frames[n].bytes
		n++
	}
	f.pace.add(bytes-f.bytes, now)
	f.frames = f.frames[n:]
	if len(f.frames) == 0 {
		f.frames = nil
	}
	return true
}

// reset forgets what is on the way: the peer has begun anew, and will never
// acknowledge it.
func (f *flight) reset() { f.frames, f.bytes, f.pace = nil, 0, pace{} }

// A pace is how much the peer has acknowledged lately. As much may be on the way: more
// than a second's worth would only wait in the kernel's buffers, and with it ZeroMQ's
// heartbeats, until the connection is taken for dead. On a path that is not slow it
// does not matter: there a second's worth is more than any window.
type pace struct {
	began       time.Time // of the present interval
	now, before int       // bytes acknowledged in it, and in the one before
}

const (
	// paceInterval is half of what "lately" is.
	paceInterval = 500 * time.Millisecond
	// leastFlight may be on the way whatever was acknowledged; it doubles with each round
	// trip. TCP begins with less.
	leastFlight = 32 << 10
	// leastPiece is the smallest piece of a large message.
	leastPiece = 16 << 10
)

func (p *pace) add(bytes int, now time.Time) {
	p.roll(now)
	p.now += bytes
}

func (p *pace) most(now time.Time) int {
	p.roll(now)
	return leastFlight + p.before + p.now
}

// roll begins another interval if the present one is over.
func (p *pace) roll(now time.Time) {
	switch over := now.Sub(p.began); {
	case over < paceInterval:
	case over < 2*paceInterval:
		p.began, p.now, p.before = p.began.Add(paceInterval), 0, p.now
	default:
		p.began, p.now, p.before = now, 0, 0
	}
}
