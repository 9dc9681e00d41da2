package zmq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	zmq4 "github.com/pebbe/zmq4"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
)

// Listener is a PULL socket. It reads its connections in turn, so that no peer
// can keep the others from being heard.
type Listener struct {
	soc *zmq4.Socket // used by one goroutine at a time: see transport.Listener
	*parker
	file   string // of an ipc endpoint, removed by Close
	recv   *receiver
	shakes *handshakes
	domain string    // for ZAP; empty without security
	key    string    // of the latest message's sender
	came   time.Time // when await last found something
	bytes  int       // received since then
}

// Listen binds before it returns. The host of a tcp endpoint may be a name that
// resolves to an address of this machine, an interface's name, or *.
func (Network) Listen(endpoint string, sec *transport.Security, failed func(count int, cause error)) (_ transport.Listener, err error) {
	bind, err := bindable(endpoint)
	if err != nil {
		return nil, err
	}
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
		func(s *zmq4.Socket) error { return s.SetBacklog(backlog) },
		func(s *zmq4.Socket) error { return s.SetHandshakeIvl(handshakeTimeout) },
		keepAlive,
		func(s *zmq4.Socket) error { return s.SetLinger(0) },
		func(s *zmq4.Socket) error { return s.SetIpv6(strings.Contains(bind, "[")) },
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
	var w *parker
	if err = headroom(); err == nil {
		err = soc.Bind(bind)
	}
	if err == nil {
		w, err = newParker(soc)
	}
	if err != nil {
		closeWatched(soc, m, 0, nil)
		return nil, listenError(err)
	}
	path, _ := strings.CutPrefix(endpoint, "ipc://")
	if path == endpoint || strings.HasPrefix(path, "@") {
		path = ""
	}
	return &Listener{
		soc: soc, parker: w, file: path, recv: newReceiver(soc, sec != nil),
		shakes: watchHandshakes(m, sec != nil, failed), domain: domain,
	}, nil
}

// keepAlive has the kernel ask for a sign of life of a connection on which nothing comes.
// The heartbeats are the sender's, and say themselves after what silence a connection is to
// be closed: one whose other end vanished before its first would stay for good.
func keepAlive(s *zmq4.Socket) error {
	return errors.Join(s.SetTcpKeepalive(1), s.SetTcpKeepaliveIdle(keepAliveIdle),
		s.SetTcpKeepaliveIntvl(keepAliveInterval), s.SetTcpKeepaliveCnt(keepAliveCount))
}

// headroom reports whether descriptors are left for what zmq_bind does before it listens: it
// ends the process if it cannot open a socket to look up the machine's addresses.
func headroom() error {
	for range 2 {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		defer r.Close()
		defer w.Close()
	}
	return nil
}

// listenError keeps the system's error and adds the way out.
func listenError(err error) error {
	errno := zmq4.AsErrno(err)
	if sys := syscall.Errno(0); errors.As(err, &sys) {
		errno = zmq4.Errno(sys)
	}
	cause := error(syscall.Errno(errno))
	switch syscall.Errno(errno) {
	case syscall.EADDRINUSE:
		return fmt.Errorf("%w: another program, or another node of this one, listens there", cause)
	case syscall.EADDRNOTAVAIL, syscall.ENODEV:
		return fmt.Errorf(`%w: it is no address of this machine; if the peers reach it through another one, say in "bind" where to listen`, cause)
	case syscall.EMFILE, syscall.ENFILE:
		return fmt.Errorf("%w: raise the limit of open files (ulimit -n) or ZeroMQ's of sockets", cause)
	}
	return err
}

// bindable turns an endpoint into one that zmq_bind takes: it wants a number or
// an interface where zmq_connect takes a name.
func bindable(endpoint string) (string, error) {
	if path, ok := strings.CutPrefix(endpoint, "ipc://"); ok {
		return endpoint, ipcFree(path)
	}
	host, port, err := net.SplitHostPort(strings.TrimPrefix(endpoint, "tcp://"))
	if err != nil {
		return "", err
	}
	if host == "*" || net.ParseIP(host) != nil {
		return endpoint, nil
	}
	if _, err := net.InterfaceByName(host); err == nil {
		return endpoint, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return "", err
	}
	// IPv4 first: that is what a peer that dials the name tries.
	best := ips[0].String()
	for _, ip := range ips {
		if ip.IP.To4() != nil {
			best = ip.String()
			break
		}
	}
	return "tcp://" + net.JoinHostPort(best, port), nil
}

// ipcFree reports a listener behind path. zmq_bind would take the path away
// from it without a word.
func ipcFree(path string) error {
	if strings.HasPrefix(path, "@") {
		return nil
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return fmt.Errorf("%w: another program, or another node of this one, listens there", syscall.EADDRINUSE)
	}
	// A file left behind by a server that was killed is in nobody's way, but
	// what is no socket is not ours to remove.
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%w: %s exists and is not a socket", os.ErrExist, path)
	}
	return nil
}

// Recv implements transport.Listener.
func (l *Listener) Recv(deadline time.Time) (head, tail []byte, err error) {
	for {
		if l.interrupts() {
			return nil, nil, transport.ErrInterrupted
		}
		p, err := l.recv.next()
		if err == nil {
			return l.message(p)
		}
		if !again(err) {
			return nil, nil, err
		}
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
	now := time.Now()
	fresh := l.bytes <= freshBytes && now.Sub(l.came) < freshTime
	l.bytes = 0
	if fresh {
		end := now.Add(freshTime)
		if !deadline.IsZero() && deadline.Before(end) {
			end = deadline
		}
		if l.park(end) {
			l.came = time.Now()
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
	if at := wire.Cut(p.data); at > 0 && !p.more {
		// The payload will be the message: it has to be in memory of its own.
		return bytes.Clone(p.data[:at]), bytes.Clone(p.data[at:]), nil
	}
	head = transport.GetBuffer(len(p.data))
	copy(head, p.data)
	for parts := 2; p.more; parts++ {
		if p, err = l.recv.next(); err != nil {
			return nil, nil, err
		}
		switch {
		case parts > 2 && !p.more:
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

// Interrupt implements transport.Listener.
func (l *Listener) Interrupt() { l.interrupt() }

// Close implements transport.Listener.
func (l *Listener) Close() error {
	l.recv.close()
	err := errors.Join(l.parker.close(), closeWatched(l.soc, l.shakes.stop(), 0, nil))
	if l.domain != "" {
		zap.remove(l.domain)
	}
	if l.file != "" {
		os.Remove(l.file) // ZeroMQ has done so in most versions
	}
	return err
}

// again reports whether a call would have had to wait, or was interrupted.
func again(err error) bool {
	switch zmq4.AsErrno(err) {
	case zmq4.Errno(syscall.EAGAIN), zmq4.Errno(syscall.EINTR):
		return true
	}
	return false
}
