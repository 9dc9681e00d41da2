package curve

import (
	"encoding/binary"
	"fmt"
	"io"

	"golang.org/x/crypto/nacl/box"
	"golang.org/x/crypto/nacl/secretbox"
)

// The numbers of the client's own commands in a handshake; its messages go on from there.
const (
	numberHello    = 1
	numberInitiate = 2
)

// ClientOptions are what a client needs. Keys and Server have to be given.
type ClientOptions struct {
	Keys     *Keys         // who the client is
	Server   [keySize]byte // the public key of the server
	Metadata []byte        // what the client tells of itself: properties as in ZMTP's READY command, at most MaxMetadata bytes
	// Check looks at what the server tells of itself, in the same form. An error ends the handshake. Nil
	// accepts everything.
	Check func(metadata []byte) error
	// Random is where keys and nonces come from; nil is crypto/rand. Who can predict it
	// can read the connection.
	Random io.Reader
}

// Client is one handshake, as the end that connects. One goroutine at a time uses it.
type Client struct {
	options   ClientOptions
	due       string // the command that is to come; empty before Start and when nothing is
	err       error
	transient *Keys
	shared    [keySize]byte // between the transient key and the server's permanent, then its transient one
	session   *Session
}

// NewClient returns a client that has sent nothing yet.
func NewClient(o ClientOptions) *Client { return &Client{options: o} }

// Start returns the first command to be sent. It fails if Random does, or with ErrKey for a
// public key that no server can have.
func (c *Client) Start() ([]byte, error) {
	command, err := c.hello()
	if err != nil {
		return nil, c.fail(err)
	}
	c.due = welcome
	return command, nil
}

func (c *Client) hello() (command []byte, err error) {
	if c.transient, err = transientKeys(c.options.Random); err != nil {
		return nil, err
	}
	if err := c.transient.shared(&c.shared, c.options.Server[:]); err != nil {
		return nil, err
	}
	command = make([]byte, 0, helloSize)
	command = append(command, hello...)
	command = append(command, 1, 0)
	command = append(command, make([]byte, helloPadding)...)
	command = append(command, c.transient.public[:]...)
	command = binary.BigEndian.AppendUint64(command, numberHello)
	n := nonce(helloNonce, command[len(command)-shortNonceSize:])
	return secretbox.Seal(command, make([]byte, helloZeros), &n, &c.shared), nil
}

// Next takes the next command that came, and returns the command to be sent for it, if any. When done, Session
// is there, and nothing is to be sent. After an error the connection is to be ended; every
// later call returns the same error.
func (c *Client) Next(command []byte) (reply []byte, done bool, err error) {
	switch {
	case c.err != nil:
		return nil, false, c.err
	case c.due != "" && is(command, refusal):
		err = refused(command)
	case c.due == "" || !is(command, c.due):
		err = unexpected(command, c.due)
	case c.due == welcome:
		reply, err = c.welcome(command)
	default:
		err = c.ready(command)
	}
	if err != nil {
		return nil, false, c.fail(err)
	}
	return reply, c.session != nil, nil
}

// fail ends the handshake.
func (c *Client) fail(err error) error {
	c.err, c.due, c.transient = err, "", nil
	clear(c.shared[:])
	return err
}

// refused is the error for an ERROR command.
func refused(command []byte) error {
	r := command[len(refusal):]
	if len(r) == 0 || int(r[0]) != len(r)-1 {
		return fmt.Errorf("%w: the length in ERROR is wrong", ErrMalformed)
	}
	return fmt.Errorf("%w: %q", ErrRefused, r[1:])
}

// welcome takes WELCOME, and returns INITIATE.
func (c *Client) welcome(command []byte) (reply []byte, err error) {
	if len(command) != welcomeSize {
		return nil, fmt.Errorf("%w: WELCOME has not %d bytes", ErrMalformed, welcomeSize)
	}
	r := reader(command[len(welcome):])
	n := nonce(welcomeNonce, r.take(longNonceSize))
	opened, ok := secretbox.Open(nil, r, &n, &c.shared)
	if !ok {
		return nil, fmt.Errorf("%w: that of WELCOME: the server has another public key, or what it sent was changed on the way", ErrBox)
	}
	server, cookie := opened[:keySize], opened[keySize:]
	if err := c.transient.shared(&c.shared, server); err != nil {
		return nil, err
	}
	if reply, err = c.initiate(server, cookie); err != nil {
		return nil, err
	}
	c.transient = nil
	c.due = ready
	return reply, nil
}

func (c *Client) initiate(server, cookie []byte) ([]byte, error) {
	o := &c.options
	if len(o.Metadata) > MaxMetadata {
		return nil, fmt.Errorf("%w: more than %d bytes to be sent", ErrMetadata, MaxMetadata)
	}
	var vouching [keySize]byte
	defer clear(vouching[:])
	if err := o.Keys.shared(&vouching, server); err != nil {
		return nil, err
	}
	plain := make([]byte, 0, keySize+vouchSize+len(o.Metadata))
	plain = append(plain, o.Keys.public[:]...)
	plain = append(plain, make([]byte, longNonceSize)...)
	if err := randomBytes(o.Random, plain[keySize:]); err != nil {
		return nil, err
	}
	n := nonce(vouchNonce, plain[keySize:])
	vouch := append(c.transient.public[:], o.Server[:]...)
	plain = secretbox.Seal(plain, vouch, &n, &vouching)
	plain = append(plain, o.Metadata...)

	command := make([]byte, 0, initiateSize+len(o.Metadata))
	command = append(command, initiate...)
	command = append(command, cookie...)
	command = binary.BigEndian.AppendUint64(command, numberInitiate)
	n = nonce(initiateNonce, command[len(command)-shortNonceSize:])
	return secretbox.Seal(command, plain, &n, &c.shared), nil
}

// ready takes READY.
func (c *Client) ready(command []byte) error {
	if len(command) < readySize || len(command) > readySize+MaxMetadata {
		return fmt.Errorf("%w: READY has not %d to %d bytes", ErrMalformed, readySize, readySize+MaxMetadata)
	}
	r := reader(command[len(ready):])
	short := r.take(shortNonceSize)
	n := nonce(readyNonce, short)
	metadata, ok := box.OpenAfterPrecomputation(nil, r, &n, &c.shared)
	if !ok {
		return fmt.Errorf("%w: that of READY", ErrBox)
	}
	if err := check(c.options.Check, metadata); err != nil {
		return err
	}
	c.session = newSession(&c.shared, clientNonce, serverNonce, numberInitiate, binary.BigEndian.Uint64(short))
	c.due = ""
	clear(c.shared[:])
	return nil
}

// check is what either end does with the other's metadata.
func check(f func([]byte) error, metadata []byte) error {
	if f == nil {
		return nil
	}
	if err := f(metadata); err != nil {
		return fmt.Errorf("%w: %w", ErrMetadata, err)
	}
	return nil
}

// Close overwrites the keys of the handshake and of its session. The client is of no use after it.
func (c *Client) Close() {
	_ = c.fail(ErrClosed)
	if c.session != nil {
		c.session.Close()
	}
}

// Session is what the connection is encrypted with: nil until Next says that the handshake is done.
func (c *Client) Session() *Session { return c.session }
