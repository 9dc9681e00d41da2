package zmtp

import (
	"bytes"
	"encoding/binary"
	"strings"
	"time"

	"github.com/abhishekg16/cluster/internal/transport/zmtp/curve"
)

const (
	commandReady = "READY"
	commandError = "ERROR"
	commandPing  = "PING"
	commandPong  = "PONG"

	// commandMost is how long a command may be: as long as the longest of a handshake with keys.
	commandMost = curve.MaxCommand
	// contextMost is how much of a PING comes back in its PONG at most.
	contextMost = 16
	// ttlUnit is the unit of the TTL in a PING.
	ttlUnit = 100 * time.Millisecond

	socketType = "Socket-Type"
	typePush   = "PUSH"
	typePull   = "PULL"
)

// command is the body of a command frame with that name.
func command(name string, data ...[]byte) []byte {
	b := append(make([]byte, 0, 64), byte(len(name)))
	b = append(b, name...)
	for _, d := range data {
		b = append(b, d...)
	}
	return b
}

// parseCommand splits the body of a command frame.
func parseCommand(body []byte) (name, data []byte, ok bool) {
	if len(body) == 0 || len(body) < 1+int(body[0]) || body[0] == 0 {
		return nil, nil, false
	}
	n := 1 + int(body[0])
	return body[1:n], body[n:], true
}

// appendProperty appends a property of a connection, as READY has them.
func appendProperty(b []byte, name, value string) []byte {
	b = append(b, byte(len(name)))
	b = append(b, name...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
	return append(b, value...)
}

// property returns the value of a property, whose name has no case. It reports false unless all
// of b is properties and one of them is this.
func property(b []byte, name string) (value string, ok bool) {
	for len(b) > 0 {
		n := int(b[0])
		if n == 0 || len(b) < 1+n+4 {
			return "", false
		}
		key, rest := b[1:1+n], b[1+n:]
		size := uint64(binary.BigEndian.Uint32(rest))
		if rest = rest[4:]; uint64(len(rest)) < size {
			return "", false
		}
		if strings.EqualFold(string(key), name) {
			value, ok = string(rest[:size]), true
		}
		b = rest[size:]
	}
	return value, ok
}

// ping is the body of a PING without a context.
func ping(ttl time.Duration) []byte {
	return command(commandPing, binary.BigEndian.AppendUint16(nil, uint16(ttl/ttlUnit)))
}

// answerPing returns the body of the PONG for a PING, and how long its sender allows us to hear
// nothing of it (zero: for ever). It reports false for any other command.
func answerPing(body []byte) (pong []byte, ttl time.Duration, ok bool) {
	rest, ok := bytes.CutPrefix(body, []byte("\x04"+commandPing))
	if !ok || len(rest) < 2 || len(rest) > 2+contextMost {
		return nil, 0, false
	}
	return command(commandPong, rest[2:]), time.Duration(binary.BigEndian.Uint16(rest)) * ttlUnit, true
}

// isError reports whether a command is ERROR.
func isError(body []byte) bool { return bytes.HasPrefix(body, []byte("\x05"+commandError)) }

// isPong reports whether a command is PONG.
func isPong(body []byte) bool { return bytes.HasPrefix(body, []byte("\x04"+commandPong)) }
