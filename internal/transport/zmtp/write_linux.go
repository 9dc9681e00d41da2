package zmtp

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// iovecs is what writev needs beside what is to be written. unix.Writev would allocate it for each
// call.
type iovecs [3]unix.Iovec

// writev writes up to three slices, none of which is empty.
func (v *iovecs) writev(fd int, vec [][]byte) (int, error) {
	for i, b := range vec {
		v[i].Base = &b[0]
		v[i].SetLen(len(b))
	}
	n, _, errno := unix.Syscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&v[0])), uintptr(len(vec)))
	*v = iovecs{}
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// peek looks at what has come and nobody has read, and returns how much of it b takes: 0 and no
// error say that the peer has closed the connection. unix.Recvfrom would allocate an address.
func peek(fd int, b *[1]byte) (n int, err error) {
	r, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(b)), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}
