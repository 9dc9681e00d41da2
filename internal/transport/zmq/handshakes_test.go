package zmq

import (
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	zmq4 "github.com/pebbe/zmq4"

	"github.com/abhishekg16/cluster/internal/transport"
)

// A tally is what a listener has told of failed handshakes.
type tally struct {
	mu     sync.Mutex
	total  int
	causes map[string]bool
}

func (y *tally) add(count int, cause error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.causes == nil {
		y.causes = make(map[string]bool)
	}
	y.total += count
	y.causes[cause.Error()] = true
}

func (y *tally) read() (total int, causes []string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for c := range y.causes {
		causes = append(causes, c)
	}
	return y.total, causes
}

const (
	httpRequest  = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	zmtp2        = "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x01\x08\x00\x00\x00\x01x"
	zmtpNull     = "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL"
	zmtpPassword = "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00PLAIN"
)

func TestFailedHandshakesAreCountedWithTheirCause(t *testing.T) {
	t.Parallel() // it waits more than it works
	server, stranger := pair(t, all), pair(t, all)
	var checks []func()
	for _, c := range []struct {
		name  string
		keyed bool
		dial  func(t *testing.T, endpoint string)
		exact bool // it tries once
		cause string
	}{
		{"HTTP where there are keys", true, rawly(httpRequest, false), true, "ZMTP 3"},
		{"an older protocol where there are keys", true, rawly(zmtp2, false), true, "ZMTP 3"},
		{"another mechanism where there are keys", true, rawly(zmtpPassword+string(make([]byte, 47)), false), true, "keys"},
		{"another mechanism", false, rawly(zmtpPassword+string(make([]byte, 47)), false), true, "keys"},
		{"no keys where there are some", true, dialing(nil, ""), false, "keys"},
		{"keys where there are none", false, dialing(stranger, server.Public), false, "keys"},
		{"for another server", true, dialing(stranger, stranger.Public), false, "another public key"},
		{"silence where there are keys", true, rawly("", false), true, "said nothing"},
		{"silence", false, rawly("", false), true, "said nothing"},
		{"going at once", false, rawly("", true), true, "went away"},
		{"HTTP", false, rawly(httpRequest, true), true, "went away"},
		{"a peer that refuses", false, rawly(zmtpNull+string(make([]byte, 48))+"\x04\x0a\x05ERROR\x03300", false), true, "refuses"},
	} {
		var s *transport.Security
		if c.keyed {
			s = server
		}
		y := new(tally)
		endpoint := freeEndpoint(t)
		l, err := Network{}.Listen(endpoint, s, y.add)
		if err != nil {
			t.Fatal(err)
		}
		const times = 3
		for range times {
			c.dial(t, endpoint)
		}
		checks = append(checks, func() { // all of them wait at the same time
			for n, end := 0, time.Now().Add(limit); n < times && time.Now().Before(end); time.Sleep(time.Millisecond) {
				n, _ = y.read()
			}
			l.Close()
			total, causes := y.read()
			if total < times || c.exact && total != times {
				t.Errorf("%s: %d were counted, want %d", c.name, total, times)
			}
			if len(causes) != 1 || !strings.Contains(causes[0], c.cause) {
				t.Errorf("%s: the causes are %q, want one that says %q", c.name, causes, c.cause)
			}
		})
	}
	for _, check := range checks {
		check()
	}
}

