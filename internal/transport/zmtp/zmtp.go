// Package zmtp carries frames by ZMTP 3.1, ZeroMQ's protocol (RFC 37), on Go's own net package,
// for endpoints with the schemes tcp and ipc. What listens is a PULL socket to its peers, and
// what dials is a PUSH socket: the other end may be libzmq, or any other implementation of
// version 3.
package zmtp

import (
	"errors"
	"fmt"

	"github.com/abhishekg16/cluster/internal/transport"
)

// Network is transport.Network over ZMTP.
type Network struct{}

// The causes are why a connection did not come about. There are few, so that each can be told once.
var (
	errUnfinished = fmt.Errorf("%w: it went away, or said nothing for %v", transport.ErrUnfinished, transport.HandshakeTimeout)
	errMismatch   = fmt.Errorf("%w: one of the two has keys, and the other has none", transport.ErrKeys)
	errRefusing   = errors.New("it said that it refuses")
	errMisplaced  = errors.New("it expects another public key here, or what it sent was changed on the way")
	errBroken     = errors.New("it broke the protocol of ZeroMQ's handshake")
	errForeign    = errors.New("it did not speak ZMTP 3, the protocol of ZeroMQ 4")
	// errNotAdmitted is that Security.Admit did not let it in, which nobody is told of.
	errNotAdmitted = errors.New("it is not let in")
)

// errProtocol says that an established connection carried what ZMTP does not allow.
var errProtocol = fmt.Errorf("%w: what is no ZMTP, or was changed on the way, has ended its connection", transport.ErrMalformed)
