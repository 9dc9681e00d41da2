package zmtp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"github.com/abhishekg16/cluster/internal/transport/bind"
)

// listenAt listens at an endpoint. The claim is released after the listener has closed.
func listenAt(endpoint string) (nl net.Listener, at *bind.Claim, err error) {
	if path, ok := strings.CutPrefix(endpoint, "ipc://"); ok {
		nl, at, err = listenPath(path)
	} else {
		nl, err = listenAddr(endpoint)
	}
	return nl, at, err
}

// listenError adds the way out to why nobody can listen.
func listenError(err error) error {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return fmt.Errorf("%w: raise the limit of open files (ulimit -n)", err)
	}
	return bind.Explain(err)
}

func listenAddr(endpoint string) (nl net.Listener, err error) {
	addrs, err := bind.Addrs(endpoint)
	if err != nil {
		return nil, err
	}
	// The listener sets keep-alive by itself: see accept.
	lc := net.ListenConfig{KeepAlive: -1}
	err = bind.First(addrs, func(a netip.AddrPort) (err error) {
		nl, err = lc.Listen(context.Background(), "tcp", a.String())
		return err
	})
	return nl, err
}

func listenPath(path string) (net.Listener, *bind.Claim, error) {
	at, err := bind.Path(path)
	if err != nil {
		return nil, nil, err
	}
	nl, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		at.Release()
		return nil, nil, err
	}
	if at != nil {
		nl.SetUnlinkOnClose(false) // the claim removes its own socket alone
	}
	if err := at.Made(); err != nil {
		nl.Close()
		at.Release()
		return nil, nil, err
	}
	return nl, at, nil
}
