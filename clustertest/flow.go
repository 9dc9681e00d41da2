package clustertest

import (
	"slices"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// A flow is what one life of a server sends to another server in one of its two streams, as far as the network has to know: nodes send again
// what they miss, and the network tells what it has lost for good from what is still on its way. The network's mu guards it.
type flow struct {
	last     wire.Position         // where the farthest message begins that was sent
	lately   time.Duration         // when that was, and
	first    wire.Position         // where the first message begins that was sent for the first time at that moment
	greatest uint64                // the number of the farthest that has arrived; 0: none has
	end      wire.Position         // where that ends, as far as it has arrived
	tries    map[wire.Position]int // how often messages were sent again
	totals   map[uint64]uint32     // bytes of messages whose pieces are on their way

	// Each message before upTo the receiver has, or it is lost for good; 0: nothing was sent yet. One that has arrived it may let go of again,
	// if it holds too much behind what it misses: until it has said that it has it, which is so before has.
	upTo, has uint64
	came      map[uint64]bool // of the others, those that have arrived,
	lost      map[uint64]bool // and those that are lost for good
	owed      []uint64        // that are lost for good, and of which the sender does not know that
}

// A flowKey tells the flows of a path apart.
type flowKey struct {
	life   int
	urgent bool
}

// flow is the one of a parcel.
func (p *path) flow(x *parcel) *flow {
	k := flowKey{x.life, x.urgent}
	l := p.flows[k]
	if l == nil {
		l = &flow{
			tries: make(map[wire.Position]int), totals: make(map[uint64]uint32),
			came: make(map[uint64]bool), lost: make(map[uint64]bool),
		}
		if p.flows == nil {
			p.flows = make(map[flowKey]*flow)
		}
		p.flows[k] = l
	}
	return l
}

func (m Message) place() wire.Position { return wire.Position{Seq: m.number, Offset: m.offset} }

// goes takes in that a node sends a message, and reports whether it is to be carried. It is not if it is on its way already:
// its receiver misses it since it is delayed, or held by the test. One that is lost for good stays so: its receiver is told not to wait
// for it any more. The caller holds mu.
func (n *Network) goes(p *path, x *parcel) bool {
	l, place := p.flow(x), x.place()
	if l.upTo == 0 {
		l.upTo = keptFrom(&x.header).Seq
	}
	if x.header.Flags&wire.FlagPiece != 0 && x.offset == 0 {
		l.totals[x.number] = uint32(x.Size)
	}
	if l.last.Before(place) {
		if l.last = place; l.lately != x.Sent || l.first.Seq == 0 {
			l.lately, l.first = x.Sent, place
		}
		return true
	}
	if n.underway(p, func(y *parcel) bool { return y.is(x.Message) }) != nil {
		return false
	}
	if l.lost[x.number] || x.number < l.upTo {
		x.recall()
		return true
	}
	l.tries[place]++
	x.try = l.tries[place]
	return true
}

// comesFirst makes a question that is asked at the moment of messages one that was asked before them: which is first is left to chance. The
// caller holds mu.
func (p *path) comesFirst(x *parcel) {
	if l := p.flow(x); l.first.Seq > 0 && l.lately == x.Sent {
		x.header.Start = first(x.header.Start, l.first)
	}
}

// underway is the first message on its way for which f holds; nil if there is none. The caller holds mu.
func (n *Network) underway(p *path, f func(*parcel) bool) *parcel {
	for _, all := range [][]*parcel{p.parcels, p.waiting, p.stuck, n.held} {
		for _, x := range all {
			if x.bare == 0 && x.link() == p.link && f(x) {
				return x
			}
		}
	}
	return nil
}

// recall makes of a message that it is lost for good.
func (p *parcel) recall() {
	p.bare, p.body, p.tail = uint64(p.Sent)|1<<63, nil, nil
	h := &p.header
	h.Count, h.Start = 0, wire.Position{Seq: p.number + 1}
	h.Flags &^= wire.FlagPiece | wire.FlagConfirm | wire.FlagAckNow
}

// gone loses a message for good: it does not come when its node sends it again, either. An urgent one does, since nobody
// could tell its sender. The caller holds mu.
func (n *Network) gone(x *parcel, why string) {
	n.lost(x, why)
	if x.bare != 0 || x.again || x.urgent {
		return
	}
	if l := n.path(x.link()).flow(x); x.number >= l.upTo && !l.lost[x.number] {
		l.owed = append(l.owed, x.number)
		l.lost[x.number] = true
		l.advance()
	}
}

// confess makes a frame that acknowledges messages which are lost for good say so. The receiver alone could not: it does not know that they were
// kept. The caller holds mu.
func (n *Network) confess(x *parcel) {
	h := &x.header
	l := n.path(x.link().reverse()).flows[flowKey{n.lives[life{x.To, h.AckIncarnation}], x.urgent}]
	if l == nil {
		return
	}
	l.has = max(l.has, h.Ack.Seq)
	if h.Flags&wire.FlagResend == 0 {
		return
	}
	l.has = max(l.has, h.Wanted.Seq)
	l.advance()
	if names := l.confess(h, wire.UndeliveredMost-len(x.body)/wire.UndeliveredSize); len(names) > 0 {
		h.Flags |= wire.FlagConfirm
		x.body = join(wire.AppendUndelivered(nil, names), x.body)
	}
}

// confess names those of the acknowledged messages that are lost for good, in so many rows at most, and makes the header acknowledge no more than
// what is named.
func (l *flow) confess(h *wire.Header, most int) (names []wire.Undelivered) {
	slices.Sort(l.owed)
	for len(l.owed) > 0 && l.owed[0] < h.Ack.Seq {
		number := l.owed[0]
		if last := len(names) - 1; last >= 0 && number == names[last].From+uint64(names[last].Count) {
			names[last].Count++
		} else if len(names) < most {
			names = append(names, wire.Undelivered{From: number, Count: 1, Why: wire.WhyUnknown})
		} else {
			h.Ack = wire.Position{Seq: number}
			break
		}
		l.owed = l.owed[1:]
	}
	return names
}

// arrived takes in that a message has.
func (l *flow) arrived(x *parcel) {
	l.greatest = max(l.greatest, x.number)
	l.upTo = max(l.upTo, keptFrom(&x.header).Seq)
	end := wire.Position{Seq: x.number + 1}
	if total, pieces := l.totals[x.number]; pieces && x.end < total {
		end = wire.Position{Seq: x.number, Offset: x.end}
	} else {
		if x.number >= l.upTo {
			l.came[x.number] = true
		}
		delete(l.totals, x.number)
	}
	if l.end.Before(end) {
		l.end = end
	}
	l.advance()
}

func (l *flow) advance() {
	for l.upTo > 0 && (l.came[l.upTo] && l.upTo < l.has || l.lost[l.upTo]) {
		delete(l.came, l.upTo)
		delete(l.lost, l.upTo)
		l.upTo++
	}
}

// correct makes a frame that arrives say of the stream what its receiver is to know: what is lost for good is not kept any more; and
// what is on its way is not missing because something else was faster. The caller holds mu.
func (p *path) correct(n *Network, x *parcel) {
	h, l := &x.header, p.flow(x)
	if x.bare != 0 {
		n.confess(x)
	}
	start, kept := h.Start, keptFrom(h)
	switch {
	case x.word && l.greatest == 0:
		start = n.oldest(p, x, kept) // it is not to be the first that tells where the stream begins
	case x.word:
		start = l.end // and not where the last frame stood of those of its moment, which chance decides
	case x.asks:
		start = n.oldest(p, x, start)
	}
	if upTo := (wire.Position{Seq: l.upTo}); !x.word && kept.Before(upTo) {
		kept = upTo
	}
	kept = first(kept, start)
	if h.Start = start; x.bare == 0 {
		x.hasten()
	}
	if h.Flags&wire.FlagResend != 0 {
		h.Kept = kept
	} else if h.ShowsResending() {
		h.AnnounceKept(kept)
	}
}

// oldest is where the first message begins that is on its way in the flow of x; if none is, that place. The caller holds mu.
func (n *Network) oldest(p *path, x *parcel, place wire.Position) wire.Position {
	n.underway(p, func(y *parcel) bool {
		if y.life == x.life && y.urgent == x.urgent && !y.again {
			place = first(place, y.place())
		}
		return false
	})
	return place
}

// keptFrom is where a header says that what is kept begins; if it does not, where its content does.
func keptFrom(h *wire.Header) wire.Position {
	if from, ok := h.KeptFrom(); ok {
		return from
	}
	return h.Start
}

func first(a, b wire.Position) wire.Position {
	if b.Before(a) {
		return b
	}
	return a
}
