package stream

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster/internal/fifo"
	"github.com/abhishekg16/cluster/internal/wire"
)

// at is the place before record seq, or, with an offset, within it.
func at(seq uint64, offset ...uint32) wire.Position {
	p := wire.Position{Seq: seq}
	if len(offset) > 0 {
		p.Offset = offset[0]
	}
	return p
}

func TestWindowOpens(t *testing.T) {
	for _, c := range []struct {
		name               string
		bytes, size, grant int
		open, crowded      bool
	}{
		{name: "nothing on its way", size: 10, grant: 100, open: true},
		{name: "more than the grant, alone", size: 101, grant: 100, open: true, crowded: true},
		{name: "up to the grant", bytes: 90, size: 10, grant: 100, open: true, crowded: true},
		{name: "beyond the grant", bytes: 91, size: 10, grant: 100, crowded: true},
		{name: "up to half of it", bytes: 40, size: 10, grant: 100, open: true},
		{name: "beyond half of it", bytes: 41, size: 10, grant: 100, open: true, crowded: true},
		{name: "a grant of nothing", size: 10, open: true, crowded: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := window{bytes: c.bytes, grant: c.grant}
			if got := w.open(c.size); got != c.open {
				t.Errorf("open: %v", got)
			}
			if got := w.crowded(c.size); got != c.crowded {
				t.Errorf("crowded: %v", got)
			}
		})
	}
}

func TestWindowAcknowledged(t *testing.T) {
	type sent []wire.Position // ends of frames of 10 bytes
	for _, c := range []struct {
		name    string
		written sent
		leaving wire.Position // the end of one that is still being written; zero: none
		done    wire.Position // acknowledged before
		upTo    wire.Position
		news    bool
		bytes   int
	}{
		{name: "the first of two", written: sent{at(2), at(4)}, upTo: at(2), news: true, bytes: 10},
		{name: "both", written: sent{at(2), at(4)}, upTo: at(4), news: true},
		{name: "the middle of a frame", written: sent{at(2), at(4)}, upTo: at(3), news: true, bytes: 10},
		{name: "no more than before", written: sent{at(2), at(4)}, done: at(2), upTo: at(2), bytes: 10},
		{name: "less than before", written: sent{at(2), at(4)}, done: at(3), upTo: at(2), bytes: 10},
		{name: "what was not written", written: sent{at(2), at(4)}, upTo: at(5), bytes: 20},
		{name: "what is being written", written: sent{at(2)}, leaving: at(4), upTo: at(4), news: true},
		{name: "a piece", written: sent{at(2), at(2, 100), at(2, 200)}, upTo: at(2, 100), news: true, bytes: 10},
		{name: "a record given up halfway", written: sent{at(2), at(2, 100)}, upTo: at(3), news: true},
		{name: "and what comes after it", written: sent{at(2), at(2, 100)}, upTo: at(4), bytes: 20},
		{name: "and a part of that", written: sent{at(2), at(2, 100)}, upTo: at(3, 1), bytes: 20},
		{name: "a whole record is not given up", written: sent{at(2)}, upTo: at(3), bytes: 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			var w window
			for _, end := range c.written {
				w.leaving(end)
				w.add(sentFrame{end: end, bytes: 10})
			}
			if c.leaving != at(0) {
				w.leaving(c.leaving)
			}
			w.acked(c.done)
			if news, _ := w.acked(c.upTo); news != c.news || w.bytes != c.bytes {
				t.Errorf("news %v, and %d bytes on their way; want %v, %d", news, w.bytes, c.news, c.bytes)
			}
			if len(w.frames)*10 != w.bytes {
				t.Errorf("%d frames of 10 bytes are %d", len(w.frames), w.bytes)
			}
		})
	}

	t.Run("a frame that was acknowledged while it was written", func(t *testing.T) {
		var w window
		w.leaving(at(3))
		w.acked(at(3))
		if w.add(sentFrame{end: at(3), bytes: 10}); w.bytes != 0 {
			t.Errorf("%d bytes are on their way", w.bytes)
		}
	})

	t.Run("reset", func(t *testing.T) {
		var w window
		w.leaving(at(3))
		w.add(sentFrame{end: at(3), bytes: 10})
		w.reset()
		if diff := cmp.Diff(window{last: at(3)}, w, cmp.AllowUnexported(window{}, sentFrame{}, fifo.Memory[sentFrame]{})); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWindowAsksAgain(t *testing.T) {
	now := time.Unix(1000, 0)
	w := window{probed: now}
	if due, _ := w.probe(now); !due {
		t.Error("it does not ask when nothing has asked")
	}
	w.asked = true
	if due, when := w.probe(now.Add(probeInterval - 1)); due || !when.Equal(now.Add(probeInterval)) {
		t.Errorf("it asks again too early (%v), or at %v", due, when)
	}
	if due, _ := w.probe(now.Add(probeInterval)); !due {
		t.Error("it does not ask again")
	}
	if w.add(sentFrame{end: at(2), bytes: 10}); w.asked {
		t.Error("records that were written since were not asked for")
	}
}

// Whatever window a peer grants, no more than 64 MiB are on their way to it, and so kept for it.
func TestNoPeerIsBelievedToHaveRoomForMoreThan64MiB(t *testing.T) {
	now := time.Unix(1000, 0)
	for name, s := range map[string]*Sender{"ordinary": newResender(now), "urgent": nil} {
		if s == nil {
			_, s, now = twins(t, wire.CapResend|wire.CapUrgent)
		}
		h := report(at(1), at(1), at(1))
		h.Window = math.MaxUint32
		s.Acked(h, now)
		written := 0
		for step := Write; step == Write; {
			if !s.Loaded() {
				s.Load(Load{Count: 1, Small: wire.HeaderSize + wire.RecordSize + PieceBytes}, now)
			}
			if step, _ = s.Next(now); step == Write {
				bare := s.Pending().Bare
				if s.Took(now); !bare {
					written += wire.HeaderSize + wire.RecordSize + PieceBytes
				}
			}
			if written > 65<<20 {
				break
			}
		}
		if written > 64<<20 || written < 63<<20 || s.OnItsWay() != written {
			t.Errorf("%s: %d bytes were written, and %d are on their way", name, written, s.OnItsWay())
		}
	}
}
