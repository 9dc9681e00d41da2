//go:build linux

package main

import "golang.org/x/sys/unix"

// limitDescriptors lowers how many descriptors this process may open.
func limitDescriptors(most uint64) error {
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most, Max: most})
}
