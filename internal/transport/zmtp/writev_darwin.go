package zmtp

import "golang.org/x/sys/unix"

// iovecs is what writev needs beside what is to be written.
type iovecs struct{}

func (*iovecs) writev(fd int, vec [][]byte) (int, error) { return unix.Writev(fd, vec) }
