//go:build !unix

package zmtp

import (
	"net"
	"syscall"
)

// A writer leaves everything to be written by flush: what the kernel has room for cannot be known
// here.
type writer struct{ header [headerLong]byte }

func (*writer) init(net.Conn) {}

func (*writer) write(syscall.RawConn, ...[]byte) (n int, err error) { return 0, nil }

// writeAll writes all of b, however long that takes, and tells wrote what the kernel has taken each time.
func writeAll(nc net.Conn, _ syscall.RawConn, b []byte, wrote func(n int)) error {
	const step = 16 << 10 // what moves is to be seen
	for len(b) > 0 {
		n, err := nc.Write(b[:min(len(b), step)])
		wrote(n)
		b = b[n:]
		if err != nil {
			return err
		}
	}
	return nil
}
