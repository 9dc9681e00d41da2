//go:build cgo && !nozmq

package zmq

import (
	"errors"
	"testing"
	"time"

	zmq4 "github.com/pebbe/zmq4"

	"github.com/abhishekg16/cluster/internal/transport"
)

// ownContext makes the sockets of this test those of a ZeroMQ context of their own.
func ownContext(t testing.TB) *zmq4.Context {
	t.Helper()
	if _, err := sharedContext(); err != nil {
		t.Fatal(err)
	}
	own, err := zmq4.NewContext()
	if err != nil {
		t.Fatal(err)
	}
	shared.Lock()
	defer shared.Unlock()
	others := shared.context
	shared.context = own
	t.Cleanup(func() {
		shared.Lock()
		defer shared.Unlock()
		shared.context = others
	})
	return own
}

// What nobody expects: here ZeroMQ itself comes to an end.
func TestAListenerThatIsOfNoUseSaysSoEachTimeAndCloses(t *testing.T) {
	ctx := ownContext(t)
	l, err := Network{}.Listen(freeEndpoint(t), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- ctx.Term() }() // It returns when the listener has closed.
	for range 3 {
		_, _, err := l.Recv(time.Now().Add(limit))
		if err == nil || errors.Is(err, transport.ErrTimeout) || errors.Is(err, transport.ErrInterrupted) || errors.Is(err, transport.ErrMalformed) {
			t.Errorf("Recv returns %v, want an error after which the listener is of no use", err)
		}
	}
	closed := make(chan struct{})
	go func() {
		l.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(limit):
		t.Fatal("the listener does not close")
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(limit):
		t.Error("something of the listener is left")
	}
}
