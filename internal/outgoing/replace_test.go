package outgoing

import (
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
)

// A stalledConn takes everything, of which nothing arrives.
type stalledConn struct{ openConn }

func (stalledConn) Stalled(time.Duration) bool { return true }

// A machine with too much to do answers late on each connection, and has more to do with each that is made.
func TestAConnectionThatTookThePlaceOfAnotherIsWaitedForTwiceAsLongEachTime(t *testing.T) {
	l := meetUrgent(stalledConn{}, nil)
	dialed := 0
	l.cfg.Dial = func(int, Target) (transport.Conn, error) {
		dialed++
		return stalledConn{}, nil
	}
	third := l.sender.DoubtTime()
	// replaces reports whether the connection is replaced at a time, and not before.
	replaces := func(at time.Time) bool {
		t.Helper()
		puts(t, l, Waiting{})
		writesAll(l)
		before := l.replacing(at.Add(-time.Nanosecond))
		l.lookAt = time.Time{}
		return !before && l.replacing(at)
	}
	doubts := func() time.Time {
		t.Helper()
		puts(t, l, Waiting{})
		writesAll(l)
		at := l.doubtsAt()
		if at.IsZero() {
			t.Fatal("a connection on which nothing is acknowledged is in no doubt")
		}
		return at
	}
	replace := func() {
		t.Helper()
		was := dialed
		time.Sleep(time.Until(l.doubtsAt()))
		l.replaceStalled() // begins another one
		l.replaceStalled() // which takes the place
		if dialed != was+1 || l.spare != nil {
			t.Fatalf("%d were begun, and one waits: %v", dialed-was, l.spare != nil)
		}
	}
	acknowledged := func(seq uint64) {
		h := wire.Header{Incarnation: 9, Start: wire.Position{Seq: 1}, AckIncarnation: 7, Ack: wire.Position{Seq: seq}, Window: 1 << 20}
		l.sender.Acked(&h, time.Now())
	}
	if !replaces(doubts()) {
		t.Fatal("the first is not replaced when it comes to be in doubt")
	}
	for i, after := range []time.Duration{2 * third, 4 * third} {
		replace()
		acknowledged(1) // what was acknowledged before
		if !replaces(l.replacedAt.Add(after)) {
			t.Fatalf("number %d is not replaced %v after it has taken the place, or before", i+2, after)
		}
	}
	acknowledged(2)
	if !replaces(doubts()) {
		t.Error("something was acknowledged meanwhile, and the next is not replaced when it comes to be in doubt")
	}
}
