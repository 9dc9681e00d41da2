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
	life       int    // of the sender, counted from 1
	offset     uint32 // of a piece
	bare       uint64 // of an acknowledgment: when it was sent; else 0
	asks       bool   // it is one that asks for another
	head, tail []byte
	deliver    func(head, tail []byte) bool // false: the receiver is gone

	arrives time.Time
	again   bool // the copy of one that arrives twice
}

func (p *parcel) size() int { return len(p.head) + len(p.tail) }

// A path is one direction between two servers, and what is on its way there, in the
// order of arrival. The network's mu guards it.
type path struct {
	link     Link
	parcels  []*parcel
	bytes    int
	latest   time.Time // when the last of those that keep their order arrives
	free     time.Time // when the last byte so far has been put on the line
	greatest uint64    // the number of a message that has arrived, 0 before the first
	life     int       // in which its sender sent that
	spoke    time.Time // when its sender last sent a message, or asked
	room     chan struct{}
	timer    *time.Timer
}

// carrier is the network as package mem sees it.
type carrier struct{ *Network }

// Carry implements mem.Carrier.
func (c carrier) Carry(head, tail []byte, deliver func(head, tail []byte) bool) (bool, <-chan struct{}) {
	n := c.Network
	parcels := n.unpack(head, tail, deliver)
	if len(parcels) == 0 {
		deliver(head, tail) // the nodes have to refuse it
		return true, nil
	}
	n.mu.Lock()
	p := n.path(parcels[0].link())
	size := 0
	for _, x := range parcels {
		size += x.size()
	}
	if p.bytes > 0 && p.bytes+size > n.faultsOf(p.link).inFlight() && n.cut(p.link) == "" {
		if p.room == nil {
			p.room = make(chan struct{})
		}
		room := p.room
		n.mu.Unlock()
		return false, room
	}
	watcher := n.watcher
	n.mu.Unlock()
	for _, x := range parcels {
		verdict := Pass
		if watcher != nil && x.bare == 0 {
			verdict = watcher(x.Message)
		}
		n.post(x, verdict)
	}
	return true, nil
}

func (p *parcel) link() Link { return Link{p.From, p.To} }

// path is the path of a link. The caller holds mu.
func (n *Network) path(l Link) *path {
	p := n.paths[l]
	if p == nil {
		p = &path{link: l}
		n.paths[l] = p
	}
	return p
}

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
			Message: Message{From: int(h.From), To: int(h.To), number: h.Start.Seq, Sent: time.Since(n.start)},
			life:    life,
			offset:  h.Start.Offset,
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

// post sends a parcel on its way, unless it is lost or held.
func (n *Network) post(x *parcel, v Verdict) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended {
		return
	}
	n.sent(x)
	idle := n.path(x.link()).speaks(x)
	switch why := n.cut(x.link()); {
	case n.dead[x.From]:
		n.lost(x, "the sender has crashed")
	case why != "":
		n.lost(x, why)
	case idle:
	case v == Drop:
		n.lost(x, byTest)
	case v == Hold:
		n.held = append(n.held, x)
		n.note(Event{Kind: Held, Message: x.Message, From: x.From, To: x.To})
	default:
		n.depart(x)
	}
}

// speaks tells whether a parcel only asks what became of messages to a receiver that
// has heard nothing in its life. A node asks that after three quiet seconds if it has no
// acknowledgment, which is left to chance (see depart). To a new life the question says
// from which message on it may miss some; so it is lost, for that must not be left to
// chance. A node that needs the answer to go on asks several times a second.
func (p *path) speaks(x *parcel) (idle bool) {
	if x.bare != 0 && !x.asks {
		return false
	}
	now := time.Now()
	idle = x.asks && p.greatest == 0 && now.Sub(p.spoke) > time.Second
	p.spoke = now
	return idle
}

// depart puts a parcel on its path, or loses it by chance. The caller holds mu.
func (n *Network) depart(x *parcel) {
	f := n.faultsOf(x.link())
	if f.Loss > 0 && n.chance("loss", x) < f.Loss {
		n.lost(x, "loss")
		return
	}
	p := n.path(x.link())
	now := time.Now()
	x.arrives = now.Add(n.delay(f, x, "delay"))
	if f.Bandwidth > 0 {
		if p.free.Before(now) {
			p.free = now
		}
		p.free = p.free.Add(time.Duration(float64(x.size()) / float64(f.Bandwidth) * float64(time.Second)))
		x.arrives = x.arrives.Add(p.free.Sub(now))
	}
	if f.Reorder > 0 && n.chance("reorder", x) < f.Reorder {
		x.arrives = x.arrives.Add(time.Duration(3 * n.chance("overtaken", x) * float64(x.arrives.Sub(now))))
	} else {
		if x.arrives.Before(p.latest) {
			x.arrives = p.latest
		}
		// Whether a node acknowledges with a frame of its own, or with the next message,
		// depends on which of its goroutines ran first. So that is to delay no message.
		if x.bare == 0 {
			p.latest = x.arrives
		}
	}
	p.add(x)
	if f.Duplicate > 0 && x.bare == 0 && n.chance("duplicate", x) < f.Duplicate {
		copied := *x
		copied.again = true
		copied.arrives = x.arrives.Add(n.delay(f, x, "second"))
		p.add(&copied)
	}
	p.rearm(n)
}

