package zmq

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	zmq4 "github.com/pebbe/zmq4"

	"github.com/abhishekg16/cluster/internal/transport"
)

// guarded is a listener with keys, and where it listens.
func guarded(t testing.TB, s *transport.Security) (transport.Listener, string) {
	t.Helper()
	endpoint := freeEndpoint(t)
	l, err := Network{}.Listen(endpoint, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("closing the listener: %v", err)
		}
	})
	return l, endpoint
}

// join connects to a listener with keys.
func join(t testing.TB, endpoint string, self *transport.Security, server string) transport.Conn {
	t.Helper()
	c, err := Network{}.Dial(endpoint, self, server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(0); err != nil {
			t.Errorf("closing the connection: %v", err)
		}
	})
	return c
}

// hears receives a frame and returns the key of its sender.
func hears(t testing.TB, l transport.Listener, want string) string {
	t.Helper()
	head, tail, err := l.Recv(time.Now().Add(limit))
	if got := string(head) + string(tail); err != nil || got != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
	return l.Key()
}

// until waits until cond holds; what says what was missing otherwise.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

func TestAFrameComesWithTheKeyThatItsSenderHasProved(t *testing.T) {
	server := pair(t, all)
	l, endpoint := guarded(t, server)
	a, b := pair(t, all), pair(t, all)
	first, second := join(t, endpoint, a, server.Public), join(t, endpoint, b, server.Public)
	for range 3 {
		send(t, first, []byte("x"), []byte("tail"))
		if got := hears(t, l, "xtail"); got != a.Public {
			t.Errorf("the key of the first is %q, want %q", got, a.Public)
		}
		send(t, second, []byte("y"), nil)
		if got := hears(t, l, "y"); got != b.Public {
			t.Errorf("the key of the second is %q, want %q", got, b.Public)
		}
	}
}

func TestMetadataOfAPeerIsNotItsKey(t *testing.T) {
	server, self, other := pair(t, all), pair(t, all), pair(t, all)
	l, endpoint := guarded(t, server)
	for _, claim := range []string{other.Public, seal + other.Public, ""} {
		h, in := shake(t, endpoint, server.Public, self, "User-Id", claim)
		if !in {
			t.Fatal("it was not let in")
		}
		h.send([]byte("x"))
		if got := hears(t, l, "x"); got != self.Public {
			t.Errorf("whoever claims %q has the key %q, want %q", claim, got, self.Public)
		}
	}
}

// Without an answer to ask for, ZeroMQ lets everybody in, and believes what they claim
// to be.
func TestNobodyHasAKeyWhileNobodyAnswers(t *testing.T) {
	server, self, other := pair(t, all), pair(t, all), pair(t, all)
	l, endpoint := guarded(t, server)
	zap.life.Lock()
	zap.waiter.interrupt()
	<-zap.done
	zap.life.Unlock()
	for _, claim := range []string{other.Public, ""} {
		h, in := shake(t, endpoint, server.Public, self, "User-Id", claim)
		if !in {
			continue // that is as well
		}
		h.send([]byte("x"))
		if got := hears(t, l, "x"); got != "" {
			t.Errorf("whoever claims %q has the key %q, want none", claim, got)
		}
	}
	// The next listener makes it right, for all.
	l2, endpoint2 := guarded(t, server)
	for endpoint, l := range map[string]transport.Listener{endpoint: l, endpoint2: l2} {
		send(t, join(t, endpoint, self, server.Public), []byte("y"), nil)
		if got := hears(t, l, "y"); got != self.Public {
			t.Errorf("then the key is %q, want %q", got, self.Public)
		}
	}
}

func TestEachListenerDecidesForItself(t *testing.T) {
	strict, lax := pair(t, none), pair(t, all)
	_, closed := guarded(t, strict)
	l, open := guarded(t, lax)
	plain := freeEndpoint(t)
	everybody := listen(t, plain)
	self := pair(t, all)
	out := join(t, closed, self, strict.Public)
	send(t, join(t, open, self, lax.Public), []byte("x"), nil)
	hears(t, l, "x")
	send(t, dial(t, plain), []byte("y"), nil)
	if got := hears(t, everybody, "y"); got != "" {
		t.Errorf("a listener without keys has the key %q of a sender", got)
	}
	if err := out.Wait(time.Now().Add(200 * time.Millisecond)); !errors.Is(err, transport.ErrTimeout) {
		t.Errorf("who is not let in waits for the connection: %v, want %v", err, transport.ErrTimeout)
	}
}

