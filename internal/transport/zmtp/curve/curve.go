// Package curve is CURVE, the security mechanism of ZMTP 3 (ZeroMQ RFC 25 and 26): how two
// ends of a connection prove who they are, and what they encrypt with afterwards. It is the
// mechanism alone: a Client or a Server takes the commands that came and returns those to be
// sent, and the Session that comes of it seals and opens messages. Nothing here waits, reads
// a clock, starts a goroutine or knows of a socket.
//
//	client                     server
//	Start    ── HELLO ──────▶  Next
//	Next     ◀────── WELCOME ──
//	         ── INITIATE ───▶  Next, which asks Admit
//	Next     ◀──────── READY ──
//	Session  ◀─── MESSAGE ──▶  Session
//
// A command is the body of a ZMTP frame, and starts with its name. How frames are told from
// each other, and how long a handshake may take, is the caller's business. What a frame says
// outside of its body (whether more follow, whether it is a command) is not protected: of a
// MESSAGE only the flags in its box count.
//
// Where the RFC and libzmq differ, both are understood unless the RFC forbids it. Stricter
// than libzmq are: the padding of HELLO is zeros, the nonce of INITIATE is above that of
// HELLO, a vouch names this server's key, a WELCOME or READY comes in its place only, and
// bits of a message's flags that have no meaning are an error.
//
// Every error wraps one of the errors below, and ends the connection. Their texts come from a
// fixed set, but for ErrRefused, which carries the other end's reason.
package curve

import (
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/nacl/box"
	//lint:ignore SA1019 NaCl's box is made of it, and CURVE of NaCl's box
	"golang.org/x/crypto/salsa20/salsa"
)

var (
	// ErrUnexpected says that a command came where another was due.
	ErrUnexpected = errors.New("a command is out of place")
	// ErrMalformed says that a command has the wrong length, or something in it that has one
	// possible value has another.
	ErrMalformed = errors.New("a command is malformed")
	// ErrVersion says that a client speaks another version of CURVE than 1.0.
	ErrVersion = errors.New("it speaks another version of CURVE")
	// ErrBox says that a box does not open. Of HELLO and WELCOME that means that the client
	// expects another public key than the server has, or that somebody changed bytes on the
	// way; of the others it can only be the latter, or a broken peer.
	ErrBox = errors.New("a box does not open")
	// ErrCookie says that an INITIATE has not the cookie of this connection's WELCOME.
	ErrCookie = errors.New("the cookie is not that of this connection")
	// ErrVouch says that a client does not prove to have the secret to the public key it names.
	ErrVouch = errors.New("the client does not prove that its public key is its own")
	// ErrKey says that a public key is one of the few that make everybody's secret the same.
	ErrKey = errors.New("the public key is of low order")
	// ErrNotAdmitted says that Admit does not let the client in.
	ErrNotAdmitted = errors.New("the client is not admitted")
	// ErrRefused says that the server sent ERROR. Nothing proves that it was the server.
	ErrRefused = errors.New("the server refuses")
	// ErrMetadata says that Check finds fault with what the other end tells of itself.
	ErrMetadata = errors.New("the metadata is not accepted")
	// ErrNonce says that a command was numbered not above the one before it: it was sent twice,
	// or the order was changed.
	ErrNonce = errors.New("a nonce repeats or went back")
	// ErrClosed says that a session or a handshake was used after Close.
	ErrClosed = errors.New("the session is closed")
)

// MaxMetadata is how many bytes of metadata either end may send. What ZeroMQ's sockets send is
// below 300 bytes unless the program adds properties of its own.
const MaxMetadata = 4096

// MaxCommand is the length of the longest command of a handshake.
const MaxCommand = initiateSize + MaxMetadata

