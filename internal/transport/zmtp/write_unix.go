//go:build unix

package zmtp

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// A writer writes to a connection without waiting, with one system call, and allocates nothing.
// It is used with a lock held.
type writer struct {
	header [headerLong]byte
	peek   [1]byte
	iovecs iovecs
	vec    [3][]byte // what is to be written,
	used   int       // of it
	n      int
	err    error
	try    func(fd uintptr) bool // writeNow, which would otherwise be allocated for each call
}

func (w *writer) init(net.Conn) { w.try = w.writeNow }

// write writes as much as the kernel has room for, which may be nothing.
func (w *writer) write(raw syscall.RawConn, all ...[]byte) (n int, err error) {
	w.used = 0
	for _, b := range all {
		if len(b) > 0 {
			w.vec[w.used] = b
			w.used++
		}
	}
	w.n, w.err = 0, nil
	err = raw.Write(w.try)
	w.vec = [3][]byte{}
	if err == nil && w.err != unix.EAGAIN {
		err = w.err
	}
	return max(0, w.n), err
}

// writeNow looks first whether the peer has closed the connection: nobody may have read that yet,
// while the peer's next life was heard already.
func (w *writer) writeNow(fd uintptr) bool {
	n, err := peek(int(fd), &w.peek)
	if err == nil && n == 0 || err != nil && err != unix.EAGAIN && err != unix.EINTR {
		w.err = unix.EPIPE
		return true
	}
	for {
		if w.used == 1 {
			w.n, w.err = unix.Write(int(fd), w.vec[0])
		} else {
			w.n, w.err = w.iovecs.writev(int(fd), w.vec[:w.used])
		}
		if w.err != unix.EINTR {
			return true
		}
	}
}

// writeAll writes all of b, however long that takes, and tells wrote what the kernel has taken each time.
func writeAll(_ net.Conn, raw syscall.RawConn, b []byte, wrote func(n int)) (err error) {
	failed := raw.Write(func(fd uintptr) bool {
		for len(b) > 0 {
			n, e := unix.Write(int(fd), b)
			switch {
			case e == unix.EINTR:
			case e == unix.EAGAIN:
				return false
			case e != nil:
				err = e
				return true
			default:
				wrote(n)
				b = b[n:]
			}
		}
		return true
	})
	if failed != nil {
		return failed
	}
	return err
}