func TestFailedHandshakesAreToldFromWhatHappensBesideThem(t *testing.T) {
	type event struct {
		what  zmq4.Event
		value int
	}
	const (
		accepted     = zmq4.EVENT_ACCEPTED
		disconnected = zmq4.EVENT_DISCONNECTED
		succeeded    = zmq4.EVENT_HANDSHAKE_SUCCEEDED
		refused      = zmq4.EVENT_HANDSHAKE_FAILED_AUTH
		noDetail     = zmq4.EVENT_HANDSHAKE_FAILED_NO_DETAIL
		protocol     = zmq4.EVENT_HANDSHAKE_FAILED_PROTOCOL
	)
	for _, c := range []struct {
		name      string
		keyed     bool
		events    []event
		at, after map[cause]int // told at once, and by when all is settled
	}{
		{"beside a young connection that is good", false,
			[]event{{accepted, 7}, {succeeded, 0}, {accepted, 8}, {noDetail, 32}, {disconnected, 8}},
			map[cause]int{unfinished: 1}, map[cause]int{unfinished: 1}},
		{"beside who is not listed", true,
			[]event{{accepted, 7}, {refused, 300}, {accepted, 8}, {noDetail, 32}, {disconnected, 8}, {accepted, 8}, {protocol, codeMechanismMismatch}, {disconnected, 8}},
			map[cause]int{unfinished: 1, mismatch: 1}, map[cause]int{unfinished: 1, mismatch: 1}},
		{"without an event", true,
			[]event{{accepted, 7}, {disconnected, 7}, {accepted, 7}, {protocol, codeCryptographic}, {disconnected, 7}},
			map[cause]int{foreign: 1, misplaced: 1}, map[cause]int{foreign: 1, misplaced: 1}},
		{"an established connection that breaks", true,
			[]event{{accepted, 7}, {succeeded, 0}, {protocol, codeCryptographic}, {disconnected, 7}},
			nil, nil},
		{"an established connection that breaks, and one that fails without an event", true,
			[]event{{accepted, 7}, {succeeded, 0}, {accepted, 8}, {succeeded, 0}, {disconnected, 8}, {accepted, 9}, {disconnected, 9}},
			nil, map[cause]int{foreign: 1}},
		{"none of this listener's", true,
			[]event{{protocol, codeCryptographic}, {disconnected, 3}},
			nil, nil},
	} {
		told := make(map[cause]int)
		h := &handshakes{keyed: c.keyed, open: make(map[int]time.Time), pending: foreign, failed: func(n int, err error) {
			told[cause(slices.Index(causeErrors[:], err))] += n
		}}
		now := time.Now()
		for _, e := range c.events {
			h.note(e.what, e.value, now)
		}
		for _, want := range []map[cause]int{c.at, c.after} {
			h.report(h.settled(now))
			if !maps.Equal(told, want) {
				t.Errorf("%s: %v were told of, want %v", c.name, told, want)
			}
			now = now.Add(unsettled)
		}
	}
}

// rawly connects, writes, and closes at once or when the test is over.
func rawly(text string, closes bool) func(*testing.T, string) {
	return func(t *testing.T, endpoint string) {
		t.Helper()
		c, err := net.DialTimeout("tcp", strings.TrimPrefix(endpoint, "tcp://"), limit)
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

func dialing(self *transport.Security, server string) func(*testing.T, string) {
	return func(t *testing.T, endpoint string) { join(t, endpoint, self, server) }
}

func TestWhoIsLetInOrNotListedIsNoFailedHandshake(t *testing.T) {
	t.Parallel() // it waits more than it works
	friend, stranger := pair(t, all), pair(t, all)
	server := pair(t, func(key string) bool { return key == friend.Public })
	var y tally
	endpoint := freeEndpoint(t)
	l, err := Network{}.Listen(endpoint, server, y.add)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 3 {
		c, err := Network{}.Dial(endpoint, friend, server.Public)
		if err != nil {
			t.Fatal(err)
		}
		send(t, c, []byte("x"), nil)
		hears(t, l, "x")
		c.Close(0)
	}
	send(t, join(t, endpoint, friend, server.Public), []byte("y"), nil)
	hears(t, l, "y")
	unlisted, err := Network{}.Dial(endpoint, stranger, server.Public)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	unlisted.Close(0)
	time.Sleep(unsettled + lookInterval) // what is young could not be held against anybody
	if n, causes := y.read(); n != 0 {
		t.Errorf("%d failures were counted, for %q, want none", n, causes)
	}
}

// Who floods a listener with connections must not stop ZeroMQ's thread when nobody reads the
// events: all other sockets would stand still.
func TestEventsThatNobodyReadsStopNobody(t *testing.T) {
	soc, err := newSocket(zmq4.PULL)
	if err != nil {
		t.Fatal(err)
	}
	m, err := watch(soc, handshakeEvents)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := closeWatched(soc, m, 0, nil); err != nil {
			t.Error(err)
		}
	}()
	endpoint := freeEndpoint(t)
	if err := soc.Bind(endpoint); err != nil {
		t.Fatal(err)
	}
	const connections = 1000 // three events each, and ZeroMQ's queue has room for 1,000
	for range connections {
		c, err := net.DialTimeout("tcp", strings.TrimPrefix(endpoint, "tcp://"), limit)
		if err != nil {
			t.Fatal(err)
		}
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	var y tally
	h := watchHandshakes(m, false, y.add)
	until(t, "all failures are counted", func() bool { n, _ := y.read(); return n == connections })
	h.stop()
}
