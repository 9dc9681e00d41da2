//go:build cgo && !nozmq && !windows && !zmqpoller

package zmq

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	zmq4 "github.com/pebbe/zmq4"
	"golang.org/x/sys/unix"

	"github.com/abhishekg16/cluster/internal/transport"
)

// A waiter parks the goroutine that owns a socket in Go's network poller, so
// that waiting costs no thread.
//
// ZMQ_FD becomes readable when the socket's state may have changed, and only
// at the edge: ZMQ_EVENTS must be asked after every send and receive and before
// every wait. The poller watches a duplicate of that descriptor, because ZeroMQ
// closes the original itself.
type waiter struct {
	soc  *zmq4.Socket
	file *os.File
	raw  syscall.RawConn

	mu          sync.Mutex  // guards the deadline against interrupt
	interrupted atomic.Bool // set with mu held
	armed       bool        // a read deadline is set on file
}

func newWaiter(soc *zmq4.Socket) (*waiter, error) {
	fd, err := soc.GetFd()
	if err != nil {
		return nil, err
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return waitOn(soc, dup)
}

// waitOn makes a waiter for the socket, whose state may have changed when fd is readable. It
// owns fd.
func waitOn(soc *zmq4.Socket, fd int) (*waiter, error) {
	// The flag belongs to what both descriptors share, if fd is a duplicate; ZeroMQ has set it too.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), "zmq")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &waiter{soc: soc, file: file, raw: raw}, nil
}

// wait returns nil as soon as the socket has one of the events.
func (w *waiter) wait(events zmq4.State, deadline time.Time) error {
	if err := w.arm(deadline); err != nil {
		return err
	}
	var failed error
	err := w.raw.Read(func(uintptr) bool {
		var now zmq4.State
		now, failed = w.soc.GetEvents()
		return failed != nil || now&events != 0
	})
	switch {
	case failed != nil:
		return failed
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return w.expired()
	}
	return err
}

func (w *waiter) arm(deadline time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.interrupted.Load() {
		return w.clear()
	}
	if deadline.IsZero() && !w.armed {
		return nil
	}
	w.armed = !deadline.IsZero()
	return w.file.SetReadDeadline(deadline)
}

// expired tells the two reasons apart for which a deadline has passed.
func (w *waiter) expired() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.interrupted.Load() {
		return w.clear()
	}
	return transport.ErrTimeout
}

// clear reports an interrupt once. The caller holds mu.
func (w *waiter) clear() error {
	w.interrupted.Store(false)
	w.armed = false
	if err := w.file.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	return transport.ErrInterrupted
}

// interrupts reports whether interrupt was called since the last wait that ended
// for it, and counts as such a wait.
func (w *waiter) interrupts() bool {
	if !w.interrupted.Load() {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clear() != nil
}

func (w *waiter) interrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interrupted.Store(true)
	w.armed = true
	// An error means that the file is closed, and then nobody waits.
	w.file.SetReadDeadline(time.Unix(1, 0))
}

// close must precede the socket's own close.
func (w *waiter) close() error { return w.file.Close() }
