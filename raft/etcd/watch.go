package etcd

import (
	"fmt"
	"time"

	"github.com/abhishekg16/cluster"
)

// watchInterval is how often the node is asked what became of what it had accepted.
const watchInterval = 100 * time.Millisecond

// A seen is what the node said of a server when it was asked before.
type seen struct {
	known       bool
	state       cluster.LinkState
	timedOut    uint64
	unconfirmed uint64
	restarts    uint64
}

// watch reports servers of which the node finds out that they are gone, or have not got what it had accepted for them.
func (t *Transport) watch() {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-t.ctx.Done():
			return
		}
		for _, p := range t.node.Stats().Peers {
			t.look(p)
		}
	}
}

// look compares what the node says of a server with what it said before.
func (t *Transport) look(p cluster.PeerStats) {
	id := ID(p.ID)
	t.mu.Lock()
	o, u := t.outward[id], t.uploads[id]
	t.mu.Unlock()
	if o == nil {
		return
	}
	before := o.seen
	o.seen = seen{true, p.State, p.Sent.Dropped[cluster.ReasonTimedOut], p.Sent.Unconfirmed, p.Received.Restarts}
	if !before.known {
		before = seen{state: cluster.LinkIdle, timedOut: o.seen.timedOut, unconfirmed: o.seen.unconfirmed, restarts: o.seen.restarts}
	}
	down := p.State == cluster.LinkDown && before.state != cluster.LinkDown
	anew := o.seen.restarts > before.restarts
	if u != nil && (down || anew) {
		u.cancel(fmt.Errorf("etcd: server %d is down or has started anew", p.ID))
	}
	if down || anew || o.seen.timedOut > before.timedOut || o.seen.unconfirmed > before.unconfirmed {
		o.unreachable()
	}
}
