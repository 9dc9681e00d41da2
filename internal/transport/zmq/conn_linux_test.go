package zmq

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Where the kernel's buffer is full ZeroMQ does not get to its heartbeat.
func TestTheKernelGivesUpAConnectionThatAcknowledgesNothing(t *testing.T) {
	endpoint := freeEndpoint(t)
	l := listen(t, endpoint)
	c := dial(t, endpoint)
	send(t, c, []byte("x"), nil)
	if _, _, err := l.Recv(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(endpoint, "tcp://"), ":")
	connected := 0
	for fd := range 1024 { // the connection's, and others
		remote, err := unix.Getpeername(fd)
		to, ok := remote.(*unix.SockaddrInet4)
		if err != nil || !ok || fmt.Sprint(to.Port) != port {
			continue
		}
		connected++
		if got, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); err != nil || int64(got) != unacknowledged.Milliseconds() {
			t.Errorf("TCP_USER_TIMEOUT is %d (%v), want %v", got, err, unacknowledged)
		}
	}
	if connected == 0 {
		t.Error("no connection was found")
	}
}
