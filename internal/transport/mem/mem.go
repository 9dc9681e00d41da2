// Package mem carries frames inside one process, for endpoints with the scheme
// mem. It waits on channels and timers only, so that nodes over it run inside a
// testing/synctest bubble, and it keeps few frames, as the socket transports
// do, so that what is above it works as hard.
//
// By itself it has nothing that could break a connection, and so no heartbeat. A Carrier may stand in
// between, such as the network of package clustertest, whose connections have the times of the others.
package mem

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
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
	// Carrier decides what becomes of the frames of this network. Nil lets them
	// arrive at once. It is set before the network is used.
	Carrier Carrier

	mu        sync.Mutex
	listeners map[string]*listener
	awaited   map[string]*awaited
	watched   map[*conn]func() // is called when the connection has ended
}

// A Carrier stands between connections and the listeners that they reach, and decides which
// connections stand. Without one a connection stands whenever there is a listener, and has no
// heartbeat: there is nothing that could break it.
type Carrier interface {
	// Carry takes a frame, of which it may keep neither slice, and may call deliver
	// for it, at any time, in any order, with copies, or not at all; deliver reports
	// whether the listener is still there. If it takes
	// nothing now, since the connection does not stand or is full, it reports false.
	Carry(head, tail []byte, deliver func(head, tail []byte) bool) bool
	// Full returns a channel that is closed when it is worth another try to have a frame
	// carried between two endpoints, or nil if it is now.
	Full(from, to string) (again <-chan struct{})
	// Stands reports whether the connection between two endpoints does; Network.Broke tells when one has ended.
	Stands(from, to string) bool
	// Listens tells that an endpoint has a listener from now on, or has none.
	Listens(endpoint string, yes bool)
}

// awaited is an endpoint without a listener that connections wait for. It is
// forgotten with the last of them, so that nothing of one synctest bubble is
// left to the next.
type awaited struct {
	come  chan struct{} // closed when the listener is there
	conns int
}

// Default is the network of the endpoints that are on no other.
var Default = new(Network)

var (
	namedMu sync.Mutex
	named   = make(map[string]*Network)
)

// Name makes n the network of all endpoints mem://name/..., until the function that
// it returns is called.
func (n *Network) Name(name string) (forget func()) {
	namedMu.Lock()
	defer namedMu.Unlock()
	named[name] = n
	return func() {
		namedMu.Lock()
		defer namedMu.Unlock()
		delete(named, name)
	}
}

// Of is the network that the endpoint is on: the one of that name, or Default.
func Of(endpoint string) *Network {
	name, _, _ := strings.Cut(strings.TrimPrefix(endpoint, "mem://"), "/")
	namedMu.Lock()
	defer namedMu.Unlock()
	if n := named[name]; n != nil {
		return n
	}
	return Default
}

// Listen implements transport.Network.
func (n *Network) Listen(endpoint string, s *transport.Security, _ func(int, error)) (transport.Listener, error) {
	l, err := n.listen(endpoint, s)
	if err == nil && n.Carrier != nil {
		n.Carrier.Listens(endpoint, true)
	}
	return l, err
}

func (n *Network) listen(endpoint string, s *transport.Security) (transport.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[endpoint] != nil {
		return nil, fmt.Errorf("%w: another node of this program listens there", syscall.EADDRINUSE)
	}
	if n.listeners == nil {
		n.listeners = make(map[string]*listener)
	}
	l := &listener{network: n, endpoint: endpoint, security: s, arrived: make(chan struct{}, 1), stop: make(chan struct{}, 1)}
	n.listeners[endpoint] = l
	if a := n.awaited[endpoint]; a != nil {
		close(a.come)
		delete(n.awaited, endpoint)
	}
	return l, nil
}

// Dial implements transport.Network.
func (n *Network) Dial(endpoint string, s *transport.Security, peer string) (transport.Conn, error) {
	return n.DialFrom("", endpoint, s, peer)
}

