package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// tryToListen finds out whether the server could listen here where none answers.
func (p *probe) tryToListen(ctx context.Context) {
	if !p.here || p.answered || p.runsElsewhere(ctx) {
		return
	}
	for _, a := range p.listen {
		if !p.isLocal(a) {
			continue
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.String())
		if err == nil {
			l.Close()
			continue
		}
		if p.cannotListen(a, err) {
			return // one address is enough to know
		}
	}
}

// cannotListen tells why not, and reports whether there is no more to be said.
func (p *probe) cannotListen(a netip.AddrPort, err error) bool {
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && p.mute:
		p.answers += "; something listens"
	case errors.Is(err, syscall.EADDRINUSE) && p.other:
		// It was said already who has it.
	case errors.Is(err, syscall.EADDRINUSE):
		p.fault("%s: the port is in use on this machine, by a server that is stopped or by another program", a)
	case errors.Is(err, syscall.EACCES):
		p.fault("%s: this user may not listen there: ports below 1024 are for root", a)
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
		return false // of a family that this machine does not have
	default:
		p.fault("cannot listen on %s: %s", a, cause(err))
	}
	return true
}

// runsElsewhere reports whether the server listens where its address does not lead to from
// here.
func (p *probe) runsElsewhere(ctx context.Context) bool {
	if p.server.Bind == "" || p.mute {
		return false
	}
	for _, a := range p.listen {
		at := a
		switch {
		case a.Addr() == netip.IPv4Unspecified():
			at = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
		case a.Addr() == netip.IPv6Unspecified():
			at = netip.AddrPortFrom(netip.IPv6Loopback(), a.Port())
		case !p.isLocal(a):
			continue
		}
		if p.askOne(ctx, "tcp", at.String()) == nil {
			return true
		}
	}
	return false
}
