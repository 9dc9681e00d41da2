//go:build linux

package main

import (
	"fmt"
	"slices"

	"github.com/abhishekg16/cluster/internal/transport/sockets"
)

// mixed is the choice of transports by which a server that starts has another one than the server
// that started before it.
const mixed = "mixed"

// transports are what a campaign may be carried out over.
var transports = []string{sockets.Libzmq, sockets.Go, mixed}

func checkTransport(choice string) error {
	if !slices.Contains(transports, choice) {
		return fmt.Errorf("-transport %q: want one of %q", choice, transports)
	}
	return nil
}

// transportOf is the transport of the life with that number.
func transportOf(choice string, number int) string {
	if choice != mixed {
		return choice
	}
	return transports[number%2]
}

// ownTransport keeps the environment from overriding what the configuration of a server names.
const ownTransport = sockets.Variable + "="
