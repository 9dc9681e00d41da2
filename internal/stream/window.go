package stream

import (
	"time"

	"github.com/abhishekg16/cluster/internal/fifo"
	"github.com/abhishekg16/cluster/internal/wire"
)

// probeInterval is how often a sender that waits for the peer's window asks for an
// acknowledgment: what it waits for may have been lost.
const probeInterval = 250 * time.Millisecond

// offBeat keeps questions off the moments at which the program sends what makes them needless: in virtual time both would be at the very same
// one, in an order that is left to chance.
const offBeat = 131 * time.Microsecond

// maxGrant is the largest window that a peer is believed to grant.
const maxGrant = 64 << 20

// window is the send window: what was written to a peer and not yet acknowledged, against what
// the peer has granted. The newest of it, from frame kept on, is kept to be sent again if the peer misses it.
type window struct {
	frames []sentFrame // oldest first
	room   fifo.Memory[sentFrame]
	bytes  int
	grant  int
	last   wire.Position // the end of the newest frame, which may still be being written
	done   wire.Position // the latest acknowledgment
	asked  bool          // a frame of its own has asked for an acknowledgment since the last with records
	probed time.Time     // when it did

	count  int           // of records: the sum of those of frames that are kept
	kept   int           // how many of frames are kept no more; they are the oldest
	early  int           // how many of them were written before the peer was first heard; likewise
	wanted wire.Position // the peer has all before it, as far as it has said
	come   int           // how many of frames that is; they are the oldest
	away   int           // bytes of the others
	due    int           // how many of frames are to be sent again,
	dueAt  int           // none of them before this one
	named  uint64        // what became of those of the records before this one that are unknown is counted
	tries  int           // times in a row that frames were sent again which had been before
}

type sentFrame struct {
	start, end wire.Position
	bytes      int
	count      uint32    // of records that end with it, and are the peer's when it is done with them
	payload    int       // where it ends in the payload of a large record
	again      time.Time // it was last to be sent again
	due        bool      // it is to be sent again
	confirm    bool      // somebody waits to hear what becomes of its records
}

// open reports whether a frame of size bytes may be written now. One that is larger than the
// grant may when nothing is on the way.
func (w *window) open(size int) bool { return w.bytes == 0 || w.bytes+size <= w.grant }

// probe reports whether a frame of its own should ask for an acknowledgment now that the
// window is closed: because nothing has asked for one yet, or because the answer may have
// been lost. If not, it says when.
func (w *window) probe(now time.Time) (bool, time.Time) {
	at := w.probed.Add(probeInterval)
	return !w.asked || !now.Before(at), at
}

// crowded reports whether another size bytes fill more than half of the grant, so that the
// receiver should tell how far it is.
func (w *window) crowded(size int) bool { return w.bytes+size > w.grant/2 }

// leaving notes that the frame that ends there is being written: it may be acknowledged
// before add is called.
func (w *window) leaving(end wire.Position) { w.last = end }

// add notes that the frame was written. It reports false if it was acknowledged already.
func (w *window) add(f sentFrame) bool {
	w.asked = false
	if !w.done.Before(f.end) {
		return false
	}
	w.frames = w.room.Append(w.frames, f)
	w.bytes += f.bytes
	w.away += f.bytes
	w.count += int(f.count)
	w.arrived()
	return true
}

// wrote reports whether the peer can be done with everything before a place: it cannot with what was not written, but
// for the record of which a part was written, since it may have given that up.
func (w *window) wrote(upTo wire.Position) bool {
	return !w.last.Before(upTo) || w.last.Offset > 0 && upTo == wire.Position{Seq: w.last.Seq + 1}
}

// acked takes in that the peer is done with everything before upTo, and reports whether that
// was news, and how many of the records that it covers were kept until now.
func (w *window) acked(upTo wire.Position) (news bool, records int) {
	if !w.wrote(upTo) || !w.done.Before(upTo) {
		return false, 0
	}
	w.done = upTo
	w.has(upTo)
	n := 0
	for n < len(w.frames) && !upTo.Before(w.frames[n].end) {
		f := &w.frames[n]
		w.bytes -= f.bytes
		records += int(f.count)
		n++
	}
	w.count -= records
	w.kept, w.early, w.come, w.dueAt = max(0, w.kept-n), max(0, w.early-n), max(0, w.come-n), max(0, w.dueAt-n)
	w.frames = w.room.Drop(w.frames, n)
	return true, records
}

