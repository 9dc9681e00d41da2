//go:build unix && !linux && !darwin

package zmtp

import (
	"golang.org/x/sys/unix"

	"github.com/abhishekg16/cluster/internal/transport"
)

// iovecs is what writev needs beside what is to be written.
type iovecs struct{}

// writev joins what is to be written: x/sys/unix has no call for it on these systems.
func (*iovecs) writev(fd int, vec [][]byte) (int, error) {
	size := 0
	for _, b := range vec {
		size += len(b)
	}
	joined := remainder(transport.GetBuffer(size), 0, vec...)
	defer transport.PutBuffer(joined)
	return unix.Write(fd, joined)
}
