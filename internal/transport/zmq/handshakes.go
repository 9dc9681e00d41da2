//go:build cgo && !nozmq

package zmq

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	zmq4 "github.com/pebbe/zmq4"

	"github.com/abhishekg16/cluster/internal/transport"
)

// Somebody who connects has to get through ZeroMQ's handshake before anything of theirs
// comes here. What fails in it shows in the events of the listening socket alone, which
// are read now and then: with a goroutine to wait for them each listener would cost more.

const (
	// lookInterval is how often the events are read.
	lookInterval = time.Second
	// A connection that is younger than this and has not ended may still be in its
	// handshake.
	unsettled = transport.HandshakeTimeout + lookInterval

	handshakeEvents = zmq4.EVENT_ACCEPTED | zmq4.EVENT_DISCONNECTED | zmq4.EVENT_HANDSHAKE_SUCCEEDED |
		zmq4.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq4.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq4.EVENT_HANDSHAKE_FAILED_AUTH
)

// The codes of ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL that people meet (zmq.h).
const (
	codeCryptographic     = 0x11000001
	codeMechanismMismatch = 0x11000002
)

// A cause is why a connection did not come about.
type cause int

const (
	unfinished cause = iota
	mismatch
	refusing
	misplaced // from here on the event may also come when an established connection ends
	broken
	foreign // what there is no event for
	causes
)

var causeErrors = [causes]error{
	unfinished: fmt.Errorf("%w: it went away, or said nothing for %v", transport.ErrUnfinished, transport.HandshakeTimeout),
	mismatch:   fmt.Errorf("%w: one of the two has keys, and the other has none", transport.ErrKeys),
	refusing:   errors.New("it said that it refuses"),
	misplaced:  errors.New("it expects another public key here, or what it sent was changed on the way"),
	broken:     errors.New("it broke the protocol of ZeroMQ's handshake"),
	foreign:    errors.New("it did not speak ZMTP 3, the protocol of ZeroMQ 4"),
}

// handshakes counts the connections to a listener that did not get through, other than
// those that Security.Admit did not let in.
type handshakes struct {
	failed func(count int, cause error)
	keyed  bool
	// How often the listener was found to have nothing to be received.
	drained atomic.Uint64

	mu       sync.Mutex // guards what follows
	monitor  *monitor   // nil after stop
	timer    *time.Timer
	accepted int
	passed   int               // accepted, and through the handshake or refused by Admit
	certain  int               // failed, as an event says that has no other meaning
	reported int               // to failed
	open     map[int]time.Time // the young connections by their descriptors: when they were first seen
	pending  cause             // of the event before this one, if it may be a failure; or else foreign
	causes   [causes]int       // of failures that are not reported yet
	ended    map[int]uint64    // by the descriptor of a connection: drained, when the event was read that it had ended
}

// watchHandshakes tells failed what becomes of the connections to a listener, with keys
// or without, until stop.
func watchHandshakes(m *monitor, keyed bool, failed func(count int, cause error)) *handshakes {
	if failed == nil {
		failed = func(int, error) {}
	}
	h := &handshakes{failed: failed, keyed: keyed, monitor: m, open: make(map[int]time.Time), pending: foreign, ended: make(map[int]uint64)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer = time.AfterFunc(lookInterval, h.look)
	return h
}

// stop reports what is known, and returns the monitor, which is the caller's from then on.
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
	h.read(now)
	h.report(h.settled(now))
	h.timer.Reset(lookInterval)
}

// read takes in the events that have come. The caller holds mu.
func (h *handshakes) read(now time.Time) {
	for {
		event, value, ok := h.monitor.next()
		if !ok {
			return
		}
		h.note(event, value, now)
	}
}

// report tells of the failures that are new, if there were so many so far.
func (h *handshakes) report(failures int) {
	n := failures - h.reported
	h.causes[foreign] = max(0, n) // the others come first
	for c, count := range h.causes {
		if count = min(count, n); count > 0 {
			n -= count
			h.causes[c] -= count
			h.reported += count
			h.failed(count, causeErrors[c])
		}
	}
	if len(h.open) == 0 {
		h.causes = [causes]int{} // what is left was of connections that stood
	}
}

// note takes an event. Only two of them name the connection, by its descriptor.
func (h *handshakes) note(event zmq4.Event, value int, now time.Time) {
	before := h.pending
	h.pending = foreign
	switch event {
	case zmq4.EVENT_ACCEPTED:
		h.accepted++
		h.open[value] = now
	case zmq4.EVENT_DISCONNECTED:
		// What ends a connection comes directly before.
		if _, young := h.open[value]; young && before != foreign {
			h.causes[before]++
		}
		delete(h.open, value)
		h.ended[value] = h.drained.Load()
	case zmq4.EVENT_HANDSHAKE_SUCCEEDED:
		h.passed++
	case zmq4.EVENT_HANDSHAKE_FAILED_AUTH:
		if h.keyed {
			h.passed++
		} else {
			h.fails(refusing) // it needs no answer of ours to say that
		}
	case zmq4.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
		h.fails(unfinished)
	case zmq4.EVENT_HANDSHAKE_FAILED_PROTOCOL:
		switch value {
		case codeMechanismMismatch:
			h.fails(mismatch)
		case codeCryptographic:
			h.pending = misplaced
		default:
			h.pending = broken
		}
	}
}

func (h *handshakes) fails(c cause) {
	h.certain++
	h.causes[c]++
}

// settled is how many connections have failed for all that is known. ZeroMQ has no event
// for some failures (a greeting of an older protocol where there are keys), so it is what
// is left of all connections without those that have passed and those that still may.
func (h *handshakes) settled(now time.Time) int {
	for fd, since := range h.open {
		if now.Sub(since) >= unsettled {
			delete(h.open, fd)
		}
	}
	return max(h.certain, h.accepted-h.passed-len(h.open))
}
