//go:build unix && cgo && !nozmq

package scenario

import "github.com/abhishekg16/cluster/internal/transport/zmq"

// attackers have libzmq, whatever the servers have: it claims any public key that it is told to.
var attackers = zmq.Network{}

const attackersClaimKeys = true
