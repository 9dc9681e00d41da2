package zmtp

import (
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// dialed are the tcp connections that this process has dialed, by both their addresses. The other
// end of some may be in this process, too.
var dialed sync.Map // of pair

type pair struct{ from, to string }

// rememberLocal notes a connection that was dialed, until forget is called.
func rememberLocal(nc net.Conn) (forget func()) {
	p := pair{nc.LocalAddr().String(), nc.RemoteAddr().String()}
	dialed.Store(p, true)
	return func() { dialed.Delete(p) }
}

// isLocal reports whether the other end of an accepted connection is in this process. Its
// handshake is over, and so who has dialed it has noted that.
func isLocal(nc net.Conn) bool {
	if _, ok := nc.(*net.UnixConn); !ok {
		_, ok := dialed.Load(pair{nc.RemoteAddr().String(), nc.LocalAddr().String()})
		return ok
	}
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return false
	}
	own := false
	raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		own = err == nil && int(cred.Pid) == os.Getpid()
	})
	return own
}
