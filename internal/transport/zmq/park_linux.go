//go:build !zmqpoller

package zmq

import (
	"errors"
	"os"
	"sync"
	"time"

	zmq4 "github.com/pebbe/zmq4"
	"golang.org/x/sys/unix"
)

// A parker is the waiter of a listener. While little comes, but soon after another, as
// requests and replies do, it waits with the thread: the kernel then wakes that directly,
// which takes a fraction of the time that Go's poller and scheduler take together.
//
// Go's poller watches a set of descriptors that ZMQ_FD is taken out of meanwhile, since it
// would wake another thread for everything that comes.
type parker struct {
	*waiter
	fd      int  // ZMQ_FD
	set     int  // the epoll instance that the waiter's file is
	watched bool // fd is in set
}

// berth is held by the one listener of the process that waits with a thread: more would need a
// thread each, and they might be many.
var berth sync.Mutex

func newParker(soc *zmq4.Socket) (*parker, error) {
	fd, err := soc.GetFd()
	if err != nil {
		return nil, err
	}
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	w, err := waitOn(soc, set)
	if err != nil {
		return nil, err
	}
	return &parker{waiter: w, fd: fd, set: set}, nil
}

// wait is the waiter's, for something to be received.
func (p *parker) wait(deadline time.Time) error {
	if !p.watched {
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(p.fd)}
		if err := unix.EpollCtl(p.set, unix.EPOLL_CTL_ADD, p.fd, &event); err != nil {
			return os.NewSyscallError("epoll_ctl", err)
		}
		p.watched = true
	}
	return p.waiter.wait(zmq4.POLLIN, deadline)
}

// park waits with the thread until there may be something to be received, and no longer than
// until end, also if it is interrupted meanwhile: that is why end is near. It reports false if
// there is nothing yet. The socket has just been found to have nothing, which took in all that
// had made ZMQ_FD readable.
func (p *parker) park(end time.Time) (bool, error) {
	if p.interrupted.Load() || !berth.TryLock() {
		return false, nil
	}
	defer berth.Unlock()
	if p.watched {
		if err := unix.EpollCtl(p.set, unix.EPOLL_CTL_DEL, p.fd, nil); err != nil {
			return false, os.NewSyscallError("epoll_ctl", err)
		}
		p.watched = false
	}
	for {
		left := time.Until(end)
		if left <= 0 {
			return false, nil
		}
		timeout := unix.NsecToTimespec(left.Nanoseconds())
		fds := [1]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
		ready, err := unix.Ppoll(fds[:], &timeout, nil)
		if ready > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return ready > 0, os.NewSyscallError("ppoll", err)
		}
	}
}
