package curve

import (
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"

	"golang.org/x/crypto/nacl/secretbox"
)

// numberReady is the number of the server's own command in a handshake; its messages go on from there.
const numberReady = 1

// ServerOptions are what a server needs. Keys and Admit have to be given. They may be shared by the servers
// of all connections to a listener, if Admit and Check are safe for concurrent use.
type ServerOptions struct {
	Keys     *Keys  // who the server is
	Metadata []byte // what the server tells of itself: properties as in ZMTP's READY command, at most MaxMetadata bytes
	// Admit decides whether the client that has proved to have a public key is let in. Nil lets nobody in.
	Admit func(client [keySize]byte) bool
	// Refusal is the reason that a client which is not let in is told in an ERROR command, such as "400".
	// ZeroMQ's sockets take that as final and do not connect again. Without one the client is told
	// nothing, as with a temporary refusal in ZAP (RFC 27), and is free to try again.
	Refusal string
	// Check looks at what the client tells of itself, once it is let in. An error ends the handshake. Nil accepts
	// everything.
	Check func(metadata []byte) error
	// Random is where keys and nonces come from; nil is crypto/rand. Who can predict it
	// can read the connection.
	Random io.Reader
}

// Server is one handshake, as the end that was connected to. One goroutine at a time uses it.
//
// Between WELCOME and INITIATE it keeps a key and a number. Everything else is in the cookie, which the client sends
// back, sealed with that key. The key is the connection's own, as in libzmq, not the listener's: a stream
// connection has some memory anyway, and in this way nothing that was recorded on one connection
// can be used on another, so that no list of cookies which were used has to be kept.
type Server struct {
	options *ServerOptions
	due     string // the command that is to come; empty when nothing is
	err     error
	cookie  [keySize]byte // seals the cookie
	number  uint64        // of the client's latest command
	client  [keySize]byte
	session *Session
}

// NewServer returns a server that waits for the first command. It does not change the options.
func NewServer(o *ServerOptions) *Server { return &Server{options: o, due: hello} }

// Next takes the next command that came, and returns the command to be sent for it, if any. When done, the
// reply is still to be sent, and Session and Client are there. After an error the connection is to be ended, once the
// reply is sent where there is one; every later call returns the same error, and no reply.
func (s *Server) Next(command []byte) (reply []byte, done bool, err error) {
	switch {
	case s.err != nil:
		return nil, false, s.err
	case s.due == "" || !is(command, s.due):
		err = unexpected(command, s.due)
	case s.due == hello:
		reply, err = s.hello(command)
	default:
		reply, err = s.initiate(command)
	}
	if err != nil {
		s.fail(err)
		return reply, false, err
	}
	return reply, s.session != nil, nil
}

// fail ends the handshake.
func (s *Server) fail(err error) {
	s.err, s.due = err, ""
	clear(s.cookie[:])
}

// Close overwrites the keys of the handshake and of its session. The server is of no use after it.
func (s *Server) Close() {
	s.fail(ErrClosed)
	if s.session != nil {
		s.session.Close()
	}
}

// hello takes HELLO, and returns WELCOME.
func (s *Server) hello(command []byte) ([]byte, error) {
	if len(command) != helloSize {
		return nil, fmt.Errorf("%w: HELLO has not %d bytes", ErrMalformed, helloSize)
	}
	r := reader(command[len(hello):])
	if v := r.take(2); v[0] != 1 || v[1] != 0 {
		return nil, fmt.Errorf("%w than 1.0", ErrVersion)
	}
	if !zeros(r.take(helloPadding)) {
		return nil, fmt.Errorf("%w: the padding of HELLO is not zeros", ErrMalformed)
	}
	client := r.take(keySize)
	short := r.take(shortNonceSize)

	var shared [keySize]byte
	defer clear(shared[:])
	if err := s.options.Keys.shared(&shared, client); err != nil {
		return nil, err
	}
	n := nonce(helloNonce, short)
	opened, ok := secretbox.Open(nil, r, &n, &shared)
	if !ok {
		return nil, fmt.Errorf("%w: that of HELLO: the client expects another public key here, or what it sent was changed on the way", ErrBox)
	}
	if !zeros(opened) {
		return nil, fmt.Errorf("%w: the box of HELLO holds other than zeros", ErrMalformed)
	}
	reply, err := s.welcome(client, &shared)
	if err != nil {
		return nil, err
	}
	s.number = binary.BigEndian.Uint64(short)
	s.due = initiate
	return reply, nil
}

