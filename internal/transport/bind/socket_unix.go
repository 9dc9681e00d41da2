//go:build !windows

package bind

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Backlog is how many connections wait to be accepted at most, if the system allows as many.
const Backlog = 1024

// TCP returns a socket that listens at an address, and that does not block.
func TCP(at netip.AddrPort) (fd int, err error) {
	domain, to := sockaddr(at)
	return listeningSocket(domain, to)
}

// Unix returns a socket that listens on a path, and that does not block.
func Unix(path string) (fd int, err error) {
	return listeningSocket(unix.AF_UNIX, &unix.SockaddrUnix{Name: path})
}

func sockaddr(at netip.AddrPort) (domain int, to unix.Sockaddr) {
	if a := at.Addr(); a.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(at.Port()), Addr: a.As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16(), ZoneId: zoneID(at.Addr().Zone())}
}

// zoneID is the number of the interface that an address of one link names.
func zoneID(zone string) uint32 {
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(zone, 10, 32) // empty: none
	return uint32(n)
}

// listeningSocket returns a socket that listens.
func listeningSocket(domain int, at unix.Sockaddr) (fd int, err error) {
	if fd, err = streamSocket(domain); err != nil {
		return -1, err
	}
	if err := listenOn(fd, domain, at); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// streamSocket returns a socket that does not block, and that no child gets.
func streamSocket(domain int) (fd int, err error) {
	syscall.ForkLock.RLock() // no child may get it before it is marked
	if fd, err = unix.Socket(domain, unix.SOCK_STREAM, 0); err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fd, nil
}

func listenOn(fd, domain int, at unix.Sockaddr) error {
	if domain != unix.AF_UNIX {
		// Connections of an earlier listener may still be about to end.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if domain == unix.AF_INET6 {
		// All addresses are those of IPv4, too.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if err := unix.Bind(fd, at); err != nil {
		return os.NewSyscallError("bind", err)
	}
	return os.NewSyscallError("listen", unix.Listen(fd, Backlog))
}
