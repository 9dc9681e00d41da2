package clustertest

import (
	"fmt"
	"slices"
)

// A Verdict is what a watcher decides about a message.
type Verdict int

const (
	Pass Verdict = iota // it goes on, and the faults of its link apply
	Drop                // it is lost for good; an urgent one is sent again, and f is asked again
	Hold                // it waits for Release or Discard
)

// byTest is why a message is lost that the watcher drops or the test discards.
const byTest = "dropped by the test"

// Watch lets f decide about each message as it is sent; nil ends that. What is held
// stays so. What a broken connection has lost is sent again, and f is asked again. f is called from the goroutines of the sending nodes, one call at a time
// for each link, so for several links at once. A large message comes in pieces, each of
// which is a Message with a size of its own but for the first. f may call methods of the network, but for Crash, which would wait
// for the very goroutine that calls f.
func (n *Network) Watch(f func(Message) Verdict) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watcher = f
}

// judged is a verdict of the watcher's, which must be one; what is none is told once, and lets the message go on.
func (n *Network) judged(v Verdict) Verdict {
	if v == Pass || v == Drop || v == Hold {
		return v
	}
	n.unjudged.Do(func() { n.wrong("Watch", fmt.Errorf("the verdict %d: want Pass, Drop or Hold", v)) })
	return Pass
}

// Held is what waits for Release or Discard, in the order of sending.
func (n *Network) Held() []Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	var held []Message
	for _, x := range n.held {
		held = append(held, x.Message)
	}
	return held
}

// Release lets held messages go on, all if no argument is given, none if an empty slice
// is. What was sent before and
// is released later arrives later: so messages can be put into any order, of which
// the nodes will make what they make of it.
func (n *Network) Release(messages ...Message) {
	n.t.Helper()
	if n.wrong("Release", n.checkHeld(messages)) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, x := range n.takeHeld(messages) {
		if n.dead[x.To] {
			n.lost(x, byCrash)
		} else {
			n.depart(x)
		}
	}
}

// Discard loses held messages, all if no argument is given, none if an empty slice is.
func (n *Network) Discard(messages ...Message) {
	n.t.Helper()
	if n.wrong("Discard", n.checkHeld(messages)) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, x := range n.takeHeld(messages) {
		n.gone(x, byTest)
	}
}

func (n *Network) checkHeld(messages []Message) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range messages {
		if !slices.ContainsFunc(n.held, func(x *parcel) bool { return x.is(m) }) {
			return fmt.Errorf("message %d from %d to %d is not held", m.MsgID, m.From, m.To)
		}
	}
	return nil
}

// takeHeld removes messages from those that are held, and returns them in the order
// of the argument. The caller holds mu.
func (n *Network) takeHeld(messages []Message) []*parcel {
	if messages == nil {
		all := n.held
		n.held = nil
		return all
	}
	var taken []*parcel
	for _, m := range messages {
		if i := slices.IndexFunc(n.held, func(x *parcel) bool { return x.is(m) }); i >= 0 {
			taken = append(taken, n.held[i])
			n.held = slices.Delete(n.held, i, i+1)
		}
	}
	return taken
}
