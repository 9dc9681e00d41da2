package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// An asker goes through the handshake of ZMTP 3.1 (ZeroMQ RFC 37) with what is at an
// address, as a server that sends does, and hangs up then. A server to which its handshake
// fails counts that (cluster.RefusedHandshake); so it is made to the end.
type asker struct {
	us *credentials // nil: none
	// glance lets the asker hang up after the greeting where there are keys and us is nil.
	glance bool
}

const (
	greetingSize  = 64
	signatureSize = 10 // of the greeting, what comes first
	versionSize   = 12 // of the greeting, up to the mechanism
	// maxCommand bounds what the other end may say in one command of the handshake.
	maxCommand = 64 << 10
)

var (
	errNoGreeting = errors.New("it does not speak ZeroMQ's protocol")
	errSilent     = errors.New("connected, and nothing was said")
	errWrongKey   = errors.New("it has another key than the configuration says")
	errUnknown    = errors.New("it does not let in the key that it was asked with: it has another configuration")
)

// A mechanismError says that the other end has keys and the configuration has none, or the
// reverse.
type mechanismError string

func (m mechanismError) Error() string {
	return fmt.Sprintf("it uses ZeroMQ's mechanism %q", string(m))
}

// ask connects, and returns nil if a server of this cluster may be there: one with one of
// these public keys, or without keys if there are none.
func (a asker) ask(ctx context.Context, network, address string, keys []string) error {
	if len(keys) == 0 {
		return a.try(ctx, network, address, "")
	}
	var err error
	for _, k := range keys { // the second while a key is being changed
		if err = a.try(ctx, network, address, k); !errors.Is(err, errWrongKey) {
			break
		}
	}
	return err
}

func (a asker) try(ctx context.Context, network, address, key string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	mechanism := "NULL"
	if key != "" {
		mechanism = "CURVE"
	}
	theirs, err := greet(conn, mechanism)
	switch {
	case err != nil:
		return err
	case theirs != mechanism:
		return mechanismError(theirs)
	case mechanism == "NULL":
		return shakeNull(conn)
	case a.us == nil:
		return nil
	}
	return a.us.shake(conn, key)
}

// greet exchanges greetings, and returns the other end's mechanism. The other end closes
// the connection if it is told another mechanism than its own, so it is told ours last.
func greet(conn net.Conn, mechanism string) (string, error) {
	ours := [greetingSize]byte{0: 0xFF, 9: 0x7F, 10: 3, 11: 1}
	if _, err := conn.Write(ours[:versionSize]); err != nil {
		return "", err
	}
	theirs := make([]byte, greetingSize)
	n, err := io.ReadFull(conn, theirs)
	var timeout net.Error
	switch {
	case n > 0 && theirs[0] != 0xFF || n >= signatureSize && theirs[9]&1 == 0:
		return "", errNoGreeting
	case n == greetingSize:
	case n == 0 && errors.As(err, &timeout) && timeout.Timeout():
		return "", errSilent
	default:
		return "", errNoGreeting
	}
	name := strings.TrimRight(string(theirs[12:32]), "\x00")
	if name != mechanism {
		return name, nil
	}
	copy(ours[12:32], mechanism)
	_, err = conn.Write(ours[versionSize:])
	return name, err
}

// shakeNull is the handshake without keys: each end says READY.
func shakeNull(conn net.Conn) error {
	if err := writeCommand(conn, "READY", metadata()); err != nil {
		return err
	}
	_, err := readCommand(conn, "READY")
	return err
}

// metadata says what this end is: a socket that sends.
func metadata() []byte {
	const name, value = "Socket-Type", "PUSH"
	b := append([]byte{byte(len(name))}, name...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
	return append(b, value...)
}

// The flags of a frame that is a command.
const (
	flagCommand = 0x04
	flagLong    = 0x02
)

func writeCommand(conn net.Conn, name string, body []byte) error {
	size := 1 + len(name) + len(body)
	b := []byte{flagCommand, byte(size)}
	if size > 255 {
		b = binary.BigEndian.AppendUint64([]byte{flagCommand | flagLong}, uint64(size))
	}
	b = append(append(append(b, byte(len(name))), name...), body...)
	_, err := conn.Write(b)
	return err
}

// errHungUp says that the other end has ended the handshake.
var errHungUp = errors.New("it ended the handshake")

// readCommand returns the body of the command, which must have that name.
func readCommand(conn net.Conn, name string) ([]byte, error) {
	var head [9]byte
	if _, err := io.ReadFull(conn, head[:2]); err != nil {
		return nil, hungUp(err)
	}
	size := uint64(head[1])
	if head[0]&flagLong != 0 {
		if _, err := io.ReadFull(conn, head[2:]); err != nil {
			return nil, hungUp(err)
		}
		size = binary.BigEndian.Uint64(head[1:])
	}
	if head[0]&flagCommand == 0 || size > maxCommand {
		return nil, errNoGreeting
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(conn, b); err != nil {
		return nil, hungUp(err)
	}
	prefix := string(rune(len(name))) + name
	switch {
	case strings.HasPrefix(string(b), "\x05ERROR"):
		return nil, errHungUp
	case !strings.HasPrefix(string(b), prefix):
		return nil, errNoGreeting
	}
	return b[len(prefix):], nil
}

// hungUp is errHungUp for an end of the connection, and err for anything else.
func hungUp(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return err
	}
	return errHungUp
}
