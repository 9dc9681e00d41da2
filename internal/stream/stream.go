// Package stream is the protocol of one direction between two servers, both ends of it.
//
// A Sender numbers records as they are written, keeps the window that its peer has
// granted, knows what is on its way, and decides when the peer counts as down and messages
// for it are dropped. A Receiver brings frames into order, refuses what came before, gives up
// what does not come, tells the lives (incarnations) of its peer apart, assembles large messages
// from their pieces, and decides when to acknowledge.
//
// All of it is a function of state, event and time: nothing here starts a goroutine, takes a
// lock, reads a clock, touches a socket or writes to a log. Packages outgoing and incoming do
// what is decided here; whoever owns a Sender or a Receiver guards it.
//
// What a Sender knows is its State, of which decide holds all transitions; what a Receiver does with
// a frame is for judge. docs/protocol.md has both tables, and what the tests hold to be so.
package stream

import "time"

// Even is the first even nanosecond from t on; of the zero time, that. On a network for tests, in virtual time, frames arrive at odd ones: so what
// is done a while after one has arrived is not due at the very moment at which another one does, which would leave to chance what comes first.
func Even(t time.Time) time.Time {
	if t.Nanosecond()&1 == 0 {
		return t
	}
	return t.Add(1)
}

// Earlier returns the earlier of two deadlines, where zero means none.
func Earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
