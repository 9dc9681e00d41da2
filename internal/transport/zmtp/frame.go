package zmtp

import (
	"encoding/binary"
	"fmt"

	"github.com/abhishekg16/cluster/internal/transport/zmtp/curve"
)

// The flags of a frame. The others are reserved.
const (
	flagMore    = 1 // another part of the message follows
	flagLong    = 2 // the size has eight bytes
	flagCommand = 4

	headerShort = 2
	headerLong  = 9
)

// appendHeader appends what comes before the body of a frame of size bytes.
func appendHeader(b []byte, flags byte, size int) []byte {
	if size < 256 {
		return append(b, flags, byte(size))
	}
	return binary.BigEndian.AppendUint64(append(b, flags|flagLong), uint64(size))
}

// headerSize is the length of a header that begins with that byte.
func headerSize(flags byte) int {
	if flags&flagLong != 0 {
		return headerLong
	}
	return headerShort
}

// parseHeader reads a header, of which all is there.
func parseHeader(h []byte) (flags byte, size uint64, err error) {
	flags = h[0]
	if flags&^(flagMore|flagLong|flagCommand) != 0 || flags&flagCommand != 0 && flags&flagMore != 0 {
		return 0, 0, fmt.Errorf("%w: a frame with the flags %#x", errProtocol, flags)
	}
	if flags&flagLong != 0 {
		return flags, binary.BigEndian.Uint64(h[1:]), nil
	}
	return flags, uint64(h[1]), nil
}

// appendFrame appends a frame, which is sealed if the connection has keys; s is nil if it has none.
func appendFrame(b []byte, s *curve.Session, flags byte, body ...[]byte) []byte {
	size := 0
	for _, part := range body {
		size += len(part)
	}
	if s != nil {
		sealed := byte(0)
		if flags&flagCommand != 0 {
			sealed = curve.FlagCommand
		}
		return s.Seal(appendHeader(b, 0, size+curve.HeadSize), sealed, body...)
	}
	b = appendHeader(b, flags, size)
	for _, part := range body {
		b = append(b, part...)
	}
	return b
}

// sealedFlags are the flags of a frame whose seal says these.
func sealedFlags(sealed byte) (flags byte) {
	if sealed&curve.FlagMore != 0 {
		flags |= flagMore
	}
	if sealed&curve.FlagCommand != 0 {
		flags |= flagCommand
	}
	return flags
}
