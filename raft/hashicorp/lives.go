package hashicorp

import (
	"fmt"
	"sync"
	"time"

	"github.com/abhishekg16/cluster"
)

// watchInterval is how often a call that takes longer looks whether its server still lives, and how old what it compares with may be.
var watchInterval = 100 * time.Millisecond // tests have others

// A lives knows how often each server has started anew, so that a call to an earlier life does not wait for its reply.
type lives struct {
	node  *cluster.Node
	every time.Duration // watchInterval

	mu     sync.Mutex     // guards what follows. It is held while the node is asked, for which nobody who receives has to wait
	counts map[int]uint64 // of restarts of each server, when
	asked  time.Time      // the node was asked last
}

// restarts is how often a server has started anew, as the node knew it at most l.every ago.
func (l *lives) restarts(pid int) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.asked) >= l.every {
		l.asked, l.counts = now, make(map[int]uint64)
		for _, p := range l.node.Stats().Peers {
			l.counts[p.ID] = p.Received.Restarts
		}
	}
	return l.counts[pid]
}

// ended returns an error once the server of a call is down, or has started anew since. In the latter case it may be the new life that has the
// request, if nothing had been heard of that before: so only a request that Raft repeats fails because of it.
func (l *lives) ended(k *call) error {
	for _, p := range l.node.Stats().Peers {
		switch {
		case p.ID != k.pid:
		case p.State == cluster.LinkDown, p.State == cluster.LinkStalled:
			return fmt.Errorf("hashicorp: server %d is down; it may have seen the %v", k.pid, k.kind)
		case p.Received.Restarts != k.restarts && k.kind == appendEntries:
			return fmt.Errorf("hashicorp: server %d has started anew; it may have seen the %v before", k.pid, k.kind)
		}
	}
	return nil
}
