//go:build cgo && !nozmq

package zmq

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	zmq4 "github.com/pebbe/zmq4"
	"golang.org/x/crypto/nacl/box"

	"github.com/abhishekg16/cluster/internal/transport"
)

// A handmade is a CURVE client (ZeroMQ RFC 26) that does what no socket of ZeroMQ can
// be made to do.
type handmade struct {
	t     testing.TB
	conn  net.Conn
	mine  [32]byte // the secret key of this connection
	their [32]byte // and the server's public one
	count uint64   // of nonces
}

// keyBytes reads a key as ZeroMQ does.
func keyBytes(text string) *[32]byte { return (*[32]byte)([]byte(zmq4.Z85decode(text))) }

// greet opens a connection and exchanges greetings.
func greet(t testing.TB, endpoint string) *handmade {
	t.Helper()
	c, err := net.DialTimeout("tcp", strings.TrimPrefix(endpoint, "tcp://"), limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(limit))
	greeting := make([]byte, 64)
	greeting[0], greeting[9], greeting[10] = 0xff, 0x7f, 3
	copy(greeting[12:], "CURVE")
	h := &handmade{t: t, conn: c}
	h.write(greeting)
	if _, err := io.ReadFull(c, greeting); err != nil {
		t.Fatalf("no greeting came: %v", err)
	}
	return h
}

func (h *handmade) write(b []byte) {
	h.t.Helper()
	if _, err := h.conn.Write(b); err != nil {
		h.t.Fatal(err)
	}
}

// frame writes a frame of ZMTP with these flags: 4 is that of a command.
func (h *handmade) frame(flags byte, body []byte) {
	h.t.Helper()
	h.write(append(binary.BigEndian.AppendUint64([]byte{flags | 2}, uint64(len(body))), body...))
}

// read reads a frame.
func (h *handmade) read() ([]byte, error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(h.conn, head); err != nil {
		return nil, err
	}
	size := uint64(head[1])
	if head[0]&2 != 0 {
		rest := make([]byte, 7)
		if _, err := io.ReadFull(h.conn, rest); err != nil {
			return nil, err
		}
		size = binary.BigEndian.Uint64(append(head[1:], rest...))
	}
	if size > 1<<16 {
		return nil, fmt.Errorf("a frame of %d bytes", size)
	}
	body := make([]byte, size)
	_, err := io.ReadFull(h.conn, body)
	return body, err
}

// nonce makes the next short nonce.
func (h *handmade) nonce(prefix string) (short []byte, whole *[24]byte) {
	h.count++
	short = binary.BigEndian.AppendUint64(nil, h.count)
	return short, (*[24]byte)(append([]byte(prefix), short...))
}

// shake shakes hands with the server that has the public key, and claims the metadata
// beside the type of its socket. It reports whether it was let in.
func shake(t testing.TB, endpoint, server string, self *transport.Security, metadata ...string) (*handmade, bool) {
	t.Helper()
	h := greet(t, endpoint)
	public, secret, err := box.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h.mine = *secret
	permanent := keyBytes(server)

	short, nonce := h.nonce("CurveZMQHELLO---")
	hello := append([]byte("\x05HELLO\x01\x00"), make([]byte, 72)...)
	hello = append(append(hello, public[:]...), short...)
	h.frame(4, box.Seal(hello, make([]byte, 64), nonce, permanent, secret))

	welcome, err := h.read()
	if err != nil || !bytes.HasPrefix(welcome, []byte("\x07WELCOME")) {
		t.Fatalf("want WELCOME, got %q, %v", welcome, err)
	}
	nonce = (*[24]byte)(append([]byte("WELCOME-"), welcome[8:24]...))
	plain, ok := box.Open(nil, welcome[24:], nonce, permanent, secret)
	if !ok {
		t.Fatal("WELCOME cannot be opened")
	}
	h.their = [32]byte(plain[:32])
	cookie := plain[32:]

	long := []byte("VOUCH---0123456789abcdef")
	vouch := box.Seal(nil, append(public[:], permanent[:]...), (*[24]byte)(long), &h.their, keyBytes(self.Secret))
	plain = append(append(keyBytes(self.Public)[:], long[8:]...), vouch...)
	for i, m := range append([]string{"Socket-Type", "PUSH"}, metadata...) {
		if i%2 == 0 {
			plain = append(plain, byte(len(m)))
		} else {
			plain = binary.BigEndian.AppendUint32(plain, uint32(len(m)))
		}
		plain = append(plain, m...)
	}
	short, nonce = h.nonce("CurveZMQINITIATE")
	initiate := append(append([]byte("\x08INITIATE"), cookie...), short...)
	h.frame(4, box.Seal(initiate, plain, nonce, &h.their, secret))

	ready, err := h.read()
	return h, err == nil && bytes.HasPrefix(ready, []byte("\x05READY"))
}

// send sends a message of one part.
func (h *handmade) send(b []byte) {
	h.t.Helper()
	short, nonce := h.nonce("CurveZMQMESSAGEC")
	message := append([]byte("\x07MESSAGE"), short...)
	h.frame(0, box.Seal(message, append([]byte{0}, b...), nonce, &h.their, &h.mine))
}
