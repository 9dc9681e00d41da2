package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// resolve returns the addresses of a host, in the order in which they are tried. Every
// name that this program looks up goes through here.
func resolve(ctx context.Context, host string) (all []netip.Addr, err error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip.Unmap()}, nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	for _, ip := range found {
		if ip = ip.Unmap(); !slices.Contains(all, ip) {
			all = append(all, ip)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no address", host)
	}
	return all, nil
}

// dialAddrs are the addresses of host:port to connect to.
func dialAddrs(ctx context.Context, address string) ([]netip.AddrPort, error) {
	return addrPorts(address, func(host string) ([]netip.Addr, error) { return resolve(ctx, host) })
}

// listenAddrs are the addresses of host:port to listen on, where the host may also be *
// or the name of an interface.
func listenAddrs(ctx context.Context, address string) ([]netip.AddrPort, error) {
	return addrPorts(address, func(host string) ([]netip.Addr, error) {
		if host == "*" {
			return []netip.Addr{netip.IPv4Unspecified()}, nil
		}
		if ips, ok := interfaceIPs(host); ok {
			return ips, nil
		}
		return resolve(ctx, host)
	})
}

func addrPorts(address string, resolve func(host string) ([]netip.Addr, error)) (all []netip.AddrPort, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	ips, err := resolve(host)
	for _, ip := range ips {
		all = append(all, netip.AddrPortFrom(ip, uint16(number)))
	}
	return all, err
}

// interfaceIPs returns the addresses of a network interface, IPv4 first, and whether there
// is one of that name.
func interfaceIPs(name string) (ips []netip.Addr, ok bool) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, false
	}
	i := slices.IndexFunc(all, func(i net.Interface) bool { return strings.EqualFold(i.Name, name) })
	if i < 0 {
		return nil, false
	}
	addrs, err := all[i].Addrs()
	if err != nil {
		return nil, false
	}
	ips = parseAddrs(addrs)
	slices.SortStableFunc(ips, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	return ips, len(ips) > 0
}

// localIPs are the addresses of this machine.
func localIPs() []netip.Addr {
	addrs, _ := net.InterfaceAddrs() // without them only loopback addresses are local
	return parseAddrs(addrs)
}

func parseAddrs(addrs []net.Addr) (ips []netip.Addr) {
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				ips = append(ips, ip.Unmap())
			}
		}
	}
	return ips
}

func isLocal(ip netip.Addr, local []netip.Addr) bool {
	return ip.IsLoopback() || ip.IsUnspecified() || slices.Contains(local, ip.WithZone(""))
}