// Lengths of the commands, and of the longest boxes' fixed parts.
const (
	keySize     = 32
	cookieSize  = longNonceSize + cookieBox
	cookieBox   = 2*keySize + box.Overhead
	vouchBox    = 2*keySize + box.Overhead
	vouchSize   = longNonceSize + vouchBox
	helloSize   = len(hello) + 2 + helloPadding + keySize + shortNonceSize + helloBox
	helloBox    = helloZeros + box.Overhead
	welcomeSize = len(welcome) + longNonceSize + keySize + cookieSize + box.Overhead
	// Of INITIATE and READY without metadata.
	initiateSize = len(initiate) + cookieSize + shortNonceSize + keySize + vouchSize + box.Overhead
	readySize    = len(ready) + shortNonceSize + box.Overhead

	helloPadding   = 72
	helloZeros     = 64
	shortNonceSize = 8
	longNonceSize  = 16
)

// Commands start with the length of their name, and the name.
const (
	hello    = "\x05HELLO"
	welcome  = "\x07WELCOME"
	initiate = "\x08INITIATE"
	ready    = "\x05READY"
	message  = "\x07MESSAGE"
	refusal  = "\x05ERROR"
)

// The beginnings of nonces. A short nonce is a number that grows, a long one is random.
const (
	helloNonce    = "CurveZMQHELLO---"
	initiateNonce = "CurveZMQINITIATE"
	readyNonce    = "CurveZMQREADY---"
	clientNonce   = "CurveZMQMESSAGEC"
	serverNonce   = "CurveZMQMESSAGES"
	welcomeNonce  = "WELCOME-"
	cookieNonce   = "COOKIE--"
	vouchNonce    = "VOUCH---"
)

// Keys is a permanent pair of keys. It is safe for concurrent use, and made once for many
// connections: that is half of the work of checking a HELLO.
type Keys struct {
	public [keySize]byte
	secret *ecdh.PrivateKey
}

// NewKeys returns the pair of a secret key. Any 32 bytes are one; it fails only where Go's
// runtime does not allow this curve (GODEBUG=fips140=only).
func NewKeys(secret [keySize]byte) (*Keys, error) {
	k, err := ecdh.X25519().NewPrivateKey(secret[:])
	if err != nil {
		return nil, err
	}
	return &Keys{public: [keySize]byte(k.PublicKey().Bytes()), secret: k}, nil
}

// Public returns the public key.
func (k *Keys) Public() [keySize]byte { return k.public }

// transientKeys returns a new pair for one connection.
func transientKeys(random io.Reader) (*Keys, error) {
	var secret [keySize]byte
	defer clear(secret[:])
	if err := randomBytes(random, secret[:]); err != nil {
		return nil, err
	}
	return NewKeys(secret)
}

// shared computes what boxes between k and the owner of a public key are encrypted with. It is
// box.Precompute, but finds fault with keys for which that is a constant that everybody knows.
func (k *Keys) shared(key *[keySize]byte, public []byte) error {
	p, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		return err
	}
	secret, err := k.secret.ECDH(p)
	if err != nil {
		return ErrKey
	}
	salsa.HSalsa20(key, new([16]byte), (*[keySize]byte)(secret), &salsa.Sigma)
	clear(secret)
	return nil
}

func randomBytes(random io.Reader, b []byte) error {
	if random == nil {
		random = rand.Reader
	}
	if _, err := io.ReadFull(random, b); err != nil {
		return fmt.Errorf("reading random bytes: %w", err)
	}
	return nil
}

// nonce returns prefix and end in a row.
func nonce(prefix string, end []byte) (n [24]byte) {
	copy(n[copy(n[:], prefix):], end)
	return n
}

// reader takes a command of checked length apart.
type reader []byte

func (r *reader) take(n int) []byte {
	b := (*r)[:n:n]
	*r = (*r)[n:]
	return b
}

// is reports whether a command has that name.
func is(command []byte, name string) bool {
	return len(command) >= len(name) && string(command[:len(name)]) == name
}

// unexpected is the error for a command that came where another was due, or none.
func unexpected(command []byte, due string) error {
	got := "another than CURVE's"
	for _, name := range []string{hello, welcome, initiate, ready, message, refusal} {
		if is(command, name) {
			got = name[1:]
		}
	}
	if due == "" {
		return fmt.Errorf("%w: %s where none was due", ErrUnexpected, got)
	}
	return fmt.Errorf("%w: %s where %s was due", ErrUnexpected, got, due[1:])
}
