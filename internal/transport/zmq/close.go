package zmq

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	zmq4 "github.com/pebbe/zmq4"

	"github.com/abhishekg16/cluster/internal/transport"
)

// reapTimeout is how long ZeroMQ's own threads may take to put an end to a
// socket that has nothing left to send.
const reapTimeout = 5 * time.Second

var monitors atomic.Uint64

// closeAndWait closes soc and returns when ZeroMQ has flushed it, or given up
// after linger, and has let go of its port and connections. zmq_close itself
// only begins that; the monitor's last event tells that it is done.
//
// If waiting is not nil it is told what to interrupt so that this returns at
// once; ZeroMQ then goes on by itself, for no longer than linger.
func closeAndWait(soc *zmq4.Socket, linger time.Duration, waiting func(*waiter)) error {
	if err := soc.SetLinger(max(0, linger)); err != nil {
		return err
	}
	monitor, err := watch(soc)
	if err != nil {
		soc.Close()
		return err
	}
	deadline := time.Now().Add(max(0, linger) + reapTimeout)
	defer leave(monitor, deadline)
	w, err := newWaiter(monitor)
	if err != nil {
		soc.Close()
		return err
	}
	defer w.close()
	if waiting != nil {
		waiting(w)
		defer waiting(nil)
	}
	if err := soc.Close(); err != nil {
		return err
	}
	// No other event was asked for.
	if err := w.wait(zmq4.POLLIN, deadline); err != nil && !errors.Is(err, transport.ErrInterrupted) {
		return fmt.Errorf("zmq: waiting for a socket to end: %w", err)
	}
	return nil
}

// leaveInterval is how often leave looks.
const leaveInterval = 50 * time.Millisecond

// leave closes a monitor once the event has come that its socket has ended, and keeps
// looking for it now and then until some time after the deadline. Before that it must
// not be closed: ZeroMQ sends the event without regard for whether somebody is there to
// take it, and if nobody is, the one thread that puts an end to sockets waits for ever,
// and no other socket of the process ends any more.
func leave(monitor *zmq4.Socket, deadline time.Time) {
	if events, err := monitor.GetEvents(); err != nil || events&zmq4.POLLIN != 0 {
		monitor.Close()
		return
	}
	if time.Now().Before(deadline.Add(reapTimeout)) {
		// Nobody waits for it: it outlives what it belongs to, as the socket does.
		time.AfterFunc(leaveInterval, func() { leave(monitor, deadline) })
	}
}

// watch makes a socket that receives the monitor events of soc.
func watch(soc *zmq4.Socket) (*zmq4.Socket, error) {
	endpoint := fmt.Sprintf("inproc://monitor.%d", monitors.Add(1))
	return newSocket(zmq4.PAIR,
		func(s *zmq4.Socket) error { return s.SetLinger(0) },
		// From here on somebody has to be there; see leave. That this one could not be
		// made, for want of a descriptor, would be known by now.
		func(*zmq4.Socket) error { return soc.Monitor(endpoint, zmq4.EVENT_MONITOR_STOPPED) },
		func(s *zmq4.Socket) error { return s.Connect(endpoint) },
	)
}
