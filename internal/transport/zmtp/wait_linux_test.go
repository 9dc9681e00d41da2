//go:build !zmtpqueue

package zmtp

import (
	"errors"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/abhishekg16/cluster/internal/transport"
)

// parks reports whether a listener waits with a thread at some time, while the peer sends to it now
// and then.
func parks(t *testing.T, l transport.Listener, sends func(), within time.Duration) bool {
	t.Helper()
	came := receive(t, l)
	for end := time.Now().Add(within); time.Now().Before(end); {
		sends()
		<-came
		for range 100 {
			if !parking.TryLock() {
				return true
			}
			parking.Unlock()
			runtime.Gosched()
		}
	}
	return false
}

func TestAListenerParksWhereAnotherProcessSoonSendsToIt(t *testing.T) {
	if runtime.GOMAXPROCS(0) == 1 {
		t.Skip("nobody parks with the only thread")
	}
	endpoint := freeEndpoint(t)
	l := listen(t, endpoint)
	transport.Lent(l, true)
	p := push(t, endpoint) // which no Conn has dialed: it might be in another process
	if !parks(t, l, func() { p.write(frameOf(0, "x")) }, limit) {
		t.Error("it does not park")
	}
}

func TestAListenerDoesNotParkForAPeerInItsOwnProcess(t *testing.T) {
	endpoint := freeEndpoint(t)
	l, c := listen(t, endpoint), dial(t, endpoint)
	transport.Lent(l, true)
	if parks(t, l, func() { send(t, c, []byte("x"), nil) }, 200*time.Millisecond) {
		t.Error("it parks, and the peer may need the thread")
	}
}

// A thread that waits in the kernel is one less for who was just woken to take what came.
func TestAListenerDoesNotParkForAGoroutineThatHandsOnWhatComes(t *testing.T) {
	endpoint := freeEndpoint(t)
	l := listen(t, endpoint)
	transport.Lent(l, true)
	transport.Lent(l, false) // as it was at first
	p := push(t, endpoint)
	if parks(t, l, func() { p.write(frameOf(0, "x")) }, 200*time.Millisecond) {
		t.Error("it parks")
	}
}

func TestOneListenerOfTheProcessParks(t *testing.T) {
	l := listen(t, freeEndpoint(t)).(*Listener)
	parking.Lock()
	defer parking.Unlock()
	if l.in.park() {
		t.Error("another parks beside the one that does")
	}
	if l.in.watched {
		t.Error("Go's poller watches it already, and it has not waited")
	}
}

func TestNoListenerParksWithTheOnlyThread(t *testing.T) {
	before := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(before)
	l := listen(t, freeEndpoint(t)).(*Listener)
	l.Interrupt() // which would end it at once
	if l.in.park() {
		t.Error("it parks with the only thread")
	}
}

// Many servers of one process read to buffers that they share: one that kept its own while it waits would take
// 64 KiB more.
func TestAListenerThatWaitsKeepsNothingOfWhatItReadTo(t *testing.T) {
	for _, tt := range []struct{ name, last string }{
		{"a message", frameOf(0, "x")},
		{"a command", frameOf(0, "x") + frameOf(flagCommand, string(ping(transport.HeartbeatTTL)))},
		{"the begin of a frame", frameOf(0, "x") + frameOf(0, "y")[:1]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			endpoint := freeEndpoint(t)
			l := listen(t, endpoint).(*Listener)
			p := push(t, endpoint)
			readTo := make([]byte, scratchSize)
			kept := weak.Make(&readTo[0])
			l.in.scratch, readTo = readTo, nil // as if it had read before
			p.write(tt.last)
			if _, _, err := l.Recv(time.Now().Add(limit)); err != nil {
				t.Fatal(err)
			}
			// What is behind the message may come a little later.
			for end := time.Now().Add(limit); kept.Value() != nil; runtime.GC() {
				if _, _, err := l.Recv(time.Now().Add(10 * time.Millisecond)); !errors.Is(err, transport.ErrTimeout) {
					t.Fatalf("the error is %v, want %v", err, transport.ErrTimeout)
				}
				if time.Now().After(end) {
					t.Fatal("it keeps the buffer")
				}
			}
			runtime.KeepAlive(l)
		})
	}
}
