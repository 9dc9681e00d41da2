//go:build cgo && !nozmq && linux && !zmqpoller

package zmq

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

// Nothing looks at a connection that rests: it says itself when it has ended. When none is left the goroutine that hears it ends.
func TestAConnectionThatRestsTellsThatItHasEnded(t *testing.T) {
	const limit = time.Minute
	endpoint := freeEndpoint(t)
	l, err := Network{}.Listen(endpoint, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Network{}.Dial(endpoint, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	var told atomic.Int32
	transport.Watch(c, func() { told.Add(1) })
	if err := c.Wait(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	eventually := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(limit); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	// What its coming about has left to tell is told first.
	eventually("it does not rest", func() bool {
		before := told.Load()
		if !transport.Stands(c, true) || !transport.Rest(c) {
			t.Fatal("a connection that stands does not rest")
		}
		time.Sleep(20 * time.Millisecond)
		return told.Load() == before
	})
	before := told.Load()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	eventually("it is not told that the connection has ended", func() bool { return told.Load() > before })
	eventually("it stands, though the other end is closed", func() bool { return !transport.Stands(c, true) })
	if err := c.Close(0); err != nil {
		t.Fatal(err)
	}
	asleep.mu.Lock()
	file := asleep.file
	asleep.mu.Unlock()
	if file != nil {
		t.Error("the epoll set is there, and no connection rests")
	}
}
