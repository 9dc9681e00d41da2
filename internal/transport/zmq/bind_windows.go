//go:build cgo && !nozmq

package zmq

import (
	"net/netip"

	zmq4 "github.com/pebbe/zmq4"

	"github.com/abhishekg16/cluster/internal/transport/bind"
)

// bindAddr makes the socket listen at an address.
func bindAddr(soc *zmq4.Socket, at netip.AddrPort) error {
	if err := soc.SetIpv6(at.Addr().Is6()); err != nil {
		return err
	}
	return soc.Bind("tcp://" + at.String())
}

// bindClaimed makes the socket listen on a path, which ZeroMQ cannot on Windows in most builds.
func bindClaimed(soc *zmq4.Socket, path string, _ *bind.Claim) error {
	return soc.Bind("ipc://" + path)
}
