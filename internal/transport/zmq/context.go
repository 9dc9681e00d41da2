//go:build cgo && !nozmq

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
	"errors"
	"runtime"
	"sync"

	zmq4 "github.com/pebbe/zmq4"
)

const (
	// When receiving it has no bound, since the window that each sender is
	// granted is one. A bound would make ZeroMQ stop reading a connection, and
	// then a heartbeat or a reset on it ends the process with a failed assertion:
	// libzmq issues 3937 and 4767, in all versions so far.
	recvFrames = 0

	// maxSockets is ZeroMQ's own upper limit; a slot costs eight bytes.
	maxSockets = 65535
)

// startDescriptors are at least as many as are opened when ZeroMQ's threads start, and Go's
// network poller with them: each of the two ends the process where it gets none.
func startDescriptors() int {
	if runtime.GOOS == "linux" {
		return 10
	}
	return 16 // what is one descriptor there (an eventfd) is a pair of them
}

// The one ZeroMQ context of the process. It has one I/O thread whatever the number of nodes,
// and is never terminated: a node knows by itself when its sockets are gone.
var shared struct {
	sync.Mutex
	context *zmq4.Context // nil until its threads run
}

// sharedContext returns the context, and starts its threads if they do not run. After an
// error it may be tried again.
func sharedContext() (*zmq4.Context, error) {
	shared.Lock()
	defer shared.Unlock()
	if shared.context != nil {
		return shared.context, nil
	}
	if err := headroom(startDescriptors()); err != nil {
		return nil, err
	}
	keepFreed()
	ctx, err := zmq4.NewContext()
	if err != nil {
		return nil, err
	}
	if err := ctx.SetMaxSockets(maxSockets); err != nil {
		return nil, errors.Join(err, ctx.Term())
	}
	first, err := ctx.NewSocket(zmq4.PAIR) // with it they start
	if err != nil {
		return nil, errors.Join(err, ctx.Term())
	}
	shared.context = ctx
	return ctx, first.Close()
}

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
