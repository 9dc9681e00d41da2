//go:build cgo && !nozmq

package zmq

import (
	"net/netip"
	"strings"

	zmq4 "github.com/pebbe/zmq4"

	"github.com/abhishekg16/cluster/internal/transport/bind"
)

// listenAt makes the socket listen at the endpoint. What it returns is released after the socket
// has ended; nil: there is nothing to release.
func listenAt(soc *zmq4.Socket, endpoint string) (*bind.Claim, error) {
	if path, ok := strings.CutPrefix(endpoint, "ipc://"); ok {
		return bindPath(soc, path)
	}
	addrs, err := bind.Addrs(endpoint)
	if err != nil {
		return nil, err
	}
	return nil, bind.First(addrs, func(a netip.AddrPort) error { return systemError(bindAddr(soc, a)) })
}

// bindPath makes the socket listen on a path.
func bindPath(soc *zmq4.Socket, path string) (*bind.Claim, error) {
	c, err := bind.Path(path)
	if err != nil {
		return nil, err
	}
	if err := bindClaimed(soc, path, c); err != nil {
		c.Release()
		return nil, err
	}
	return c, nil
}
