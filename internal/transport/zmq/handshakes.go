package zmq

import (
	"errors"
	"fmt"
	"sync"
	"time"

	zmq4 "github.com/pebbe/zmq4"
)

// Somebody who connects has to get through ZeroMQ's handshake before anything of theirs
// comes here. What fails in it shows in the events of the listening socket alone, which
// are read now and then: with a goroutine to wait for them each listener would cost more.

const (
	// lookInterval is how often the events are read.
	lookInterval = time.Second
	// A connection that is younger than this and has not ended may still be in its
	// handshake.
	unsettled = handshakeTimeout + lookInterval

	handshakeEvents = zmq4.EVENT_ACCEPTED | zmq4.EVENT_DISCONNECTED | zmq4.EVENT_HANDSHAKE_SUCCEEDED |
		zmq4.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq4.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq4.EVENT_HANDSHAKE_FAILED_AUTH
)

// The codes of ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL that people meet (zmq.h).
const (
	errCryptographic     = 0x11000001
	errMechanismMismatch = 0x11000002
)

var (
	errForeign    = errors.New("it did not speak ZMTP 3, the protocol of ZeroMQ 4")
	errUnfinished = fmt.Errorf("it went away, or said nothing for %v", handshakeTimeout)
)

// handshakes counts the connections to a listener that did not get through, other than
// those that Security.Admit did not let in.
type handshakes struct {
	failed func(count int, cause error)

	mu       sync.Mutex // guards what follows
	monitor  *monitor   // nil after stop
	timer    *time.Timer
	accepted int
	passed   int               // accepted, and through the handshake or refused by Admit
	reported int               // to failed
	open     map[int]time.Time // the young connections by their descriptors: when they were first seen
	cause    error             // of the latest failure that gave one; nil after a report
}

// watchHandshakes tells failed what becomes of the connections, until stop.
func watchHandshakes(m *monitor, failed func(count int, cause error)) *handshakes {
	if failed == nil {
		failed = func(int, error) {}
	}
	h := &handshakes{failed: failed, monitor: m, open: make(map[int]time.Time)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer = time.AfterFunc(lookInterval, h.look)
	return h
}

// stop returns the monitor, which is the caller's from then on.
func (h *handshakes) stop() *monitor {
	h.timer.Stop()
	h.look()
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.monitor
	h.monitor = nil
	return m
}

// look reads the events that have come, and reports.
func (h *handshakes) look() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.monitor == nil {
		return
	}
	now := time.Now()
	for {
		event, value, ok := h.monitor.next()
		if !ok {
			break
		}
		h.note(event, value, now)
	}
	if n := h.settled(now) - h.reported; n > 0 {
		h.reported += n
		if h.cause == nil {
			h.cause = errForeign
		}
		h.failed(n, h.cause)
		h.cause = nil
	}
	h.timer.Reset(lookInterval)
}

// note takes an event. Only two of them name the connection, by its descriptor.
func (h *handshakes) note(event zmq4.Event, value int, now time.Time) {
	switch event {
	case zmq4.EVENT_ACCEPTED:
		h.accepted++
		h.open[value] = now
	case zmq4.EVENT_DISCONNECTED:
		delete(h.open, value)
	case zmq4.EVENT_HANDSHAKE_SUCCEEDED, zmq4.EVENT_HANDSHAKE_FAILED_AUTH:
		h.passed++
	case zmq4.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
		h.cause = errUnfinished
	case zmq4.EVENT_HANDSHAKE_FAILED_PROTOCOL:
		h.cause = protocolError(value)
	}
}

// settled is how many connections have failed for certain. ZeroMQ has no event for some
// failures (a greeting of an older protocol where there are keys), so it is what is left
// of all connections without those that have passed and those that still may.
func (h *handshakes) settled(now time.Time) int {
	for fd, since := range h.open {
		if now.Sub(since) >= unsettled {
			delete(h.open, fd)
		}
	}
	return h.accepted - h.passed - len(h.open)
}

// protocolError is the error of a code.
func protocolError(code int) error {
	switch code {
	case errCryptographic:
		return errors.New("it expects another public key here, or what it sent was changed on the way")
	case errMechanismMismatch:
		return errors.New("one of the two has keys, and the other has none")
	}
	return fmt.Errorf("it broke the protocol of the handshake (ZeroMQ's code 0x%x)", code)
}
