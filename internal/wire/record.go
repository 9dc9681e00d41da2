package wire

import "encoding/binary"

// Record is one message. Payload aliases the frame it was read from.
type Record struct {
	MsgID   int64
	Kind    uint8
	Payload []byte
}

// AppendRecordHeader appends what PutRecordHeader writes.
func AppendRecordHeader(b []byte, msgID int64, kind uint8, length int) []byte {
	b = append(b, make([]byte, RecordSize)...)
	PutRecordHeader(b[len(b)-RecordSize:], msgID, kind, length)
	return b
}

// shortBit is set in the first byte, the kind, of a record with a short header.
const shortBit = 0x80

// PutRecordHeader writes the head of a record whose payload of length bytes
// follows it. The kind is less than 128.
func PutRecordHeader(b []byte, msgID int64, kind uint8, length int) {
	_ = b[RecordSize-1]
	le := binary.LittleEndian
	le.PutUint32(b, uint32(kind))
	le.PutUint32(b[4:], uint32(length))
	le.PutUint64(b[8:], uint64(msgID))
}

// PutShortHeader is PutRecordHeader for a record that follows another one in its frame,
// whose message id is the next after that one's, and whose payload is of MaxShort bytes at
// most.
func PutShortHeader(b []byte, kind uint8, length int) {
	_ = b[ShortSize-1]
	b[0] = kind | shortBit
	binary.LittleEndian.PutUint16(b[1:], uint16(length))
}

// IsShort reports whether records begin with one that has a short header.
func IsShort(records []byte) bool { return len(records) > 0 && records[0]&shortBit != 0 }

// parseRecordHeader reads the head of a record, one that is not short, from the start of b.
func parseRecordHeader(b []byte) (msgID int64, kind uint8, length int, err error) {
	if len(b) < RecordSize {
		return 0, 0, 0, malformed("%d bytes are less than a record's header", len(b))
	}
	le := binary.LittleEndian
	k, n := le.Uint32(b), le.Uint32(b[4:])
	switch {
	case k&shortBit != 0:
		return 0, 0, 0, malformed("a record without a message id, and none before it")
	case k > 0xff:
		return 0, 0, 0, malformed("record's reserved bytes are not zero")
	}
	if n > MaxPayload {
		return 0, 0, 0, malformed("a payload of %d bytes", n)
	}
	return int64(le.Uint64(b[8:])), uint8(k), int(n), nil
}

// CheckRecords reports whether body, what follows the header of a frame that
// is not a piece, is exactly count records. After it NextRecord cannot fail, so
// that a frame is taken whole or refused whole.
func CheckRecords(body []byte, count uint32) error {
	for i := range count {
		var n int
		if i > 0 && len(body) >= ShortSize && body[0]&shortBit != 0 {
			n = int(binary.LittleEndian.Uint16(body[1:]))
			body = body[ShortSize:]
		} else {
			var err error
			if _, _, n, err = parseRecordHeader(body); err != nil {
				return err
			}
			body = body[RecordSize:]
		}
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

// NextRecord splits the first record off body, which CheckRecords has accepted. The
// record before it, if there is one, has the message id before.
func NextRecord(body []byte, before int64) (r Record, rest []byte) {
	r.MsgID, r.Kind, r.Payload, rest = SplitRecord(body, before)
	return r, rest
}

// SplitRecord is NextRecord for loops that cannot wait: a Record is too large for
// registers, and one that was written field by field is slow to copy.
func SplitRecord(body []byte, before int64) (msgID int64, kind uint8, payload, rest []byte) {
	le := binary.LittleEndian
	if kind = body[0]; kind&shortBit != 0 {
		n := ShortSize + int(le.Uint16(body[1:]))
		return before + 1, kind &^ shortBit, body[ShortSize:n:n], body[n:]
	}
	n := RecordSize + int(le.Uint32(body[4:]))
	return int64(le.Uint64(body[8:])), kind, body[RecordSize:n:n], body[n:]
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
