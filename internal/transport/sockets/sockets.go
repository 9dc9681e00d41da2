// Package sockets chooses what carries frames for endpoints with the schemes tcp and ipc: libzmq
// (package zmq) or Go (package zmtp). Both speak ZMTP, so that each server chooses for itself, and
// nothing on the wire tells which.
package sockets

import (
	"fmt"
	"os"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/zmtp"
)

// The names of the transports, as configurations have them.
const (
	Go     = "go"
	Libzmq = "libzmq"
)

// Variable is the environment variable that overrides configurations.
const Variable = "CLUSTER_TRANSPORT"

// A Transport is one of those that this program was built with.
type Transport struct {
	transport.Network
	Name string
}

// Check returns what is wrong with the name in a configuration, which may be that of a
// transport which this program was built without, or empty.
func Check(name string) error {
	switch name {
	case "", Go, Libzmq:
		return nil
	}
	return fmt.Errorf(`transport %.60q is unknown: want %q or %q, or "" for the default`, name, Go, Libzmq)
}

// Choose returns the transport that Variable names, or else the one that is configured, or else the
// default. It reads the environment each time. The error says which of them is wrong, and what to do;
// source is what it calls the place of the configuration.
func Choose(configured, source string) (Transport, error) {
	name := configured
	if v := os.Getenv(Variable); v != "" {
		name, source = v, "the environment variable "+Variable
	}
	if err := Check(name); err != nil {
		return Transport{}, fmt.Errorf("%s: %w", source, err)
	}
	switch {
	case name == Go, name == "" && Default == Go:
		return Transport{zmtp.Network{}, Go}, nil
	case libzmq == nil:
		return Transport{}, fmt.Errorf(`%s: transport %q: this program was built without libzmq (with -tags nozmq or without cgo): `+
			`say %q or "", which reaches the same servers, or build it with cgo and libzmq`, source, name, Go)
	}
	return Transport{libzmq, Libzmq}, nil
}
