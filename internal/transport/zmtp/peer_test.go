package zmtp

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

// A peer is one end of a connection that a test plays byte by byte.
type peer struct {
	net.Conn
	t testing.TB
}

// dialRaw connects to an endpoint and says nothing yet.
func dialRaw(t testing.TB, endpoint string) peer {
	t.Helper()
	network, address := split(endpoint)
	c, err := net.DialTimeout(network, address, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return peer{c, t}
}

// push is a PUSH socket without keys that is connected to an endpoint.
func push(t testing.TB, endpoint string) peer {
	t.Helper()
	p := dialRaw(t, endpoint)
	p.shake(pushing, 1)
	return p
}

// A pull is a PULL socket without keys, for a Conn to connect to.
type pull struct {
	net.Listener
	t testing.TB
}

func pullAt(t testing.TB, endpoint string) pull {
	t.Helper()
	network, address := split(endpoint)
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return pull{l, t}
}

// accept takes a connection, through the handshake of a version 3 with that minor.
func (l pull) accept(minor byte) peer {
	l.t.Helper()
	if d, ok := l.Listener.(interface{ SetDeadline(time.Time) error }); ok {
		d.SetDeadline(time.Now().Add(limit))
	}
	c, err := l.Accept()
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	p := peer{c, l.t}
	p.shake(pulling, minor)
	return p
}

// shake goes through the handshake without keys.
func (p peer) shake(e end, minor byte) {
	p.t.Helper()
	p.SetDeadline(time.Now().Add(limit))
	g := greeting{mechanism: mechanismNull}.put()
	g[11] = minor
	ready := command(commandReady, e.properties())
	p.write(string(g) + frameOf(flagCommand, string(ready)))
	var b [greetingSize + 2]byte
	if _, err := io.ReadFull(p, b[:]); err != nil {
		p.t.Fatalf("the handshake: %v", err)
	}
	if _, err := io.CopyN(io.Discard, p, int64(b[greetingSize+1])); err != nil {
		p.t.Fatalf("the handshake: %v", err)
	}
	p.SetDeadline(time.Time{})
}

func (p peer) write(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p, text); err != nil {
		p.t.Fatal(err)
	}
}

// ends waits until the other end has ended the connection, and returns how long that took.
func (p peer) ends(most time.Duration) time.Duration {
	p.t.Helper()
	began := time.Now()
	p.SetReadDeadline(began.Add(most))
	if _, err := io.Copy(io.Discard, p); isTimeout(err) {
		p.t.Fatalf("the connection stands after %v", most)
	}
	return time.Since(began)
}

// receive reads a listener until the test is over, and returns a channel of what comes.
func receive(t testing.TB, l transport.Listener) <-chan string {
	t.Helper()
	c, stop, done := make(chan string, 1<<16), make(chan struct{}), make(chan struct{})
	go func() { // It ends with the test, which waits for it.
		defer close(done)
		for {
			head, tail, err := l.Recv(time.Time{})
			select {
			case <-stop:
				return
			default:
			}
			if err == nil {
				c <- string(head) + string(tail)
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		l.Interrupt()
		<-done
	})
	return c
}

// comes waits for a message.
func comes(t testing.TB, c <-chan string, want string) {
	t.Helper()
	late := time.After(limit)
	for {
		select {
		case got := <-c:
			if got == want {
				return
			}
		case <-late:
			t.Fatalf("%.40q does not come within %v", want, limit)
		}
	}
}
