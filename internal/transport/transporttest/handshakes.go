package transporttest

import (
	"errors"
	"net"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

func (k kit) TestFailedHandshakesAreCountedWithTheirCause(t *testing.T) {
	t.Parallel() // it waits more than it works
	server, stranger := Pair(t, all), Pair(t, all)
	var checks []func()
	for _, c := range []struct {
		name  string
		keyed bool
		dial  func(t *testing.T, endpoint string)
		exact bool // it tries once
		cause string
	}{
		{"HTTP where there are keys", true, rawly(HTTPRequest, false), true, "ZMTP 3"},
		{"an older protocol where there are keys", true, rawly(ZMTP2, false), true, "ZMTP 3"},
		{"another mechanism where there are keys", true, rawly(ZMTPPlain+string(make([]byte, 47)), false), true, "keys"},
		{"another mechanism", false, rawly(ZMTPPlain+string(make([]byte, 47)), false), true, "keys"},
		{"no keys where there are some", true, k.dialing(nil, ""), false, "keys"},
		{"keys where there are none", false, k.dialing(stranger, server.Public), false, "keys"},
		{"for another server", true, k.dialing(stranger, stranger.Public), false, "another public key"},
		{"silence where there are keys", true, rawly("", false), true, "said nothing"},
		{"silence", false, rawly("", false), true, "said nothing"},
		{"going at once", false, rawly("", true), true, "went away"},
		{"HTTP", false, rawly(HTTPRequest, true), true, "went away|ZMTP 3"},
		{"a peer that refuses", false, rawly(ZMTPNull+string(make([]byte, 48))+"\x04\x0a\x05ERROR\x03300", false), true, "refuses"},
	} {
		var s *transport.Security
		if c.keyed {
			s = server
		}
		y := new(Tally)
		endpoint := FreeEndpoint(t)
		l, err := k.network.Listen(endpoint, s, y.Add)
		if err != nil {
			t.Fatal(err)
		}
		const times = 3
		for range times {
			c.dial(t, endpoint)
		}
		checks = append(checks, func() { // all of them wait at the same time
			for n, end := 0, time.Now().Add(Limit); n < times && time.Now().Before(end); time.Sleep(time.Millisecond) {
				n, _ = y.Read()
			}
			l.Close()
			total, causes := y.Read()
			if total < times || c.exact && total != times {
				t.Errorf("%s: %d were counted, want %d", c.name, total, times)
			}
			if len(causes) != 1 || !regexp.MustCompile(c.cause).MatchString(causes[0]) {
				t.Errorf("%s: the causes are %q, want one that says %q", c.name, causes, c.cause)
			}
		})
	}
	for _, check := range checks {
		check()
	}
}

// rawly connects, writes, and closes at once or when the test is over.
func rawly(text string, closes bool) func(*testing.T, string) {
	return func(t *testing.T, endpoint string) {
		t.Helper()
		c, err := net.DialTimeout("tcp", strings.TrimPrefix(endpoint, "tcp://"), Limit)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if closes {
			c.Close()
		} else {
			t.Cleanup(func() { c.Close() })
		}
	}
}

func (k kit) dialing(self *transport.Security, server string) func(*testing.T, string) {
	return func(t *testing.T, endpoint string) { Join(t, k.network, endpoint, self, server) }
}

// A client that hides behind an older version of the protocol has no mechanism at all.
func (k kit) TestOlderVersionsOfTheProtocolAreNotLetIn(t *testing.T) {
	server := Pair(t, all)
	l, endpoint := Guarded(t, k.network, server)
	for name, greeting := range map[string]string{
		"1.0": "\x01\x00\x02\x00x",
		"2.0": "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x01\x08\x00\x00\x00\x01x",
		"3.0 without encryption": "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL" + string(make([]byte, 48)) +
			"\x04\x1a\x05READY\x0bSocket-Type\x00\x00\x00\x04PUSH\x00\x01x",
		"3.0 with a password": "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00PLAIN" + string(make([]byte, 47)) +
			"\x04\x08\x05HELLO\x00\x00\x00\x01x",
	} {
		c, err := net.DialTimeout("tcp", strings.TrimPrefix(endpoint, "tcp://"), Limit)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(Limit))
		if _, err := c.Write([]byte(greeting)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1024)
		for err == nil {
			_, err = c.Read(b)
		}
		if ne := (interface{ Timeout() bool })(nil); errors.As(err, &ne) && ne.Timeout() {
			t.Errorf("%s: the connection stands after %v", name, Limit)
		}
	}
	if head, _, err := l.Recv(time.Now().Add(50 * time.Millisecond)); !errors.Is(err, transport.ErrTimeout) {
		t.Errorf("received %q, %v", head, err)
	}
}

func (k kit) TestWhoIsLetInOrNotListedIsNoFailedHandshake(t *testing.T) {
	t.Parallel() // it waits more than it works
	friend, stranger := Pair(t, all), Pair(t, all)
	var refused atomic.Bool
	server := Pair(t, func(key string) bool {
		refused.Store(refused.Load() || key == stranger.Public)
		return key == friend.Public
	})
	var y Tally
	endpoint := FreeEndpoint(t)
	l, err := k.network.Listen(endpoint, server, y.Add)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 3 {
		c, err := k.network.Dial(endpoint, friend, server.Public)
		if err != nil {
			t.Fatal(err)
		}
		Send(t, c, []byte("x"), nil)
		Hears(t, l, "x")
		c.Close(0)
	}
	Send(t, Join(t, k.network, endpoint, friend, server.Public), []byte("y"), nil)
	Hears(t, l, "y")
	unlisted, err := k.network.Dial(endpoint, stranger, server.Public)
	if err != nil {
		t.Fatal(err)
	}
	Until(t, "who is not listed is refused", refused.Load)
	unlisted.Close(0)
	const settled = 5 * time.Second // by then a failure would have been told
	time.Sleep(settled)
	if n, causes := y.Read(); n != 0 {
		t.Errorf("%d failures were counted, for %q, want none", n, causes)
	}
}
