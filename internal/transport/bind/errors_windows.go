package bind

import "golang.org/x/sys/windows"

// The numbers of package syscall are made up on Windows; these are what the network returns.
const (
	addrInUse          = windows.WSAEADDRINUSE
	addrNotAvailable   = windows.WSAEADDRNOTAVAIL
	familyNotSupported = windows.WSAEAFNOSUPPORT
)
