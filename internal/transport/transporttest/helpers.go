package transporttest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/internal/freeport"
	"github.com/abhishekg16/cluster/internal/transport"
)

// What follows is also for the tests of each network alone.

// Limit is how long a test waits for what is to happen.
const Limit = time.Minute

// A Tally is what a listener has told of failed handshakes.
type Tally struct {
	mu     sync.Mutex
	total  int
	causes map[string]bool
}

// Add is for Listen to call.
func (y *Tally) Add(count int, cause error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.causes == nil {
		y.causes = make(map[string]bool)
	}
	y.total += count
	y.causes[cause.Error()] = true
}

// Read returns how many have failed, and why.
func (y *Tally) Read() (total int, causes []string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for c := range y.causes {
		causes = append(causes, c)
	}
	return y.total, causes
}

// What strangers say first: those of ZMTP are the beginnings of greetings.
const (
	HTTPRequest = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	ZMTP2       = "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x01\x08\x00\x00\x00\x01x"
	ZMTPNull    = "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL"
	ZMTPPlain   = "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00PLAIN"
)

// FreeEndpoint is one at which nobody listens.
func FreeEndpoint(t testing.TB) string {
	t.Helper()
	l, err := freeport.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "tcp://" + l.Addr().String()
}

// IPCEndpoint is a path in a directory that is gone after the test.
func IPCEndpoint(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "transport")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return "ipc://" + filepath.Join(dir, "s")
}

// Listen listens without keys until the test ends.
func Listen(t testing.TB, n transport.Network, endpoint string) transport.Listener {
	t.Helper()
	return listen(t, n, endpoint, nil)
}

func listen(t testing.TB, n transport.Network, endpoint string, s *transport.Security) transport.Listener {
	t.Helper()
	l, err := n.Listen(endpoint, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("closing the listener: %v", err)
		}
	})
	return l
}

// Dial connects without keys until the test ends, and what was sent has left then.
func Dial(t testing.TB, n transport.Network, endpoint string) transport.Conn {
	t.Helper()
	return dial(t, n, endpoint, nil, "", Limit)
}

func dial(t testing.TB, n transport.Network, endpoint string, self *transport.Security, server string, linger time.Duration) transport.Conn {
	t.Helper()
	c, err := n.Dial(endpoint, self, server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(linger); err != nil {
			t.Errorf("closing the connection: %v", err)
		}
	})
	return c
}

// Guarded is a listener with keys, and where it listens.
func Guarded(t testing.TB, n transport.Network, s *transport.Security) (transport.Listener, string) {
	t.Helper()
	endpoint := FreeEndpoint(t)
	return listen(t, n, endpoint, s), endpoint
}

// Join connects to a listener with keys until the test ends.
func Join(t testing.TB, n transport.Network, endpoint string, self *transport.Security, server string) transport.Conn {
	t.Helper()
	return dial(t, n, endpoint, self, server, 0)
}

// Hears receives a frame and returns the key of its sender.
func Hears(t testing.TB, l transport.Listener, want string) string {
	t.Helper()
	head, tail, err := l.Recv(time.Now().Add(Limit))
	if got := string(head) + string(tail); err != nil || got != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
	return l.Key()
}

// Fill sends frames until the queues of both ends and of the kernel are full, and returns how many
// that took.
func Fill(t testing.TB, c transport.Conn) (sent int) {
	t.Helper()
	for {
		ok, err := c.TrySend(make([]byte, 64<<10), nil)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			sent++
			continue
		}
		switch err := c.Wait(time.Now().Add(100 * time.Millisecond)); {
		case errors.Is(err, transport.ErrTimeout):
			return sent
		case err != nil:
			t.Fatal(err)
		}
	}
}

// Send sends a frame, waiting as long as it takes.
func Send(t testing.TB, c transport.Conn, head, tail []byte) {
	t.Helper()
	for {
		ok, err := c.TrySend(head, tail)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			return
		}
		if err := c.Wait(time.Now().Add(Limit)); err != nil {
			t.Fatalf("waiting to send: %v", err)
		}
	}
}

// Passes wants a frame to get from c to l.
func Passes(t testing.TB, c transport.Conn, l transport.Listener, text string) {
	t.Helper()
	Send(t, c, []byte(text), nil)
	for {
		head, _, err := l.Recv(time.Now().Add(Limit))
		if errors.Is(err, transport.ErrInterrupted) {
			continue
		}
		if err != nil || !bytes.Equal(head, []byte(text)) {
			t.Fatalf("got %q and %v, want %q", head, err, text)
		}
		return
	}
}

// PassesAnew is Passes for a connection that is being made anew: what is sent too early is lost with the one before, and is sent again.
func PassesAnew(t testing.TB, c transport.Conn, l transport.Listener, text string) {
	t.Helper()
	for end := time.Now().Add(Limit); ; {
		Send(t, c, []byte(text), nil)
		head, _, err := l.Recv(time.Now().Add(time.Second))
		if err == nil && bytes.Equal(head, []byte(text)) {
			return
		}
		if err == nil || time.Now().After(end) {
			t.Fatalf("got %q and %v, want %q", head, err, text)
		}
	}
}

// Until waits until cond holds; what says what was missing otherwise.
func Until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(Limit); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", Limit, what)
		}
	}
}

// Stranger is a connection to a listener without keys, through the handshake as a PUSH socket
// goes through it.
func Stranger(t testing.TB, endpoint string) net.Conn {
	t.Helper()
	network, address, _ := strings.Cut(endpoint, "://")
	if network == "ipc" {
		network = "unix"
	}
	c, err := net.DialTimeout(network, address, Limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	const ready = "\x05READY\x0bSocket-Type\x00\x00\x00\x04PUSH"
	if _, err := io.WriteString(c, ZMTPNull+string(make([]byte, 48))+"\x04"+string(rune(len(ready)))+ready); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(Limit))
	head := make([]byte, 66) // the other's greeting, and the head of its READY
	if _, err := io.ReadFull(c, head); err != nil {
		t.Fatalf("the handshake: %v", err)
	}
	if _, err := io.CopyN(io.Discard, c, int64(head[65])); err != nil {
		t.Fatalf("the handshake: %v", err)
	}
	c.SetReadDeadline(time.Time{})
	return c
}

// Pair makes the keys of a server.
func Pair(t testing.TB, admit func(string) bool) *transport.Security {
	t.Helper()
	public, secret, err := curve.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return &transport.Security{Public: public, Secret: secret, Admit: admit}
}
