//go:build unix && !linux

package zmtp

import "golang.org/x/sys/unix"

// peek looks at what has come and nobody has read, and returns how much of it b takes: 0 and no
// error say that the peer has closed the connection.
func peek(fd int, b *[1]byte) (n int, err error) {
	n, _, err = unix.Recvfrom(fd, b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return n, err
}
