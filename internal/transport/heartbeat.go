package transport

import "time"

// When a connection is made, noticed to be gone, and made again. All transports have the same
// times, so that a program meets the same over each of them; docs/wire.md tells what each is
// called in ZeroMQ.
const (
	// The interval between attempts to connect starts small, since people's
	// election timeouts are short, and backs off to an eighth of a second.
	ReconnectMin = 10 * time.Millisecond
	ReconnectMax = 125 * time.Millisecond
	// A connect or a handshake that got no answer is tried afresh: TCP's own
	// repetition of a lost SYN backs off for seconds. With ReconnectMax it bounds how
	// long a peer that can be reached again is not found, which is to be under a second.
	ConnectTimeout   = 700 * time.Millisecond
	HandshakeTimeout = 3 * time.Second

	// The sending side asks for a sign of life each interval, and closes the
	// connection when none came within the timeout, so that a half-open
	// connection is noticed within four seconds. It tells the receiving
	// side to do the same when nothing at all has come for the TTL.
	HeartbeatInterval = 1500 * time.Millisecond
	HeartbeatTimeout  = 2500 * time.Millisecond
	HeartbeatTTL      = 6 * time.Second
	// A heartbeat has to be written before its answer is waited for, and that cannot be
	// done while the kernel's buffer is full. So the kernel itself gives a connection up
	// on which nothing is acknowledged for as long (TCP_USER_TIMEOUT).
	Unacknowledged = HeartbeatInterval + HeartbeatTimeout

	// The kernel's own sign of life: idle for about as long as the TTL, and for an end
	// that is gone without a word as long again.
	KeepAliveIdle     = 6 * time.Second
	KeepAliveInterval = 2 * time.Second
	KeepAliveCount    = 3
)

// SendFrames is how many frames a connection holds that the network has not taken yet: what
// bounds memory is the queue of the link above.
const SendFrames = 8
