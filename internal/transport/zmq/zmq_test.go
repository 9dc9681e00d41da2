package zmq

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	zmq4 "github.com/pebbe/zmq4"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
	"golang.org/x/sys/unix"
)

const limit = 10 * time.Second

func freeEndpoint(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "tcp://" + l.Addr().String()
}

func ipcEndpoint(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "zmq")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return "ipc://" + filepath.Join(dir, "s")
}

func listen(t testing.TB, endpoint string) transport.Listener {
	t.Helper()
	l, err := Network{}.Listen(endpoint, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("closing the listener: %v", err)
		}
	})
	return l
}

func dial(t testing.TB, endpoint string) transport.Conn {
	t.Helper()
	c, err := Network{}.Dial(endpoint, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(limit); err != nil {
			t.Errorf("closing the connection: %v", err)
		}
	})
	return c
}

// send sends a frame, waiting as long as it takes.
func send(t testing.TB, c transport.Conn, head, tail []byte) {
	t.Helper()
	for {
		ok, err := c.TrySend(head, tail)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			return
		}
		if err := c.Wait(time.Now().Add(limit)); err != nil {
			t.Fatalf("waiting to send: %v", err)
		}
	}
}

func TestFramesPassWholeAndInOrder(t *testing.T) {
	for name, endpoint := range map[string]string{"tcp": freeEndpoint(t), "ipc": ipcEndpoint(t)} {
		t.Run(name, func(t *testing.T) {
			l, c := listen(t, endpoint), dial(t, endpoint)
			const count = 5000
			go func() {
				for i := range count {
					head := fmt.Appendf(nil, "head %d", i)
					if i%2 == 0 {
						send(t, c, head, nil)
					} else {
						send(t, c, head, bytes.Repeat([]byte{byte(i)}, i))
					}
				}
			}()
			for i := range count {
				head, tail, err := l.Recv(time.Now().Add(limit))
				if err != nil {
					t.Fatal(err)
				}
				want := fmt.Appendf(nil, "head %d", i)
				if i%2 == 1 {
					want = append(want, bytes.Repeat([]byte{byte(i)}, i)...)
				}
				if got := append(head, tail...); !bytes.Equal(got, want) {
					t.Fatalf("frame %d arrives as %.20q and has %d bytes, want %.20q and %d", i, got, len(got), want, len(want))
				}
			}
		})
	}
}

func TestNotWritableWhileThereIsNoPeer(t *testing.T) {
	endpoint := freeEndpoint(t)
	c := dial(t, endpoint)
	if ok, err := c.TrySend([]byte("x"), nil); ok || err != nil {
		t.Errorf("TrySend without a peer: %v, %v", ok, err)
	}
	if err := c.Wait(time.Now().Add(20 * time.Millisecond)); !errors.Is(err, transport.ErrTimeout) {
		t.Errorf("Wait without a peer: %v", err)
	}
	l := listen(t, endpoint)
	if err := c.Wait(time.Now().Add(limit)); err != nil {
		t.Errorf("Wait with a peer: %v", err)
	}
	send(t, c, []byte("x"), nil)
	if head, _, err := l.Recv(time.Now().Add(limit)); err != nil || string(head) != "x" {
		t.Errorf("got %q, %v", head, err)
	}
}

func TestInterruptEndsOneWait(t *testing.T) {
	endpoint := freeEndpoint(t)
	l, c := listen(t, endpoint), dial(t, freeEndpoint(t))
	waits := map[string]struct {
		wait      func(time.Time) error
		interrupt func()
	}{
		"Recv": {func(d time.Time) error { _, _, err := l.Recv(d); return err }, l.Interrupt},
		"Wait": {c.Wait, c.Interrupt},
	}
	for name, w := range waits {
		t.Run(name, func(t *testing.T) {
			for _, deadline := range []time.Time{{}, time.Now().Add(limit)} {
				ended := make(chan error, 1)
				go func() { ended <- w.wait(deadline) }()
				time.Sleep(5 * time.Millisecond) // most times it waits by then; if not, that is a case as well
				w.interrupt()
				select {
				case err := <-ended:
					if !errors.Is(err, transport.ErrInterrupted) {
						t.Errorf("the interrupted wait: %v", err)
					}
				case <-time.After(limit):
					t.Fatal("the wait does not end")
				}
				w.interrupt() // before the wait
				if err := w.wait(deadline); !errors.Is(err, transport.ErrInterrupted) {
					t.Errorf("the wait after an interrupt: %v", err)
				}
				if err := w.wait(time.Now().Add(5 * time.Millisecond)); !errors.Is(err, transport.ErrTimeout) {
					t.Errorf("the wait after that: %v", err)
				}
			}
		})
	}
}

