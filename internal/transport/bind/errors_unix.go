//go:build !windows

package bind

import "syscall"

const (
	addrInUse          = syscall.EADDRINUSE
	addrNotAvailable   = syscall.EADDRNOTAVAIL
	familyNotSupported = syscall.EAFNOSUPPORT
)
