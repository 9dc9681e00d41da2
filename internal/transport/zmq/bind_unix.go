//go:build cgo && !nozmq && !windows

package zmq

import (
	"net/netip"

	zmq4 "github.com/pebbe/zmq4"
	"golang.org/x/sys/unix"

	"github.com/abhishekg16/cluster/internal/transport/bind"
)

// The listening sockets are made by package bind, and ZeroMQ is given them (ZMQ_USE_FD). By itself
// it ends the process where no descriptor is left to list the machine's addresses with, which it
// does before it binds, and removes whatever is at an ipc path.

// bindAddr makes the socket listen at an address.
func bindAddr(soc *zmq4.Socket, at netip.AddrPort) error {
	fd, err := bind.TCP(at)
	if err != nil {
		return err
	}
	return hand(soc, fd, "tcp://"+at.String())
}

// bindClaimed makes the socket listen on a path that was claimed.
func bindClaimed(soc *zmq4.Socket, path string, c *bind.Claim) error {
	fd, err := bind.Unix(path)
	if err != nil {
		return err
	}
	if err := c.Made(); err != nil {
		unix.Close(fd)
		return err
	}
	return hand(soc, fd, "ipc://"+path)
}

// hand gives a listening socket to ZeroMQ, which closes it.
func hand(soc *zmq4.Socket, fd int, endpoint string) error {
	err := soc.SetUseFd(fd)
	if err == nil {
		err = soc.Bind(endpoint)
	}
	if err != nil {
		unix.Close(fd) // it did not get as far as that
	}
	return err
}
