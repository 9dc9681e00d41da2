//go:build cgo && !nozmq && linux && !zmqpoller

package zmq

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A resting is what is needed to hear of connections at which nobody looks: ZMQ_FD of a socket becomes readable when its connection
// ends, and at other times. One epoll set, in which Go's network poller waits, and one goroutine are for all sockets of the process.
type resting struct {
	mu    sync.Mutex       // guards what follows
	file  *os.File         // the epoll set; nil while there is none
	broke map[int32]func() // by ZMQ_FD
}

var asleep = resting{broke: make(map[int32]func())}

// Rest implements transport.Rest.
func (c *Conn) Rest() bool {
	if c.broke == nil {
		return false
	}
	if c.fd == 0 {
		fd, err := c.soc.GetFd()
		if err != nil || !asleep.add(int32(fd), c.broke) {
			return false
		}
		c.fd = fd
		return true
	}
	return asleep.arm(unix.EPOLL_CTL_MOD, int32(c.fd))
}

// stir ends what Rest has begun.
func (c *Conn) stir() {
	if c.fd != 0 {
		asleep.remove(int32(c.fd))
		c.fd = 0
	}
}

func (r *resting) add(fd int32, broke func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil && !r.open() {
		return false
	}
	r.broke[fd] = broke
	if !r.armLocked(unix.EPOLL_CTL_ADD, fd) {
		delete(r.broke, fd)
		return false
	}
	return true
}

// open makes the epoll set, and begins to wait in it. The caller holds mu.
func (r *resting) open() bool {
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	if unix.SetNonblock(set, true) != nil {
		unix.Close(set)
		return false
	}
	r.file = os.NewFile(uintptr(set), "epoll")
	raw, err := r.file.SyscallConn()
	if err != nil {
		r.file.Close()
		r.file = nil
		return false
	}
	go r.run(r.file, raw) // It ends when no connection asleep.
	return true
}

func (r *resting) arm(op int, fd int32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.armLocked(op, fd)
}

// armLocked has it told once that a descriptor is readable. The caller holds mu.
func (r *resting) armLocked(op int, fd int32) bool {
	armed := false
	raw, err := r.file.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(set uintptr) {
		armed = unix.EpollCtl(int(set), op, int(fd), &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: fd}) == nil
	})
	return err == nil && armed
}

func (r *resting) remove(fd int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if raw, err := r.file.SyscallConn(); err == nil {
		raw.Control(func(set uintptr) { unix.EpollCtl(int(set), unix.EPOLL_CTL_DEL, int(fd), nil) })
	}
	if delete(r.broke, fd); len(r.broke) == 0 {
		r.file.SetReadDeadline(time.Unix(1, 0)) // run ends
		r.file = nil
	}
}

// run tells of the connections of one epoll set, which it closes.
func (r *resting) run(file *os.File, raw syscall.RawConn) {
	defer file.Close()
	var events [64]unix.EpollEvent
	for {
		n := 0
		if raw.Read(func(set uintptr) bool {
			n, _ = unix.EpollWait(int(set), events[:], 0)
			return n > 0
		}) != nil {
			return
		}
		for _, e := range events[:n] {
			r.mu.Lock()
			broke := r.broke[e.Fd]
			if r.file != file {
				broke = nil
			}
			r.mu.Unlock()
			if broke != nil {
				broke()
			}
		}
	}
}
