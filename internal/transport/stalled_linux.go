package transport

import (
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// What a busy machine, or one that waits for more to acknowledge, may take to answer.
	stalledLeast = 200 * time.Millisecond
	established  = 1 // TCP_ESTABLISHED
)

// StalledTCP is Stalled for the descriptor of a TCP connection on which the other end says so many bytes or more in its
// handshake. It only asks the kernel, so that it may be called for a descriptor that somebody else closes meanwhile.
func StalledTCP(fd, handshake int, d time.Duration) bool {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	switch {
	case err != nil:
		return false
	case info.State != established:
		return true
	}
	trip := time.Duration(info.Rtt+4*info.Rttvar) * time.Microsecond
	if time.Duration(info.Last_ack_recv)*time.Millisecond < max(d, stalledLeast, 2*trip) {
		return false
	}
	// What cannot even leave, since there is no route from the connection's own address any more, is not on its way;
	// neither is what the other end has no room for.
	stuck := info.Notsent_bytes > 0 && info.Snd_wnd >= info.Snd_mss
	return info.Unacked > 0 || stuck || info.Bytes_received < uint64(handshake)
}

// StalledTo is the same for a TCP connection of this process to an address, whose descriptor is not known. Where there is more than
// one it is stalled if all are.
func StalledTo(to netip.AddrPort, handshake int, d time.Duration) bool {
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return false
	}
	for _, entry := range descriptors {
		fd, err := strconv.Atoi(entry.Name())
		if err == nil && leadsTo(fd, to) && !StalledTCP(fd, handshake, d) {
			return false
		}
	}
	return true
}

// leadsTo reports whether a descriptor is that of a connection to an address.
func leadsTo(fd int, to netip.AddrPort) bool {
	peer, err := unix.Getpeername(fd)
	if err != nil {
		return false
	}
	switch a := peer.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)) == to
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)) == to
	}
	return false
}
