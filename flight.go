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
// larger than the window may when nothing is on the way.
func (f *flight) open(size int) bool {
	return f.bytes == 0 || f.bytes+size <= f.window
}

// probe reports whether a frame of its own should ask for an acknowledgment now
// that the window is closed: because nothing has asked for one yet, or because
// the answer may have been lost. If not, it says when.
func (f *flight) probe(now time.Time) (bool, time.Time) {
	at := f.probed.Add(probeInterval)
	return !f.asked || !now.Before(at), at
}

// crowded reports whether another size bytes fill more than half of the
// window, so that the receiver should tell how far it is.
func (f *flight) crowded(size int) bool { return f.bytes+size > f.window/2 }

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
func (f *flight) acked(upTo wire.Position) bool {
	givenUp := f.last.Offset > 0 && upTo == wire.Position{Seq: f.last.Seq + 1}
	if f.last.Before(upTo) && !givenUp || !f.done.Before(upTo) {
		return false
	}
	f.done = upTo
	n := 0
	for n < len(f.frames) && !upTo.Before(f.frames[n].end) {
		f.bytes -= f.frames[n].bytes
		n++
	}
	f.frames = f.frames[n:]
	if len(f.frames) == 0 {
		f.frames = nil
	}
	return true
}

// reset forgets what is on the way: the peer has begun anew, and will never
// acknowledge it.
func (f *flight) reset() { f.frames, f.bytes = nil, 0 }
