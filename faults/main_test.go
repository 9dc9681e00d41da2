//go:build linux

package main

import (
	"fmt"
	"os"
	"testing"
)

// TestMain lets the test binary be a server, as the command itself is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == serverRole {
		if err := serve(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "faults: server:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}
