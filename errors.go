package cluster

import (
	"errors"
	"strings"
)

// The errors that a caller can act on; others wrap one of these, or that of the
// system, with the details.
var (
	// ErrUnknownPeer: the catalogue has no server, and the node no group, of
	// that id.
	ErrUnknownPeer = errors.New("cluster: unknown peer")
	// ErrUnreachable: the peer has taken nothing for SendTimeout, and messages
	// for it are dropped until it does again. As an error of Call it is also that the
	// link is down (see LinkDown), or that the peer does not say whether it takes calls.
	ErrUnreachable = errors.New("cluster: peer is unreachable")
	// ErrTimedOut: there was no room in the peer's queue in time.
	ErrTimedOut = errors.New("cluster: timed out")
	// ErrTooLarge: the message is larger than MaxMessageBytes or, for SendUrgent, than
	// 131,072 bytes; or it would take too much memory once it is decoded. As an error of
	// Call it may be of the reply, and then MaybeSeen is true; so may ErrNotEncodable.
	ErrTooLarge = errors.New("cluster: message too large")
	// ErrNotEncodable: the message has a type that cannot be sent, or that
	// must be given to Register first.
	ErrNotEncodable = errors.New("cluster: not encodable")
	// ErrUnconfirmed: the message was sent, and it is not known whether it has
	// arrived.
	ErrUnconfirmed = errors.New("cluster: unconfirmed: sent, and not known whether it has arrived")
	// ErrUnsupported: the peer cannot tell what becomes of messages, since its version is earlier; nothing was sent to it.
	ErrUnsupported = errors.New("cluster: the peer does not confirm deliveries")
	// ErrRestarted: the peer has begun anew, and does not know of what it was asked.
	ErrRestarted = errors.New("cluster: peer has started anew")
	// ErrNoCalls: the peer is of a version that does not take calls; nothing was
	// sent to it.
	ErrNoCalls = errors.New("cluster: the peer does not take calls")
	// ErrClosed: the node is closing or has closed.
	ErrClosed = errors.New("cluster: closed")
)

func (r Reason) err() error {
	return [reasons]error{
		nil, ErrUnknownPeer, ErrUnreachable, ErrTimedOut, ErrTooLarge, ErrNotEncodable, ErrClosed,
	}[r]
}

// textMost bounds the text of an error in a log.
const textMost = 1 << 10

// text is an error's text for a log, made at once: an error that is kept may keep a message.
func text(err error) string {
	s := strings.ToValidUTF8(err.Error(), "\uFFFD")
	if len(s) > textMost {
		s = strings.ToValidUTF8(s[:textMost-len(" ...")], "") + " ..."
	}
	return s
}
