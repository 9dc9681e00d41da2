// Package wirev1 is a small implementation of version 1 of the wire format, for tests. It
// was written from docs/wire.md and shares nothing with the library, so that a change of
// the library does not change what it is held against.
package wirev1

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	headerSize   = 64
	largestFrame = 262_144
	FirstWindow  = 262_144

	FlagPiece  = 1 // flags
	FlagAckNow = 2
	flagTaking = 4
)

// Deadline is how long a test waits for what must happen, and for all that a server
// that it plays has to receive.
const Deadline = 20 * time.Second

// A Position is a place in the stream from one server to another.
type Position struct {
	Number uint64
	Offset uint32
}

// Before reports whether p comes before q.
func (p Position) Before(q Position) bool {
	return p.Number < q.Number || p.Number == q.Number && p.Offset < q.Offset
}

// A Frame is a frame whose header was read.
type Frame struct {
	Flags            byte
	to, from         uint16
	cluster          [8]byte
	Incarnation      uint64
	start            Position
	AckedIncarnation uint64
	Acked            Position
	window           uint32
	count            uint32
	body             []byte
}

// Bare reports whether the frame has no records.
func (f Frame) Bare() bool { return f.count == 0 }

// ParseFrame reads the header of a frame and checks it.
func ParseFrame(b []byte) (Frame, error) {
	if len(b) < headerSize || len(b) > largestFrame {
		return Frame{}, fmt.Errorf("a frame of %d bytes", len(b))
	}
	le := binary.LittleEndian
	f := Frame{
		Flags: b[1], to: le.Uint16(b[2:]), from: le.Uint16(b[4:]), cluster: [8]byte(b[8:16]), Incarnation: le.Uint64(b[16:]),
		start:            Position{le.Uint64(b[24:]), le.Uint32(b[60:])},
		AckedIncarnation: le.Uint64(b[32:]),
		Acked:            Position{le.Uint64(b[40:]), le.Uint32(b[48:])},
		window:           le.Uint32(b[52:]),
		count:            le.Uint32(b[56:]),
		body:             b[headerSize:],
	}
	switch {
	case b[0] != 1:
		return f, fmt.Errorf("version %d", b[0])
	case f.Flags&^(FlagPiece|FlagAckNow|flagTaking) != 0:
		return f, fmt.Errorf("flags %#x", f.Flags)
	case le.Uint16(b[6:]) != 0:
		return f, errors.New("reserved bytes that are not 0")
	case f.Incarnation == 0:
		return f, errors.New("incarnation 0")
	case f.start.Number < 1 || f.start.Number > 1<<62:
		return f, fmt.Errorf("number %d", f.start.Number)
	case f.Flags&FlagPiece != 0 && f.count != 1:
		return f, fmt.Errorf("a piece with count %d", f.count)
	case f.Flags&FlagPiece == 0 && !f.Bare() && f.start.Offset != 0:
		return f, fmt.Errorf("records at offset %d", f.start.Offset)
	case f.Bare() && len(f.body) != 0:
		return f, fmt.Errorf("a bare frame with %d bytes", len(f.body))
	}
	return f, nil
}

// A Record is one message.
type Record struct {
	Kind    byte
	Id      int64
	Payload []byte
}

// ParseRecord reads the record at the beginning of b. before is the one before it in
// its frame, or nil. rest is what follows; length is that of the whole payload, of which
// b has only a part where the record comes in pieces.
func ParseRecord(b []byte, before *Record) (r Record, length int, rest []byte, err error) {
	if len(b) == 0 {
		return r, 0, nil, errors.New("a record is missing")
	}
	if b[0] >= 128 {
		if before == nil || len(b) < 3 {
			return r, 0, nil, errors.New("a short header at the start of a frame, or cut off")
		}
		return Record{Kind: b[0] - 128, Id: before.Id + 1}, int(binary.LittleEndian.Uint16(b[1:])), b[3:], nil
	}
	if len(b) < 16 {
		return r, 0, nil, fmt.Errorf("a header of %d bytes", len(b))
	}
	if b[1] != 0 || b[2] != 0 || b[3] != 0 {
		return r, 0, nil, errors.New("reserved bytes of a record that are not 0")
	}
	r = Record{Kind: b[0], Id: int64(binary.LittleEndian.Uint64(b[8:]))}
	length = int(binary.LittleEndian.Uint32(b[4:]))
	if length > 1<<30 {
		return r, 0, nil, fmt.Errorf("a payload of %d bytes", length)
	}
	return r, length, b[16:], nil
}

// A Stream reads the frames of one server to another as a receiver of version 1
// does, and tolerates no loss.
type Stream struct {
	Incarnation uint64
	Next        Position
	Records     []Record
	half        *Record // of which pieces are missing
	halfLength  int

	Short, Pieces, bares, Shared int // short headers, pieces, bare frames, frames of several records
}

