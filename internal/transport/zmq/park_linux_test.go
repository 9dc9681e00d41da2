//go:build cgo && !nozmq && !zmqpoller

package zmq

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

// lively is a listener that has just been sent two frames in a row, and so will park.
func lively(t *testing.T) (*Listener, transport.Conn) {
	t.Helper()
	before := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(max(2, before)) // with one, no listener parks
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	endpoint := freeEndpoint(t)
	l, c := listen(t, endpoint).(*Listener), dial(t, endpoint)
	for range 2 {
		send(t, c, []byte("x"), nil)
		if _, _, err := l.Recv(time.Now().Add(limit)); err != nil {
			t.Fatal(err)
		}
	}
	return l, c
}

// rests waits for so long in vain that the listener ends up in Go's poller.
func rests(t *testing.T, l *Listener) {
	t.Helper()
	for end := time.Now().Add(limit); ; { // once, unless this machine is slow
		if _, _, err := l.Recv(time.Now().Add(3 * freshTime)); !errors.Is(err, transport.ErrTimeout) {
			t.Fatalf("with nothing to be received: %v", err)
		}
		if l.watched {
			return
		}
		if time.Now().After(end) {
			t.Fatal("Go's poller does not watch it after a while")
		}
	}
}

func TestAListenerParksWhereItIsSoonSentTo(t *testing.T) {
	l, c := lively(t)
	type received struct {
		head []byte
		err  error
	}
	result := make(chan received, 1)
	woken := 0
	for range 100 {
		rests(t, l)
		l.came = time.Now().Add(time.Minute) // however slow this machine is
		go func() {
			head, _, err := l.Recv(time.Now().Add(limit))
			result <- received{head, err}
		}()
		for end := time.Now().Add(10 * freshTime); berth.parked.Load() != l.waiter && time.Now().Before(end); {
		}
		send(t, c, []byte("y"), nil)
		if r := <-result; r.err != nil || string(r.head) != "y" {
			t.Fatalf("got %q and %v", r.head, r.err)
		}
		if !l.watched { // it came while the thread waited
			woken++
		}
	}
	if woken == 0 {
		t.Error("nothing was received by the thread that waited")
	}
}

func TestNoListenerParksWithTheOnlyThread(t *testing.T) {
	l, _ := lively(t)
	runtime.GOMAXPROCS(1) // lively puts it back
	parked := make(chan int, 1)
	go func() {
		count := 0
		for range 100 {
			time.Sleep(freshTime / 20)
			if berth.parked.Load() != nil {
				count++
			}
		}
		parked <- count
	}()
	for {
		l.came = time.Now().Add(time.Minute)
		if _, _, err := l.Recv(time.Now().Add(freshTime)); !errors.Is(err, transport.ErrTimeout) {
			t.Fatalf("with nothing to be received: %v", err)
		}
		select {
		case count := <-parked:
			if count > 0 {
				t.Errorf("it was seen to wait with the only thread %d times", count)
			}
			return
		default:
		}
	}
}

func TestAnInterruptReachesAParkedListener(t *testing.T) {
	l, _ := lively(t)
	result := make(chan bool)
	for range 50 {
		go func() { result <- l.park(time.Now(), time.Now().Add(10*limit)) }()
		for end := time.Now().Add(limit); berth.parked.Load() != l.waiter; {
			if time.Now().After(end) {
				t.Fatal("it does not park")
			}
		}
		time.Sleep(100 * time.Microsecond)
		l.Interrupt()
		select {
		case ready := <-result:
			if ready {
				t.Error("there is something to be received")
			}
		case <-time.After(limit):
			t.Fatal("the interrupt was missed")
		}
		if _, _, err := l.Recv(time.Now().Add(limit)); !errors.Is(err, transport.ErrInterrupted) {
			t.Fatalf("got %v", err)
		}
	}
}

func TestOneListenerOfTheProcessParks(t *testing.T) {
	l, c := lively(t)
	rests(t, l)
	berth.Lock()
	defer berth.Unlock()
	for range 100 {
		l.came = time.Now().Add(time.Minute)
		send(t, c, []byte("x"), nil)
		if _, _, err := l.Recv(time.Now().Add(limit)); err != nil {
			t.Fatal(err)
		}
	}
	if !l.watched {
		t.Error("it does not wait in Go's poller")
	}
}

// Frames and interrupts come at all times: before it parks, while it does, and while it goes
// from there to Go's poller. None must be missed.
func TestAListenerMissesNothingWhereverItWaits(t *testing.T) {
	l, c := lively(t)
	random := rand.New(rand.NewPCG(1, 2))
	pauses := make([]time.Duration, 1500)
	for i := range pauses {
		pauses[i] = time.Duration(random.Int64N(int64(2 * freshTime)))
	}
	go func() { // It ends with the pauses.
		for _, p := range pauses {
			time.Sleep(p)
			if p%3 == 0 {
				l.Interrupt()
			}
			send(t, c, []byte("x"), nil)
		}
	}()
	for i := range pauses {
		for {
			_, _, err := l.Recv(time.Now().Add(limit))
			if errors.Is(err, transport.ErrInterrupted) {
				continue
			}
			if err != nil {
				t.Fatalf("frame %d of %d: %v", i+1, len(pauses), err)
			}
			break
		}
	}
}
