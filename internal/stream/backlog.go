package stream

import (
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// A Delivery is what leaves a stream: the records of one frame, or a large message of which
// this frame was the last piece, or nothing but the bytes of a piece. Taken tells when it is dealt with.
type Delivery struct {
	Place
	Count  int    // of records; after they were checked, reading them cannot fail
	Buffer []byte // that the frame came in; it may be used again once nothing of Body is needed

	Body, Tail []byte      // the records, as the frame had them,
	Assembled  bool        // or else
	Record     wire.Record // this one, whose payload belongs to nobody else,
	Blocks     [][]byte    // and is in these if they are not nil, until Join
}

// A Place says which part of a stream a delivery is.
type Place struct {
	Life  int           // of the peer
	Bytes int           // of the frame
	End   wire.Position // after it in the stream

	Confirm bool // the peer waits to hear what becomes of its records
}

// backlog is what left the stream and was not taken yet, and what the peer is told of it.
type backlog struct {
	bytes   int           // of the frames
	present int           // of them, those of the present life
	records int           // of the present life
	taken   wire.Position // while records > 0: before the first that waits
}

func (b *backlog) add(start wire.Position, d *Delivery) {
	if b.records == 0 {
		b.taken = start
	}
	b.records += d.Count
	b.bytes += d.Bytes
	b.present += d.Bytes
}

// begin makes all that waits be of a life that is over.
func (b *backlog) begin() { b.records, b.present = 0, 0 }

// fits reports whether another size bytes are within what the peer was granted, with room
// for what a window may have been when it was used, and for some lives.
func (b *backlog) fits(size int, l *Limits) bool {
	most := 2*l.Window + wire.MaxFrame
	return b.present+size <= most && b.bytes+size <= (rememberedLives+1)*most
}

// Backlog is how many bytes of frames wait to be taken.
func (r *Receiver) Backlog() int { return r.backlog.bytes }

// AckWhen says when a peer is to be told how far it was taken.
type AckWhen uint8

const (
	AckNever  AckWhen = iota // not at all
	AckAlong                 // with the next frame to it, if there is one
	AckSoon                  // soon: it has asked
	AckAtOnce                // at once: a good part of its window is used
	AckPrompt                // as soon as nothing else of it is at hand: it waits
)

// Taken notes that so many records of the delivery at a place were dealt with, and left more of it were
// not; with none left it is gone. It returns when the peer is to be told.
func (r *Receiver) Taken(d Place, records, left int) AckWhen {
	present := d.Life == r.life
	b := &r.backlog
	if present {
		b.records -= records
	}
	if left > 0 {
		// Nothing of a message that came in pieces is taken, and its pieces may be known as taken.
		if p := (wire.Position{Seq: d.End.Seq - uint64(left)}); present && b.taken.Before(p) {
			b.taken = p
		}
		return AckNever
	}
	b.bytes -= d.Bytes
	if !present {
		return AckNever
	}
	b.present -= d.Bytes
	if b.taken.Before(d.End) { // a delivery without records may be known as taken before
		b.taken = d.End
	}
	r.unacked += d.Bytes
	switch {
	case r.unacked >= r.limits.Window/4:
		r.unacked = 0
		return AckAtOnce
	case r.prompt.due(r.position()):
		return AckPrompt
	case r.asked:
		return AckSoon
	}
	return AckAlong
}

// ackNow has the peer told at once how far it was taken.
func (r *Receiver) ackNow() {
	r.unacked = 0
	r.effect(AckNow)
}

// position is how far the peer's stream was taken or given up, as far as the peer may count on.
func (r *Receiver) position() wire.Position {
	if r.backlog.records > 0 {
		return r.backlog.taken
	}
	return r.want
}

// Ack is what the peer is to be told by due, and whether the program is taking envelopes, if slowly. Where due is zero
// it is told along with the next frame, and what it has asked for stays due.
func (r *Receiver) Ack(taking bool, due time.Time) Ack {
	if !due.IsZero() {
		// What still waits is to be told of as well.
		r.asked = r.asked && (r.backlog.records > 0 || len(r.held) > 0 || r.missing())
	}
	a := Ack{Incarnation: r.incarnation, UpTo: r.position(), Taking: taking, Due: due, Wanted: r.want, Held: r.heldFrom()}
	if a.Done = a.UpTo; len(r.undelivered) > 0 {
		var first, done uint64
		if a.Undelivered, first, done = r.undelivered.before(a.UpTo.Seq); done < a.UpTo.Seq {
			a.Done = wire.Position{Seq: done}
		}
		if first < a.UpTo.Seq {
			a.UpTo = wire.Position{Seq: first}
		}
	}
	return a
}