func TestWhoIsNotLetInTriesAgain(t *testing.T) {
	var open atomic.Bool
	var asked atomic.Bool
	server := pair(t, func(string) bool { asked.Store(true); return open.Load() })
	l, endpoint := guarded(t, server)
	c := join(t, endpoint, pair(t, all), server.Public)
	until(t, "somebody asks", asked.Load)
	open.Store(true)
	send(t, c, []byte("x"), nil)
	hears(t, l, "x")
}

// Another part of the program that answers ZAP does so on a context of its own.
func TestAnotherThatAnswersDoesNotDecideForUs(t *testing.T) {
	if err := zmq4.AuthStart(); err != nil {
		t.Fatal(err)
	}
	defer zmq4.AuthStop()
	zmq4.AuthCurveAdd("cluster.1", zmq4.CURVE_ALLOW_ANY)
	var asked atomic.Bool
	server := pair(t, func(string) bool { asked.Store(true); return false })
	_, endpoint := guarded(t, server)
	c := join(t, endpoint, pair(t, all), server.Public)
	until(t, "somebody asks us", asked.Load)
	if err := c.Wait(time.Now().Add(100 * time.Millisecond)); !errors.Is(err, transport.ErrTimeout) {
		t.Errorf("who is not listed waits for the connection: %v, want %v", err, transport.ErrTimeout)
	}
}

func TestListenersWithKeysOpenAndCloseAtOnce(t *testing.T) {
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	for range 8 {
		endpoint := freeEndpoint(t)
		wg.Go(func() {
			for i := range 20 {
				server, self := pair(t, all), pair(t, all)
				l, err := Network{}.Listen(endpoint, server, nil)
				if err != nil {
					t.Error(err)
					return
				}
				c, err := Network{}.Dial(endpoint, self, server.Public)
				if err != nil {
					t.Error(err)
				} else if i%2 == 0 { // otherwise it closes in the midst of the handshake
					if err := c.Wait(time.Now().Add(limit)); err != nil {
						t.Errorf("round %d: it was not let in: %v", i, err)
					} else if ok, err := c.TrySend(fmt.Append(nil, i), nil); !ok || err != nil {
						t.Errorf("round %d: cannot send: %v", i, err)
					} else if _, _, err := l.Recv(time.Now().Add(limit)); err != nil || l.Key() != self.Public {
						t.Errorf("round %d: got the key %q, %v, want %q", i, l.Key(), err, self.Public)
					}
				}
				if err := errors.Join(l.Close(), c.Close(0)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	zap.life.Lock()
	defer zap.life.Unlock()
	if zap.done != nil || len(zap.domains) != 0 {
		t.Errorf("%d domains are left, and somebody answers: %v", len(zap.domains), zap.done != nil)
	}
	until(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

// A client that hides behind an older version of the protocol has no mechanism at all.
func TestOlderVersionsOfTheProtocolAreNotLetIn(t *testing.T) {
	server := pair(t, all)
	l, endpoint := guarded(t, server)
	for name, greeting := range map[string]string{
		"1.0": "\x01\x00\x02\x00x",
		"2.0": "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x01\x08\x00\x00\x00\x01x",
		"3.0 without encryption": "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL" + string(make([]byte, 48)) +
			"\x04\x1a\x05READY\x0bSocket-Type\x00\x00\x00\x04PUSH\x00\x01x",
		"3.0 with a password": "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00PLAIN" + string(make([]byte, 47)) +
			"\x04\x08\x05HELLO\x00\x00\x00\x01x",
	} {
		c, err := net.DialTimeout("tcp", strings.TrimPrefix(endpoint, "tcp://"), limit)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(limit))
		if _, err := c.Write([]byte(greeting)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1024)
		for err == nil {
			_, err = c.Read(b)
		}
		if ne := (interface{ Timeout() bool })(nil); errors.As(err, &ne) && ne.Timeout() {
			t.Errorf("%s: the connection stands after %v", name, limit)
		}
	}
	if head, _, err := l.Recv(time.Now().Add(50 * time.Millisecond)); !errors.Is(err, transport.ErrTimeout) {
		t.Errorf("received %q, %v", head, err)
	}
}
