package clustertest

import (
	"slices"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// A parcel is what travels alone: a message, a piece of a large one, or, without
// either, an acknowledgment.
type parcel struct {
	Message
	bare       uint64 // of an acknowledgment: when it was sent; else 0
	asks       bool   // it is one that asks for another
	verdict    Verdict
	head, tail []byte
	deliver    func(head, tail []byte) bool // false: the receiver is gone
	receiver   int                          // which life of the receiver it is sent to

	due   time.Time
	turn  float64 // among those that are due at the same moment
	again bool    // the copy of one that arrives twice
}

func (p *parcel) size() int { return len(p.head) + len(p.tail) }

func (p *parcel) link() Link { return Link{p.From, p.To} }

// unpack takes a frame apart into parcels, which share nothing with it. What is no
// frame makes none.
func (n *Network) unpack(head, tail []byte, deliver func(head, tail []byte) bool) []*parcel {
	h, err := wire.ParseHeader(head)
	if err != nil {
		return nil
	}
	n.mu.Lock()
	life := n.lifeOf(life{int(h.From), h.Incarnation})
	n.mu.Unlock()
	one := func(h wire.Header, body, tail []byte) *parcel {
		frame := make([]byte, wire.HeaderSize, wire.HeaderSize+len(body))
		h.Put(frame)
		return &parcel{
			Message: Message{
				From: int(h.From), To: int(h.To), Sent: time.Since(n.start),
				life: life, number: h.Start.Seq, offset: h.Start.Offset,
			},
			head:    append(frame, body...),
			tail:    slices.Clone(tail),
			deliver: deliver,
		}
	}
	body := head[wire.HeaderSize:]
	if h.Bare() {
		x := one(h, body, tail)
		x.bare, x.asks = uint64(x.Sent)|1<<63, h.Flags&wire.FlagAckNow != 0
		return []*parcel{x}
	}
	if h.Flags&wire.FlagPiece != 0 {
		x := one(h, body, tail)
		x.Size = len(body) + len(tail)
		if piece, err := wire.ParsePiece(body, tail, h.Start.Offset); err == nil && h.Start.Offset == 0 {
			x.MsgID, x.Size = piece.MsgID, piece.Total
		}
		return []*parcel{x}
	}
	if r, ok := wire.ParseSplit(body, tail, h.Count); ok {
		x := one(h, body, tail)
		x.describe(r)
		return []*parcel{x}
	}
	body = wire.Join(body, tail)
	if wire.CheckRecords(body, h.Count) != nil {
		return nil
	}
	var parcels []*parcel
	var before int64
	for i := range h.Count {
		r, rest := wire.NextRecord(body, before)
		before = r.MsgID
		each := h
		each.Start.Seq += uint64(i)
		each.Count = 1
		if i+1 < h.Count {
			each.Flags &^= wire.FlagAckNow
		}
		// Each is the first of a frame now.
		x := one(each, append(wire.AppendRecordHeader(nil, r.MsgID, r.Kind, len(r.Payload)), r.Payload...), nil)
		x.describe(r)
		parcels = append(parcels, x)
		body = rest
	}
	return parcels
}

// lifeOf counts the lives of a server. The caller holds mu.
func (n *Network) lifeOf(l life) int {
	if n.lives[l] == 0 {
		n.born[l.id]++
		n.lives[l] = n.born[l.id]
	}
	return n.lives[l]
}