// unknown takes in that nobody knows what became of some of the records that the peer is done with, and returns how many of these were
// kept until now. It may be told again, and is told of what comes first before the rest.
func (w *window) unknown(from, end uint64) (records int) {
	from = max(from, w.named)
	w.named = max(w.named, end)
	for i := range w.frames {
		f := &w.frames[i]
		if f.start.Seq >= end || from >= end {
			break
		}
		if f.end.Offset == 0 && from < f.end.Seq {
			n := min(int(min(f.end.Seq, end)-max(f.start.Seq, from)), int(f.count))
			f.count -= uint32(n)
			records += n
		}
	}
	w.count -= records
	return records
}

// keptFrom is where what is kept begins; if nothing is, next, where the next frame will.
func (w *window) keptFrom(next wire.Position) wire.Position {
	if w.kept < len(w.frames) {
		return w.frames[w.kept].start
	}
	return next
}

// missing reports whether the peer has not said that it has all that was written.
func (w *window) missing() bool { return w.come < len(w.frames) }

// has takes in that the peer has all before a place, and reports whether that is news.
func (w *window) has(wanted wire.Position) bool {
	if !w.wanted.Before(wanted) {
		return false
	}
	w.wanted, w.tries = wanted, 0
	w.arrived()
	return true
}

// arrived notes which frames the peer has.
func (w *window) arrived() {
	for w.missing() && !w.wanted.Before(w.frames[w.come].end) {
		f := &w.frames[w.come]
		w.away -= f.bytes
		w.come++
		if f.due {
			f.due = false
			w.due--
		}
	}
}

// missesEarly reports whether the peer lacks one of the frames that were written before it was first heard, of which an earlier life
// of it may have got some: wanted and held are as in received.
func (w *window) missesEarly(wanted, held wire.Position) bool {
	i := max(w.kept, w.come)
	return i < w.early && wanted == w.wanted && w.frames[i].start.Before(held)
}

// dropEarly keeps no more what was written before the peer was first heard. What the peer has of it, it may still acknowledge.
func (w *window) dropEarly() (records int) {
	for w.early < len(w.frames) && w.frames[w.early].start.Offset > 0 {
		w.early++ // the rest of a record is of no use
	}
	for ; w.kept < w.early; w.kept++ {
		f := &w.frames[w.kept]
		if w.kept >= w.come {
			records += int(f.count)
			f.count = 0
		}
		if f.due {
			f.due = false
			w.due--
		}
	}
	w.count -= records
	return records
}

// received takes in that the peer has all before wanted, and misses what lies between that and held. It reports
// whether it has more than it had.
func (w *window) received(wanted, held wire.Position, now time.Time) (news bool) {
	if !w.wrote(wanted) {
		return false
	}
	news = w.has(wanted)
	if wanted != w.wanted || !wanted.Before(held) {
		return news // it was said before it had more, or nothing is missing
	}
	repeated := false
	wait := resendInterval << min(w.tries, 4)
	for i := max(w.kept, w.come); i < len(w.frames) && w.frames[i].start.Before(held); i++ {
		f := &w.frames[i]
		if f.due || !f.again.IsZero() && now.Sub(f.again) < wait {
			continue
		}
		repeated = repeated || !f.again.IsZero()
		if w.due == 0 || i < w.dueAt {
			w.dueAt = i
		}
		f.due, f.again = true, now
		w.due++
	}
	if repeated {
		w.tries++
	}
	return news
}

// nextDue returns the first frame that is to be sent again, and nil if none is.
func (w *window) nextDue() *sentFrame {
	if w.due == 0 {
		return nil
	}
	for !w.frames[w.dueAt].due {
		w.dueAt++
	}
	return &w.frames[w.dueAt]
}

// sentAgain notes that the frame which starts there was written again. It may have been acknowledged meanwhile.
func (w *window) sentAgain(start wire.Position, now time.Time) {
	if f := w.nextDue(); f != nil && f.start == start {
		f.due, f.again = false, now
		w.due--
	}
}

// drop keeps nothing more of what was written. It is on its way all the same.
func (w *window) drop() (records int) {
	for i := w.kept; i < len(w.frames); i++ {
		w.frames[i].due = false
	}
	w.kept, w.early, w.due, w.dueAt, w.tries = len(w.frames), 0, 0, 0, 0
	return w.doubt()
}

// doubt makes the peer's word of what was written until now show nothing of whether it was lost. It returns how many records
// that concerns.
func (w *window) doubt() (records int) {
	for i := 0; w.count > 0 && i < len(w.frames); i++ {
		w.frames[i].count = 0
	}
	records, w.count = w.count, 0
	return records
}

// reset forgets what is on the way: nobody will acknowledge it. Nothing is kept of it any more.
func (w *window) reset() {
	w.frames, w.room, w.bytes, w.away, w.count = nil, fifo.Memory[sentFrame]{}, 0, 0, 0
	w.kept, w.early, w.come, w.due, w.dueAt, w.tries = 0, 0, 0, 0, 0, 0
}
