//go:build cgo && !nozmq

package zmq

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	zmq4 "github.com/pebbe/zmq4"

	"github.com/abhishekg16/cluster/internal/transport"
)

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