func (s *Server) welcome(client []byte, shared *[keySize]byte) ([]byte, error) {
	random := s.options.Random
	var secret [keySize]byte
	defer clear(secret[:])
	var long [2 * longNonceSize]byte
	for _, b := range [][]byte{secret[:], s.cookie[:], long[:]} {
		if err := randomBytes(random, b); err != nil {
			return nil, err
		}
	}
	inCookie, inWelcome := long[:longNonceSize], long[longNonceSize:]

	transient, err := NewKeys(secret)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, 0, keySize+cookieSize)
	plain = append(plain, transient.public[:]...)
	plain = append(plain, inCookie...)
	n := nonce(cookieNonce, inCookie)
	var known [2 * keySize]byte
	defer clear(known[:])
	copy(known[copy(known[:], client):], secret[:])
	plain = secretbox.Seal(plain, known[:], &n, &s.cookie)

	command := make([]byte, 0, welcomeSize)
	command = append(command, welcome...)
	command = append(command, inWelcome...)
	n = nonce(welcomeNonce, inWelcome)
	return secretbox.Seal(command, plain, &n, shared), nil
}

// initiate takes INITIATE, and returns READY.
func (s *Server) initiate(command []byte) (reply []byte, err error) {
	if len(command) < initiateSize || len(command) > initiateSize+MaxMetadata {
		return nil, fmt.Errorf("%w: INITIATE has not %d to %d bytes", ErrMalformed, initiateSize, initiateSize+MaxMetadata)
	}
	r := reader(command[len(initiate):])
	n := nonce(cookieNonce, r.take(longNonceSize))
	known, ok := secretbox.Open(nil, r.take(cookieBox), &n, &s.cookie)
	if !ok {
		return nil, ErrCookie
	}
	clear(s.cookie[:]) // so that it opens once
	defer clear(known)
	client := known[:keySize]
	transient, err := NewKeys([keySize]byte(known[keySize:]))
	if err != nil {
		return nil, err
	}

	short := r.take(shortNonceSize)
	number := binary.BigEndian.Uint64(short)
	if number <= s.number {
		return nil, fmt.Errorf("%w: of INITIATE", ErrNonce)
	}
	var shared [keySize]byte
	defer clear(shared[:])
	if err := transient.shared(&shared, client); err != nil {
		return nil, err
	}
	n = nonce(initiateNonce, short)
	opened, ok := secretbox.Open(nil, r, &n, &shared)
	if !ok {
		return nil, fmt.Errorf("%w: that of INITIATE", ErrBox)
	}
	r = opened
	permanent := r.take(keySize)
	if err := s.vouched(r.take(vouchSize), permanent, client, transient); err != nil {
		return nil, err
	}
	if a := s.options.Admit; a == nil || !a([keySize]byte(permanent)) {
		return s.refuse(), ErrNotAdmitted
	}
	if err := check(s.options.Check, r); err != nil {
		return nil, err
	}
	if reply, err = s.ready(&shared); err != nil {
		return nil, err
	}
	s.client = [keySize]byte(permanent)
	s.session = newSession(&shared, serverNonce, clientNonce, numberReady, number)
	s.due = ""
	return reply, nil
}

// vouched checks that the owner of a permanent key says of the transient one that it is
// their own, and is for this server.
func (s *Server) vouched(vouch reader, permanent, client []byte, transient *Keys) error {
	var shared [keySize]byte
	defer clear(shared[:])
	if err := transient.shared(&shared, permanent); err != nil {
		return err
	}
	n := nonce(vouchNonce, vouch.take(longNonceSize))
	opened, ok := secretbox.Open(nil, vouch, &n, &shared)
	if !ok {
		return ErrVouch
	}
	own := subtle.ConstantTimeCompare(opened[:keySize], client)
	here := subtle.ConstantTimeCompare(opened[keySize:], s.options.Keys.public[:])
	if own&here != 1 {
		return ErrVouch
	}
	return nil
}

// refuse returns ERROR, or nothing where nothing is to be told.
func (s *Server) refuse() []byte {
	reason := s.options.Refusal
	if reason == "" {
		return nil
	}
	reason = reason[:min(len(reason), 255)]
	return append(append([]byte(refusal), byte(len(reason))), reason...)
}

func (s *Server) ready(shared *[keySize]byte) ([]byte, error) {
	metadata := s.options.Metadata
	if len(metadata) > MaxMetadata {
		return nil, fmt.Errorf("%w: more than %d bytes to be sent", ErrMetadata, MaxMetadata)
	}
	command := make([]byte, 0, readySize+len(metadata))
	command = append(command, ready...)
	command = binary.BigEndian.AppendUint64(command, numberReady)
	n := nonce(readyNonce, command[len(ready):])
	return secretbox.Seal(command, metadata, &n, shared), nil
}

// zeros reports whether all bytes are zero.
func zeros(b []byte) bool {
	all := byte(0)
	for _, x := range b {
		all |= x
	}
	return all == 0
}

// Session is what the connection is encrypted with: nil until Next says that the handshake is done.
func (s *Server) Session() *Session { return s.session }

// Client is the public key of the client, once Next says that the handshake is done: of one that Admit lets in.
func (s *Server) Client() [keySize]byte { return s.client }
