package transporttest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
)

func (k kit) TestFramesPassWholeAndInOrder(t *testing.T) {
	for name, endpoint := range map[string]string{"tcp": FreeEndpoint(t), "ipc": IPCEndpoint(t)} {
		t.Run(name, func(t *testing.T) {
			l, c := k.listen(t, endpoint), k.dial(t, endpoint)
			const count = 5000
			go func() {
				for i := range count {
					head := fmt.Appendf(nil, "head %-64d", i)
					if i%2 == 0 {
						Send(t, c, head, nil)
					} else {
						Send(t, c, head, bytes.Repeat([]byte{byte(i)}, i))
					}
				}
			}()
			for i := range count {
				head, tail, err := l.Recv(time.Now().Add(Limit))
				if err != nil {
					t.Fatal(err)
				}
				want := fmt.Appendf(nil, "head %-64d", i)
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

func (k kit) TestADeadlineThatHasPassedLetsRecvReturnWhatIsThere(t *testing.T) {
	endpoint := FreeEndpoint(t)
	l, c := k.listen(t, endpoint), k.dial(t, endpoint)
	past := time.Now().Add(-time.Second)
	for range 3 {
		if head, _, err := l.Recv(past); !errors.Is(err, transport.ErrTimeout) {
			t.Errorf("nothing is there, and Recv returns %q, %v", head, err)
		}
		const count = 10
		for range count {
			Send(t, c, []byte("x"), nil)
		}
		deadline := time.Now().Add(Limit)
		for got := 0; got < count; {
			switch _, _, err := l.Recv(past); {
			case err == nil:
				got++
			case !errors.Is(err, transport.ErrTimeout) || time.Now().After(deadline):
				t.Fatalf("after %d frames: %v", got, err)
			default:
				runtime.Gosched() // it is on its way
			}
		}
		Send(t, c, []byte("x"), nil)
		if _, _, err := l.Recv(deadline); err != nil {
			t.Errorf("with a deadline that has not passed: %v", err)
		}
	}
}

func (k kit) TestNotWritableWhileThereIsNoPeer(t *testing.T) {
	endpoint := FreeEndpoint(t)
	c := k.dial(t, endpoint)
	if ok, err := c.TrySend([]byte("x"), nil); ok || err != nil {
		t.Errorf("TrySend without a peer: %v, %v", ok, err)
	}
	if err := c.Wait(time.Now().Add(20 * time.Millisecond)); !errors.Is(err, transport.ErrTimeout) {
		t.Errorf("Wait without a peer: %v", err)
	}
	l := k.listen(t, endpoint)
	if err := c.Wait(time.Now().Add(Limit)); err != nil {
		t.Errorf("Wait with a peer: %v", err)
	}
	Send(t, c, []byte("x"), nil)
	if head, _, err := l.Recv(time.Now().Add(Limit)); err != nil || string(head) != "x" {
		t.Errorf("got %q, %v", head, err)
	}
}

func (k kit) TestInterruptEndsOneWait(t *testing.T) {
	endpoint := FreeEndpoint(t)
	l, c := k.listen(t, endpoint), k.dial(t, FreeEndpoint(t))
	waits := map[string]struct {
		wait      func(time.Time) error
		interrupt func()
	}{
		"Recv": {func(d time.Time) error { _, _, err := l.Recv(d); return err }, l.Interrupt},
		"Wait": {c.Wait, c.Interrupt},
	}
	for name, w := range waits {
		t.Run(name, func(t *testing.T) {
			for _, deadline := range []time.Time{{}, time.Now().Add(Limit)} {
				ended := make(chan error, 1)
				go func() { ended <- w.wait(deadline) }()
				time.Sleep(5 * time.Millisecond) // most times it waits by then; if not, that is a case as well
				w.interrupt()
				select {
				case err := <-ended:
					if !errors.Is(err, transport.ErrInterrupted) {
						t.Errorf("the interrupted wait: %v", err)
					}
				case <-time.After(Limit):
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

func (k kit) TestIPv6(t *testing.T) {
	probe, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6 loopback:", err)
	}
	endpoint := "tcp://" + probe.Addr().String()
	probe.Close()
	l, c := k.listen(t, endpoint), k.dial(t, endpoint)
	Send(t, c, []byte("x"), nil)
	if _, _, err := l.Recv(time.Now().Add(Limit)); err != nil {
		t.Error(err)
	}
}

func (k kit) TestThePortIsFreeAfterClose(t *testing.T) {
	endpoint := FreeEndpoint(t)
	for i := range 100 {
		l, err := k.network.Listen(endpoint, nil, nil)
		if err != nil {
			t.Fatalf("listening for the %d. time: %v", i+1, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func (k kit) TestWhatNoSenderMakesIsRefused(t *testing.T) {
	endpoint := FreeEndpoint(t)
	l, c := k.listen(t, endpoint), Stranger(t, endpoint)
	const parts = "\x01\x01a\x01\x01b\x00\x01c" + "\x01\x01a\x01\x01b\x01\x01c\x00\x01d"
	if _, err := io.WriteString(c, parts+"\x00\x04good"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, _, err := l.Recv(time.Now().Add(Limit)); !errors.Is(err, transport.ErrMalformed) {
			t.Errorf("a message of more than two parts: %v", err)
		}
	}
	if head, tail, err := l.Recv(time.Now().Add(Limit)); err != nil || string(head) != "good" || tail != nil {
		t.Errorf("got %q, %q, %v", head, tail, err)
	}
}

func (k kit) TestAFrameThatIsTooLargeEndsItsConnectionAlone(t *testing.T) {
	endpoint := FreeEndpoint(t)
	l, c := k.listen(t, endpoint), Stranger(t, endpoint)
	// The frame need not come: its size says enough.
	if _, err := c.Write(binary.BigEndian.AppendUint64([]byte{2}, wire.MaxFrame+1)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // It ends with the connection.
		defer close(ended)
		io.Copy(io.Discard, c)
	}()
	for end := time.Now().Add(Limit); ; {
		// Not every network tells of it.
		if head, _, err := l.Recv(time.Now().Add(10 * time.Millisecond)); !errors.Is(err, transport.ErrTimeout) && !errors.Is(err, transport.ErrMalformed) {
			t.Fatalf("received %d bytes, %v", len(head), err)
		}
		select {
		case <-ended:
		default:
			if time.Now().After(end) {
				t.Fatalf("the connection stands after %v", Limit)
			}
			continue
		}
		break
	}
	Send(t, k.dial(t, endpoint), []byte("other"), nil)
	head, _, err := l.Recv(time.Now().Add(Limit))
	if errors.Is(err, transport.ErrMalformed) {
		head, _, err = l.Recv(time.Now().Add(Limit))
	}
	if err != nil || string(head) != "other" {
		t.Errorf("got %q, %v", head, err)
	}
}
