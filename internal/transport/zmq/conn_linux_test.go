//go:build cgo && !nozmq

package zmq

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/abhishekg16/cluster/internal/transport"
)

// Where the kernel's buffer is full ZeroMQ does not get to its heartbeat.
func TestTheKernelGivesUpAConnectionThatAcknowledgesNothing(t *testing.T) {
	port := connected(t)
	found := 0
	for fd := range 1024 { // the connection's, and others
		remote, err := unix.Getpeername(fd)
		to, ok := remote.(*unix.SockaddrInet4)
		if err != nil || !ok || fmt.Sprint(to.Port) != port {
			continue
		}
		found++
		if got, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); err != nil || int64(got) != transport.Unacknowledged.Milliseconds() {
			t.Errorf("TCP_USER_TIMEOUT is %d (%v), want %v", got, err, transport.Unacknowledged)
		}
	}
	if found == 0 {
		t.Error("no connection was found")
	}
}
