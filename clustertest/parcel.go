package clustertest

import (
	"slices"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// A parcel is what travels alone: a message, or a piece of a large one; or, without either, what one node tells or asks
// another.
//
// Whether a node acknowledges with a frame of its own, or with the next message, depends on which of its goroutines ran
// first. So what a frame acknowledges or announces travels as a word beside its message or its question.
type parcel struct {
	Message
	bare       uint64 // of one without a message: when it was sent; else 0
	word       bool   // it acknowledges or announces, and asks nothing
	asks       bool   // it asks for an answer
	verdict    Verdict
	header     wire.Header
	body, tail []byte                       // after the header
	deliver    func(head, tail []byte) bool // false: the receiver is gone
	receiver   int                          // which life of the receiver it is sent to
	end        uint32                       // of a piece: where it ends in its message

	due   time.Time
	turn  float64 // among those that are due at the same moment
	try   int     // how often its node has sent it before
	again bool    // the copy of one that arrives twice
}

func (p *parcel) size() int { return p.header.Size() + len(p.body) + len(p.tail) }

func (p *parcel) link() Link { return Link{p.From, p.To} }

// arrive hands the parcel to its receiver, and reports whether that is still there.
func (p *parcel) arrive() bool {
	head := make([]byte, p.header.Size(), p.size())
	p.header.Put(head)
	return p.deliver(append(head, p.body...), p.tail)
}

// unpack makes parcels of a frame, which share nothing with it. What no node of a network writes makes none: nodes put
// each message there into a frame of its own.
func (n *Network) unpack(head, tail []byte, deliver func(head, tail []byte) bool) []*parcel {
	h, err := wire.ParseHeader(head)
	if err != nil || h.Count > 1 {
		return nil
	}
	n.mu.Lock()
	life := n.lifeOf(life{int(h.From), h.Incarnation})
	n.mu.Unlock()
	x := &parcel{
		Message: Message{
			From: int(h.From), To: int(h.To), Sent: time.Since(n.start),
			life: life, urgent: h.Flags&wire.FlagUrgent != 0, number: h.Start.Seq, offset: h.Start.Offset,
		},
		header:  h,
		body:    slices.Clone(head[h.Size():]),
		tail:    slices.Clone(tail),
		deliver: deliver,
	}
	if h.Bare() {
		x.bare, x.asks = uint64(x.Sent)|1<<63, h.Flags&wire.FlagAckNow != 0
		if x.word = !x.asks; x.word {
			return []*parcel{x}
		}
	} else if !x.read() {
		return nil
	}
	return []*parcel{x.takeWord(), x}
}

// read takes in what the message is, and reports whether it is one.
func (p *parcel) read() bool {
	if p.header.Flags&wire.FlagPiece != 0 {
		piece, err := wire.ParsePiece(p.body, p.tail, p.offset)
		if err != nil {
			return false
		}
		p.Size = len(p.body) + len(p.tail)
		p.end = p.offset + uint32(p.Size)
		if p.offset == 0 {
			p.end -= wire.RecordSize
			p.MsgID, p.Size = piece.MsgID, piece.Total
		}
		return true
	}
	if r, ok := wire.ParseSplit(p.body, p.tail, 1); ok {
		p.describe(r)
		return true
	}
	p.body, p.tail = wire.Join(p.body, p.tail), nil
	if wire.CheckRecords(p.body, 1) != nil {
		return false
	}
	r, _ := wire.NextRecord(p.body, 0)
	p.describe(r)
	return true
}

// takeWord takes off what a frame acknowledges beside. What it announces is told with it, and beside it.
func (p *parcel) takeWord() *parcel {
	w := &parcel{Message: p.Message, header: p.header, deliver: p.deliver, bare: uint64(p.Sent) | 1<<63, word: true}
	w.header.Count = 0
	w.header.Flags &^= wire.FlagPiece | wire.FlagAckNow | wire.FlagConfirm
	if p.header.AckIncarnation == 0 {
		return w
	}
	// Of a life that the receiver is not in, so that it says nothing. Zero would announce something.
	if p.header.AckIncarnation = ^p.header.AckIncarnation; p.header.AckIncarnation == 0 {
		p.header.AckIncarnation = 1
	}
	p.header.Flags &^= wire.FlagTaking
	return w
}

// hasten has a message that arrives acknowledged once, as soon as it is taken. Else an acknowledgment might leave at that moment, with something
// that the program sends, or later. And if the message showed that its sender does not know yet that the receiver resends, that would be told
// at once, by a frame of its own, which acknowledges the message or does not: the word beside the message shows it.
func (p *parcel) hasten() {
	if p.header.Flags |= wire.FlagAckNow | wire.FlagResend; !p.urgent {
		p.header.Flags |= wire.FlagConfirm
	}
}

// lifeOf counts the lives of a server. The caller holds mu.
func (n *Network) lifeOf(l life) int {
	if n.lives[l] == 0 {
		n.born[l.id]++
		n.lives[l] = n.born[l.id]
	}
	return n.lives[l]
}
