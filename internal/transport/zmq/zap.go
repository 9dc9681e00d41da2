//go:build cgo && !nozmq

package zmq

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	zmq4 "github.com/pebbe/zmq4"

	"github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/internal/transport"
)

// ZeroMQ asks, over ZAP (ZeroMQ RFC 27), whether the owner of a public key is to
// be let in. One goroutine answers for all listeners of the process; each has a
// domain of its own. It runs while there is a listener with security.
const zapEndpoint = "inproc://zeromq.zap.01"

// seal is known to this process alone. An answer names the key of who is let in as the
// User-Id of its messages, behind the seal: where nobody answers ZeroMQ lets everybody
// in, with the User-Id that they choose.
var seal = rand.Text()

var zap authenticator

type authenticator struct {
	life   sync.Mutex // held while run is started or ended; guards the next two
	waiter *waiter
	done   chan struct{} // closed when run has returned; nil if it does not run

	mu      sync.Mutex                     // guards what follows; comes after life
	domains map[string]*transport.Security // by name
	count   uint64                         // of domains so far
}

// add makes a domain for s, and starts answering if nobody does.
func (a *authenticator) add(s *transport.Security) (domain string, err error) {
	a.life.Lock()
	defer a.life.Unlock()
	if a.ended() {
		if err := a.start(); err != nil {
			return "", fmt.Errorf("zmq: deciding who is let in: %w", err)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.domains == nil {
		a.domains = make(map[string]*transport.Security)
	}
	a.count++
	domain = fmt.Sprintf("cluster.%d", a.count)
	a.domains[domain] = s
	return domain, nil
}

// ended reports whether run does not run. The caller holds life.
func (a *authenticator) ended() bool {
	if a.done == nil {
		return true
	}
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// start is called with life held.
func (a *authenticator) start() error {
	if !zmq4.HasCurve() {
		return errors.New("this libzmq was built without CURVE: install one that has it, or leave the keys out of the configuration")
	}
	soc, err := newSocket(zmq4.REP,
		func(s *zmq4.Socket) error { return s.SetLinger(0) },
		func(s *zmq4.Socket) error { return s.Bind(zapEndpoint) },
	)
	if err != nil {
		return err
	}
	w, err := newWaiter(soc)
	if err != nil {
		soc.Close()
		return err
	}
	a.waiter, a.done = w, make(chan struct{})
	go a.run(soc, w, a.done) // remove ends it with the last domain, and waits for done.
	return nil
}

// remove ends a domain, and the answering with the last of them.
func (a *authenticator) remove(domain string) {
	a.life.Lock()
	defer a.life.Unlock()
	a.mu.Lock()
	delete(a.domains, domain)
	left := len(a.domains)
	a.mu.Unlock()
	if left > 0 || a.done == nil {
		return
	}
	a.waiter.interrupt()
	<-a.done
	a.done = nil
}

// run answers until it is interrupted. It owns the socket.
func (a *authenticator) run(soc *zmq4.Socket, w *waiter, done chan struct{}) {
	defer close(done)
	defer closeAndWait(soc, 0, nil)
	defer w.close()
	for {
		request, err := soc.RecvMessageBytes(zmq4.DONTWAIT)
		switch {
		case err == nil:
			if _, err := soc.SendMessageDontwait(a.answer(request)...); err != nil && !again(err) {
				return
			}
		case !again(err):
			return
		default:
			if w.wait(zmq4.POLLIN, time.Time{}) != nil {
				return
			}
		}
	}
}

// answer is the reply to a request: version, request id, domain, address, identity,
// mechanism, and for CURVE the public key.
func (a *authenticator) answer(request [][]byte) []any {
	const version = "1.0"
	reply := func(code, text, user string) []any {
		id := []byte(nil)
		if len(request) > 1 {
			id = request[1]
		}
		return []any{version, id, code, text, user, ""}
	}
	if len(request) != 7 || string(request[0]) != version || string(request[5]) != "CURVE" || len(request[6]) != 32 {
		return reply("400", "no such mechanism", "")
	}
	a.mu.Lock()
	s := a.domains[string(request[2])]
	a.mu.Unlock()
	key := curve.Encode([32]byte(request[6]))
	if s == nil || s.Admit == nil || !s.Admit(key) {
		// Whoever it is may be listed later. With a code that is not temporary ZeroMQ
		// would tell it so, and a server that is told never tries again.
		return reply("300", "not listed", "")
	}
	return reply("200", "", seal+key)
}