func TestAPortThatIsTakenIsAnError(t *testing.T) {
	for name, endpoint := range map[string]string{"tcp": freeEndpoint(t), "ipc": ipcEndpoint(t)} {
		t.Run(name, func(t *testing.T) {
			l := listen(t, endpoint)
			if _, err := (Network{}).Listen(endpoint, nil, nil); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("a second Listen: %v", err)
			}
			send(t, dial(t, endpoint), []byte("x"), nil)
			if _, _, err := l.Recv(time.Now().Add(limit)); err != nil {
				t.Errorf("the first listener: %v", err)
			}
		})
	}
	t.Run("a foreign address", func(t *testing.T) {
		_, err := Network{}.Listen("tcp://192.0.2.1:4000", nil, nil) // set aside for documentation
		if !errors.Is(err, syscall.EADDRNOTAVAIL) && !errors.Is(err, syscall.ENODEV) || !strings.Contains(err.Error(), `"bind"`) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a file that is no socket", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "data")
		if err := os.WriteFile(path, []byte("keep me"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := (Network{}).Listen("ipc://"+path, nil, nil); !errors.Is(err, fs.ErrExist) {
			t.Errorf("got %v", err)
		}
		if b, err := os.ReadFile(path); string(b) != "keep me" {
			t.Errorf("the file holds %q now, %v", b, err)
		}
	})
}

func TestAStaleSocketFileIsInNobodysWay(t *testing.T) {
	endpoint := ipcEndpoint(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: strings.TrimPrefix(endpoint, "ipc://")})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	listen(t, endpoint)
}

func TestAHostNameIsListenedOn(t *testing.T) {
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(freeEndpoint(t), "tcp://"))
	l, c := listen(t, "tcp://localhost:"+port), dial(t, "tcp://localhost:"+port)
	send(t, c, []byte("x"), nil)
	if _, _, err := l.Recv(time.Now().Add(limit)); err != nil {
		t.Error(err)
	}
}

func TestIPv6(t *testing.T) {
	probe, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6 loopback:", err)
	}
	endpoint := "tcp://" + probe.Addr().String()
	probe.Close()
	l, c := listen(t, endpoint), dial(t, endpoint)
	send(t, c, []byte("x"), nil)
	if _, _, err := l.Recv(time.Now().Add(limit)); err != nil {
		t.Error(err)
	}
}

func TestWhatNoSenderMakesIsRefused(t *testing.T) {
	endpoint := freeEndpoint(t)
	l := listen(t, endpoint)
	s, err := newSocket(zmq4.PUSH, func(s *zmq4.Socket) error { return s.Connect(endpoint) })
	if err != nil {
		t.Fatal(err)
	}
	defer closeAndWait(s, 0, nil)
	for _, parts := range [][]string{{"a", "b", "c"}, {"a", "b", "c", "d"}} {
		for i, p := range parts {
			flags := zmq4.Flag(0)
			if i < len(parts)-1 {
				flags = zmq4.SNDMORE
			}
			if _, err := s.SendBytes([]byte(p), flags); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := s.SendBytes([]byte("good"), 0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, _, err := l.Recv(time.Now().Add(limit)); !errors.Is(err, transport.ErrMalformed) {
			t.Errorf("a message of several parts: %v", err)
		}
	}
	head, tail, err := l.Recv(time.Now().Add(limit))
	if err != nil || string(head) != "good" || tail != nil {
		t.Errorf("got %q, %q, %v", head, tail, err)
	}
	// A frame that is too large breaks its connection, and no other.
	if _, err := s.SendBytes(make([]byte, wire.MaxFrame+1), 0); err != nil {
		t.Fatal(err)
	}
	send(t, dial(t, endpoint), []byte("other"), nil)
	if head, _, err := l.Recv(time.Now().Add(limit)); err != nil || string(head) != "other" {
		t.Errorf("got %d bytes, %v", len(head), err)
	}
}

// fill sends frames until the queues of both ends and of the kernel are full, and
// returns how many that took.
func fill(t testing.TB, c transport.Conn) (sent int) {
	t.Helper()
	for {
		ok, err := c.TrySend(make([]byte, 64<<10), nil)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			sent++
			continue
		}
		switch err := c.Wait(time.Now().Add(100 * time.Millisecond)); {
		case errors.Is(err, transport.ErrTimeout):
			return sent
		case err != nil:
			t.Fatal(err)
		}
	}
}

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
	if sent < sendFrames {
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
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}: keepAliveInterval,
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT}:   keepAliveCount,
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
	start := time.Now()
	if err := c.Close(300 * time.Millisecond); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 250*time.Millisecond {
		t.Fatalf("Close took %v though it was interrupted", took)
	}
	time.Sleep(500 * time.Millisecond) // its socket ends meanwhile
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
	const frames = sendFrames / 2
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

func TestThePortIsFreeAfterClose(t *testing.T) {
	endpoint := freeEndpoint(t)
	for i := range 100 {
		l, err := Network{}.Listen(endpoint, nil, nil)
		if err != nil {
			t.Fatalf("listening for the %d. time: %v", i+1, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
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
