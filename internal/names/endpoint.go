package names

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Split returns the host and the port of a tcp endpoint, and false for any other.
func Split(endpoint string) (host string, port uint16, ok bool) {
	rest, ok := strings.CutPrefix(endpoint, "tcp://")
	if !ok {
		return "", 0, false
	}
	host, text, err := net.SplitHostPort(rest)
	if err != nil {
		return "", 0, false
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return host, uint16(n), err == nil
}

// IsName reports whether a host is a name, rather than an address or *.
func IsName(host string) bool {
	_, err := netip.ParseAddr(host)
	return err != nil && host != "*"
}

// OnlyLoopback reports whether a server that listens at its own addresses cannot be reached
// from where the other server is, since all of its own are loopback ones and none of the other's
// is. That is so where the hosts file of a machine has 127.0.1.1 for its name.
func OnlyLoopback(own, other []netip.Addr) bool {
	return len(own) > 0 && len(other) > 0 &&
		!slices.ContainsFunc(own, func(a netip.Addr) bool { return !a.IsLoopback() }) &&
		!slices.ContainsFunc(other, netip.Addr.IsLoopback)
}