// DialFrom is Dial for the server that has the endpoint from: see transport.Dial.
func (n *Network) DialFrom(from, endpoint string, s *transport.Security, peer string) (transport.Conn, error) {
	return &conn{network: n, from: from, endpoint: endpoint, security: s, peer: peer, stop: make(chan struct{}, 1)}, nil
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

type frame struct {
	head, tail []byte
	key        string // of its sender
}

type listener struct {
	network  *Network
	endpoint string
	security *transport.Security
	arrived  chan struct{} // holds a token when frames may be there
	stop     chan struct{} // holds a token after Interrupt
	key      string        // of the latest frame; its owner's

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
			l.key = f.key
			return f.head, f.tail, nil
		}
		if err := wait(l.arrived, l.stop, deadline); err != nil {
			return nil, nil, err
		}
	}
}

func (l *listener) Key() string { return l.key }

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
func (l *listener) put(head, tail []byte, key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.frames) >= capacity {
		return false
	}
	l.add(head, tail, key)
	return true
}

// deliver takes a copy of a frame that was on its way: there is room for that, unless
// the listener is gone.
func (l *listener) deliver(head, tail []byte, key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.add(head, tail, key)
	}
	return !l.closed
}

// add is called with mu held.
func (l *listener) add(head, tail []byte, key string) {
	l.frames = append(l.frames, frame{bytes.Clone(head), bytes.Clone(tail), key})
	ring(l.arrived)
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
	if c := l.network.Carrier; c != nil {
		c.Listens(l.endpoint, false)
	} else {
		l.network.broke(func(c *conn) bool { return c.endpoint == l.endpoint })
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.release()
	l.closed = true
	l.frames = nil
	return nil
}

type conn struct {
	network  *Network
	from     string // the endpoint of its owner; empty if it is not known
	endpoint string
	security *transport.Security
	peer     string        // the public key of who listens
	stop     chan struct{} // holds a token after Interrupt
}

func (c *conn) TrySend(head, tail []byte) (bool, error) {
	l := c.network.find(c.endpoint)
	carrier := c.network.Carrier
	switch {
	case l == nil && carrier == nil, l != nil && !c.admitted(l):
		return false, nil
	case carrier == nil:
		return l.put(head, tail, c.key()), nil
	case l != nil && l.hasRoom() != nil:
		return false, nil
	}
	// Where there is no listener any more, its end of the connection may not have been heard of yet.
	return carrier.Carry(head, tail, func(head, tail []byte) bool {
		return l != nil && l.deliver(head, tail, c.key())
	}), nil
}

// key is the public key that the sender proves to have; empty without security.
func (c *conn) key() string {
	if c.security == nil {
		return ""
	}
	return c.security.Public
}

// admitted reports whether a connection with l stands, as it would if the keys were
// used to encrypt.
func (c *conn) admitted(l *listener) bool {
	if c.security == nil || l.security == nil {
		return c.security == l.security
	}
	return c.peer == l.security.Public && l.security.Admit(c.security.Public)
}

// admitInterval is how often a connection that was not let in tries again.
const admitInterval = 100 * time.Millisecond

func (c *conn) Wait(deadline time.Time) error {
	l := c.network.find(c.endpoint)
	if l != nil && !c.admitted(l) {
		again := time.Now().Add(admitInterval)
		if !deadline.IsZero() && deadline.Before(again) {
			again = deadline
		}
		err := wait(nil, c.stop, again)
		if errors.Is(err, transport.ErrTimeout) && again != deadline {
			return nil
		}
		return err
	}
	if carrier := c.network.Carrier; carrier != nil {
		if again := carrier.Full(c.from, c.endpoint); again != nil {
			return wait(again, c.stop, deadline)
		}
	}
	if l != nil {
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
func (c *conn) Close(time.Duration) error {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	delete(c.network.watched, c)
	return nil
}

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
