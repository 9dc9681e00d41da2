// Package flood decides when somebody sends a listener so much of what no peer sends that the
// connection is to be ended.
//
// Whoever can connect can send messages that no peer sends, as fast as they are read: to refuse one
// must not cost more than to send it, and who sends more than are taken is cut off.
//
// Of those that have come since the listener last had nothing to receive, the node is handed the
// first, and says what is wrong with them. Those after them which are too short to be a frame are
// passed over and only counted, and with each thousand of any kind the connection of the latest
// is ended. A frame without records is a peer's, but no peer sends so many of them in a second.
package flood

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
)

const (
	// HandedOn is how many messages that no peer sends the node is handed in a row.
	HandedOn = 1 << 10
	mostBad  = 2 << 10
	mostBare = 64 << 10 // in a second; a peer sends one for each 128 KiB that it takes
)

// A Counter counts what comes to a listener. It is used by who receives, but for Limits. Its methods that count
// report whether the connection that the latest message came on is to be ended.
type Counter struct {
	bad       atomic.Int64 // messages that no peer sends, since there was last nothing to be received
	untold    int          // messages that were passed over, and are not told of yet
	bare      int          // frames without records, of which mostBare were counted
	bareSince time.Time    // last then
}

// Limits are how long the first part of a message has to be that is not passed over, and how many may be
// passed over before that is counted. With keys none is: a message counts for who has proved to have sent it, and
// to decrypt it has taken longer. It may be called by any goroutine.
func (c *Counter) Limits(keyed bool) (least, most int) {
	bad := c.bad.Load()
	if bad >= HandedOn && !keyed {
		least = wire.HeaderSize
	}
	return least, max(1, int(mostBad-bad))
}

// Idle notes that there is nothing to be received.
func (c *Counter) Idle() { c.bad.Store(0) }

// Bad counts messages that no peer sends. Of those that were handed on the node says which these
// are: see transport.Refused.
func (c *Counter) Bad(messages int) (over bool) {
	if c.bad.Add(int64(messages)) < mostBad {
		return false
	}
	c.bad.Store(HandedOn)
	return true
}

// PassedOver counts messages that were passed over.
func (c *Counter) PassedOver(messages int) (over bool) {
	c.untold += messages
	return messages > 0 && c.Bad(messages)
}

// Untold is the error for the messages that were passed over since it was last called; nil if there are none.
func (c *Counter) Untold() error {
	n := c.untold
	if n == 0 {
		return nil
	}
	c.untold = 0
	return &transport.Malformed{Count: n, Cause: fmt.Sprintf("shorter than a header of %d bytes", wire.HeaderSize)}
}

// HandedOver counts a message of one part that the node is handed, if it is one of those that a peer sends
// now and then.
func (c *Counter) HandedOver(message []byte) (over bool) {
	if len(message) < wire.HeaderSize || !wire.OnlyHeader(message) {
		return false
	}
	if c.bare++; c.bare < mostBare {
		return false
	}
	now := time.Now()
	over = now.Sub(c.bareSince) < time.Second
	c.bare, c.bareSince = 0, now
	return over
}