// add puts a parcel among the others, behind those that arrive at the same time.
func (p *path) add(x *parcel) {
	i := len(p.parcels)
	for i > 0 && x.arrives.Before(p.parcels[i-1].arrives) {
		i--
	}
	p.parcels = slices.Insert(p.parcels, i, x)
	p.bytes += x.size()
}

// rearm sets the timer to the next arrival. The caller holds mu.
func (p *path) rearm(n *Network) {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	if len(p.parcels) == 0 || n.paused[p.link.From] || n.paused[p.link.To] {
		return
	}
	p.timer = time.AfterFunc(time.Until(p.parcels[0].arrives), func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		p.arrive(n)
	})
}

// resume lets go of what waited while one end was paused. That of each path comes at
// another moment, so that the order among them is drawn from the seed: at the same
// moment it would be left to chance. The caller holds mu.
func (p *path) resume(n *Network) {
	if n.paused[p.link.From] || n.paused[p.link.To] {
		return
	}
	now := time.Since(n.start)
	drawn := n.chance("resume", &parcel{Message: Message{From: p.link.From, To: p.link.To}, bare: uint64(now)})
	due := n.start.Add(now + time.Duration(drawn*float64(time.Millisecond)))
	for _, x := range p.parcels {
		if x.arrives.Before(due) {
			x.arrives = due
		}
	}
	if p.latest.Before(due) {
		p.latest = due
	}
	p.rearm(n)
}

// arrive delivers what is due. The caller holds mu.
func (p *path) arrive(n *Network) {
	if n.paused[p.link.From] || n.paused[p.link.To] {
		return
	}
	now := time.Now()
	for len(p.parcels) > 0 && !p.parcels[0].arrives.After(now) {
		x := p.parcels[0]
		p.parcels = slices.Delete(p.parcels, 0, 1)
		p.bytes -= x.size()
		if why := n.cut(p.link); why != "" {
			n.lost(x, why)
			continue
		}
		if x.bare != 0 {
			p.hush(x)
			x.deliver(x.head, x.tail)
			continue
		}
		if !x.deliver(x.head, x.tail) {
			n.lost(x, "the receiver has closed")
			continue
		}
		if x.life > p.life {
			p.life, p.greatest = x.life, 0
		}
		n.arrived(x, x.number < p.greatest)
		p.greatest = max(p.greatest, x.number)
	}
	p.release()
	p.rearm(n)
}

// hush makes an acknowledgment say nothing of messages that were lost: it names the
// next message that its sender will send, and the receiver, which may be waiting for
// what it misses, would go on that much sooner. Whether there is an acknowledgment at all
// is left to chance (see depart), and when a message is delivered must not be. One that
// asks for an answer is sent at its exact time, and to tell this.
func (p *path) hush(x *parcel) {
	if x.asks || x.life != p.life || x.number <= p.greatest {
		return
	}
	if h, err := wire.ParseHeader(x.head); err == nil {
		h.Start = wire.Position{Seq: p.greatest + 1}
		h.Put(x.head)
	}
}

// clear loses all that is on its way. The caller holds mu.
func (p *path) clear(n *Network, why string) {
	for _, x := range p.parcels {
		if why != "" {
			n.lost(x, why)
		}
	}
	p.parcels, p.bytes = nil, 0
	p.life, p.greatest = 0, 0
	p.release()
	p.rearm(n)
}

// forget loses the acknowledgments of a sender that has crashed: the receiver would
// take it for alive a moment longer. The caller holds mu.
func (p *path) forget(n *Network) {
	p.parcels = slices.DeleteFunc(p.parcels, func(x *parcel) bool {
		if x.bare != 0 {
			p.bytes -= x.size()
		}
		return x.bare != 0
	})
	p.rearm(n)
}

// release lets those try again who found the path full. The caller holds mu.
func (p *path) release() {
	if p.room != nil {
		close(p.room)
		p.room = nil
	}
}
