//go:build cgo && !nozmq

package zmq

import (
	"bytes"
	"errors"
	"fmt"
	"syscall"
	"time"

	zmq4 "github.com/pebbe/zmq4"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/bind"
	"github.com/abhishekg16/cluster/internal/transport/flood"
	"github.com/abhishekg16/cluster/internal/wire"
)

// Listener is a PULL socket. It reads its connections in turn, so that no peer
// can keep the others from being heard.
type Listener struct {
	soc *zmq4.Socket // used by one goroutine at a time: see transport.Listener
	*parker
	at     *bind.Claim // of an ipc path; nil: none
	recv   *receiver
	shakes *handshakes
	domain string    // for ZAP; empty without security
	key    string    // of the latest message's sender
	came   time.Time // when await last found something
	bytes  int       // received since then
	flood  flood.Counter
}

// Listen binds before it returns. The host of a tcp endpoint may be a name, of whose addresses
// the first is taken that is of this machine, an interface's name, or * for all addresses. A name
// is looked up for no longer than names.LookupTimeout. Beside an ipc path there is a file with
// .lock behind its name for as long as the listener is open.
func (Network) Listen(endpoint string, sec *transport.Security, failed func(count int, cause error)) (_ transport.Listener, err error) {
	domain := ""
	if sec != nil {
		if domain, err = zap.add(sec); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				zap.remove(domain)
			}
		}()
	}
	soc, err := newSocket(zmq4.PULL,
		func(s *zmq4.Socket) error { return s.SetRcvhwm(recvFrames) },
		func(s *zmq4.Socket) error { return s.SetMaxmsgsize(wire.MaxFrame) },
		func(s *zmq4.Socket) error { return s.SetBacklog(bind.Backlog) },
		func(s *zmq4.Socket) error { return s.SetHandshakeIvl(transport.HandshakeTimeout) },
		keepAlive,
		func(s *zmq4.Socket) error { return s.SetLinger(0) },
		func(s *zmq4.Socket) error {
			if sec == nil {
				return nil
			}
			return errors.Join(s.SetZapDomain(domain), s.SetCurveServer(1), s.SetCurveSecretkey(sec.Secret))
		},
	)
	if err != nil {
		return nil, listenError(err)
	}
	m, err := watch(soc, handshakeEvents)
	if err != nil {
		soc.Close()
		return nil, listenError(err)
	}
	// What needs descriptors comes first: without one to wait with, nobody would wait until the
	// endpoint is free again.
	w, err := newParker(soc)
	if err != nil {
		closeWatched(soc, m, 0, nil)
		return nil, listenError(err)
	}
	at, err := listenAt(soc, endpoint)
	if err != nil {
		w.close()
		closeWatched(soc, m, 0, nil)
		return nil, listenError(err)
	}
	return &Listener{
		soc: soc, parker: w, at: at, recv: newReceiver(soc, sec != nil),
		shakes: watchHandshakes(m, sec != nil, failed), domain: domain,
	}, nil
}

// keepAlive has the kernel ask for a sign of life of a connection on which nothing comes.
// The heartbeats are the sender's, and say themselves after what silence a connection is to
// be closed: one whose other end vanished before its first would stay for good.
func keepAlive(s *zmq4.Socket) error {
	return errors.Join(s.SetTcpKeepalive(1), s.SetTcpKeepaliveIdle(int(transport.KeepAliveIdle.Seconds())),
		s.SetTcpKeepaliveIntvl(int(transport.KeepAliveInterval.Seconds())), s.SetTcpKeepaliveCnt(transport.KeepAliveCount))
}

// listenError makes ZeroMQ's error numbers the system's, and adds the way out.
func listenError(err error) error {
	err = systemError(err)
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return fmt.Errorf("%w: raise the limit of open files (ulimit -n) or ZeroMQ's of sockets", err)
	}
	return bind.Explain(err)
}

// systemError makes ZeroMQ's error number, where it is one, the system's.
func systemError(err error) error {
	if errno := zmq4.Errno(0); errors.As(err, &errno) {
		return syscall.Errno(errno)
	}
	return err
}

