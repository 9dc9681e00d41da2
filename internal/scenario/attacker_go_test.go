//go:build unix && (!cgo || nozmq)

package scenario

import "github.com/abhishekg16/cluster/internal/transport/zmtp"

// attackers have what there is without libzmq. It claims no public key but the one of its secret key.
var attackers = zmtp.Network{}

const attackersClaimKeys = false
