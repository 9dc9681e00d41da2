package clustertest

import "slices"

// A Verdict is what a watcher decides about a message.
type Verdict int

const (
	Pass Verdict = iota // it goes on, and the faults of its link apply
	Drop                // it is lost
	Hold                // it waits for Release or Discard
)

// byTest is why a message is lost that the watcher drops or the test discards.
const byTest = "dropped by the test"

// Watch lets f decide about each message as it is sent; nil ends that. What is held
// stays so. f is called from the goroutines of the sending nodes, one call at a time
// for each link. It may call methods of the network, but for Crash, which would wait
// for the very goroutine that calls f.
func (n *Network) Watch(f func(Message) Verdict) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watcher = f
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

// Release lets held messages go on, all if none is given. What was sent before and
// is released later arrives later: so messages can be put into any order, of which
// the nodes will make what they make of it.
func (n *Network) Release(messages ...Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, x := range n.takeHeld(messages) {
		if why := n.cut(x.link()); why != "" {
			n.lost(x, why)
		} else {
			n.depart(x)
		}
	}
}

// Discard loses held messages, all if none is given.
func (n *Network) Discard(messages ...Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, x := range n.takeHeld(messages) {
		n.lost(x, byTest)
	}
}

// takeHeld removes messages from those that are held, and returns them in the order
// of the argument. The caller holds mu.
func (n *Network) takeHeld(messages []Message) []*parcel {
	if len(messages) == 0 {
		all := n.held
		n.held = nil
		return all
	}
	var taken []*parcel
	for _, m := range messages {
		if i := slices.IndexFunc(n.held, func(x *parcel) bool { return x.Message == m }); i >= 0 {
			taken = append(taken, n.held[i])
			n.held = slices.Delete(n.held, i, i+1)
		}
	}
	return taken
}
