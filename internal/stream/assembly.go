package stream

import (
	"errors"
	"slices"

	"github.com/abhishekg16/cluster/internal/wire"
)

const (
	// assemblyTimes is how many times its first piece is set aside for a large message; the rest
	// follows as its bytes come in.
	assemblyTimes = 8
	// blockBytes is how much of a message is kept in one piece of memory. What is longer is not copied together as it
	// comes in: that would hold up whoever reads the network, and with it everybody's messages, for tens of milliseconds.
	blockBytes = 4 << 20
)

// assembly is a large message of which pieces have come.
type assembly struct {
	msgID   int64
	kind    uint8
	total   int
	came    int      // bytes so far, which are in
	full    [][]byte // blocks,
	data    []byte   // and the last one
	discard bool     // too large: counted already, to be skipped
}

// add appends the bytes of a piece.
func (p *assembly) add(b []byte) {
	p.came += len(b)
	for {
		n := min(len(b), blockBytes-len(p.data))
		if free := cap(p.data) - len(p.data); free < n {
			p.data = slices.Grow(p.data, min(max(len(p.data), n), blockBytes-len(p.data), p.total-p.came+len(b)))
		}
		p.data = append(p.data, b[:n]...)
		if b = b[n:]; len(b) == 0 {
			return
		}
		p.full = append(p.full, p.data)
		p.data = make([]byte, 0, min(p.total-p.came+len(b), blockBytes))
	}
}

// Assembling is how many bytes of a large message have come whose end is missing.
func (r *Receiver) Assembling() int { return r.part.came }

// ErrTooLarge is the cause of RefusedTooLarge.
var ErrTooLarge = errors.New("larger than maxMessageBytes")

var errPastItsEnd = errors.New("more pieces than the message announced")

// take lets a frame leave whose place it is.
func (r *Receiver) take(f *Frame) {
	if f.Bare() {
		return
	}
	start := r.want
	var d *Delivery
	if f.isPiece() {
		piece := Delivery{Place: r.placeOf(f)}
		r.assemble(f, &piece)
		d = &r.effect(Deliver).Delivery
		*d = piece
	} else {
		r.want = wire.Position{Seq: r.want.Seq + uint64(f.Count)}
		d = &r.effect(Deliver).Delivery
		d.Place, d.Count, d.Body, d.Tail = r.placeOf(f), int(f.Count), f.Body, f.Tail
	}
	d.Buffer, d.End = f.Buffer, r.want
	r.backlog.add(start, d)
}

// placeOf is the place of what is delivered of a frame, but for its end.
func (r *Receiver) placeOf(f *Frame) Place {
	return Place{Life: r.life, Bytes: f.size(), Confirm: f.Flags&wire.FlagConfirm != 0}
}

// assemble takes a piece of a large message, and makes the delivery that of the message when it is the last.
func (r *Receiver) assemble(f *Frame, d *Delivery) {
	piece, err := wire.ParsePiece(f.Body, f.Tail, f.Start.Offset)
	if err != nil {
		// Nobody calls this without Check.
		r.refuse(RefusedMalformed, err)
		r.want, r.part = wire.Position{Seq: r.want.Seq + 1}, assembly{}
		return
	}
	p := &r.part
	if f.Start.Offset == 0 {
		*p = assembly{msgID: piece.MsgID, kind: piece.Kind, total: piece.Total}
		if p.total > r.limits.MaxMessage {
			p.discard = true
			r.Undelivered(d.Place, f.Start.Seq, RefusedTooLarge)
			r.refuse(RefusedTooLarge, ErrTooLarge)
			r.effects[len(r.effects)-1].Delivery.Record = wire.Record{MsgID: p.msgID, Kind: p.kind, Payload: piece.Data}
		} else {
			p.data = make([]byte, 0, min(p.total, assemblyTimes*len(piece.Data), blockBytes))
		}
	}
	end := int(f.Start.Offset) + len(piece.Data)
	if end > p.total {
		// The record ends here for us; what its sender meant by the rest will be refused as a
		// sequence that went back.
		if !p.discard {
			r.Undelivered(d.Place, f.Start.Seq, RefusedMalformed)
		}
		r.refuse(RefusedMalformed, errPastItsEnd)
		r.want, *p = wire.Position{Seq: r.want.Seq + 1}, assembly{}
		return
	}
	if !p.discard {
		p.add(piece.Data)
	}
	if end < p.total {
		r.want.Offset = uint32(end)
		return
	}
	whole := *p
	r.want, *p = wire.Position{Seq: r.want.Seq + 1}, assembly{}
	if !whole.discard {
		d.Count, d.Assembled = 1, true
		d.Record = wire.Record{MsgID: whole.msgID, Kind: whole.kind, Payload: whole.data}
		if whole.full != nil {
			d.Record.Payload, d.Blocks = nil, append(whole.full, whole.data)
		}
	}
}

// Join puts the blocks of a long payload together, which takes a while.
func (d *Delivery) Join() {
	if d.Blocks == nil {
		return
	}
	total := 0
	for _, b := range d.Blocks {
		total += len(b)
	}
	payload := make([]byte, 0, total)
	for i, b := range d.Blocks {
		payload = append(payload, b...)
		d.Blocks[i] = nil // its memory is free from here on
	}
	d.Record.Payload, d.Blocks = payload, nil
}
