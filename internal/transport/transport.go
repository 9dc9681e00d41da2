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
	// ErrKeys says that one of two has keys, and the other has none.
	ErrKeys = errors.New("transport: keys on one side only")
)

// Malformed is the error for messages that are no frames, and are gone: how many there were. It
// wraps ErrMalformed.
type Malformed struct {
	Count int
	Cause string
}

func (m *Malformed) Error() string { return ErrMalformed.Error() + ": " + m.Cause }

func (m *Malformed) Unwrap() error { return ErrMalformed }

// Refused tells the listener that the latest frame was refused, and is none that a peer sends.
// It is called as Recv is. A listener may end a connection on which many such come.
func Refused(l Listener) {
	if r, ok := l.(interface{ Refused() }); ok {
		r.Refused()
	}
}

// Lent tells a listener who calls Recv from now on: the program itself, which may well answer what comes and then wait for more, or, as it is at
// first, a goroutine that hands on what comes to others. It is called as Recv is.
func Lent(l Listener, lent bool) {
	if r, ok := l.(interface{ Lent(bool) }); ok {
		r.Lent(lent)
	}
}

// Origin returns the address that the latest frame came from, as far as the listener knows: empty if it
// does not. It is called as Recv is.
func Origin(l Listener) string {
	if o, ok := l.(interface{ Origin() string }); ok {
		return o.Origin()
	}
	return ""
}

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
	// in; nil lets nobody in. It is called from any goroutine, and does not block.
	Admit func(publicKey string) bool
}

// Listener receives the frames that all peers send. One goroutine at a time calls Recv,
// Key and Close, which the caller sees to; any may call Interrupt.
type Listener interface {
	// Recv waits for a frame until the deadline (the zero time: for ever; one that has passed: not at all). The
	// sender may have split the frame in two: it is head and tail in a row.
	// The caller owns both, and may give them to PutBuffer. The error is ErrTimeout,
	// ErrInterrupted, or one that wraps ErrMalformed: for a message of more than two
	// parts, as a Malformed for one or more that are gone, or, of some listeners, for what has
	// ended the connection it came on. After any other error the
	// listener is of no use: every Recv returns one, and what remains is to Close it.
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

// Dial is Network.Dial for the server that has the endpoint from, which a network inside one process
// may have to know: it has no address that it connects from.
func Dial(n Network, from, endpoint string, s *Security, peer string) (Conn, error) {
	if n, ok := n.(interface {
		DialFrom(from, endpoint string, s *Security, peer string) (Conn, error)
	}); ok {
		return n.DialFrom(from, endpoint, s, peer)
	}
	return n.Dial(endpoint, s, peer)
}

// Trouble returns why a connection does not stand, as far as it knows: that its peer's name
// cannot be looked up, for example. Nil means that it stands, or that nothing is known. It may be
// called by any goroutine until Close.
func Trouble(c Conn) error {
	if t, ok := c.(interface{ Trouble() error }); ok {
		return t.Trouble()
	}
	return nil
}

// Stalled reports whether a connection does not stand, or nothing of what is on its way has been acknowledged by the machine
// at its other end for as long as d, or a handshake was not answered for as long: the path does not pass, or its ends do not agree on
// the connection any more. It is false if nothing is on its way, or waits only for the peer to read, and where nothing is
// known. It is called as TrySend is.
func Stalled(c Conn, d time.Duration) bool {
	s, ok := c.(interface{ Stalled(d time.Duration) bool })
	return ok && s.Stalled(d)
}

// Watch has broke called, by any goroutine, whenever a connection ends that stood, until Close; broke does not block. Of a transport that does
// not tell, it returns how often to ask Stands; of others, 0.
func Watch(c Conn, broke func()) (poll time.Duration) {
	if w, ok := c.(interface{ Watch(broke func()) }); ok {
		w.Watch(broke)
	}
	if p, ok := c.(interface{ Poll() time.Duration }); ok {
		poll = p.Poll()
	}
	return poll
}

// Rest has what was passed to Watch called, once, as soon as something becomes of a connection that is otherwise to be looked at now and then. It
// reports false where that cannot be. It is called as TrySend is, when the connection stands.
func Rest(c Conn) bool {
	r, ok := c.(interface{ Rest() bool })
	return ok && r.Rest()
}

// Stands reports whether a connection stands: true where that is not known. Idle tells that nothing is on its way on it, so that it would
// take a frame. It is called as TrySend is.
func Stands(c Conn, idle bool) bool {
	s, ok := c.(interface{ Stands(idle bool) bool })
	return !ok || s.Stands(idle)
}

// A Flow is what becomes of what was sent on a connection, as far as this machine knows.
type Flow struct {
	Came  uint64 // bytes that the peer's machine has acknowledged
	Waits uint64 // bytes that it has not
}

// FlowOf tells that of a connection, or that it is not known. It is called as TrySend is.
func FlowOf(c Conn) (f Flow, known bool) {
	if s, ok := c.(interface{ Flow() (Flow, bool) }); ok {
		return s.Flow()
	}
	return Flow{}, false
}

// Passed reports whether a deadline, which may be the zero time, has passed.
func Passed(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }
