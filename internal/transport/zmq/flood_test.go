//go:build cgo && !nozmq

package zmq

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	zmq4 "github.com/pebbe/zmq4"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/flood"
	"github.com/abhishekg16/cluster/internal/wire"
)

// message is a message of one part as ZMTP has it.
func message(body []byte) []byte { return append([]byte{0, byte(len(body))}, body...) }

// soundFrame is a frame without records.
func soundFrame() []byte {
	b := make([]byte, wire.HeaderSize)
	h := wire.Header{Incarnation: 1, Start: wire.Position{Seq: 1}}
	h.Put(b)
	return b
}

// pour writes until the connection is closed. After so many bytes it waits until it is to go on.
func pour(c net.Conn, message []byte, first int, written chan<- struct{}, goOn <-chan struct{}) {
	chunk := bytes.Repeat(message, 64<<10/len(message))
	for done := 0; ; done += len(chunk) {
		if done-len(chunk) < first && done >= first {
			close(written)
			<-goOn
		}
		if _, err := c.Write(chunk); err != nil {
			return
		}
	}
}

// readByZeroMQ waits until ZeroMQ has all that was written to a TCP connection, as Linux tells.
func readByZeroMQ(t testing.TB, c net.Conn) {
	t.Helper()
	port := func(a net.Addr) string { return fmt.Sprintf(":%04X", a.(*net.TCPAddr).Port) }
	for end := time.Now().Add(limit); ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile("/proc/thread-self/net/tcp")
		if err != nil {
			t.Skipf("what a connection holds cannot be seen here: %v", err)
		}
		held := false
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > 4 && strings.Contains(f[1]+f[2], port(c.LocalAddr())) && strings.Contains(f[1]+f[2], port(c.RemoteAddr())) && f[4] != "00000000:00000000" {
				held = true
			}
		}
		if !held {
			return
		}
		if time.Now().After(end) {
			t.Fatal("ZeroMQ does not read what was written")
		}
	}
}

func TestWhoFloodsAListenerIsCutOff(t *testing.T) {
	parts := append([]byte{1, 1, 'x'}, message([]byte("x"))...)
	long := bytes.Repeat([]byte("x"), wire.HeaderSize+1)
	for _, c := range []struct {
		name    string
		message []byte
		taken   bool // by the node, which refuses everything else
		ipc     bool
		first   int // bytes to be written before anything is received; 0: 1 MiB
	}{
		{name: "messages of one byte", message: message([]byte("x"))},
		{name: "messages of one byte over ipc", message: message([]byte("x")), ipc: true},
		{name: "empty messages", message: message(nil)},
		{name: "messages of two parts", message: parts},
		{name: "messages of three parts", message: append([]byte{1, 1, 'x'}, parts...)},
		{name: "frames of three parts", message: slices.Concat([]byte{1, wire.HeaderSize + 1}, long, []byte{1, 1, 'x'}, message([]byte("x")))},
		{name: "frames that the node refuses", message: message(long)},
		{name: "frames without records", message: message(soundFrame()), taken: true, first: 10 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			endpoint := freeEndpoint(t)
			if c.ipc {
				endpoint = ipcEndpoint(t)
			}
			l := listen(t, endpoint)
			good := dial(t, endpoint)
			passes(t, good, l, "the first of a good peer, and no flood "+strings.Repeat(".", wire.HeaderSize))
			bad := stranger(t, endpoint)
			ended := make(chan struct{})
			go func() { // It ends with the connection.
				defer close(ended)
				io.Copy(io.Discard, bad)
			}()
			// A listener that keeps up with it has no reason to end it.
			written, goOn := make(chan struct{}), make(chan struct{})
			go pour(bad, c.message, max(c.first, 1<<20), written, goOn) // likewise
			select {
			case <-written:
			case <-time.After(limit):
				t.Fatal("the flood does not get under way")
			}
			if !c.ipc { // over ipc the kernel holds little
				readByZeroMQ(t, bad)
			}
			close(goOn)
			for end := time.Now().Add(limit); ; {
				_, _, err := l.Recv(time.Now().Add(10 * time.Millisecond))
				var m *transport.Malformed
				switch {
				case errors.Is(err, transport.ErrTimeout) && time.Now().Before(end):
				case errors.As(err, &m) && m.Count > 0:
				case errors.Is(err, transport.ErrMalformed):
				case err != nil:
					t.Fatalf("the flood goes on: %v", err)
				case !c.taken:
					transport.Refused(l)
				}
				select {
				case <-ended:
				default:
					if time.Now().After(end) {
						t.Fatal("the flood goes on")
					}
					continue
				}
				break
			}
			// Nobody else has noticed.
			last := []byte("the last of a good peer, which has the same connection " + strings.Repeat(".", wire.HeaderSize))
			if ok, err := good.TrySend(last, nil); !ok || err != nil {
				t.Fatalf("a good peer's connection was ended, too: %v, %v", ok, err)
			}
			for end := time.Now().Add(limit); ; {
				head, _, err := l.Recv(end)
				if err != nil && !errors.Is(err, transport.ErrMalformed) {
					t.Fatalf("a good peer's frame did not come: %v", err)
				}
				if bytes.Equal(head, last) {
					break
				}
			}
		})
	}
}

func TestEachMessageThatNoPeerSendsIsHandedOnOrCounted(t *testing.T) {
	l := listen(t, freeEndpoint(t))
	endpoint, err := l.(*Listener).soc.GetLastEndpoint()
	if err != nil {
		t.Fatal(err)
	}
	c := stranger(t, endpoint)
	const count = flood.HandedOn + 500
	if _, err := c.Write(bytes.Repeat(message([]byte("x")), count)); err != nil {
		t.Fatal(err)
	}
	// All have come before the first is taken.
	waiting := func() bool {
		h := l.(*Listener).shakes
		h.mu.Lock()
		defer h.mu.Unlock()
		h.read(time.Now())
		return h.passed > 0
	}
	for end := time.Now().Add(limit); !waiting(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection did not come about")
		}
	}
	whole, told := 0, 0
	for whole+told < count {
		_, _, err := l.Recv(time.Now().Add(limit))
		var m *transport.Malformed
		switch {
		case err == nil:
			whole++
			transport.Refused(l)
		case errors.As(err, &m):
			told += m.Count
		default:
			t.Fatalf("%d were handed on and %d counted, of %d: %v", whole, told, count, err)
		}
	}
	if whole+told != count {
		t.Errorf("%d were handed on and %d counted, want %d together", whole, told, count)
	}
}

func TestAConnectionIsCutOffOnlyIfItIsSurelyTheOneTheMessageCameOn(t *testing.T) {
	l := listen(t, freeEndpoint(t)).(*Listener)
	h := l.shakes
	const fd = 1 << 20 // nobody's
	if !h.stillOpen(fd) {
		t.Error("no connection of that descriptor has ended, and it counts as another's")
	}
	h.mu.Lock()
	h.note(zmq4.EVENT_DISCONNECTED, fd, time.Now())
	h.mu.Unlock()
	if h.stillOpen(fd) {
		t.Error("a connection of that descriptor has ended, and what is left of it counts as another's")
	}
	l.Recv(time.Now()) // there is nothing left of it
	if !h.stillOpen(fd) {
		t.Error("nothing was left of the one that has ended, and the next counts as that")
	}
	if h.stillOpen(fd+1) != true {
		t.Error("another descriptor counts as ended")
	}
}
