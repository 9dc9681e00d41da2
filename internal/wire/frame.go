// Package wire is version 1 of the frame format that servers exchange: pure
// functions over bytes, without sockets, clocks or goroutines. docs/wire.md is
// its text of record.
//
// A frame is a fixed header followed by records, or by one piece of a record
// too large for a frame. All integers are little-endian. Each message travels
// as one record; records of one sender to one receiver are numbered from 1.
package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	Version = 1

	HeaderSize = 64        // bytes before the first record of a frame
	ResendSize = 40        // which those of a Resend follow in a frame that has one
	RecordSize = 16        // bytes before the payload of a record,
	ShortSize  = 3         // or of one with a short header, which may have
	MaxShort   = 1<<16 - 1 // bytes of payload at most

	// MaxFrame is the largest frame, header included, that a receiver accepts.
	// It is above what this implementation sends, so that the sizes a sender
	// prefers can change without a change of the protocol.
	MaxFrame = 256 << 10

	// MaxPayload is the largest payload that a record can announce.
	MaxPayload = 1 << 30

	// InitialWindow is what a sender may have unacknowledged, in bytes of
	// frames, before it has heard a window from the receiver.
	InitialWindow = 256 << 10
)

// Flags of a frame.
const (
	// FlagPiece marks a frame that holds one piece of one record. The piece at
	// offset 0 starts with the record's header, which names the whole length.
	FlagPiece = 1 << iota
	// FlagAckNow asks the receiver to acknowledge soon (a frame with records)
	// or at once (a frame without any).
	FlagAckNow
	// FlagTaking tells that the sender of this frame goes on taking what it is
	// sent, though it may take from others now.
	FlagTaking
	// FlagResend marks a frame whose header a Resend follows. Only who has announced CapResend is sent it.
	FlagResend
	// FlagConfirm, beside FlagResend, marks a frame with records whose sender waits to hear what becomes of each of them; with
	// FlagAckNow it is acknowledged as soon as they are taken and nothing else is at hand. Without records, it marks
	// a frame behind whose header records are named that were not delivered: see AppendUndelivered. Only who has announced
	// CapConfirm is sent it.
	FlagConfirm
	// FlagUrgent, beside FlagResend, marks a frame of the urgent stream: all that the header says of positions and of the window is about
	// that stream and, as far as it acknowledges, about the one in the other direction. Each of its records is whole in one frame. Only
	// who has announced CapUrgent is sent it.
	FlagUrgent

	knownFlags = FlagPiece | FlagAckNow | FlagTaking | FlagResend | FlagConfirm | FlagUrgent
)

// Position is a place in the stream of one sender to one receiver: the number
// of a record, and how many bytes of its payload precede the place.
type Position struct {
	Seq    uint64
	Offset uint32
}

// Before reports whether p is earlier in the stream than q.
func (p Position) Before(q Position) bool {
	return p.Seq < q.Seq || p.Seq == q.Seq && p.Offset < q.Offset
}

// Header is the fixed head of a frame.
type Header struct {
	Flags       uint8
	To, From    uint16
	Cluster     uint64 // ClusterHash of the cluster's name
	Incarnation uint64 // of From; drawn anew at each start, never 0
	// Start is where the frame's content begins: the number of its first
	// record and, for a piece, its offset in that record's payload. In a frame
	// without records it is where the next content will begin.
	Start Position
	// AckIncarnation is the incarnation of To that Ack speaks of; 0 means that
	// the frame acknowledges nothing.
	AckIncarnation uint64
	// Ack is the place up to which From has taken, or given up, what To sent.
	Ack Position
	// Window is how many bytes of frames beyond Ack From is ready to hold.
	Window uint32
	Count  uint32 // records in the frame
	Resend        // with FlagResend
}

// Resend is what servers that send again what was lost on the way tell each other in each frame.
type Resend struct {
	// Kept is the place from which on From keeps what it has written, to send it again. It is not after Start. What
	// lies before it and has not come never will.
	Kept Position
	// Wanted and Held are about what To has sent, in its incarnation AckIncarnation: all before Wanted has come, and what is
	// between it and Held is missing. If Held is no later than Wanted, nothing is known to be.
	Wanted, Held Position
}

// Size is how many bytes the header takes.
func (h *Header) Size() int {
	if h.Flags&FlagResend != 0 {
		return HeaderSize + ResendSize
	}
	return HeaderSize
}

// Bare reports whether the frame carries nothing but its header.
func (h *Header) Bare() bool { return h.Count == 0 }

// Put writes h to the first Size bytes of b.
func (h *Header) Put(b []byte) {
	_ = b[HeaderSize-1]
	le := binary.LittleEndian
	b[0], b[1] = Version, h.Flags
	le.PutUint16(b[2:], h.To)
	le.PutUint16(b[4:], h.From)
	le.PutUint16(b[6:], 0)
	le.PutUint64(b[8:], h.Cluster)
	le.PutUint64(b[16:], h.Incarnation)
	le.PutUint64(b[24:], h.Start.Seq)
	le.PutUint64(b[32:], h.AckIncarnation)
	le.PutUint64(b[40:], h.Ack.Seq)
	le.PutUint32(b[48:], h.Ack.Offset)
	le.PutUint32(b[52:], h.Window)
	le.PutUint32(b[56:], h.Count)
	le.PutUint32(b[60:], h.Start.Offset)
	if h.Flags&FlagResend != 0 {
		b = b[HeaderSize:]
		_ = b[ResendSize-1]
		le.PutUint64(b, h.Kept.Seq)
		le.PutUint64(b[8:], h.Wanted.Seq)
		le.PutUint64(b[16:], h.Held.Seq)
		le.PutUint32(b[24:], h.Kept.Offset)
		le.PutUint32(b[28:], h.Wanted.Offset)
		le.PutUint32(b[32:], h.Held.Offset)
		le.PutUint32(b[36:], 0)
	}
}

