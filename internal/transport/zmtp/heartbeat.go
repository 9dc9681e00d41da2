package zmtp

import (
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

const (
	// The sending end asks for a sign of life each HeartbeatInterval, and leaves the connection when
	// none has come for silence, which is noticed by about lookInterval. It tells the receiving end to
	// do the same when nothing at all has come for the HeartbeatTTL.
	silence      = transport.HeartbeatInterval + transport.HeartbeatTimeout
	lookInterval = 250 * time.Millisecond
	// lastLook is how long it is looked whether something has come after all.
	lastLook = 10 * time.Millisecond
)

// A heartbeat decides when a connection is asked for a sign of life, and whether it is to be
// left. A sign of life is whatever comes, and also that the other end's kernel takes what was
// written before the PING, which waits behind it: on a slow path that may last for much longer
// than a peer may be silent. Once the other end's kernel has the PING, an answer is due.
//
// It has no clock: it is told the time. What was written, and how much of that the other end's
// kernel has acknowledged, are counted in bytes since the connection began.
type heartbeat struct {
	answers bool      // the peer is known to answer a PING
	sign    time.Time // when there was last a sign of life
	next    time.Time // when a PING is due
	waits   bool      // for the answer to one
	asked   int64     // bytes written up to its end
	acked   int64     // bytes that were acknowledged at the last look
}

// newHeartbeat is of a connection that was set up just now. A peer of ZMTP 3.0 is not held to
// answer before it has shown that it does.
func newHeartbeat(now time.Time, minor byte) heartbeat {
	return heartbeat{answers: minor >= 1, sign: now, next: now.Add(transport.HeartbeatInterval)}
}

// heard tells that something came.
func (h *heartbeat) heard(now time.Time) { h.sign, h.waits = now, false }

// answered tells that what came was the answer to a PING.
func (h *heartbeat) answered() { h.answers = true }

// pinged tells that a PING was written, up to that many bytes.
func (h *heartbeat) pinged(written int64) { h.waits, h.asked = true, written }

// A beat is what is to be done now.
type beat struct {
	ping  bool // write a PING if there is room for it
	leave bool // the peer is gone
	until time.Time
}

// look decides what is to be done.
func (h *heartbeat) look(now time.Time, written, acked int64) (b beat) {
	if acked > h.acked {
		h.took(now, acked)
	}
	owed := acked < written || h.waits
	if !owed {
		// Silence begins with what is asked next, and not while this process is stopped.
		h.sign = later(h.sign, now.Add(-transport.HeartbeatInterval))
	}
	if !now.Before(h.next) {
		b.ping, h.next = !h.waits, now.Add(transport.HeartbeatInterval)
	}
	b.until = h.next
	if owed {
		due := h.sign.Add(silence)
		b.leave = !now.Before(due)
		if acked < written {
			due = earlier(due, now.Add(lookInterval))
		}
		b.until = earlier(b.until, due)
	}
	return b
}

// took takes in that the other end's kernel has acknowledged more.
func (h *heartbeat) took(now time.Time, acked int64) {
	hadPing := h.waits && h.acked >= h.asked
	h.acked = acked
	switch {
	case hadPing: // what was written behind the PING says nothing of who is to answer it
	case !h.waits || acked < h.asked:
		h.sign = now
	case h.answers: // the answer is due as if the PING had been written now
		h.sign = later(h.sign, now.Add(-transport.HeartbeatInterval))
	default:
		h.sign, h.waits = now, false
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
