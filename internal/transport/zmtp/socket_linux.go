package zmtp

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// controlDialed has the kernel give up a connection on which nothing is acknowledged for as long
// as a peer may be silent: what is not written yet cannot be answered.
func controlDialed(network, _ string, raw syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silence.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return failed
}

// unacknowledged is how many bytes the kernel holds that the other end's has not acknowledged.
func unacknowledged(raw syscall.RawConn) (n int) {
	raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return n
}
