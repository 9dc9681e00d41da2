package clustertest

import (
	"cmp"
	"slices"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// Words are what nodes acknowledge, announce, and ask each other. At which moments they do is decided by what arrives and by timers; but not whether
// with frames of their own or with messages, nor in how many. So those of one moment on one stream are one acknowledgment, one announcement, and one
// question at most, and their time is drawn for the moment. Each arrives at a nanosecond at which nothing else does on its link, for what one leads
// to has to be over before the next; and messages do not wait for them. A question overtakes no message that was sent before its moment; so some of
// different moments may come together, behind such a message.

// A moment is what a server said at one time in one stream of a link.
type moment struct {
	sent       time.Duration
	due        time.Time
	announced  *parcel // nil: nothing was
	acked      *parcel // likewise
	asked      *parcel // likewise
	overflowed int     // acknowledgments that one had no room for
}

// wordPitch is from the arrival of one word to that of the next in its stream, at least: wordSlot has one nanosecond in as many.
const wordPitch = 4

// end is when what is said at the next moment may arrive at the earliest, which does not depend on what was said at this one.
func (m *moment) end() time.Time { return m.due.Add(time.Duration(3+m.overflowed) * wordPitch) }

// say puts a word on its way. The caller holds mu.
func (n *Network) say(p *path, x *parcel) {
	m := &p.said[x.stream()]
	if m.sent != x.Sent {
		*m = moment{sent: x.Sent, due: latest(x.due, m.end())}
	}
	if m.take(x) {
		n.insertWord(x)
		n.rearm()
	}
}

// take makes a word one of the moment's, and says when it is due. It reports false if another one says now what it does.
func (m *moment) take(x *parcel) bool {
	switch {
	case x.asks && m.asked != nil:
		h, start := &m.asked.header, first(x.header.Start, m.asked.header.Start)
		if h.AckIncarnation != 0 { // else it tells what its sender knows, and is answered by that
			*h = x.header
		}
		h.Start = start
		return false
	case x.asks:
		m.asked, x.due = x, latest(x.due, m.due.Add(2*wordPitch))
	case x.header.AckIncarnation == 0 && m.announced != nil:
		m.announced.header = x.header
		return false
	case x.header.AckIncarnation == 0:
		m.announced, x.due = x, m.due
	case m.acked != nil && m.acked.add(x):
		return false
	case m.acked != nil:
		m.overflowed++
		m.acked, x.due = x, m.end().Add(-wordPitch)
	default:
		m.acked, x.due = x, m.due.Add(wordPitch)
	}
	return true
}

func (n *Network) insertWord(x *parcel) {
	i := len(n.words)
	for i > 0 && n.words[i-1].after(x) {
		i--
	}
	n.words = slices.Insert(n.words, i, x)
}

// add makes an acknowledgment say what a later one says, too. It reports false if that names more records than a frame can.
func (p *parcel) add(x *parcel) bool {
	h := x.header
	if h.AckIncarnation != p.header.AckIncarnation { // the other one is of a life that is over
		p.header, p.body = h, x.body
		return true
	}
	body := join(p.body, x.body)
	if len(body) > wire.UndeliveredSize*wire.UndeliveredMost/2 {
		return false
	}
	if h.Ack.Before(p.header.Ack) {
		h.Ack = p.header.Ack // as far as it goes with what is named beside
	}
	h.Flags |= p.header.Flags & (wire.FlagTaking | wire.FlagConfirm)
	p.header, p.body = h, body
	return true
}

// join puts the records together that two words name, in their order.
func join(a, b []byte) (body []byte) {
	var all []wire.Undelivered
	for _, rest := range [][]byte{a, b} {
		for len(rest) > 0 {
			var u wire.Undelivered
			u, rest = wire.SplitUndelivered(rest)
			all = append(all, u)
		}
	}
	slices.SortFunc(all, func(a, b wire.Undelivered) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Count, b.Count), cmp.Compare(a.Why, b.Why))
	})
	return wire.AppendUndelivered(nil, slices.Compact(all))
}

// goOn lets the words arrive that have waited while the receiver was paused. The caller holds mu.
func (p *path) goOn(n *Network, due time.Time) {
	waited := n.takeWords(func(l Link) bool { return l == p.link })
	for _, x := range waited {
		x.due = latest(x.due, due)
		due = x.due.Add(wordPitch)
		for i := range p.said {
			p.said[i].due = latest(p.said[i].due, due)
		}
	}
	for _, x := range waited {
		n.insertWord(x)
	}
	n.rearm()
}

// stream tells the two streams of a link apart.
func (p *parcel) stream() int {
	if p.urgent {
		return 1
	}
	return 0
}

// after reports whether a word comes after another one.
func (p *parcel) after(x *parcel) bool {
	if p.due.Equal(x.due) {
		return p.link().compare(x.link()) > 0
	}
	return p.due.After(x.due)
}

// nextWord is when the next word arrives; zero if none is on its way to a server that runs. The caller holds mu.
func (n *Network) nextWord() time.Time {
	for _, x := range n.words {
		if !n.paused[x.To] {
			return wordSlot.after(x.due)
		}
	}
	return time.Time{}
}

// hear lets the words arrive that are due. The caller holds mu.
func (n *Network) hear() {
	var wait []*parcel // for servers that are paused
	now := time.Now()
	for len(n.words) > 0 && !wordSlot.after(n.words[0].due).After(now) {
		var x *parcel
		if x, n.words = pop(n.words); n.paused[x.To] {
			wait = append(wait, x)
		} else if p := n.path(x.link()); !n.dead[x.To] {
			if x.asks {
				n.path(p.link.reverse()).want(n) // for the answer
			}
			p.correct(n, x)
			x.arrive()
		}
	}
	if len(wait) > 0 {
		n.words = append(wait, n.words...)
	}
}

// takeWords takes those back that are on their way on the links for which f holds. The caller holds mu.
func (n *Network) takeWords(f func(Link) bool) (taken []*parcel) {
	n.words = slices.DeleteFunc(n.words, func(x *parcel) bool {
		if f(x.link()) {
			taken = append(taken, x)
			return true
		}
		return false
	})
	return taken
}
