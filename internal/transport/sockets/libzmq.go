//go:build cgo && !nozmq

package sockets

import (
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/zmq"
)

// Default is the transport of servers whose configuration names none.
const Default = Libzmq

// libzmq is nil where this program was built without it.
var libzmq transport.Network = zmq.Network{}
