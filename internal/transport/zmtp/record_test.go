//go:build cgo && !nozmq

package zmtp

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	libzmq "github.com/pebbe/zmq4"

	keys "github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/zmq"
)

var record = flag.Bool("record", false, "write what is said on connections with the libzmq that is installed to "+recordings)

// A recorder is a connection of which both ways are kept.
type recorder struct {
	net.Conn
	ours, theirs bytes.Buffer
}

func (c *recorder) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.theirs.Write(b[:n])
	return n, err
}

func (c *recorder) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.ours.Write(b[:n])
	return n, err
}

// With the flag record it is what the recordings are made of.
func TestTheLibzmqThatIsInstalledConnectsAsThatOfTheRecordings(t *testing.T) {
	major, minor, patch := libzmq.Version()
	var all []recording
	for _, listens := range []bool{true, false} {
		for _, keyed := range []bool{false, true} {
			r := recording{Libzmq: fmt.Sprintf("%d.%d.%d", major, minor, patch), Listens: listens, Keyed: keyed}
			t.Run(r.name(), func(t *testing.T) { all = append(all, r.made(t)) })
		}
	}
	if !*record || t.Failed() {
		return
	}
	text, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(recordings), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(recordings, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// made makes the connection, and returns the recording with what was said.
func (r recording) made(t *testing.T) recording {
	t.Helper()
	endpoint := freeEndpoint(t)
	var c *recorder
	if r.Listens {
		c = r.toListener(t, endpoint)
	} else {
		c = r.fromDialer(t, endpoint)
	}
	r.Ours, r.Theirs = hex.EncodeToString(c.ours.Bytes()), hex.EncodeToString(c.theirs.Bytes())
	return r
}

// security is that of an end in the recordings, and the other's public key.
func (r recording) security(t *testing.T, own, other byte) (s *transport.Security, peer string) {
	t.Helper()
	if !r.Keyed {
		return nil, ""
	}
	public := func(end byte) string { return keys.Encode(recordedKeys(t, end).Public()) }
	return &transport.Security{Public: public(own), Secret: keys.Encode([32]byte{0: own, 31: 64}), Admit: everybody}, public(other)
}

func (r recording) toListener(t *testing.T, endpoint string) *recorder {
	t.Helper()
	s, _ := r.security(t, 1, 2)
	l, err := zmq.Network{}.Listen(endpoint, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := &recorder{Conn: dialRaw(t, endpoint).Conn}
	r.play(t, c)
	head, tail, err := l.Recv(time.Now().Add(limit))
	if got := string(head) + string(tail); err != nil || got != recordedText {
		t.Fatalf("libzmq receives %q, %v", got, err)
	}
	return c
}

func (r recording) fromDialer(t *testing.T, endpoint string) *recorder {
	t.Helper()
	network, address := split(endpoint)
	nl, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	s, peer := r.security(t, 2, 1)
	conn, err := zmq.Network{}.Dial(endpoint, s, peer)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(0)
	nl.(*net.TCPListener).SetDeadline(time.Now().Add(limit))
	nc, err := nl.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sent := make(chan error, 1)
	go func() { // It ends once the connection stands, or at the deadline.
		for {
			if ok, err := conn.TrySend([]byte(recordedText), nil); ok || err != nil {
				sent <- err
				return
			}
			if err := conn.Wait(time.Now().Add(limit)); err != nil {
				sent <- err
				return
			}
		}
	}()
	c := &recorder{Conn: nc}
	if got := r.play(t, c); got != recordedText {
		t.Errorf("libzmq sends %q", got)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	return c
}
