package main

import (
	"context"
	"iter"
	"time"

	"github.com/abhishekg16/cluster"
)

// A watching server tells what becomes of its peers, as a *cluster.Node does.
type watching interface {
	Events(context.Context) iter.Seq[cluster.Event]
}

// watch returns a channel of the peers that go down, as this server sees it, and the function that ends it.
func (e *Election) watch(ctx context.Context) (downs <-chan int, end func()) {
	server, ok := e.server.(watching)
	if !ok {
		return nil, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	c, ended := make(chan int), make(chan struct{})
	go func() { // end ends it, and waits for it.
		defer close(ended)
		for event := range server.Events(ctx) {
			if event.Kind != cluster.EventDown {
				continue
			}
			select {
			case c <- event.Peer:
			case <-ctx.Done():
			}
		}
	}()
	return c, func() {
		cancel()
		<-ended
	}
}

// down makes a follower whose leader is down not wait for its election timeout, which is for a leader that is silent. It waits for a moment that is
// drawn, since the other followers find the same at the same time. That the leader is down for this server does not mean that it is for
// others: those would not vote for another then (see prevote.go).
func (e *Election) down(peer int) {
	if e.status.Role != Follower || e.status.Leader != peer {
		return
	}
	e.heard = time.Time{}
	e.timeout.Reset(time.Duration(e.random.Int64N(int64(heartbeat))))
}

// A linked server knows how the links to its peers stand, as a *cluster.Node does.
type linked interface{ Stats() cluster.Stats }

// cutOff reports whether the links to so many peers are down that no majority is left. Only who sends notices that a link
// is down, and a leader sends with each heartbeat: it knows seconds after it was cut off, or as soon as messages to servers that
// have crashed have waited for SendTimeout. A follower sends to its leader only in answer, and its timeout is sooner.
func (e *Election) cutOff() bool {
	server, ok := e.server.(linked)
	if !ok {
		return false
	}
	reached := 1 // itself
	for _, p := range server.Stats().Peers {
		if p.ID != e.server.Pid() && p.State != cluster.LinkDown {
			reached++
		}
	}
	return reached < e.majority
}

// stepDown ends the part of a leader that is cut off: the others have elected another by then, or will, and whoever asks
// this one should not be told that it leads. A leader may do so at any time (section 6.2 of the dissertation).
func (e *Election) stepDown() {
	e.timeout.Reset(e.patience())
	e.become(Follower, Nobody)
}
