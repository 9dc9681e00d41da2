package zmtp

import (
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/bind"
	"github.com/abhishekg16/cluster/internal/transport/flood"
	"github.com/abhishekg16/cluster/internal/transport/zmtp/curve"
)

// Listener is a PULL socket. It reads its connections in turn, so that no peer can keep the
// others from being heard.
type Listener struct {
	nl     net.Listener
	at     *bind.Claim          // of an ipc path; nil: none
	keys   *curve.ServerOptions // nil: everybody is let in
	failed func(count int, cause error)
	in     *receiver
	budget *budget
	shakes *handshakes
	all    sync.WaitGroup // its goroutines
	ended  chan struct{}  // closed by Close
	flood  flood.Counter
	from   *stream // of the latest message; nil: none
}

// Listen implements transport.Network. The host of a tcp endpoint may be a name, of whose addresses
// the first is taken that is of this machine, an interface's name, or * for all addresses. A name
// is looked up for no longer than names.LookupTimeout. Beside an ipc path there is a file with
// .lock behind its name for as long as the listener is open.
func (Network) Listen(endpoint string, sec *transport.Security, failed func(count int, cause error)) (transport.Listener, error) {
	in, err := newReceiver()
	if err != nil {
		return nil, listenError(err)
	}
	l := newListener(in, failed)
	if sec != nil {
		l.keys, err = curveOptions(sec)
	}
	if err != nil {
		in.close(l)
		return nil, err
	}
	nl, at, err := listenAt(endpoint)
	if err != nil {
		in.close(l)
		return nil, listenError(err)
	}
	l.start(nl, at)
	return l, nil
}

// newListener returns a listener that does not listen yet; failed may be nil.
func newListener(in *receiver, failed func(count int, cause error)) *Listener {
	if failed == nil {
		failed = func(int, error) {}
	}
	return &Listener{failed: failed, in: in, budget: newBudget(unfinishedMost), shakes: newHandshakes(), ended: make(chan struct{})}
}

// start makes it accept connections.
func (l *Listener) start(nl net.Listener, at *bind.Claim) {
	l.nl, l.at = nl, at
	l.all.Go(l.accept) // Close ends it, and waits for it.
}

// Recv implements transport.Listener.
func (l *Listener) Recv(deadline time.Time) (head, tail []byte, err error) {
	for {
		if l.in.interrupts() {
			return nil, nil, transport.ErrInterrupted
		}
		if err := l.flood.Untold(); err != nil {
			return nil, nil, err
		}
		s, f, ok := l.in.next(l)
		if !ok {
			idle, err := l.in.await(deadline)
			if idle {
				l.flood.Idle()
			}
			if err != nil {
				return nil, nil, err
			}
			continue
		}
		l.from = s
		if l.isFlood(f) {
			s.end()
		}
		switch f.kind {
		case isMessage:
			return f.head, f.tail, nil
		case isTooMany:
			return nil, nil, errParts
		case isBroken:
			return nil, nil, f.cause
		}
	}
}

// isFlood counts what was found, and reports whether its connection is to be ended.
func (l *Listener) isFlood(f found) bool {
	over := l.flood.PassedOver(f.passed)
	switch {
	case f.kind == isTooMany:
		return l.flood.Bad(1) || over
	case f.kind == isMessage && f.tail == nil:
		return l.flood.HandedOver(f.head) || over
	}
	return over
}

var errParts = fmt.Errorf("%w: a message of more than two parts", transport.ErrMalformed)

// Key implements transport.Listener.
func (l *Listener) Key() string {
	if l.from == nil {
		return ""
	}
	return l.from.key
}

// Origin implements transport.Origin: the host, without the port.
func (l *Listener) Origin() string {
	if l.from == nil {
		return ""
	}
	return l.from.origin
}

// Refused is called for frames that the node has refused: see transport.Refused.
func (l *Listener) Refused() {
	if l.from != nil && l.flood.Bad(1) {
		l.from.end()
	}
}

// Interrupt implements transport.Listener.
func (l *Listener) Interrupt() { l.in.interrupt() }

// Close implements transport.Listener.
func (l *Listener) Close() error {
	close(l.ended)
	l.at.Vacate()
	err := l.nl.Close()
	l.shakes.endAll()
	l.in.close(l)
	l.all.Wait()
	l.shakes.workers.Wait()
	l.at.Release()
	return err
}