// Take reads the next frame.
func (s *Stream) Take(f Frame) error {
	if s.Incarnation == 0 {
		s.Incarnation, s.Next = f.Incarnation, Position{1, 0}
	}
	switch {
	case f.Incarnation != s.Incarnation:
		return fmt.Errorf("incarnation %#x after %#x", f.Incarnation, s.Incarnation)
	case f.start != s.Next:
		return fmt.Errorf("a frame at %v, want one at %v", f.start, s.Next)
	case f.Bare():
		s.bares++
		return nil
	case f.Flags&FlagPiece != 0:
		return s.takePiece(f)
	case s.half != nil:
		return errors.New("records between pieces")
	}
	return s.takeRecords(f)
}

func (s *Stream) takeRecords(f Frame) error {
	var before *Record
	b := f.body
	for range f.count {
		r, length, rest, err := ParseRecord(b, before)
		if err != nil {
			return err
		}
		if len(rest) < length {
			return fmt.Errorf("a payload of %d bytes of which there are %d", length, len(rest))
		}
		if b[0] >= 128 {
			s.Short++
		}
		r.Payload = rest[:length]
		b = rest[length:]
		s.Records = append(s.Records, r)
		before = &r
	}
	if len(b) > 0 {
		return fmt.Errorf("%d bytes after the last record", len(b))
	}
	if f.count > 1 {
		s.Shared++
	}
	s.Next = Position{s.Next.Number + uint64(f.count), 0}
	return nil
}

func (s *Stream) takePiece(f Frame) error {
	s.Pieces++
	data := f.body
	if f.start.Offset == 0 {
		r, length, rest, err := ParseRecord(data, nil)
		if err != nil {
			return err
		}
		if len(rest) >= length {
			return errors.New("a first piece that is all")
		}
		s.half, s.halfLength, data = &r, length, rest
	}
	if len(data) == 0 {
		return errors.New("an empty piece")
	}
	s.half.Payload = append(s.half.Payload, data...)
	s.Next.Offset += uint32(len(data))
	switch have := len(s.half.Payload); {
	case have > s.halfLength:
		return fmt.Errorf("%d bytes of a payload of %d", have, s.halfLength)
	case have == s.halfLength:
		s.Records = append(s.Records, *s.half)
		s.half = nil
		s.Next = Position{s.Next.Number + 1, 0}
	}
	return nil
}

// Skip is Take for messages of one size that nobody wants to see.
func (s *Stream) Skip(f Frame, size int) {
	switch {
	case f.Bare():
		s.Next = f.start
	case f.Flags&FlagPiece == 0:
		s.Next = Position{f.start.Number + uint64(f.count), 0}
	case f.start.Offset == 0:
		s.Next = Position{f.start.Number, uint32(len(f.body) - 16)}
	default:
		s.Next.Offset += uint32(len(f.body))
	}
	if int(s.Next.Offset) == size {
		s.Next = Position{s.Next.Number + 1, 0}
	}
}

// Header is that of a frame that acknowledges nothing and has no records.
func Header(cluster string, from, to uint16, incarnation uint64, flags byte, start Position) []byte {
	h := make([]byte, headerSize)
	h[0], h[1] = 1, flags
	hash := ClusterHash(cluster)
	le := binary.LittleEndian
	le.PutUint16(h[2:], to)
	le.PutUint16(h[4:], from)
	copy(h[8:], hash[:])
	le.PutUint64(h[16:], incarnation)
	le.PutUint64(h[24:], start.Number)
	le.PutUint32(h[52:], 1<<20)
	le.PutUint32(h[60:], start.Offset)
	return h
}

// ClusterHash is what a header says of the name of its cluster.
func ClusterHash(name string) [8]byte {
	sum := sha256.Sum256([]byte(name))
	return [8]byte(sum[:8])
}

// Recorded frames are text: a frame is a line of hexadecimal digits, in which minRun or
// more bytes that are the same are written as one and their number ("61*1000"), and
// spaces. Lines that begin with # are remarks.
const minRun = 8

// FormatFrames writes frames as such a text.
func FormatFrames(remark string, frames [][]byte) string {
	var out strings.Builder
	fmt.Fprintf(&out, "# %s\n", remark)
	for _, f := range frames {
		var words []string
		plain := 0 // where the bytes begin that are in no word yet
		flush := func(end int) {
			if end > plain {
				words = append(words, hex.EncodeToString(f[plain:end]))
			}
		}
		for i := 0; i < len(f); {
			run := 1
			for i+run < len(f) && f[i+run] == f[i] {
				run++
			}
			if run >= minRun {
				flush(i)
				words = append(words, fmt.Sprintf("%02x*%d", f[i], run))
				plain = i + run
			}
			i += run
		}
		flush(len(f))
		fmt.Fprintln(&out, strings.Join(words, " "))
	}
	return out.String()
}

// ReadFrames reads the frames of such a file.
func ReadFrames(t testing.TB, path string) (frames [][]byte) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		var frame []byte
		for _, word := range strings.Fields(line) {
			digits, times, _ := strings.Cut(word, "*")
			b, err := hex.DecodeString(digits)
			n := 1
			if err == nil && times != "" {
				n, err = strconv.Atoi(times)
			}
			if err != nil {
				t.Fatalf("%s: %q: %v", path, word, err)
			}
			frame = append(frame, bytes.Repeat(b, n)...)
		}
		frames = append(frames, frame)
	}
	return frames
}
