package main

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"

	"golang.org/x/crypto/nacl/box"

	"github.com/abhishekg16/cluster/internal/curve"
)

// credentials are a server's keys, to ask others with.
type credentials struct{ public, secret [32]byte }

func newCredentials(secret string) (*credentials, error) {
	public, err := curve.Public(secret)
	if err != nil {
		return nil, err
	}
	c := new(credentials)
	if c.public, err = curve.Decode(public); err == nil {
		c.secret, err = curve.Decode(secret)
	}
	return c, err
}

// The sizes of what CURVE sends (ZeroMQ RFC 26).
const (
	shortNonce  = 8
	longNonce   = 16
	cookieSize  = 96
	helloZeros  = 72
	helloProof  = 64
	welcomeSize = longNonce + box.Overhead + 32 + cookieSize
)

// shake is the client's part of CURVE with the server that has the public key.
func (c *credentials) shake(conn net.Conn, key string) error {
	server, err := curve.Decode(key)
	if err != nil {
		return err
	}
	public, secret, err := box.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	// HELLO proves that we know the server's key: what is boxed is all zeros.
	hello := append([]byte{1, 0}, make([]byte, helloZeros)...)
	hello = append(hello, public[:]...)
	hello = binary.BigEndian.AppendUint64(hello, 1)
	hello = box.Seal(hello, make([]byte, helloProof), numbered("CurveZMQHELLO---", 1), &server, secret)
	if err := writeCommand(conn, "HELLO", hello); err != nil {
		return err
	}
	welcome, err := readCommand(conn, "WELCOME")
	if errors.Is(err, errHungUp) {
		return errWrongKey // it could not open HELLO
	}
	if err != nil {
		return err
	}
	if len(welcome) != welcomeSize {
		return errNoGreeting
	}
	var nonce [24]byte
	copy(nonce[copy(nonce[:], "WELCOME-"):], welcome[:longNonce])
	opened, ok := box.Open(nil, welcome[longNonce:], &nonce, &server, secret)
	if !ok {
		return errWrongKey
	}
	theirs, cookie := [32]byte(opened), opened[32:]
	initiate, err := c.initiate(server, theirs, public, secret)
	if err != nil {
		return err
	}
	if err := writeCommand(conn, "INITIATE", append(cookie, initiate...)); err != nil {
		return errUnknown // hung up on: it was glad to say WELCOME
	}
	// A server that does not know our key hangs up, or says nothing more.
	var timeout net.Error
	_, err = readCommand(conn, "READY")
	if errors.Is(err, errHungUp) || errors.As(err, &timeout) && timeout.Timeout() {
		return errUnknown
	}
	return err
}

// initiate is what comes behind the cookie in INITIATE: our lasting key, and a vouch that
// the passing key is ours.
func (c *credentials) initiate(server, theirs [32]byte, public, secret *[32]byte) ([]byte, error) {
	var nonce [24]byte
	copy(nonce[:], "VOUCH---")
	if _, err := rand.Read(nonce[8:]); err != nil {
		return nil, err
	}
	vouch := box.Seal(nil, append(public[:], server[:]...), &nonce, &theirs, &c.secret)
	plain := append(c.public[:], nonce[8:]...)
	plain = append(append(plain, vouch...), metadata()...)
	out := binary.BigEndian.AppendUint64(nil, 2)
	return box.Seal(out, plain, numbered("CurveZMQINITIATE", 2), &theirs, secret), nil
}

// numbered is a nonce with a number at its end.
func numbered(prefix string, n uint64) *[24]byte {
	var nonce [24]byte
	copy(nonce[:], prefix)
	binary.BigEndian.PutUint64(nonce[24-shortNonce:], n)
	return &nonce
}
