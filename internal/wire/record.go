package wire

import "encoding/binary"

// Record is one message. Payload aliases the frame it was read from.
type Record struct {
	MsgID   int64
	Kind    uint8
	Payload []byte
}

// PutRecordHeader writes the head of a record whose payload of length bytes
// follows it.
func PutRecordHeader(b []byte, msgID int64, kind uint8, length int) {
	_ = b[RecordSize-1]
	le := binary.LittleEndian
	le.PutUint64(b, uint64(msgID))
	le.PutUint32(b[8:], uint32(kind))
	le.PutUint32(b[12:], uint32(length))
}

// parseRecordHeader reads the head of a record from the start of b.
func parseRecordHeader(b []byte) (msgID int64, kind uint8, length int, err error) {
	if len(b) < RecordSize {
		return 0, 0, 0, malformed("%d bytes are less than a record's header", len(b))
	}
	le := binary.LittleEndian
	k, n := le.Uint32(b[8:]), le.Uint32(b[12:])
	if k > 0xff {
		return 0, 0, 0, malformed("record's reserved bytes are not zero")
	}
	if n > MaxPayload {
		return 0, 0, 0, malformed("a payload of %d bytes", n)
	}
	return int64(le.Uint64(b)), uint8(k), int(n), nil
}

// CheckRecords reports whether body, what follows the header of a frame that
// is not a piece, is exactly count records. After it NextRecord cannot fail, so
// that a frame is taken whole or refused whole.
func CheckRecords(body []byte, count uint32) error {
	for i := range count {
		_, _, n, err := parseRecordHeader(body)
		if err != nil {
			return err
		}
		body = body[RecordSize:]
		if n > len(body) {
			return malformed("record %d of %d announces %d bytes, and %d are left", i+1, count, n, len(body))
		}
		body = body[n:]
	}
	if len(body) != 0 {
		return malformed("%d bytes after the last record", len(body))
	}
	return nil
}

// NextRecord splits the first record off body, which CheckRecords has accepted.
func NextRecord(body []byte) (r Record, rest []byte) {
	r.MsgID, r.Kind, r.Payload, rest = SplitRecord(body)
	return r, rest
}

// SplitRecord is NextRecord for loops that cannot wait: a Record is too large for
// registers, and one that was written field by field is slow to copy.
func SplitRecord(body []byte) (msgID int64, kind uint8, payload, rest []byte) {
	le := binary.LittleEndian
	n := RecordSize + int(le.Uint32(body[12:]))
	return int64(le.Uint64(body)), body[8], body[RecordSize:n:n], body[n:]
}

// Piece is what a frame with FlagPiece carries.
type Piece struct {
	// MsgID, Kind and Total describe the record; they come with the piece at
	// offset 0 only.
	MsgID int64
	Kind  uint8
	Total int
	Data  []byte // aliases the frame
}

// ParsePiece reads a piece that begins at offset from what follows the header of
// its frame, which the sender may have split into body and tail.
func ParsePiece(body, tail []byte, offset uint32) (Piece, error) {
	var p Piece
	if offset == 0 {
		if len(body) < RecordSize {
			body, tail = Join(body, tail), nil
		}
		var err error
		if p.MsgID, p.Kind, p.Total, err = parseRecordHeader(body); err != nil {
			return p, err
		}
		body = body[RecordSize:]
	}
	p.Data = Join(body, tail)
	switch {
	case len(p.Data) == 0:
		return p, malformed("an empty piece")
	case offset == 0 && len(p.Data) >= p.Total:
		return p, malformed("a first piece of %d bytes of %d", len(p.Data), p.Total)
	}
	return p, nil
}

// ParseSplit reads the one record of a frame that its sender has split between
// the record's header and its payload, which the result aliases. It reports
// false for a frame that is split elsewhere.
func ParseSplit(body, tail []byte, count uint32) (Record, bool) {
	if count != 1 || len(body) != RecordSize {
		return Record{}, false
	}
	id, kind, n, err := parseRecordHeader(body)
	return Record{id, kind, tail}, err == nil && n == len(tail)
}

// Join returns a and b in a row, and copies only if it must.
func Join(a, b []byte) []byte {
	switch {
	case len(b) == 0:
		return a
	case len(a) == 0:
		return b
	}
	return append(a[:len(a):len(a)], b...)
}
