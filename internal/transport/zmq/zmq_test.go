//go:build cgo && !nozmq

package zmq

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	zmq4 "github.com/pebbe/zmq4"
	"golang.org/x/sys/unix"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/transporttest"
)

func TestTheNetworkKeepsThePromisesOfATransport(t *testing.T) { transporttest.Run(t, Network{}) }

func TestAMonitorIsThereUntilItsSocketHasEnded(t *testing.T) {
	soc, err := newSocket(zmq4.PUSH, func(s *zmq4.Socket) error { return s.SetLinger(0) })
	if err != nil {
		t.Fatal(err)
	}
	m, err := watch(soc, 0)
	if err != nil {
		t.Fatal(err)
	}
	m.leave() // somebody has given up waiting
	m = nil
	for range 5 { // what nobody refers to is finalized
		runtime.GC()
		time.Sleep(2 * leaveInterval)
	}
	soc.Close() // only now
	other, err := newSocket(zmq4.PUSH)
	if err != nil {
		t.Fatal(err)
	}
	if err := closeAndWait(other, 0, nil); err != nil {
		t.Errorf("another socket does not end any more: %v", err)
	}
}

// narrow is a listener that takes few frames unless it is read.
func narrow(t testing.TB, endpoint string) *Listener {
	t.Helper()
	soc, err := newSocket(zmq4.PULL,
		func(s *zmq4.Socket) error { return s.SetRcvhwm(1) },
		func(s *zmq4.Socket) error { return s.SetLinger(0) },
		func(s *zmq4.Socket) error { return s.Bind(endpoint) },
	)
	if err != nil {
		t.Fatal(err)
	}
	m, err := watch(soc, 0)
	if err != nil {
		t.Fatal(err)
	}
	w, err := newParker(soc)
	if err != nil {
		t.Fatal(err)
	}
	l := &Listener{soc: soc, parker: w, recv: newReceiver(soc, false), shakes: watchHandshakes(m, false, nil)}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestCloseFlushesWhatWasHandedOver(t *testing.T) {
	endpoint := freeEndpoint(t)
	l := narrow(t, endpoint)
	c, err := Network{}.Dial(endpoint, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	sent := fill(t, c)
	closed := make(chan error, 1)
	go func() { closed <- c.Close(limit) }()
	for range sent {
		if _, _, err := l.Recv(time.Now().Add(limit)); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if sent < transport.SendFrames {
		t.Errorf("%d frames filled the queues", sent)
	}
}

func TestCloseGivesUpAfterItsLinger(t *testing.T) {
	endpoint := freeEndpoint(t)
	narrow(t, endpoint) // never read
	c, err := Network{}.Dial(endpoint, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	fill(t, c)
	start := time.Now()
	if err := c.Close(100 * time.Millisecond); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took < 90*time.Millisecond || took > limit/2 {
		t.Errorf("Close took %v, and its linger was 100ms", took)
	}
}

// connected is the port of a listener to which there is a connection.
func connected(t testing.TB) (port string) {
	t.Helper()
	endpoint := freeEndpoint(t)
	l := listen(t, endpoint)
	send(t, dial(t, endpoint), []byte("x"), nil)
	if _, _, err := l.Recv(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	_, port, _ = strings.Cut(strings.TrimPrefix(endpoint, "tcp://"), ":")
	return port
}

func TestAConnectionThatVanishedBeforeItsFirstHeartbeatIsNoticed(t *testing.T) {
	port := connected(t)
	accepted := 0
	for fd := range 1024 { // the listener's, its connections', and others
		local, err := unix.Getsockname(fd)
		in, ok := local.(*unix.SockaddrInet4)
		if err != nil || !ok || fmt.Sprint(in.Port) != port {
			continue
		}
		if _, err := unix.Getpeername(fd); err != nil {
			continue
		}
		accepted++
		for option, want := range map[[2]int]int{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE}:   1,
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}: int(transport.KeepAliveInterval.Seconds()),
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT}:   transport.KeepAliveCount,
		} {
			if got, err := unix.GetsockoptInt(fd, option[0], option[1]); err != nil || got != want {
				t.Errorf("option %v is %d (%v), want %d", option, got, err, want)
			}
		}
	}
	if accepted == 0 {
		t.Error("no connection was found")
	}
}

// ZeroMQ has one thread that puts an end to sockets, and it must not be kept from that.
func TestACloseThatIsInterruptedHoldsUpNoOther(t *testing.T) {
	endpoint := freeEndpoint(t)
	narrow(t, endpoint) // never read
	c, err := Network{}.Dial(endpoint, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	fill(t, c)
	interrupt := time.AfterFunc(50*time.Millisecond, c.Interrupt)
	defer interrupt.Stop()
	const linger = 4 * time.Second
	start := time.Now()
	if err := c.Close(linger); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > linger/2 {
		t.Fatalf("Close took %v though it was interrupted", took)
	}
	time.Sleep(time.Until(start.Add(linger + 200*time.Millisecond))) // its socket ends meanwhile
	another, err := Network{}.Dial(endpoint, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	start = time.Now()
	if err := another.Close(0); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > limit/4 {
		t.Errorf("Close took %v after another was interrupted", took)
	}
}

// Calls of C cost more than most of what Go does for a frame.
func TestAFrameTakesOneCallOfCAtEachEnd(t *testing.T) {
	endpoint := freeEndpoint(t)
	l, c := listen(t, endpoint), dial(t, endpoint)
	head, tail := make([]byte, 4000), make([]byte, 4000)
	send(t, c, head, nil)
	receive := func() int64 {
		before := runtime.NumCgoCall()
		if _, _, err := l.Recv(time.Now().Add(limit)); err != nil {
			t.Fatal(err)
		}
		return runtime.NumCgoCall() - before
	}
	receive()
	const frames = transport.SendFrames / 2
	best := int64(math.MaxInt64)
	for range 100 {
		before := runtime.NumCgoCall()
		for i := range frames {
			if ok, err := c.TrySend(head, tail[:len(tail)*(i%2)]); !ok || err != nil {
				t.Fatalf("a frame was not taken: %v", err)
			}
		}
		if calls := runtime.NumCgoCall() - before; calls != frames {
			t.Fatalf("%d calls to send %d frames", calls, frames)
		}
		// Where a frame is not there yet, waiting for it takes some.
		for range frames {
			best = min(best, receive())
		}
	}
	if best != 1 {
		t.Errorf("receiving a frame that was there took %d calls", best)
	}
}

// Go's own signals interrupt calls of C, in which ZeroMQ then gives up.
func TestASignalInTheMidstOfAMessageIsNoError(t *testing.T) {
	endpoint := freeEndpoint(t)
	l := listen(t, endpoint)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		s, err := newSocket(zmq4.PUSH, func(s *zmq4.Socket) error { return s.Connect(endpoint) })
		if err != nil {
			t.Error(err)
			return
		}
		defer closeAndWait(s, 0, nil)
		parts := make([]any, 200)
		for i := range parts {
			parts[i] = []byte{1}
		}
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := s.SendMessageDontwait(parts...); err != nil {
					time.Sleep(time.Millisecond) // its queue is full
				}
			}
		}
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread := unix.Gettid()
	signals := make(chan struct{})
	go func() {
		defer close(signals)
		for {
			select {
			case <-stop:
				return
			default:
				unix.Tgkill(os.Getpid(), thread, syscall.SIGURG)
			}
		}
	}()
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		if _, _, err := l.Recv(time.Now().Add(limit)); !errors.Is(err, transport.ErrMalformed) {
			t.Errorf("a message of 200 parts: %v", err)
			break
		}
	}
	close(stop)
	<-ended
	<-signals
}

func BenchmarkOneWay(b *testing.B) {
	endpoint := freeEndpoint(b)
	l, c := listen(b, endpoint), dial(b, endpoint)
	frame := make([]byte, 64<<10)
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	go func() {
		for range b.N {
			send(b, c, frame, nil)
		}
	}()
	for range b.N {
		if _, _, err := l.Recv(time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
}
