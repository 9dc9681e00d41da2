//go:build !zmtpqueue

package zmtp

import (
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abhishekg16/cluster/internal/transport"
)

// A receiver reads connections in the goroutine that receives, which saves handing on what they
// carry from one goroutine to another. How it waits is in wait_linux.go.
type receiver struct {
	poller
	bulk
	interrupted atomic.Bool

	// Used by who receives.
	ready   []*stream // that have something to be read, but for those before at
	at      int
	scratch []byte // what is read to, beside what belongs to frames that were begun; nil while waiting
	current *stream
	rest    []byte             // of scratch, what current has yet to take
	local   bool               // what was read last is of this process
	idle    bool               // sleep found nothing at first
	attempt func(uintptr) bool // tryNow, which would otherwise be allocated for each call

	mu      sync.Mutex // guards what follows
	closed  bool
	streams map[int32]*stream // by their descriptors
	fresh   []*stream         // that have yet to be looked at, since something came behind the handshake
}

func newReceiver() (*receiver, error) {
	r := &receiver{bulk: newBulk(), streams: make(map[int32]*stream)}
	r.attempt = r.tryNow
	return r, r.poller.open()
}

// An fdInput is a connection that a receiver reads. It is not in Go's poller.
type fdInput struct {
	r       *receiver
	fd      int
	local   bool
	behind  []byte      // what came behind the handshake, until it is looked at
	ready   bool        // it is in the receiver's ready
	full    bool        // the last read took all that there was room for
	large   bool        // a frame of bulkLeast or more has come,
	largeAt uint64      // the latest after so many of the receiver's pauses
	ended   atomic.Bool // what comes is of no interest any more
	handing atomic.Bool // a goroutine that reads it waits for room

	// Guarded by the receiver's mu.
	apart  bool // a goroutine reads it, and closes it after close
	closed bool
}

// attach takes the connection out of Go's poller, and takes it over.
func (r *receiver) attach(l *Listener, s *stream, nc net.Conn, rest []byte) error {
	fd, err := duplicate(nc)
	if err != nil {
		return fmt.Errorf("taking it over: %w", err)
	}
	in := &fdInput{r: r, fd: fd, local: isLocal(nc), behind: rest}
	nc.Close() // the duplicate stays open
	s.input = in
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		unix.Close(fd)
		return net.ErrClosed
	}
	if err := r.add(fd); err != nil {
		unix.Close(fd)
		return fmt.Errorf("taking it over: %w", err)
	}
	r.streams[int32(fd)] = s
	if len(rest) > 0 {
		r.fresh = append(r.fresh, s)
		r.signal()
	}
	return nil
}

// duplicate returns another descriptor of a connection.
func duplicate(nc net.Conn) (fd int, err error) {
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return -1, err
	}
	failed := raw.Control(func(f uintptr) { fd, err = unix.FcntlInt(f, unix.F_DUPFD_CLOEXEC, 0) })
	if failed != nil {
		return -1, failed
	}
	return fd, os.NewSyscallError("fcntl", err)
}

// next returns what a stream has found, if any has, without waiting.
func (r *receiver) next(l *Listener) (*stream, found, bool) {
	for {
		switch s := r.current; {
		case s != nil:
			if f := r.find(l, s); f.kind != nothing || f.passed > 0 {
				return s, f, true
			}
		case r.due > 0:
			r.due--
			q := <-r.c
			r.count(len(q.head) + len(q.tail))
			return q.from, q.found, true
		case r.at < len(r.ready):
			r.read(l, r.ready[r.at])
			r.at++
		default:
			return nil, found{}, false
		}
	}
}

// find takes what was read of the current stream.
func (r *receiver) find(l *Listener, s *stream) (f found) {
	ok := !s.input.(*fdInput).ended.Load()
	if ok {
		f, r.rest, ok = s.take(l, r.rest)
	}
	switch {
	case !ok:
		r.drop(l, s)
	case f.kind == nothing:
		l.budget.settle(s)
		r.current, r.rest = nil, nil // also an empty rest would keep scratch in memory
		if r.isBulk(s) {
			r.handOff(l, s)
		}
	default:
		r.took(s)
	}
	return f
}

// read reads a stream once. What came is for find to take.
func (r *receiver) read(l *Listener, s *stream) {
	in := s.input.(*fdInput)
	in.ready = false
	if in.ended.Load() {
		r.drop(l, s)
		return
	}
	r.local = in.local
	if in.behind != nil {
		r.current, r.rest, in.behind = s, in.behind, nil
		return
	}
	if r.scratch == nil {
		r.scratch = transport.GetBuffer(scratchSize)
	}
	room := s.room()
	ahead := s.space(room, r.scratch)
	n, err := readNow(in.fd, room, ahead)
	switch {
	case err == unix.EAGAIN:
	case err != nil || n <= 0:
		r.drop(l, s)
	default:
		s.idleTimeout.came()
		r.count(n)
		direct := min(n, len(room))
		s.took(direct)
		in.full = n == len(room)+len(ahead)
		r.current, r.rest = s, r.scratch[:n-direct]
	}
}

