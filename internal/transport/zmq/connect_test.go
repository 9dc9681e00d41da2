//go:build cgo && !nozmq

package zmq

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// deaf is an endpoint whose connections get no answer: a listener that accepts none, and
// has as many waiting as it may.
func deaf(t testing.TB) (endpoint string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", local.(*unix.SockaddrInet4).Port)
	for range 10 {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return "tcp://" + address
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("this kernel lets more connections wait than it is told to")
	return ""
}

// attempts are the local ends of connections to a port of which nothing has come back yet
// (SYN_SENT), as Linux lists them.
func attempts(t testing.TB, endpoint string) (from []string) {
	t.Helper()
	const table = "/proc/thread-self/net/tcp"
	text, err := os.ReadFile(table)
	if err != nil {
		t.Skipf("connections cannot be told apart here: %v", err)
	}
	var port int
	if _, err := fmt.Sscanf(endpoint, "tcp://127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	to := ":" + strings.ToUpper(hex.EncodeToString([]byte{byte(port >> 8), byte(port)}))
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) > 3 && strings.HasSuffix(fields[2], to) && fields[3] == "02" {
			from = append(from, fields[1])
		}
	}
	return from
}

// TCP itself repeats what got no answer after a second, then two, then four: a peer that
// can be reached again would not be found within one.
func TestAConnectThatGetsNoAnswerIsTriedAfreshWithinASecond(t *testing.T) {
	t.Parallel() // it waits more than it works
	endpoint := deaf(t)
	attempts(t, endpoint) // it skips the test where they cannot be seen
	dial(t, endpoint)
	const times = 4
	seen := make(map[string]bool)
	began := time.Now()
	least, last := limit, began // between two attempts; the machine may be too busy for some
	for ; len(seen) < times; time.Sleep(5 * time.Millisecond) {
		for _, a := range attempts(t, endpoint) {
			if now := time.Now(); !seen[a] {
				if len(seen) > 0 {
					least = min(least, now.Sub(last))
				}
				seen[a], last = true, now
			}
		}
		if time.Since(began) > limit {
			t.Fatalf("%d attempts to connect in %v", len(seen), limit)
		}
	}
	// All but the last were given up.
	if least > time.Second {
		t.Errorf("each attempt to connect lasts for %v and more, want it to be given up within a second", least)
	}
	if took := time.Since(began); took < (times-1)*500*time.Millisecond {
		t.Errorf("%d attempts to connect in %v, want each to leave an answer half a second to come", times, took)
	}
}
