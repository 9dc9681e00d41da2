package wire

import "encoding/binary"

const (
	// UndeliveredSize is how many bytes an Undelivered takes.
	UndeliveredSize = 16
	// UndeliveredMost is how many one frame names at most: as many as a frame has records.
	UndeliveredMost = 4096
)

// Undelivered names records in a row that a receiver is done with and has not delivered.
type Undelivered struct {
	From  uint64 // the number of the first
	Count uint32 // at least 1
	Why   Why
}

// Why says why a record was not delivered.
type Why uint8

// The reasons. What a later version adds is read as one that is not known: the record was not delivered.
const (
	WhyUnknown      Why = iota // it may have been delivered
	WhyMalformed               // its pieces were not those of a record
	WhyTooLarge                // it is larger than the largest message
	WhyUnregistered            // of a type that is not registered
	WhyUndecodable             // its kind or type cannot be read from it
	WhyClosed                  // the receiver was being closed
)

// AppendUndelivered appends what follows the header of a frame with FlagConfirm and without records.
func AppendUndelivered(b []byte, all []Undelivered) []byte {
	le := binary.LittleEndian
	for _, u := range all {
		b = le.AppendUint64(b, u.From)
		b = le.AppendUint32(b, u.Count)
		b = append(b, byte(u.Why), 0, 0, 0)
	}
	return b
}

// CheckUndelivered reports whether body, what follows the header of a frame with FlagConfirm and without records, names
// records that were not delivered. After it SplitUndelivered cannot fail.
func CheckUndelivered(body []byte) error {
	le := binary.LittleEndian
	if n := len(body); n == 0 || n%UndeliveredSize != 0 || n > UndeliveredSize*UndeliveredMost {
		return malformed("%d bytes do not name records", n)
	}
	for ; len(body) > 0; body = body[UndeliveredSize:] {
		from, count := le.Uint64(body), le.Uint32(body[8:])
		switch {
		case from == 0 || from > 1<<62 || count == 0:
			return malformed("%d records from number %d on", count, from)
		case body[13] != 0 || body[14] != 0 || body[15] != 0:
			return malformed("reserved bytes are not zero")
		}
	}
	return nil
}

// SplitUndelivered splits the first off body, which CheckUndelivered has accepted and of which something is left.
func SplitUndelivered(body []byte) (u Undelivered, rest []byte) {
	le := binary.LittleEndian
	return Undelivered{le.Uint64(body), le.Uint32(body[8:]), Why(body[12])}, body[UndeliveredSize:]
}
