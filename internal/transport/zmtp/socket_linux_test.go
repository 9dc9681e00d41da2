//go:build !zmtpqueue

package zmtp

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abhishekg16/cluster/internal/transport"
)

// What neither end can see the kernel sees to: who dials leaves a connection on which nothing is acknowledged, who listens one whose other end is gone.
// Neither waits for more before a small frame leaves.
func TestTheKernelLooksAfterBothEndsOfAConnection(t *testing.T) {
	endpoint := freeEndpoint(t)
	l := listenTelling(t, endpoint, nil, new(tally))
	c := dial(t, endpoint).(*Conn)
	send(t, c, []byte(soundFrame()), nil)
	if _, _, err := l.Recv(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	check := func(end string, fd int, want map[[2]int]int) {
		t.Helper()
		for option, value := range want {
			if got, err := unix.GetsockoptInt(fd, option[0], option[1]); err != nil || got != value {
				t.Errorf("the end that %s: option %v is %d (%v), want %d", end, option, got, err, value)
			}
		}
	}
	c.mu.Lock()
	raw := c.session.raw
	c.mu.Unlock()
	err := raw.Control(func(fd uintptr) {
		check("dials", int(fd), map[[2]int]int{
			{unix.IPPROTO_TCP, unix.TCP_NODELAY}:      1,
			{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT}: int(transport.Unacknowledged.Milliseconds()),
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	l.in.mu.Lock()
	defer l.in.mu.Unlock()
	if len(l.in.streams) != 1 {
		t.Fatalf("%d connections were accepted", len(l.in.streams))
	}
	for fd := range l.in.streams {
		check("listens", int(fd), map[[2]int]int{
			{unix.IPPROTO_TCP, unix.TCP_NODELAY}:   1,
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE}:   1,
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}:  int(transport.KeepAliveIdle.Seconds()),
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}: int(transport.KeepAliveInterval.Seconds()),
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT}:   transport.KeepAliveCount,
		})
	}
}
