//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
)

// A message tells all that is needed to judge its delivery. Life is of its sender, by
// the driver's count; a stream is one sending goroutine of it, and number counts from 1
// what that has sent to one destination.
type message struct {
	from, to int
	life     uint32
	stream   uint16
	number   uint64
	at       int64 // when it was handed over; see now
}

// headBytes is the smallest message: a checksum, and the fields.
const headBytes = 40

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode makes the payload, of size bytes, and returns its checksum too.
func (m message) encode(size int) ([]byte, uint32) {
	b := make([]byte, max(size, headBytes))
	le := binary.LittleEndian
	le.PutUint16(b[4:], uint16(m.from))
	le.PutUint16(b[6:], uint16(m.to))
	le.PutUint32(b[8:], m.life)
	le.PutUint16(b[12:], m.stream)
	le.PutUint32(b[14:], uint32(len(b)))
	le.PutUint64(b[18:], m.number)
	le.PutUint64(b[26:], uint64(m.at))
	// The rest need not be random through and through: a shift of it has to show.
	random := rand.New(rand.NewPCG(m.number, uint64(m.life)))
	for i := headBytes; i < len(b); i += 512 {
		b[i] = byte(random.Uint32())
	}
	sum := crc32.Checksum(b[4:], castagnoli)
	le.PutUint32(b, sum)
	return b, sum
}

var errCorrupt = errors.New("its checksum is wrong")

// decode reads a payload, and returns its checksum as it is.
func decode(b []byte) (message, uint32, error) {
	if len(b) < headBytes {
		return message{}, 0, errCorrupt
	}
	le := binary.LittleEndian
	m := message{
		from: int(le.Uint16(b[4:])), to: int(le.Uint16(b[6:])), life: le.Uint32(b[8:]),
		stream: le.Uint16(b[12:]), number: le.Uint64(b[18:]), at: int64(le.Uint64(b[26:])),
	}
	sum := crc32.Checksum(b[4:], castagnoli)
	if sum != le.Uint32(b) || int(le.Uint32(b[14:])) != len(b) {
		return m, sum, errCorrupt
	}
	return m, sum, nil
}
