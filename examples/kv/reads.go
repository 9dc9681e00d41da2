package main

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// enqueueTimeout is how long something waits until Raft takes it at all.
const enqueueTimeout = time.Second

// A fence makes reads linearizable. Who has passed it finds in this server's store all that was acknowledged, by whatever
// server, before it came to the fence; and it lets nobody pass on a server that does not lead.
//
// It writes an entry to the log, for all at once who came while the one before was written, and waits until this
// server has carried that out. VerifyLeader of hashicorp/raft would write nothing, but it counts answers to
// heartbeats that were sent before it was asked: a leader that was stopped for a while, and finds such answers as it
// goes on, would take itself for the leader still while another has acknowledged writes.
type fence struct {
	raft *raft.Raft

	mu      sync.Mutex // guards what follows
	next    *round     // what those wait for who have come since the last one began; nil if nobody has
	running bool
}

// A round is one entry in the log, and those who wait for it.
type round struct {
	over chan struct{} // closed when err is known
	err  error
}

// pass returns nil once the store may be read, and otherwise an error of Raft's, or ctx's.
func (f *fence) pass(ctx context.Context) error {
	r := f.join()
	select {
	case <-r.over:
		return r.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (f *fence) join() *round {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next == nil {
		f.next = &round{over: make(chan struct{})}
		if !f.running {
			f.running = true
			go f.run() // ends when nobody waits; Raft's shutdown ends what it waits for
		}
	}
	return f.next
}

func (f *fence) run() {
	for r := f.begin(); r != nil; r = f.begin() {
		r.err = f.raft.Barrier(enqueueTimeout).Error()
		close(r.over)
	}
}

// begin is the round of those who wait; those who come later wait for another. It is nil if nobody waits.
func (f *fence) begin() *round {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.next
	f.next, f.running = nil, r != nil
	return r
}
