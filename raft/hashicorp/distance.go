package hashicorp

import (
	"sync"
	"time"
)

// distances tells to which servers the way is long. A quick reply of a server, to whatever, shows that the way is short. That it is
// long only slow replies to heartbeats show, and several in a row: heartbeats wait neither for Raft nor for entries, but a machine may be busy.
type distances struct {
	mu   sync.Mutex  // guards slow
	slow map[int]int // how many heartbeats in a row, of each server, took farTime or more
}

const (
	// farTime is from where a way is long, there and back. On a shorter one a request waits no longer than this for the reply to the
	// one before, and is the larger for it.
	farTime = time.Millisecond
	// farHeartbeats is how many slow ones it takes. Raft sends ten or more in its HeartbeatTimeout.
	farHeartbeats = 8
)

func newDistances() *distances { return &distances{slow: make(map[int]int)} }

// replied notes that a server has replied to a request after a time.
func (d *distances) replied(pid int, took time.Duration, heartbeat bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case took < farTime:
		d.slow[pid] = 0
	case heartbeat:
		d.slow[pid]++
	}
}

// far reports whether the way to a server is long. One that is not known is not.
func (d *distances) far(pid int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.slow[pid] >= farHeartbeats
}
