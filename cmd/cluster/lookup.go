package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"
)

// lookUp resolves host:port, IPv4 first: that is what servers try first. The host may
// be * or the name of an interface.
func lookUp(ctx context.Context, address string, wait time.Duration) (all []*net.TCPAddr, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	number, err := net.LookupPort("tcp", port)
	if err != nil {
		return nil, err
	}
	if host == "*" {
		return []*net.TCPAddr{{IP: net.IPv4zero, Port: number}}, nil
	}
	var ips []net.IP
	if ifc, err := net.InterfaceByName(host); err == nil {
		addrs, err := ifc.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				ips = append(ips, n.IP)
			}
		}
	} else {
		ctx, cancel := context.WithTimeout(ctx, 2*wait)
		defer cancel()
		if ips, err = net.DefaultResolver.LookupIP(ctx, "ip", host); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(ips, func(a, b net.IP) int { return len(b.To4()) - len(a.To4()) })
	for _, ip := range ips {
		all = append(all, &net.TCPAddr{IP: ip, Port: number})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no address", host)
	}
	return all, nil
}

// localIPs are the addresses of this machine.
func localIPs() (ips []net.IP) {
	addrs, _ := net.InterfaceAddrs() // without them only loopback addresses are local
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			ips = append(ips, n.IP)
		}
	}
	return ips
}

func isLocal(ip net.IP, local []net.IP) bool {
	return ip.IsLoopback() || ip.IsUnspecified() || slices.ContainsFunc(local, ip.Equal)
}
