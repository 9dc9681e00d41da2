// Package mem carries frames inside one process, for endpoints with the scheme
// mem. It waits on channels and timers only, so that nodes over it run inside a
// testing/synctest bubble, and it keeps few frames, as the socket transports
// do, so that what is above it works as hard.
package mem

import (
	"bytes"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

// capacity is how many frames a listener holds before its senders wait.
const capacity = 32

// Network is a transport.Network of its own: endpoints of different Networks
// never meet. The zero value is ready to use.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*listener
	awaited   map[string]*awaited
}

// awaited is an endpoint without a listener that connections wait for. It is
// forgotten with the last of them, so that nothing of one synctest bubble is
// left to the next.
type awaited struct {
	come  chan struct{} // closed when the listener is there
	conns int
}

// Default is the network on which every node of this process with a mem
// address is found.
var Default = new(Network)

// Listen implements transport.Network.
func (n *Network) Listen(endpoint string) (transport.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[endpoint] != nil {
		return nil, fmt.Errorf("%w: another node of this program listens there", syscall.EADDRINUSE)
	}
	if n.listeners == nil {
		n.listeners = make(map[string]*listener)
	}
	l := &listener{network: n, endpoint: endpoint, arrived: make(chan struct{}, 1), stop: make(chan struct{}, 1)}
	n.listeners[endpoint] = l
	if a := n.awaited[endpoint]; a != nil {
		close(a.come)
		delete(n.awaited, endpoint)
	}
	return l, nil
}

// Dial implements transport.Network.
func (n *Network) Dial(endpoint string) (transport.Conn, error) {
	return &conn{network: n, endpoint: endpoint, stop: make(chan struct{}, 1)}, nil
}

func (n *Network) find(endpoint string) *listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.listeners[endpoint]
}

// await returns a channel that is closed when endpoint has a listener, and the
// function to call when the channel is no longer of interest.
func (n *Network) await(endpoint string) (come <-chan struct{}, done func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.awaited[endpoint]
	if a == nil {
		a = &awaited{come: make(chan struct{})}
		if n.listeners[endpoint] != nil {
			close(a.come)
			return a.come, func() {}
		}
		if n.awaited == nil {
			n.awaited = make(map[string]*awaited)
		}
		n.awaited[endpoint] = a
	}
	a.conns++
	return a.come, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if a.conns--; a.conns == 0 && n.awaited[endpoint] == a {
			delete(n.awaited, endpoint)
		}
	}
}

type frame struct{ head, tail []byte }

type listener struct {
	network  *Network
	endpoint string
	arrived  chan struct{} // holds a token when frames may be there
	stop     chan struct{} // holds a token after Interrupt

	mu     sync.Mutex // guards what follows
	frames []frame
	room   chan struct{} // closed when a full queue has room again, or the listener is gone
	closed bool
}

func (l *listener) Recv(deadline time.Time) (head, tail []byte, err error) {
	for {
		select {
		case <-l.stop:
			return nil, nil, transport.ErrInterrupted
		default:
		}
		if f, ok := l.take(); ok {
			return f.head, f.tail, nil
		}
		if err := wait(l.arrived, l.stop, deadline); err != nil {
			return nil, nil, err
		}
	}
}

func (l *listener) take() (frame, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.frames) == 0 {
		return frame{}, false
	}
	f := l.frames[0]
	l.frames[0] = frame{}
	l.frames = l.frames[1:]
	l.release()
	return f, true
}

// put takes a copy of the frame if there is room for it.
func (l *listener) put(head, tail []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.frames) >= capacity {
		return false
	}
	l.frames = append(l.frames, frame{bytes.Clone(head), bytes.Clone(tail)})
	ring(l.arrived)
	return true
}

// hasRoom returns nil if put would succeed, and else a channel that is closed
// when the caller should look again.
func (l *listener) hasRoom() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.frames) < capacity {
		return nil
	}
	if l.room == nil {
		l.room = make(chan struct{})
	}
	return l.room
}

// release lets those look again who found no room. The caller holds mu.
func (l *listener) release() {
	if l.room != nil {
		close(l.room)
		l.room = nil
	}
}

func (l *listener) Interrupt() { ring(l.stop) }

func (l *listener) Close() error {
	l.network.mu.Lock()
	delete(l.network.listeners, l.endpoint)
	l.network.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.release()
	l.closed = true
	l.frames = nil
	return nil
}

type conn struct {
	network  *Network
	endpoint string
	stop     chan struct{} // holds a token after Interrupt
}

func (c *conn) TrySend(head, tail []byte) (bool, error) {
	l := c.network.find(c.endpoint)
	return l != nil && l.put(head, tail), nil
}

func (c *conn) Wait(deadline time.Time) error {
	if l := c.network.find(c.endpoint); l != nil {
		room := l.hasRoom()
		if room == nil {
			return nil
		}
		return wait(room, c.stop, deadline)
	}
	come, done := c.network.await(c.endpoint)
	defer done()
	return wait(come, c.stop, deadline)
}

func (c *conn) Interrupt() { ring(c.stop) }

// Close has nothing to wait for: what was handed over is with the listener.
func (c *conn) Close(time.Duration) error { return nil }

func ring(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// wait returns nil when ready yields, and else the error that says why not.
func wait(ready <-chan struct{}, stop <-chan struct{}, deadline time.Time) error {
	var late <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		late = t.C
	}
	select {
	case <-ready:
		return nil
	case <-stop:
		return transport.ErrInterrupted
	case <-late:
		return transport.ErrTimeout
	}
}
