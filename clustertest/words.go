package clustertest

import (
	"slices"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// Words are what nodes acknowledge and announce to each other. At which moments they do is decided by what arrives and by timers; but not whether
// with frames of their own or with messages, nor in how many. So those of one moment on one link travel as one, with what the last of them says, and their
// time is drawn for the moment. They arrive at nanoseconds at which nothing else does, and messages do not wait for them.

// say puts a word on its way. The caller holds mu.
func (n *Network) say(p *path, x *parcel) {
	last := &p.said[x.stream()]
	if w := *last; w != nil && w.Sent == x.Sent && w.like(x) {
		w.header = x.header
		return
	}
	if w := *last; w != nil {
		x.due = latest(x.due, w.due)
	}
	*last = x
	i := len(n.words)
	for i > 0 && n.words[i-1].after(x) {
		i--
	}
	n.words = slices.Insert(n.words, i, x)
	n.rearm()
}

// like reports whether two words both acknowledge, or both announce, and nothing else.
func (p *parcel) like(x *parcel) bool {
	one := p.header.Flags&wire.FlagConfirm == 0 && x.header.Flags&wire.FlagConfirm == 0
	return one && (p.header.AckIncarnation == 0) == (x.header.AckIncarnation == 0)
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
			return n.slot(x.due, wordSlot)
		}
	}
	return time.Time{}
}

// hear lets the words arrive that are due. The caller holds mu.
func (n *Network) hear() {
	var wait []*parcel // for servers that are paused
	now := time.Now()
	for len(n.words) > 0 && !n.slot(n.words[0].due, wordSlot).After(now) {
		var x *parcel
		if x, n.words = pop(n.words); n.paused[x.To] {
			wait = append(wait, x)
		} else if p := n.path(x.link()); !n.dead[x.To] {
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
