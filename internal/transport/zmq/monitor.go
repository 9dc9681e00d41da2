//go:build cgo && !nozmq

package zmq

import (
	"fmt"
	"sync/atomic"
	"time"

	zmq4 "github.com/pebbe/zmq4"
)

var monitors atomic.Uint64

// A monitor receives what ZeroMQ tells of a socket. It is used by one goroutine at a time.
type monitor struct {
	soc  *zmq4.Socket
	from string // the endpoint that the latest event is of
	over bool   // the last event has come: the watched socket has ended
}

// watch makes the one monitor of soc, for the events, and for the end of soc.
func watch(soc *zmq4.Socket, events zmq4.Event) (*monitor, error) {
	endpoint := fmt.Sprintf("inproc://monitor.%d", monitors.Add(1))
	m, err := newSocket(zmq4.PAIR,
		func(s *zmq4.Socket) error { return s.SetLinger(0) },
		// ZeroMQ's own threads wait for room, and everybody for them.
		func(s *zmq4.Socket) error { return s.SetRcvhwm(0) },
		// From here on somebody has to be there; see leave. That this one could not be
		// made, for want of a descriptor, would be known by now.
		func(*zmq4.Socket) error { return soc.Monitor(endpoint, events|zmq4.EVENT_MONITOR_STOPPED) },
		func(s *zmq4.Socket) error { return s.Connect(endpoint) },
	)
	if err != nil {
		return nil, err
	}
	return &monitor{soc: m}, nil
}

// next returns an event if one is there.
func (m *monitor) next() (event zmq4.Event, value int, ok bool) {
	event, from, value, err := m.soc.RecvEvent(zmq4.DONTWAIT)
	if err != nil {
		m.over = m.over || zmq4.AsErrno(err) == zmq4.ETERM // no event will come
		return 0, 0, false
	}
	m.from = from
	m.over = m.over || event == zmq4.EVENT_MONITOR_STOPPED
	return event, value, true
}

// ended passes over what events are there, and reports whether the socket has ended.
func (m *monitor) ended() bool {
	for ok := true; ok; {
		_, _, ok = m.next()
	}
	return m.over
}

// leaveInterval is how soon leave looks again, at first.
const leaveInterval = 50 * time.Millisecond

// leave closes a monitor once the event has come that its socket has ended, and keeps
// looking for it now and then for as long as that takes. Before that it must not be closed, nor be forgotten
// and closed by its finalizer: ZeroMQ sends the event without regard for whether somebody is
// there to take it, and if nobody is, the one thread that puts an end to sockets waits for
// ever, and no other socket of the process ends any more.
func (m *monitor) leave() { m.leaveIn(leaveInterval) }

func (m *monitor) leaveIn(interval time.Duration) {
	if m.ended() {
		m.soc.Close()
		return
	}
	// Nobody waits for it: it outlives what it belongs to, as the socket does.
	time.AfterFunc(interval, func() { m.leaveIn(min(2*interval, time.Second)) })
}
