//go:build !linux

package transport

import (
	"net/netip"
	"time"
)

// StalledTCP is not known here.
func StalledTCP(int, int, time.Duration) bool { return false }

// FlowOfTCP is not known here.
func FlowOfTCP(int) (Flow, bool) { return Flow{}, false }

// FlowTo is not known here.
func FlowTo(netip.AddrPort) (Flow, bool) { return Flow{}, false }

// Connected is not known here.
func Connected(string) bool { return true }

// StalledTo is not known here.
func StalledTo(netip.AddrPort, int, time.Duration) bool { return false }
