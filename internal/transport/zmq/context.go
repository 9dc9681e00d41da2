// Package zmq carries frames over ZeroMQ, for endpoints with the schemes tcp
// and ipc: one PULL socket receives, and one PUSH socket sends to each peer. It
// is the only package that imports github.com/pebbe/zmq4.
//
// A socket is used by one goroutine at a time, behind a lock where that is not
// always the same one, and only ever without blocking; how it waits is in
// wait_netpoll.go.
package zmq

// #include <stdlib.h>
import "C"

import (
	"sync"
	"time"

	zmq4 "github.com/pebbe/zmq4"
)

const (
	// The queue of ZeroMQ itself is kept to a few frames when sending: what
	// bounds memory is the link's queue.
	sendFrames = 8
	// When receiving it has no bound, since the window that each sender is
	// granted is one. A bound would make ZeroMQ stop reading a connection, and
	// then a heartbeat or a reset on it ends the process with a failed assertion:
	// libzmq issues 3937 and 4767, in all versions so far.
	recvFrames = 0

	// The interval between attempts to connect starts small, since people's
	// election timeouts are short, and backs off to an eighth of a second.
	reconnectMin = 10 * time.Millisecond
	reconnectMax = 125 * time.Millisecond
	// A connect or a handshake that got no answer is tried afresh: TCP's own
	// repetition of a lost SYN backs off for seconds. With reconnectMax it bounds how
	// long a peer that can be reached again is not found, which is to be under a second.
	connectTimeout   = 700 * time.Millisecond
	handshakeTimeout = 3 * time.Second

	// The sending side asks for a sign of life each interval, and closes the
	// connection when none came within the timeout, so that a half-open
	// connection is noticed within four seconds. It tells the receiving
	// side to do the same when nothing at all has come for the TTL.
	heartbeatInterval = 1500 * time.Millisecond
	heartbeatTimeout  = 2500 * time.Millisecond
	heartbeatTTL      = 6 * time.Second
	// A heartbeat has to be written before its answer is waited for, and that cannot be
	// done while the kernel's buffer is full. So the kernel itself gives a connection up
	// on which nothing is acknowledged for as long (TCP_USER_TIMEOUT).
	unacknowledged = heartbeatInterval + heartbeatTimeout

	// The kernel's own sign of life, in seconds: about as long as the TTL, and for an end
	// that is gone without a word as long again.
	keepAliveIdle     = 6
	keepAliveInterval = 2
	keepAliveCount    = 3

	// maxSockets is ZeroMQ's own upper limit; a slot costs eight bytes.
	maxSockets = 65535
	backlog    = 1024
)

// sharedContext is the one ZeroMQ context of the process. It has one I/O
// thread whatever the number of nodes, and is never terminated: a node knows
// by itself when its sockets are gone.
var sharedContext = sync.OnceValues(func() (*zmq4.Context, error) {
	keepFreed()
	ctx, err := zmq4.NewContext()
	if err != nil {
		return nil, err
	}
	if err := ctx.SetMaxSockets(maxSockets); err != nil {
		return nil, err
	}
	return ctx, nil
})

// keepFreed makes the C library keep up to 2 MiB of what is freed in each of its arenas, of
// which it makes some if many threads allocate. Until a program
// has freed a large block, glibc gives more than 128 KiB of free memory back to the
// kernel at once, and gets it anew for the next frame, page by page: that took an
// eighth of the time of a busy link. What the program itself has set (mallopt,
// GLIBC_TUNABLES) stays in force, and other C libraries are not affected.
func keepFreed() {
	const block = 1 << 20 // the threshold becomes twice that (see mallopt(3), M_MMAP_THRESHOLD)
	C.free(C.malloc(block))
}

// Network is transport.Network over ZeroMQ.
type Network struct{}

// newSocket makes a socket of the shared context and applies the options in
// turn; on an error the socket is closed again.
func newSocket(kind zmq4.Type, options ...func(*zmq4.Socket) error) (*zmq4.Socket, error) {
	ctx, err := sharedContext()
	if err != nil {
		return nil, err
	}
	s, err := ctx.NewSocket(kind)
	if err != nil {
		return nil, err
	}
	for _, set := range options {
		if err := set(s); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}
