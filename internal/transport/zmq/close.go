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
	defer monitor.Close()
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
	deadline := time.Now().Add(max(0, linger) + reapTimeout)
	for {
		event, _, _, err := monitor.RecvEvent(zmq4.DONTWAIT)
		switch {
		case err == nil && event == zmq4.EVENT_MONITOR_STOPPED:
			return nil
		case err == nil:
		case !again(err):
			return err
		default:
			err := w.wait(zmq4.POLLIN, deadline)
			if errors.Is(err, transport.ErrInterrupted) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("zmq: waiting for a socket to end: %w", err)
			}
		}
	}
}

// watch makes a socket that receives the monitor events of soc.
func watch(soc *zmq4.Socket) (*zmq4.Socket, error) {
	endpoint := fmt.Sprintf("inproc://monitor.%d", monitors.Add(1))
	if err := soc.Monitor(endpoint, zmq4.EVENT_MONITOR_STOPPED); err != nil {
		return nil, err
	}
	return newSocket(zmq4.PAIR,
		func(s *zmq4.Socket) error { return s.SetLinger(0) },
		func(s *zmq4.Socket) error { return s.Connect(endpoint) },
	)
}
