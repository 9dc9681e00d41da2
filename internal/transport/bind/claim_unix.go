//go:build !windows

package bind

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// LockSuffix is behind the name of a path in that of the file whose lock says that it is taken.
const LockSuffix = ".lock"

// A Claim is the right to an ipc path: a lock (flock) on a file beside it. While one process
// has it, no other removes or replaces the socket; it ends with the process, however that
// ends. Of what it finds at the path it removes a socket that nobody listens on, and at the
// end its own socket alone.
type Claim struct {
	path, lock string   // absolute, since the working directory may change
	file       *os.File // locked
	socket     os.FileInfo
}

// errPathTaken says that somebody listens on the path.
var errPathTaken = fmt.Errorf("bind: %w", syscall.EADDRINUSE)

// Path claims the path of an ipc endpoint, and makes it free for a socket, which the caller makes
// and tells Made of. A path that begins with @ is no file, and the kernel forgets it by itself:
// there is nothing to claim, and the claim is nil, which has all methods.
func Path(path string) (*Claim, error) {
	if strings.HasPrefix(path, "@") {
		return nil, nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	c := &Claim{path: path, lock: path + LockSuffix}
	if err := c.take(); err != nil {
		return nil, err
	}
	if err := c.clear(); err != nil {
		c.Release()
		return nil, err
	}
	return c, nil
}

// take locks the file. Who had it before may have removed it meanwhile: then the lock is of a
// file that nobody else will find, and another one is taken.
func (c *Claim) take() error {
	for range 100 {
		file, err := openLock(c.lock)
		if err != nil {
			return err
		}
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EINTR) {
			file.Close()
			continue
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			file.Close()
			return errPathTaken
		}
		if err != nil {
			file.Close()
			return &os.PathError{Op: "flock", Path: c.lock, Err: err}
		}
		c.file = file
		if c.locksItsFile() {
			return nil
		}
		file.Close()
	}
	return errPathTaken // by others, one after the other
}

// locksItsFile reports whether the file that is locked is the one of that name.
func (c *Claim) locksItsFile() bool {
	locked, err := c.file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(c.lock)
	return err == nil && os.SameFile(locked, named)
}

// openLock opens the file, or makes it. With O_CREATE the kernel would refuse to open another
// user's in a folder such as /tmp, even to root.
func openLock(path string) (*os.File, error) {
	const flags = os.O_RDWR | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	for {
		file, err := os.OpenFile(path, flags, 0)
		if errors.Is(err, os.ErrNotExist) {
			file, err = os.OpenFile(path, flags|os.O_CREATE|os.O_EXCL, 0o600)
			if errors.Is(err, os.ErrExist) {
				continue // somebody else has just made it
			}
		}
		if errors.Is(err, os.ErrPermission) {
			return nil, fmt.Errorf("%w: the file shows that another user's server has the socket, or had; if it runs no more, its owner or root can remove both", err)
		}
		if err != nil {
			return nil, err
		}
		if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
			file.Close()
			return nil, errors.Join(err, fmt.Errorf("%w: %s exists and is no file to be locked", os.ErrExist, path))
		}
		return file, nil
	}
}

// clear removes a socket that a server left behind which was killed. Whatever may still be
// somebody's stays, and is an error.
func (c *Claim) clear() error {
	info, err := os.Lstat(c.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%w: %s exists and is not a socket", os.ErrExist, c.path)
	}
	switch err := knock(c.path); {
	case err == nil, errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EPROTOTYPE):
		return errPathTaken // EAGAIN: its backlog is full
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.ECONNREFUSED):
		return os.Remove(c.path)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: the socket %s belongs to another user, and its server may run", err, c.path)
	default:
		return fmt.Errorf("whether somebody listens on %s: %w", c.path, err)
	}
}

// knock connects to a socket, without waiting, and hangs up. Nil: somebody listens.
func knock(path string) error {
	fd, err := streamSocket(unix.AF_UNIX)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return os.NewSyscallError("connect", unix.Connect(fd, &unix.SockaddrUnix{Name: path}))
}

// Made notes that the caller has made the socket.
func (c *Claim) Made() (err error) {
	if c != nil {
		c.socket, err = os.Lstat(c.path)
	}
	return err
}

// Vacate removes the socket, if it is still ours. It is called before the socket is closed: until
// then no other file can have its number.
func (c *Claim) Vacate() {
	if c == nil || c.socket == nil {
		return
	}
	if now, err := os.Lstat(c.path); err == nil && os.SameFile(now, c.socket) {
		os.Remove(c.path)
	}
	c.socket = nil
}

// Release gives the path back. The file goes while it is still locked: who has opened it sees
// then that it has no name any more.
func (c *Claim) Release() {
	if c == nil {
		return
	}
	c.Vacate()
	if c.locksItsFile() {
		os.Remove(c.lock)
	}
	c.file.Close()
}
