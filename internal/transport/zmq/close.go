//go:build cgo && !nozmq

package zmq

import (
	"errors"
	"fmt"
	"time"

	zmq4 "github.com/pebbe/zmq4"

	"github.com/abhishekg16/cluster/internal/transport"
)

// reapTimeout is how long ZeroMQ's own threads may take to put an end to a
// socket that has nothing left to send.
const reapTimeout = 5 * time.Second

// closeAndWait closes soc and returns when ZeroMQ has flushed it, or given up
// after linger, and has let go of its port and connections. zmq_close itself
// only begins that; the monitor's last event tells that it is done.
//
// If waiting is not nil it is told what to interrupt so that this returns at
// once; ZeroMQ then goes on by itself, for no longer than linger.
func closeAndWait(soc *zmq4.Socket, linger time.Duration, waiting func(*waiter)) error {
	m, err := watch(soc, 0)
	if err != nil {
		return errors.Join(err, soc.Close())
	}
	return closeWatched(soc, m, linger, waiting)
}

// closeWatched is closeAndWait for a socket that has a monitor, which it closes too.
func closeWatched(soc *zmq4.Socket, m *monitor, linger time.Duration, waiting func(*waiter)) error {
	deadline := time.Now().Add(max(0, linger) + reapTimeout)
	defer m.leave()
	if err := errors.Join(soc.SetLinger(max(0, linger)), soc.Close()); err != nil {
		return err
	}
	w, err := newWaiter(m.soc)
	if err != nil {
		return err
	}
	defer w.close()
	if waiting != nil {
		waiting(w)
		defer waiting(nil)
	}
	for !m.ended() {
		if err := w.wait(zmq4.POLLIN, deadline); errors.Is(err, transport.ErrInterrupted) {
			return nil
		} else if err != nil {
			return fmt.Errorf("zmq: waiting for a socket to end: %w", err)
		}
	}
	return nil
}
