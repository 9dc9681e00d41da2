//go:build cgo && !nozmq

package zmq

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	zmq4 "github.com/pebbe/zmq4"

	"github.com/abhishekg16/cluster/internal/names"
	"github.com/abhishekg16/cluster/internal/transport"
)

const connectEvents = zmq4.EVENT_HANDSHAKE_SUCCEEDED | zmq4.EVENT_DISCONNECTED | zmq4.EVENT_CLOSED |
	zmq4.EVENT_CONNECT_RETRIED | zmq4.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq4.EVENT_HANDSHAKE_FAILED_NO_DETAIL |
	zmq4.EVENT_HANDSHAKE_FAILED_AUTH

var (
	errNotConnected = errors.New("no connection came about")
	errHandshake    = errors.New("it connected, and the handshake failed")
)

// A namedConn is a connection to a host that has a name. ZeroMQ gets numbers only: it would look
// the name up on the one thread that serves all connections of the process, and take the first
// address. A goroutine follows, in the events of the socket, whether the connection stands, has
// the name looked up, and decides which address is dialed (names.Route); who uses the
// connection dials it, since he has the socket.
type namedConn struct {
	*Conn
	port   uint16
	wanted atomic.Pointer[netip.AddrPort] // to be dialed in place of dialed; nil: nothing
	dialed string                         // an endpoint; empty: none. Used with the socket
	asked  atomic.Bool                    // Interrupt was called; run interrupts the Conn in it

	events *waiter // of the monitor; used by run, and interrupted by others
	ended  atomic.Bool
	broke  atomic.Pointer[func()] // to be called when the connection ends; nil: nothing
	cancel context.CancelFunc     // ends look-ups
	all    sync.WaitGroup         // run and the look-ups

	mu    sync.Mutex // guards route
	route *names.Route
}

// A lookup is names.Lookup, but for tests.
type lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// dialName makes a connection of a socket that is not connected yet, and owns the socket.
func dialName(c *Conn, host string, port uint16, ask lookup) (*namedConn, error) {
	// What is given up has nothing left to send; Close sets it anew.
	err := c.soc.SetLinger(0)
	if err != nil {
		return nil, errors.Join(err, c.Close(0))
	}
	m, err := watch(c.soc, connectEvents)
	if err != nil {
		return nil, errors.Join(err, c.Close(0))
	}
	c.monitor = m
	events, err := newWaiter(m.soc)
	if err != nil {
		return nil, errors.Join(err, c.Close(0))
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &namedConn{Conn: c, port: port, events: events, cancel: cancel, route: names.NewRoute(host)}
	n.all.Go(func() { n.run(ctx, host, ask) }) // Close ends it, and waits for it.
	return n, nil
}

// Watch implements transport.Watch.
func (n *namedConn) Watch(broke func()) { n.broke.Store(&broke) }

// Poll implements transport.Watch: the monitor tells.
func (n *namedConn) Poll() time.Duration { return 0 }

// run follows the connection until Close.
func (n *namedConn) run(ctx context.Context, host string, ask lookup) {
	latest := netip.AddrPort{} // the address that the route wants
	for !n.ended.Load() {
		now := time.Now()
		n.mu.Lock()
		n.follow(latest, now)
		step := n.route.Next(now)
		n.mu.Unlock()
		if step.LookUp {
			n.all.Go(func() { n.lookUp(ctx, host, ask) }) // Close ends it, and waits for it.
		}
		if step.Dial.IsValid() {
			latest = netip.AddrPortFrom(step.Dial, n.port)
			n.wanted.Store(&latest)
			n.Conn.Interrupt() // who waits for the connection dials
		}
		if err := n.events.wait(zmq4.POLLIN, step.Until); err != nil && !errors.Is(err, transport.ErrTimeout) && !errors.Is(err, transport.ErrInterrupted) {
			return // the context has ended
		}
	}
}

func (n *namedConn) lookUp(ctx context.Context, host string, ask lookup) {
	addrs, err := ask(ctx, host)
	n.mu.Lock()
	n.route.Answer(time.Now(), addrs, err)
	n.mu.Unlock()
	n.events.interrupt()
}

// follow tells the route what has become of the latest address that it wanted. What is heard of
// others is from before. The caller holds mu.
func (n *namedConn) follow(latest netip.AddrPort, now time.Time) {
	for {
		event, _, ok := n.monitor.next()
		if !ok {
			return
		}
		if !isAddr(n.monitor.from, latest) {
			continue
		}
		switch event {
		case zmq4.EVENT_HANDSHAKE_SUCCEEDED:
			n.route.Connected(now)
		case zmq4.EVENT_DISCONNECTED:
			n.route.Lost(now)
			if broke := n.broke.Load(); broke != nil {
				(*broke)()
			}
		case zmq4.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq4.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq4.EVENT_HANDSHAKE_FAILED_AUTH:
			n.route.Failed(now, errHandshake)
		case zmq4.EVENT_CLOSED, zmq4.EVENT_CONNECT_RETRIED:
			n.route.Failed(now, errNotConnected)
		}
	}
}

// isAddr reports whether ZeroMQ's endpoint is the address, whichever way it writes the zone.
func isAddr(endpoint string, a netip.AddrPort) bool {
	e, err := netip.ParseAddrPort(strings.TrimPrefix(endpoint, "tcp://"))
	return err == nil && e.Port() == a.Port() && e.Addr().Unmap().WithZone("") == a.Addr().WithZone("")
}

// redial dials the address that is wanted, and gives up the one before.
func (n *namedConn) redial() error {
	to := n.wanted.Swap(nil)
	if to == nil {
		return nil
	}
	if n.dialed != "" {
		// ZeroMQ may have given it up by itself.
		if err := n.soc.Disconnect(n.dialed); err != nil && zmq4.AsErrno(err) != enoent {
			return fmt.Errorf("zmq: giving up %s: %w", n.dialed, err)
		}
		n.dialed = ""
	}
	endpoint := "tcp://" + to.String()
	if err := errors.Join(n.soc.SetIpv6(to.Addr().Is6()), n.soc.Connect(endpoint)); err != nil {
		return fmt.Errorf("zmq: dialing %s: %w", endpoint, err)
	}
	n.dialed = endpoint
	return nil
}

// TrySend implements transport.Conn.
func (n *namedConn) TrySend(head, tail []byte) (bool, error) {
	if err := n.redial(); err != nil {
		return false, err
	}
	return n.Conn.TrySend(head, tail)
}

// Wait implements transport.Conn.
func (n *namedConn) Wait(deadline time.Time) error {
	for {
		if err := n.redial(); err != nil {
			return err
		}
		err := n.Conn.Wait(deadline)
		if !errors.Is(err, transport.ErrInterrupted) || n.asked.Swap(false) {
			return err
		}
		// It was run, for another address to be dialed.
	}
}

// Interrupt implements transport.Conn.
func (n *namedConn) Interrupt() {
	n.asked.Store(true)
	n.Conn.Interrupt()
}

// Trouble is why there is no connection: see transport.Trouble.
func (n *namedConn) Trouble() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.route.Err(time.Now())
}

// Close implements transport.Conn.
func (n *namedConn) Close(linger time.Duration) error {
	n.ended.Store(true)
	n.cancel()
	n.events.interrupt()
	n.all.Wait()
	return errors.Join(n.events.close(), n.Conn.Close(linger))
}