// Recv implements transport.Listener.
func (l *Listener) Recv(deadline time.Time) (head, tail []byte, err error) {
	for {
		if l.interrupts() {
			return nil, nil, transport.ErrInterrupted
		}
		if err := l.flood.Untold(); err != nil {
			l.key = ""
			return nil, nil, err
		}
		p, err := l.recv.next(l.flood.Limits(l.recv.keyed))
		if l.flood.PassedOver(p.passed) {
			l.cutOff()
		}
		switch {
		case err == nil && p.passed > 0 && p.data == nil:
			continue
		case err == nil:
			return l.message(p)
		case !again(err):
			return nil, nil, err
		case p.passed > 0:
			continue
		}
		l.flood.Idle()
		l.shakes.drained.Add(1)
		if err := l.await(deadline); err != nil {
			return nil, nil, err
		}
	}
}

const (
	// Somebody soon sends again, who may be waiting for a reply, if what await had last
	// waited for came within freshTime and was no more than freshBytes.
	freshTime  = time.Millisecond
	freshBytes = 4 << 10
)

// await waits for something to be received, or returns as wait does.
func (l *Listener) await(deadline time.Time) error {
	if transport.Passed(deadline) {
		return transport.ErrTimeout
	}
	now := time.Now()
	fresh := l.bytes <= freshBytes && now.Sub(l.came) < freshTime
	l.bytes = 0
	if fresh {
		end := now.Add(freshTime)
		if !deadline.IsZero() && deadline.Before(end) {
			end = deadline
		}
		if l.park(now, end) {
			l.came = now.Add(time.Since(now))
			return nil
		}
	}
	err := l.wait(deadline)
	if err == nil {
		l.came = time.Now()
	}
	return err
}

// message copies the message that begins with the part p. One of more than two parts,
// which no sender of this protocol makes, is an error, and all of it is taken. ZeroMQ
// hands messages out whole: when the first part is there, all are.
func (l *Listener) message(p part) (head, tail []byte, err error) {
	l.learn(p.user)
	l.bytes += len(p.data)
	if !p.more && l.flood.HandedOver(p.data) {
		l.cutOff()
	}
	if at := wire.Cut(p.data); at > 0 && !p.more {
		// The payload will be the message: it has to be in memory of its own.
		return bytes.Clone(p.data[:at]), bytes.Clone(p.data[at:]), nil
	}
	head = transport.CopyBuffer(p.data)
	for parts := 2; p.more; parts++ {
		if p, err = l.recv.next(0, 1); err != nil {
			return nil, nil, err
		}
		switch {
		case parts > 2 && !p.more:
			l.Refused()
			return nil, nil, fmt.Errorf("%w: a message of %d parts", transport.ErrMalformed, parts)
		case parts == 2:
			tail = bytes.Clone(p.data)
		}
	}
	return head, tail, nil
}

// learn takes the sender's key from the property of its message. It is the key only
// behind the seal: see there.
func (l *Listener) learn(user []byte) {
	key, sealed := bytes.CutPrefix(user, []byte(seal))
	if !sealed {
		key = nil
	}
	if string(key) != l.key {
		l.key = string(key)
	}
}

// Key implements transport.Listener.
func (l *Listener) Key() string { return l.key }

// Origin implements transport.Origin.
func (l *Listener) Origin() string { return l.recv.address() }

// Interrupt implements transport.Listener.
func (l *Listener) Interrupt() { l.interrupt() }

// Close implements transport.Listener.
func (l *Listener) Close() error {
	l.recv.close()
	l.at.Vacate()
	err := errors.Join(l.parker.close(), closeWatched(l.soc, l.shakes.stop(), 0, nil))
	if l.domain != "" {
		zap.remove(l.domain)
	}
	l.at.Release()
	return err
}

const enoent = zmq4.Errno(syscall.ENOENT)

// again reports whether a call would have had to wait, or was interrupted.
func again(err error) bool {
	switch zmq4.AsErrno(err) {
	case zmq4.Errno(syscall.EAGAIN), zmq4.Errno(syscall.EINTR):
		return true
	}
	return false
}
