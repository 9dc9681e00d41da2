//go:build !linux

package transport

import (
	"net/netip"
	"time"
)

// StalledTCP is not known here.
func StalledTCP(int, int, time.Duration) bool { return false }

// StalledTo is not known here.
func StalledTo(netip.AddrPort, int, time.Duration) bool { return false }
