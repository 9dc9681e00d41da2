//go:build cgo && !nozmq && (!linux || zmqpoller)

package zmq

import (
	"time"

	zmq4 "github.com/pebbe/zmq4"
)

// A parker is the waiter of a listener; on Linux it is more.
type parker struct{ *waiter }

func newParker(soc *zmq4.Socket) (*parker, error) {
	w, err := newWaiter(soc)
	return &parker{w}, err
}

func (p *parker) wait(deadline time.Time) error { return p.waiter.wait(zmq4.POLLIN, deadline) }

func (p *parker) park(now, end time.Time) bool { return false }
