package main

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"
)

// A greeting is the first that a ZeroMQ socket says on a connection (ZMTP 3.1, ZeroMQ
// RFC 37): 64 bytes of signature, version and mechanism.
type greeting struct{ mechanism string }

const (
	greetingSize  = 64
	signatureSize = 10 // of it, what comes first
	versionSize   = 12 // of it, up to the mechanism
)

var (
	errNoGreeting = errors.New("not the greeting of ZeroMQ")
	errSilent     = errors.New("connected, and nothing was said")
)

// greet connects, reads the greeting of what is there, and hangs up. A server counts that
// as a handshake that failed (cluster.RefusedHandshake), and logs the first as information.
func greet(ctx context.Context, network, address string) (*greeting, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	// The other end says its mechanism once it knows the version, and closes the
	// connection at once if it is told another mechanism: so it is not told one.
	ours := [versionSize]byte{0: 0xFF, 9: 0x7F, 10: 3, 11: 1}
	if _, err := conn.Write(ours[:]); err != nil {
		return nil, err
	}
	theirs := make([]byte, greetingSize)
	n, err := io.ReadFull(conn, theirs)
	switch {
	case n > 0 && theirs[0] != 0xFF || n >= signatureSize && theirs[9]&1 == 0:
		return nil, errNoGreeting
	case n == greetingSize:
		return &greeting{strings.TrimRight(string(theirs[12:32]), "\x00")}, nil
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return nil, errNoGreeting
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		if n > 0 {
			return nil, errNoGreeting
		}
		return nil, errSilent
	}
	return nil, errNoGreeting
}
