package etcd

import (
	"fmt"
	"time"

	"github.com/abhishekg16/cluster"
)

// watchInterval is how often the node is asked what became of what it had accepted.
var watchInterval = 100 * time.Millisecond // tests have it longer

// A seen is what the node said of a server when it was asked before. The zero value is that of one of which nothing is known.
type seen struct {
	down        bool
	timedOut    uint64
	unconfirmed uint64
	restarts    uint64
}

// look asks the node about all servers.
func (t *Transport) look() map[int]seen {
	all := make(map[int]seen)
	for _, p := range t.node.Stats().Peers {
		all[p.ID] = seen{p.State == cluster.LinkDown, p.Sent.Dropped[cluster.ReasonTimedOut], p.Sent.Unconfirmed, p.Received.Restarts}
	}
	return all
}

// watch reports servers of which the node finds out that they are gone, or have not got what it had accepted for them, since it was
// last asked.
func (t *Transport) watch(last map[int]seen) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-t.ctx.Done():
			return
		}
		now := t.look()
		for pid, s := range now {
			t.compare(pid, last[pid], s)
		}
		last = now
	}
}

// compare reports a server to which something was sent, if need be.
func (t *Transport) compare(pid int, before, now seen) {
	id := ID(pid)
	t.mu.Lock()
	o, u := t.outward[id], t.uploads[id]
	t.mu.Unlock()
	if o == nil {
		return
	}
	down, anew := now.down && !o.down, now.restarts > before.restarts
	o.down = now.down
	if u != nil && (down || anew) {
		u.cancel(fmt.Errorf("etcd: server %d is down or has started anew", pid))
	}
	if down || anew || now.timedOut > before.timedOut || now.unconfirmed > before.unconfirmed {
		o.unreachable()
	}
}
