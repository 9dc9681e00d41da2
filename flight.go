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
	last   wire.Position // the end of the newest frame
	done   wire.Position // the latest acknowledgment
	probed time.Time     // an acknowledgment was last asked for by a frame of its own
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

// crowded reports whether another size bytes fill more than half of the
// window, so that the receiver should tell how far it is.
func (f *flight) crowded(size int) bool { return f.bytes+size > f.window/2 }

func (f *flight) add(end wire.Position, size int) {
	f.frames = append(f.frames, flown{end, size})
	f.bytes += size
	f.last = end
}

// acked takes in that the peer is done with everything before upTo, and reports
// whether that was news. A peer cannot acknowledge what was not written.
func (f *flight) acked(upTo wire.Position) bool {
	if f.last.Before(upTo) || !f.done.Before(upTo) {
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
