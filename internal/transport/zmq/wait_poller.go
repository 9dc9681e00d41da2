//go:build cgo && !nozmq && (windows || zmqpoller)

package zmq

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	zmq4 "github.com/pebbe/zmq4"

	"github.com/abhishekg16/cluster/internal/transport"
)

// A waiter blocks in ZeroMQ's own poller, where Go's cannot be used. It costs a
// thread for each goroutine that waits. A pair of inproc sockets wakes it up;
// with the build tag zmqpoller this file also serves elsewhere, for tests.
type waiter struct {
	soc  *zmq4.Socket
	bell *zmq4.Socket // read by the owner of soc

	rung   atomic.Bool  // a message is in, or about to enter, the pipe
	mu     sync.Mutex   // guards ringer, which any goroutine may use
	ringer *zmq4.Socket // nil after close
}

var bells atomic.Uint64

func newWaiter(soc *zmq4.Socket) (*waiter, error) {
	w := &waiter{soc: soc}
	endpoint := fmt.Sprintf("inproc://wake.%d", bells.Add(1))
	noLinger := func(s *zmq4.Socket) error { return s.SetLinger(0) }
	var err error
	if w.bell, err = newSocket(zmq4.PAIR, noLinger, func(s *zmq4.Socket) error { return s.Bind(endpoint) }); err != nil {
		return nil, err
	}
	if w.ringer, err = newSocket(zmq4.PAIR, noLinger, func(s *zmq4.Socket) error { return s.Connect(endpoint) }); err != nil {
		w.bell.Close()
		return nil, err
	}
	return w, nil
}

// wait returns nil as soon as the socket has one of the events.
func (w *waiter) wait(events zmq4.State, deadline time.Time) error {
	poller := zmq4.NewPoller()
	poller.Add(w.soc, events)
	poller.Add(w.bell, zmq4.POLLIN)
	timeout := time.Duration(-1)
	if !deadline.IsZero() {
		// Rounded up: ZeroMQ counts in milliseconds, and 0 would spin.
		timeout = max(0, time.Until(deadline)) + time.Millisecond
	}
	ready, err := poller.Poll(timeout)
	if err != nil {
		return err
	}
	for _, p := range ready {
		if p.Socket == w.bell {
			if w.interrupts() {
				return transport.ErrInterrupted
			}
			// It was counted before its message had come; the caller looks again.
			w.bell.RecvBytes(zmq4.DONTWAIT)
			return nil
		}
	}
	if len(ready) == 0 {
		return transport.ErrTimeout
	}
	return nil
}

// interrupts reports whether interrupt was called since the last wait that ended
// for it, and counts as such a wait.
func (w *waiter) interrupts() bool {
	if !w.rung.CompareAndSwap(true, false) {
		return false
	}
	w.bell.RecvBytes(zmq4.DONTWAIT)
	return true
}

func (w *waiter) interrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ringer != nil && w.rung.CompareAndSwap(false, true) {
		w.ringer.SendBytes(nil, zmq4.DONTWAIT)
	}
}

// close must precede the socket's own close.
func (w *waiter) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ringer.Close()
	w.ringer = nil
	return w.bell.Close()
}
