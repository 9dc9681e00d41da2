// Package transport is what a node needs from a network: one listener, and one
// connection to each peer that it sends to. Frames pass whole or not at all;
// between two servers they keep their order as long as the connection lasts.
package transport

import (
	"errors"
	"time"
)

var (
	// ErrTimeout says that a deadline passed.
	ErrTimeout = errors.New("transport: timeout")
	// ErrInterrupted says that Interrupt was called.
	ErrInterrupted = errors.New("transport: interrupted")
	// ErrMalformed says that something came which is no frame, and is gone.
	ErrMalformed = errors.New("transport: malformed")
	// ErrUnfinished says that a connection ended before it was set up.
	ErrUnfinished = errors.New("transport: unfinished")
)

// Network makes listeners and connections for the endpoints of its scheme, in
// the normal form of peercatalog ("tcp://127.0.0.1:8081").
type Network interface {
	// Listen takes the endpoint, so that a second Listen for it fails. With
	// security, only connections of peers that it admits are let in. It tells failed, from
	// any goroutine, of connections that could not be set up or ended before they were:
	// how many more there are, and what was wrong with the latest. It does not wait for
	// that until Close, nor tell of whom Admit has not let in; failed may be nil.
	Listen(endpoint string, s *Security, failed func(count int, cause error)) (Listener, error)
	// Dial returns before the connection stands, and the connection is made
	// again whenever it breaks, until Close. With security it stands only with the
	// server that has the public key peer.
	Dial(endpoint string, s *Security, peer string) (Conn, error)
}

// Security is how a server proves who it is, whom it lets in, and what its
// connections are encrypted with. Nil is plaintext, where everybody is let in. Keys
// are text in Z85.
type Security struct {
	Public, Secret string
	// Admit decides whether somebody who has proved to have this public key is let
	// in. It is called from any goroutine, and does not block.
	Admit func(publicKey string) bool
}

// Listener receives the frames that all peers send. One goroutine at a time calls Recv,
// Key and Close, which the caller sees to; any may call Interrupt.
type Listener interface {
	// Recv waits for a frame until the deadline (the zero time: for ever). The
	// sender may have split the frame in two: it is head and tail in a row.
	// The caller owns both, and may give them to PutBuffer. The error is ErrTimeout, ErrInterrupted, for a
	// message of more than two parts one that wraps ErrMalformed, or one after
	// which the listener is of no use.
	Recv(deadline time.Time) (head, tail []byte, err error)
	// Key is the public key that the sender of the latest frame has proved to have;
	// empty without security.
	Key() string
	// Interrupt makes one Recv return ErrInterrupted: this one or the next, even
	// if there are frames to be had.
	Interrupt()
	// Close gives the endpoint back before it returns.
	Close() error
}

// Conn sends frames to one peer. TrySend, Wait and Close are called by one
// goroutine at a time, which the caller's lock sees to; any may call Interrupt.
type Conn interface {
	// TrySend hands a frame over, as head and tail in a row (tail may be nil),
	// or reports false when the peer is not connected or takes no more now. It
	// does not wait, and keeps neither slice.
	TrySend(head, tail []byte) (bool, error)
	// Wait returns when TrySend may succeed (nil), or at the deadline (the zero
	// time: never) with ErrTimeout, or with ErrInterrupted.
	Wait(deadline time.Time) error
	// Interrupt makes one Wait return ErrInterrupted: this one or the next.
	Interrupt()
	// Close waits until what was handed over has left this process, but no
	// longer than linger, and then gives up what has not. Interrupt makes it
	// return before.
	Close(linger time.Duration) error
}
