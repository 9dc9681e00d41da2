// Package bind finds out where a listener of an endpoint is to listen, and takes the place: the
// addresses that the host of a tcp endpoint stands for, and the path of an ipc endpoint.
package bind

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/abhishekg16/cluster/internal/names"
)

// First calls bind for the addresses in turn until one is of this machine: a name may stand for
// several machines, or for several addresses of this one. That one is in use is told, rather than
// evaded. The errors of bind are the system's.
func First(addrs []netip.AddrPort, bind func(netip.AddrPort) error) (err error) {
	for _, a := range addrs {
		if err = bind(a); err == nil || !isElsewhere(err) {
			return err
		}
	}
	if len(addrs) > 1 {
		err = fmt.Errorf("%w (tried %v)", err, addrs)
	}
	return err
}

// Addrs returns the addresses that a tcp endpoint stands for, in the order in which they are to
// be tried. Its host is a number, an interface of this machine, a name, or * for all
// addresses of this machine. A name is looked up for no longer than names.LookupTimeout.
func Addrs(endpoint string) (all []netip.AddrPort, err error) {
	host, port, ok := names.Split(endpoint)
	if !ok {
		return nil, fmt.Errorf("%s is no endpoint of a host and a port", endpoint)
	}
	var addrs []netip.Addr
	if host == "*" {
		// The first takes connections over IPv4, too, unless the machine has no IPv6.
		addrs = []netip.Addr{netip.IPv6Unspecified(), netip.IPv4Unspecified()}
	} else if addrs, err = interfaceAddrs(host); err != nil {
		return nil, err
	} else if addrs == nil {
		if addrs, err = names.Lookup(context.Background(), host); err != nil {
			return nil, err
		}
	}
	for _, a := range addrs {
		all = append(all, netip.AddrPortFrom(a, port))
	}
	return all, nil
}

// interfaceAddrs are the addresses of an interface of this machine, IPv4 first; nil if it has
// none of that name.
func interfaceAddrs(name string) (all []netip.Addr, err error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, nil // it is not the name of an interface
	}
	have, err := i.Addrs()
	if err != nil {
		return nil, err
	}
	var six []netip.Addr
	for _, h := range have {
		prefix, err := netip.ParsePrefix(h.String())
		switch a := prefix.Addr(); {
		case err != nil:
		case a.Is4():
			all = append(all, a)
		case a.IsLinkLocalUnicast():
			six = append(six, a.WithZone(i.Name))
		default:
			six = append(six, a)
		}
	}
	if all = append(all, six...); all == nil {
		return nil, fmt.Errorf("the interface %s has no address", name)
	}
	return all, nil
}