// Cut is where the payload of a frame begins that carries one large record and nothing
// else, and 0 for all others. The frame may be any bytes.
func Cut(frame []byte) int { return CutAhead(frame, len(frame)) }

// CutAhead is Cut for a frame of size bytes of which the beginning is known, its header at least.
func CutAhead(frame []byte, size int) int {
	const large = 4 << 10
	if size < large || frame[1]&FlagPiece != 0 || binary.LittleEndian.Uint32(frame[56:]) != 1 {
		return 0
	}
	if frame[1]&FlagResend != 0 {
		return HeaderSize + ResendSize + RecordSize
	}
	return HeaderSize + RecordSize
}

// OnlyHeader reports whether a frame of HeaderSize bytes or more is a header and nothing behind it. The frame may be any bytes.
func OnlyHeader(frame []byte) bool {
	return len(frame) == HeaderSize || len(frame) == HeaderSize+ResendSize && frame[1]&FlagResend != 0
}

// ErrVersion is returned for a frame of another version of the format.
var ErrVersion = errors.New("another version of the frame format")

// ErrMalformed is wrapped by the errors for bytes that no sender of this
// version writes.
var ErrMalformed = errors.New("malformed frame")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// ParseHeader reads the header of the frame b. It checks what can be checked
// without knowing the receiver.
func ParseHeader(b []byte) (h Header, err error) {
	err = h.Parse(b)
	return h, err
}

// Parse is ParseHeader into h, which is the zero value: it is large. After an error, anything may be in it.
func (h *Header) Parse(b []byte) error {
	if len(b) == 0 {
		return malformed("empty")
	}
	if b[0] != Version {
		return fmt.Errorf("%w: %d", ErrVersion, b[0])
	}
	if len(b) < HeaderSize {
		return malformed("%d bytes are less than a header", len(b))
	}
	le := binary.LittleEndian
	*h = Header{
		Flags:          b[1],
		To:             le.Uint16(b[2:]),
		From:           le.Uint16(b[4:]),
		Cluster:        le.Uint64(b[8:]),
		Incarnation:    le.Uint64(b[16:]),
		Start:          Position{le.Uint64(b[24:]), le.Uint32(b[60:])},
		AckIncarnation: le.Uint64(b[32:]),
		Ack:            Position{le.Uint64(b[40:]), le.Uint32(b[48:])},
		Window:         le.Uint32(b[52:]),
		Count:          le.Uint32(b[56:]),
	}
	switch {
	case h.Flags&^knownFlags != 0:
		return malformed("unknown flags %#x", h.Flags)
	case le.Uint16(b[6:]) != 0:
		return malformed("reserved bytes are not zero")
	case h.Incarnation == 0:
		return malformed("incarnation 0")
	case h.Start.Seq == 0 || h.Start.Seq > 1<<62:
		return malformed("sequence number %d", h.Start.Seq)
	case h.Flags&FlagPiece != 0 && h.Count != 1:
		return malformed("a piece in a frame of %d records", h.Count)
	case h.Flags&FlagPiece == 0 && h.Count > 0 && h.Start.Offset != 0:
		return malformed("an offset without a piece")
	case h.Flags&FlagUrgent != 0 && h.Flags&(FlagResend|FlagPiece|FlagConfirm) != FlagResend:
		return malformed("an urgent frame with flags %#x", h.Flags)
	case h.Flags&FlagConfirm != 0 && h.Flags&FlagResend == 0:
		return malformed("it asks what became of its records, and does not resend")
	}
	if h.Flags&FlagResend != 0 {
		return h.parseResend(b[HeaderSize:])
	}
	return nil
}

// parseResend reads what follows the other fields of h in a frame with FlagResend.
func (h *Header) parseResend(b []byte) error {
	if len(b) < ResendSize {
		return malformed("%d bytes are less than a header with its part for resending", HeaderSize+len(b))
	}
	le := binary.LittleEndian
	h.Resend = Resend{
		Kept:   Position{le.Uint64(b), le.Uint32(b[24:])},
		Wanted: Position{le.Uint64(b[8:]), le.Uint32(b[28:])},
		Held:   Position{le.Uint64(b[16:]), le.Uint32(b[32:])},
	}
	switch {
	case le.Uint32(b[36:]) != 0:
		return malformed("reserved bytes are not zero")
	case h.Kept.Seq == 0 || h.Start.Before(h.Kept):
		return malformed("from %v on it is kept what begins at %v", h.Kept, h.Start)
	}
	return nil
}

// ClusterHash is how a frame names its cluster: the first eight bytes of the
// SHA-256 of the name. It tells clusters apart that meet by mistake; it is no
// secret and authenticates nothing.
func ClusterHash(name string) uint64 {
	sum := sha256.Sum256([]byte(name))
	return binary.LittleEndian.Uint64(sum[:])
}
