package zmtp

import (
	"io"
	"net"
	"testing"
	"time"

	keys "github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/zmtp/curve"
)

// isWiped reports whether a session has lost its keys. Nobody uses it meanwhile.
func isWiped(s *curve.Session) bool { return len(s.Seal(nil, 0, []byte("x"))) == 0 }

// clientOf is the mechanism of a client with keys of its own.
func clientOf(t testing.TB, self, server *transport.Security) curveClient {
	t.Helper()
	own, err := decodeKeys(self)
	if err != nil {
		t.Fatal(err)
	}
	key, err := keys.Decode(server.Public)
	if err != nil {
		t.Fatal(err)
	}
	return newCurveClient(own, key)
}

// pushSealed is a PUSH socket that is connected to an endpoint with keys.
func pushSealed(t testing.TB, endpoint string, self, server *transport.Security) (peer, *curve.Session) {
	t.Helper()
	p, m := dialRaw(t, endpoint), clientOf(t, self, server)
	if _, _, err := shake(p.Conn, m, func() {}); err != nil {
		t.Fatal(err)
	}
	return p, m.Session()
}

func TestTheKeysOfAConnectionAreWipedWhenItEnds(t *testing.T) {
	server, self := securityOf(t, everybody), securityOf(t, everybody)
	for name, end := range map[string]func(t *testing.T, l *Listener, c transport.Conn){
		"for the sender goes": func(t *testing.T, l *Listener, c transport.Conn) {
			c.Close(0)
			until(t, "the listener forgets it", func() bool {
				l.Recv(time.Now().Add(time.Millisecond))
				l.in.mu.Lock()
				defer l.in.mu.Unlock()
				return len(l.in.streams) == 0
			})
			l.Close()
		},
		"for the listener closes": func(t *testing.T, l *Listener, c transport.Conn) {
			l.Close()
			c.Close(0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			endpoint := freeEndpoint(t)
			nl, err := Network{}.Listen(endpoint, server, nil)
			if err != nil {
				t.Fatal(err)
			}
			l := nl.(*Listener)
			nc, err := Network{}.Dial(endpoint, self, server.Public)
			if err != nil {
				t.Fatal(err)
			}
			c := nc.(*Conn)
			send(t, c, []byte("x"), nil)
			if _, _, err := l.Recv(time.Now().Add(limit)); err != nil {
				t.Fatal(err)
			}
			received := l.from.seal
			c.mu.Lock()
			sent := c.session.seal
			c.mu.Unlock()
			end(t, l, c)
			if !isWiped(received) {
				t.Error("the listener keeps its keys")
			}
			if !isWiped(sent) {
				t.Error("who has dialed keeps its keys")
			}
		})
	}
}

func TestTheKeysOfAConnectionAreWipedThatEndsAsItIsTakenOver(t *testing.T) {
	in, err := newReceiver()
	if err != nil {
		t.Fatal(err)
	}
	l := newListener(in, nil)
	in.close(l) // it takes nothing any more
	_, seal := sessions(t)
	endpoint := freeEndpoint(t)
	pullAt(t, endpoint)
	if err := l.attach(newStream("", seal, ""), dialRaw(t, endpoint).Conn, nil); err == nil {
		t.Error("it is taken over")
	}
	if !isWiped(seal) {
		t.Error("its keys are kept")
	}
}

func TestTheKeysOfAHandshakeThatFailsInTheEndAreWiped(t *testing.T) {
	server := securityOf(t, everybody)
	options, err := curveOptions(server)
	if err != nil {
		t.Fatal(err)
	}
	h := newHandshakes()
	conn, other := net.Pipe()
	defer conn.Close()
	c := h.enter(fromHost{conn, "host"})
	m := curveServer{curve.NewServer(options), h, c}
	played := make(chan error, 1)
	go func() { // It ends with the handshake, or at the deadline.
		defer other.Close() // before READY is read
		other.SetDeadline(time.Now().Add(limit))
		played <- playUpToInitiate(other, clientOf(t, securityOf(t, everybody), server))
	}()
	_, _, err = shake(c.Conn, m, func() {})
	conn.Close()
	if err := <-played; err != nil {
		t.Fatal(err)
	}
	if s := m.Session(); err == nil || s == nil || !isWiped(s) {
		t.Errorf("the handshake ends with %v, and keys are kept", err)
	}
}

// playUpToInitiate is a client's part of a handshake, but for reading READY.
func playUpToInitiate(c net.Conn, m curveClient) error {
	if _, err := readGreeting(c); err != nil {
		return err
	}
	if _, err := c.Write(m.greeting().put()); err != nil {
		return err
	}
	hello, err := m.start()
	if err != nil {
		return err
	}
	if err := sendCommand(c, hello); err != nil {
		return err
	}
	header := make([]byte, headerShort)
	if _, err := io.ReadFull(c, header); err != nil {
		return err
	}
	welcome := make([]byte, header[1])
	if _, err := io.ReadFull(c, welcome); err != nil {
		return err
	}
	initiate, _, err := m.next(welcome)
	if err != nil {
		return err
	}
	return sendCommand(c, initiate)
}
