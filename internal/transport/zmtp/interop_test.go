//go:build cgo && !nozmq

package zmtp

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/zmq"
	"github.com/abhishekg16/cluster/internal/transport/zmtp/curve"
	"github.com/abhishekg16/cluster/internal/wire"
)

// The other end of a connection may be libzmq, with keys and without.
func TestFramesPassToAndFromLibzmq(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to transport.Network
	}{
		{"to libzmq", Network{}, zmq.Network{}},
		{"from libzmq", zmq.Network{}, Network{}},
		{"among our own", Network{}, Network{}},
	} {
		for scheme, endpoint := range map[string]func(testing.TB) string{"tcp": freeEndpoint, "ipc": ipcEndpoint} {
			for _, keyed := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s over %s, keys %v", c.name, scheme, keyed), func(t *testing.T) {
					framesPass(t, c.from, c.to, endpoint(t), keyed)
				})
			}
		}
	}
}

func framesPass(t *testing.T, from, to transport.Network, endpoint string, keyed bool) {
	var server, client *transport.Security
	key, want := "", ""
	if keyed {
		server, client = securityOf(t, everybody), securityOf(t, everybody)
		key, want = server.Public, client.Public
	}
	l, err := to.Listen(endpoint, server, func(n int, cause error) { t.Errorf("%d connections failed: %v", n, cause) })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := from.Dial(endpoint, client, key)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(0)
	sizes := []int{0, 1, 63, 64, 200, 222, 223, 255, 256, 1000, 4000, 4096, 8000, 64 << 10, 130 << 10, wire.MaxFrame - curve.HeadSize}
	sent := make(chan error, 1)
	go func() { sent <- sendSizes(c, sizes) }()
	for i, size := range sizes {
		head, tail, err := l.Recv(time.Now().Add(limit))
		if err != nil {
			t.Fatalf("frame of %d bytes: %v", size, err)
		}
		if got := append(head, tail...); !bytes.Equal(got, pattern(i, size)) {
			t.Errorf("the frame of %d bytes has %d, or others", size, len(got))
		}
		if got := l.Key(); got != want {
			t.Errorf("the sender's key is %q, want %q", got, want)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// sendSizes sends a frame of each size, in one slice or two.
func sendSizes(c transport.Conn, sizes []int) error {
	for i, size := range sizes {
		b := pattern(i, size)
		at := size / 3 * (i % 2)
		for {
			ok, err := c.TrySend(b[:at], b[at:])
			if err != nil {
				return err
			}
			if ok {
				break
			}
			if err := c.Wait(time.Now().Add(limit)); err != nil {
				return err
			}
		}
	}
	return nil
}

// pattern is the content of a frame.
func pattern(i, size int) []byte {
	b := make([]byte, size)
	for j := range b {
		b[j] = byte(i + j*j/7)
	}
	return b
}

func TestWhoIsNotLetInByEitherTransportTriesAgain(t *testing.T) {
	for name, pair := range map[string][2]transport.Network{
		"to libzmq": {Network{}, zmq.Network{}}, "from libzmq": {zmq.Network{}, Network{}}, "among our own": {Network{}, Network{}},
	} {
		t.Run(name, func(t *testing.T) {
			asked, open := make(chan struct{}, 1000), make(chan struct{})
			server := securityOf(t, func(string) bool {
				asked <- struct{}{}
				select {
				case <-open:
					return true
				default:
					return false
				}
			})
			client, endpoint := securityOf(t, everybody), freeEndpoint(t)
			l, err := pair[1].Listen(endpoint, server, func(n int, cause error) { t.Errorf("%d connections failed: %v", n, cause) })
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			c, err := pair[0].Dial(endpoint, client, server.Public)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close(0)
			select {
			case <-asked:
			case <-time.After(limit):
				t.Fatal("nobody asks whether it is let in")
			}
			if ok, err := c.TrySend([]byte("x"), nil); ok || err != nil {
				t.Errorf("who is not let in sends: %v, %v", ok, err)
			}
			close(open)
			send(t, c, []byte("y"), nil)
			if head, _, err := l.Recv(time.Now().Add(limit)); err != nil || string(head) != "y" || l.Key() != client.Public {
				t.Errorf("received %q of %q, %v", head, l.Key(), err)
			}
			if err := c.Wait(time.Time{}); errors.Is(err, transport.ErrTimeout) {
				t.Error(err)
			}
		})
	}
}
