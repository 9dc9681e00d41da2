package stream

import (
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

var ackNames = []string{AckNever: "AckNever", AckAlong: "AckAlong", AckSoon: "AckSoon", AckAtOnce: "AckAtOnce"}

// smallFrame is a frame of one record of a size, its payload apart.
func smallFrame(life, seq uint64, size int, flags uint8, came time.Time) Frame {
	body := make([]byte, wire.RecordSize)
	wire.PutRecordHeader(body, int64(seq), 0, size)
	return Frame{
		Header: wire.Header{Flags: flags, Incarnation: life, Start: at(seq), Count: 1},
		Body:   body, Tail: make([]byte, size), Came: came,
	}
}

// bareFrame is one without records.
func bareFrame(life, seq uint64, flags uint8, came time.Time) Frame {
	return Frame{Header: wire.Header{Flags: flags, Incarnation: life, Start: at(seq)}, Came: came}
}

// delivered are the deliveries among effects.
func delivered(effects []Effect) (d []Delivery) {
	for _, e := range effects {
		if e.Do == Deliver {
			d = append(d, e.Delivery)
		}
	}
	return d
}

func TestWhenAPeerIsToldWhatWasTaken(t *testing.T) {
	now := time.Unix(1000, 0)
	const quarter = 1 << 10 // of the window
	for _, c := range []struct {
		name          string
		before        int // bytes taken before, and not yet told of
		asked         bool
		left          int // records of the delivery that were not taken
		earlier       bool
		want          string
		unacked       int
		records, sent int // what still waits
	}{
		{name: "a little of the window", want: "AckAlong", unacked: 180},
		{name: "the peer has asked", asked: true, want: "AckSoon", unacked: 180},
		{name: "a quarter of the window", before: quarter - 180, want: "AckAtOnce"},
		{name: "a quarter, and the peer has asked", before: quarter - 180, asked: true, want: "AckAtOnce"},
		{name: "a part of it", before: quarter, asked: true, left: 1, want: "AckNever", unacked: quarter, records: 1, sent: 180},
		{name: "of a life that is over", before: quarter, asked: true, earlier: true, want: "AckNever", unacked: quarter},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReceiver(&Limits{Window: 4 * quarter, MaxMessage: 1 << 20})
			d := delivered(r.Arrive(smallFrame(1, 1, 100, 0, now)))[0]
			if c.earlier {
				r.Arrive(bareFrame(2, 1, 0, now.Add(HoldTime)))
			}
			r.unacked, r.asked = c.before, c.asked
			if got := ackNames[r.Taken(d.Place, 1-c.left, c.left)]; got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if r.unacked != c.unacked || r.backlog.records != c.records || r.Backlog() != c.sent {
				t.Errorf("%d bytes not told of, %d records and %d bytes wait; want %d, %d, %d",
					r.unacked, r.backlog.records, r.Backlog(), c.unacked, c.records, c.sent)
			}
		})
	}
}

func TestAPeerIsToldOncePerQuarterOfItsWindow(t *testing.T) {
	now := time.Unix(1000, 0)
	r := NewReceiver(&Limits{Window: 256 << 10, MaxMessage: 1 << 20})
	const frames, size = 64, 16 << 10
	atOnce := 0
	for seq := uint64(1); seq <= frames; seq++ {
		for _, d := range delivered(r.Arrive(smallFrame(1, seq, size, 0, now))) {
			if r.Taken(d.Place, d.Count, 0) == AckAtOnce {
				atOnce++
			}
		}
	}
	if atOnce != frames/4 {
		t.Errorf("%d frames, of which 16 fill the window, are acknowledged at once %d times, want %d", frames, atOnce, frames/4)
	}
}

func TestWhatWaitsIsNotAcknowledged(t *testing.T) {
	now := time.Unix(1000, 0)
	r := NewReceiver(&Limits{Window: 1 << 20, MaxMessage: 1 << 20})
	body := wire.AppendRecordHeader(wire.AppendRecordHeader(nil, 1, 0, 0), 2, 0, 0)
	f := Frame{Header: wire.Header{Flags: wire.FlagAckNow, Incarnation: 7, Start: at(1), Count: 2}, Body: body, Came: now}
	first := delivered(r.Arrive(f))[0]
	second := delivered(r.Arrive(smallFrame(7, 3, 0, 0, now)))[0]
	told := func(want wire.Position, asked bool) {
		t.Helper()
		if a := r.Ack(false, now); a.UpTo != want || a.Incarnation != 7 || a.Due != now || r.asked != asked {
			t.Errorf("told of %v of life %d by %v, and still asked %v; want %v, asked %v", a.UpTo, a.Incarnation, a.Due, r.asked, want, asked)
		}
	}
	told(at(1), true)
	r.Taken(first.Place, 1, 1)
	told(at(2), true)
	r.Taken(first.Place, 1, 0)
	told(at(3), true)
	r.Taken(second.Place, 1, 0)
	told(at(4), false)
}

func TestWhatIsTakenIsToldOfAlongWithoutForgettingWhatWasAsked(t *testing.T) {
	r := NewReceiver(&Limits{Window: 1 << 20, MaxMessage: 1 << 20})
	r.Arrive(smallFrame(7, 1, 0, wire.FlagAckNow, time.Unix(1000, 0)))
	if r.Ack(false, time.Time{}); !r.asked {
		t.Error("the peer that has asked is told only if there is a frame to tell it with")
	}
}
