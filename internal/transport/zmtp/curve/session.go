package curve

import (
	"encoding/binary"
	"fmt"
	"slices"

	//lint:ignore SA1019 NaCl's box is made of it, and package box neither opens in place nor keeps what is the same in all messages
	"golang.org/x/crypto/poly1305"
	//lint:ignore SA1019 as above
	"golang.org/x/crypto/salsa20/salsa"
)

// The flags of a message, which are inside its box.
const (
	FlagMore    = 1 << 0 // further parts of the message follow
	FlagCommand = 1 << 1 // the body is a command of ZMTP (PING, PONG): its name with the length before it, and its data

	knownFlags = FlagMore | FlagCommand
)

const (
	// HeadSize is how much longer a MESSAGE is than its body.
	HeadSize = macAt + poly1305.TagSize + 1

	nonceAt = len(message)
	macAt   = nonceAt + shortNonceSize
	flagsAt = macAt + poly1305.TagSize
	// The stream that encrypts a box starts with the key of its authenticator.
	macKeySize = 32
)

// Seal lays a message out behind such a key, in the place of which its head comes to lie.
const _ = uint(flagsAt-macKeySize) + uint(macKeySize-flagsAt)

// Session encrypts the messages of a connection, and opens those of the other end. One goroutine at
// a time may call Seal, and one Open; Close is called when neither runs.
type Session struct {
	closed bool
	seal   direction
	open   direction
	failed error // what ended receiving
}

// A direction is what all boxes that go one way have in common: the key that the first 16
// bytes of their nonces make of the shared one, and the last 8, which count.
type direction struct {
	key   [keySize]byte
	nonce uint64 // of the latest box
}

// newSession returns the session whose boxes are numbered on from the handshake's own.
func newSession(shared *[keySize]byte, own, others string, ownNonce, othersNonce uint64) *Session {
	s := &Session{seal: direction{nonce: ownNonce}, open: direction{nonce: othersNonce}}
	salsa.HSalsa20(&s.seal.key, (*[16]byte)([]byte(own)), shared, &salsa.Sigma)
	salsa.HSalsa20(&s.open.key, (*[16]byte)([]byte(others)), shared, &salsa.Sigma)
	return s
}

// Seal appends a MESSAGE command to dst and returns the longer slice: HeadSize bytes more than the parts of
// body have, which it joins. Flags other than FlagMore and FlagCommand are left out. The parts must not
// lie in the spare capacity of dst; they are not changed. It allocates only where dst has not
// the capacity.
//
// Numbers of messages are never used twice: there are 2^64, for 5,800 years at 10^8 a second. After Close
// nothing is appended.
func (s *Session) Seal(dst []byte, flags byte, body ...[]byte) []byte {
	if s.closed {
		return dst
	}
	size := HeadSize
	for _, part := range body {
		size += len(part)
	}
	start := len(dst)
	dst = slices.Grow(dst, size)
	dst = append(dst, make([]byte, macKeySize)...)
	dst = append(dst, flags&knownFlags)
	for _, part := range body {
		dst = append(dst, part...)
	}

	s.seal.nonce++
	s.seal.encrypt(dst[start:])
	return dst
}

// encrypt makes a MESSAGE of what is to be in its box, behind macKeySize zeros.
func (d *direction) encrypt(b []byte) {
	counter := d.counter(d.nonce, 0)
	salsa.XORKeyStream(b, b, &counter, &d.key)
	macKey := [macKeySize]byte(b)
	copy(b, message)
	copy(b[nonceAt:macAt], counter[:])
	var mac [poly1305.TagSize]byte
	poly1305.Sum(&mac, b[flagsAt:], &macKey)
	copy(b[macAt:], mac[:])
}

// Open takes a MESSAGE command as its first HeadSize bytes (all, if there are not as many) and the rest, which may lie
// apart, so that a body can be read to where it is to stay. It decrypts body in place, and
// returns the flags. After an error body is of no use, and every later call returns the same
// error: whoever went on would not know what is missing.
func (s *Session) Open(head, body []byte) (flags byte, err error) {
	if s.closed {
		return 0, ErrClosed
	}
	if s.failed == nil {
		flags, s.failed = s.open.open(head, body)
	}
	return flags, s.failed
}

func (d *direction) open(head, body []byte) (flags byte, err error) {
	if !is(head, message) {
		return 0, unexpected(head, message)
	}
	if len(head) != HeadSize {
		return 0, fmt.Errorf("%w: MESSAGE is shorter than %d bytes", ErrMalformed, HeadSize)
	}
	n := binary.BigEndian.Uint64(head[nonceAt:])
	if n <= d.nonce {
		return 0, fmt.Errorf("%w: of MESSAGE", ErrNonce)
	}

	flags, ok := d.decrypt(n, head, body)
	if !ok {
		return 0, fmt.Errorf("%w: that of MESSAGE", ErrBox)
	}
	if flags&^knownFlags != 0 {
		return 0, fmt.Errorf("%w: MESSAGE has flags without a meaning", ErrMalformed)
	}
	d.nonce = n
	return flags, nil
}

// decrypt opens the box that starts in head and goes on in body. It returns its first byte, the
// flags. If the box does not open, body is as it was.
func (d *direction) decrypt(n uint64, head, body []byte) (flags byte, ok bool) {
	// The first block of the stream: the key of the authenticator, and what encrypts the
	// flags and the beginning of the body.
	var first [64]byte
	counter := d.counter(n, 0)
	salsa.XORKeyStream(first[:], first[:], &counter, &d.key)
	mac := poly1305.New((*[macKeySize]byte)(first[:]))
	mac.Write(head[flagsAt:])
	mac.Write(body)
	if !mac.Verify(head[macAt:flagsAt]) {
		return 0, false
	}
	flags = head[flagsAt] ^ first[macKeySize]
	begins := body[:min(len(body), len(first)-macKeySize-1)]
	for i := range begins {
		begins[i] ^= first[macKeySize+1+i]
	}
	rest := body[len(begins):]
	counter = d.counter(n, 1)
	salsa.XORKeyStream(rest, rest, &counter, &d.key)
	return flags, true
}

// counter is where the stream of a box starts: its number, and the block.
func (d *direction) counter(nonce uint64, block byte) (c [16]byte) {
	binary.BigEndian.PutUint64(c[:], nonce)
	c[8] = block
	return c
}

// Close overwrites the keys. The session is of no use after it.
func (s *Session) Close() {
	s.closed = true
	clear(s.seal.key[:])
	clear(s.open.key[:])
}
