//go:build cgo && !nozmq && !zmqpoller

package zmq

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	zmq4 "github.com/pebbe/zmq4"
	"golang.org/x/sys/unix"
)

// A parker is the waiter of a listener. While little comes, but soon after another, as
// requests and replies do, it waits with the thread: the kernel then wakes that directly,
// which takes a fraction of the time that Go's poller and scheduler take together.
//
// What Go's poller watches is a set of descriptors, in which ZMQ_FD does not count meanwhile: it
// would wake another thread for everything that comes. (Before Linux 5.5 a set within another
// one wakes it more often than it has to, which costs time and nothing else.)
type parker struct {
	*waiter
	fd      int  // ZMQ_FD
	set     int  // the epoll instance that the waiter's file is
	watched bool // fd counts in set
}

// berth is where one listener of the process waits with a thread: more would need a thread
// each, and they might be many.
var berth struct {
	sync.Mutex
	parked atomic.Pointer[waiter] // nil: none

	making sync.Mutex // guards the making of bell; who parks has had it made
	bell   int        // an eventfd that wakes it, as long as the process runs; 0: yet to be made
}

// makeBell makes the bell, unless it is there. After an error it may be tried again.
func makeBell() error {
	berth.making.Lock()
	defer berth.making.Unlock()
	if berth.bell != 0 {
		return nil
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	berth.bell = bell
	return nil
}

func newParker(soc *zmq4.Socket) (*parker, error) {
	if err := makeBell(); err != nil {
		return nil, err
	}
	fd, err := soc.GetFd()
	if err != nil {
		return nil, err
	}
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{}); err != nil {
		unix.Close(set)
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	w, err := waitOn(soc, set)
	if err != nil {
		return nil, err
	}
	return &parker{waiter: w, fd: fd, set: set}, nil
}

// watch makes the set readable when ZMQ_FD is, or makes it never readable.
func (p *parker) watch(on bool) error {
	if p.watched == on {
		return nil
	}
	var event unix.EpollEvent
	if on {
		event.Events = unix.EPOLLIN
	}
	err := unix.EpollCtl(p.set, unix.EPOLL_CTL_MOD, p.fd, &event)
	if err == nil {
		p.watched = on
	}
	return os.NewSyscallError("epoll_ctl", err)
}

// wait is the waiter's, for something to be received.
func (p *parker) wait(deadline time.Time) error {
	if err := p.watch(true); err != nil {
		return err
	}
	return p.waiter.wait(zmq4.POLLIN, deadline)
}

// park waits with the thread from now on until there may be something to be received, and no longer than
// until end. It reports false if there is nothing yet, or something else to look after. The
// socket has just been found to have nothing, which took in all that had made ZMQ_FD readable.
//
// To the Go scheduler the thread is in a system call, and what it could run meanwhile is for
// others to take over. Where there are no others, everything else in the program would wait
// until the scheduler notices, which may be the whole time.
func (p *parker) park(now, end time.Time) (ready bool) {
	if !berth.TryLock() {
		return false
	}
	defer berth.Unlock()
	if runtime.GOMAXPROCS(0) == 1 || p.watch(false) != nil {
		return false
	}
	berth.parked.Store(p.waiter)
	defer berth.parked.Store(nil)
	for ; !p.interrupted.Load(); now = time.Now() {
		left := end.Sub(now)
		if left <= 0 {
			return false
		}
		timeout := unix.NsecToTimespec(left.Nanoseconds())
		fds := [2]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}, {Fd: int32(berth.bell), Events: unix.POLLIN}}
		if _, err := unix.Ppoll(fds[:], &timeout, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return false
		}
		if fds[1].Revents != 0 {
			var count [8]byte
			unix.Read(berth.bell, count[:]) // it may have been for the one before
		}
		if fds[0].Revents != 0 {
			return true
		}
	}
	return false
}

// interrupt ends a wait, wherever that is.
func (p *parker) interrupt() {
	p.waiter.interrupt()
	if berth.parked.Load() == p.waiter {
		unix.Write(berth.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}