// readNow reads to a, and what there is more to b, without waiting.
func readNow(fd int, a, b []byte) (n int, err error) {
	for {
		if len(a) == 0 {
			n, err = unix.Read(fd, b)
		} else {
			n, err = unix.Readv(fd, [][]byte{a, b})
		}
		if err != unix.EINTR {
			return n, err
		}
	}
}

// drop ends a stream.
func (r *receiver) drop(l *Listener, s *stream) {
	if r.current == s {
		r.current, r.rest = nil, nil
	}
	s.close(l)
	in := s.input.(*fdInput)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.streams, int32(in.fd))
	in.close()
}

// close is called with the receiver's mu held.
func (in *fdInput) close() {
	if !in.closed {
		in.closed = true
		unix.Close(in.fd)
	}
}

func (in *fdInput) reply(frame []byte) bool {
	n, err := unix.Write(in.fd, frame)
	return n == len(frame) || n <= 0 && err == unix.EAGAIN
}

func (in *fdInput) unread() bool {
	in.r.mu.Lock()
	defer in.r.mu.Unlock()
	if in.closed || in.handing.Load() {
		return !in.closed
	}
	n, err := unix.IoctlGetInt(in.fd, unix.SIOCINQ)
	return err == nil && n > 0
}

func (in *fdInput) end() {
	in.r.mu.Lock()
	defer in.r.mu.Unlock()
	in.ended.Store(true)
	if !in.closed {
		unix.Shutdown(in.fd, unix.SHUT_RDWR) // the receiver finds it ready, and closes it
	}
}

// await waits until next may return something. It reports whether there was nothing.
func (r *receiver) await(deadline time.Time) (idle bool, err error) {
	if transport.Passed(deadline) {
		if !r.look(0) {
			err = transport.ErrTimeout
		}
		return false, err
	}
	r.waiting.Store(true)
	defer r.waiting.Store(false)
	if r.isSoon(deadline) && r.park() {
		r.came = time.Now()
		return true, nil
	}
	if !deadline.IsZero() && r.look(0) {
		return false, nil // also if the deadline passes meanwhile
	}
	idle, err = r.sleep(deadline)
	if idle && err == nil {
		r.came = time.Now()
	}
	return idle, err
}

// pause is called when there is nothing to be received.
func (r *receiver) pause() {
	transport.PutBuffer(r.scratch)
	r.scratch, r.bytes = nil, 0
	r.pauses++
}

// look takes in which streams have something to be read, and waits up to so many milliseconds
// until some have. It reports false if none has, and nothing of the others either.
func (r *receiver) look(ms int) bool {
	events, err := r.poll(ms)
	// What a stream was found to have by its goroutine, before it was handed back, comes first.
	r.due = len(r.c)
	if err != nil || len(events) == 0 {
		return r.due > 0
	}
	r.ready, r.at = r.ready[:0], 0
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range events {
		if int(e.Fd) == r.wakeFD {
			r.drain()
			for _, s := range r.fresh {
				r.isReady(s)
			}
			r.fresh = nil
		} else if s := r.streams[e.Fd]; s != nil {
			r.isReady(s)
		}
	}
	return true
}

// isReady notes that a stream has something to be read.
func (r *receiver) isReady(s *stream) {
	if in := s.input.(*fdInput); !in.ready && !in.closed {
		in.ready = true
		r.ready = append(r.ready, s)
	}
}

// interrupts reports whether interrupt was called, and takes it back.
func (r *receiver) interrupts() bool {
	return r.interrupted.Load() && r.interrupted.CompareAndSwap(true, false)
}

// interrupt makes await return.
func (r *receiver) interrupt() {
	if r.interrupted.CompareAndSwap(false, true) {
		r.wake()
	}
}

// wake makes who waits look.
func (r *receiver) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.signal()
	}
}

// close ends all streams.
func (r *receiver) close(l *Listener) {
	for _, s := range r.closeAll() {
		s.close(l)
	}
}

// closeAll closes all connections, and returns the streams that no goroutine reads.
func (r *receiver) closeAll() (mine []*stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	close(r.over)
	for _, s := range r.streams {
		if in := s.input.(*fdInput); in.apart {
			in.ended.Store(true)
		} else {
			in.close()
			mine = append(mine, s)
		}
	}
	r.poller.close()
	return mine
}
