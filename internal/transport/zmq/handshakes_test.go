//go:build cgo && !nozmq

package zmq

import (
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	zmq4 "github.com/pebbe/zmq4"

	"github.com/abhishekg16/cluster/internal/transport/transporttest"
)

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
		h := &handshakes{keyed: c.keyed, open: make(map[int]time.Time), ended: make(map[int]uint64), pending: foreign, failed: func(n int, err error) {
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
	var y transporttest.Tally
	h := watchHandshakes(m, false, y.Add)
	until(t, "all failures are counted", func() bool { n, _ := y.Read(); return n == connections })
	h.stop()
}
