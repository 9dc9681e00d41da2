//go:build !zmtpqueue

package zmtp

import (
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abhishekg16/cluster/internal/transport"
)

const (
	// Somebody soon sends again, who may be waiting for a reply, if what was last waited for came
	// within freshTime and was no more than freshBytes.
	freshTime  = time.Millisecond
	freshBytes = 4 << 10

	eventsMost = 32
)

// A poller waits for descriptors. They are in an epoll set of its own (inner), in another one
// (outer) that Go's poller watches. While a thread waits on inner, it does not count in
// outer: it would wake another thread for everything that comes.
type poller struct {
	inner, wakeFD int // wakeFD is an eventfd in inner
	outer         *os.File
	outerFd       int
	raw           syscall.RawConn // of outer

	// Used by who receives.
	watched bool // inner counts in outer
	armed   bool // outer has a deadline
	events  [eventsMost]unix.EpollEvent
	lent    bool      // who receives is the program itself: see transport.Lent
	came    time.Time // when something was last waited for and came
	bytes   int       // that were read since
}

// parking is held by the one receiver of the process that waits with a thread: more would need a
// thread each, and they might be many.
var parking sync.Mutex

func (p *poller) open() (err error) {
	p.inner, p.wakeFD, p.outerFd = -1, -1, -1
	if p.inner, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err = p.openRest(); err != nil {
		p.close()
	}
	return err
}

func (p *poller) openRest() (err error) {
	if p.wakeFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	if err = p.add(p.wakeFD); err != nil {
		return err
	}
	if p.outerFd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err = unix.EpollCtl(p.outerFd, unix.EPOLL_CTL_ADD, p.inner, &unix.EpollEvent{}); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	if err = unix.SetNonblock(p.outerFd, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	p.outer = os.NewFile(uintptr(p.outerFd), "zmtp")
	if p.raw, err = p.outer.SyscallConn(); err != nil {
		return err
	}
	return p.outer.SetReadDeadline(time.Time{}) // fails where Go's poller has not taken it
}

// add makes the poller wait for a descriptor, until that is closed.
func (p *poller) add(fd int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.inner, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
}

// remove makes the poller wait for a descriptor no more.
func (p *poller) remove(fd int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.inner, unix.EPOLL_CTL_DEL, fd, nil))
}

// signal makes who waits look.
func (p *poller) signal() { unix.Write(p.wakeFD, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// drain takes a signal back.
func (p *poller) drain() {
	var count [8]byte
	unix.Read(p.wakeFD, count[:])
}

// poll returns which descriptors are ready, and waits for that up to so many milliseconds.
func (p *poller) poll(ms int) ([]unix.EpollEvent, error) {
	n, err := unix.EpollWait(p.inner, p.events[:], ms)
	return p.events[:max(0, n)], err
}

// count notes how much was read.
func (p *poller) count(n int) { p.bytes += n }

// watch makes inner count in outer, or not.
func (p *poller) watch(on bool) error {
	if p.watched == on {
		return nil
	}
	var e unix.EpollEvent
	if on {
		e.Events = unix.EPOLLIN
	}
	err := unix.EpollCtl(p.outerFd, unix.EPOLL_CTL_MOD, p.inner, &e)
	if err == nil {
		p.watched = on
	}
	return os.NewSyscallError("epoll_ctl", err)
}

// Lent is called when the program itself begins or ends to receive: see transport.Lent.
func (l *Listener) Lent(lent bool) { l.in.lent = lent }

// isSoon reports whether something is expected so soon that a thread may wait for it.
func (r *receiver) isSoon(deadline time.Time) bool {
	now := time.Now()
	soon := r.lent && !r.local && r.bytes <= freshBytes && now.Sub(r.came) < freshTime
	if soon {
		r.bytes = 0
	}
	return soon && (deadline.IsZero() || deadline.Sub(now) > freshTime)
}

// park waits with the thread, for a millisecond at most: the kernel then wakes that directly, which
// takes a fraction of the time that Go's poller and scheduler take together. It reports false if
// nothing came. Who is to send is not in this process, and needs none of its threads.
//
// To the Go scheduler the thread is in a system call, and what it could run meanwhile is for
// others to take over. Where there are no others, everything else in the program would wait
// until the scheduler notices, which may be the whole time. So would the goroutines that were just woken
// to take what came, which is why only the program itself waits like this: for others, Go's poller is faster.
func (r *receiver) park() bool {
	if !parking.TryLock() {
		return false
	}
	defer parking.Unlock()
	if runtime.GOMAXPROCS(0) == 1 || r.watch(false) != nil {
		return false
	}
	return r.look(int(freshTime.Milliseconds()))
}

// sleep waits in Go's poller until something is ready, which it takes in, or until interrupt. It
// reports whether there was nothing at first.
func (r *receiver) sleep(deadline time.Time) (idle bool, err error) {
	if err := r.watch(true); err != nil {
		return false, err
	}
	if !deadline.IsZero() || r.armed {
		r.armed = !deadline.IsZero()
		if err := r.outer.SetReadDeadline(deadline); err != nil {
			return false, err
		}
	}
	r.idle = false
	err = r.raw.Read(r.attempt)
	if isTimeout(err) {
		err = transport.ErrTimeout
	}
	return r.idle, err
}

// tryNow looks, and reports whether that need not be repeated when outer says that something is ready.
func (r *receiver) tryNow(uintptr) bool {
	if r.look(0) || r.interrupted.Load() {
		return true
	}
	if !r.idle {
		r.idle = true
		r.pause()
	}
	return false
}

func (p *poller) close() {
	if p.outer != nil {
		p.outer.Close()
	} else if p.outerFd >= 0 {
		unix.Close(p.outerFd)
	}
	if p.wakeFD >= 0 {
		unix.Close(p.wakeFD)
	}
	unix.Close(p.inner)
}
