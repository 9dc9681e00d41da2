//go:build linux

package main

import (
	"os"
	"testing"
)

// TestMain lets the test binary be a server, as the command itself is.
func TestMain(m *testing.M) {
	if !played(os.Args[1:]) {
		os.Exit(m.Run())
	}
}
