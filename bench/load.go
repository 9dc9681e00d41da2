package main

import (
	"encoding/binary"
	"fmt"

	"github.com/abhishekg16/cluster"
	"github.com/fxamacker/cbor/v2"
)

// A load is what the messages are: bytes, all the same, or values, each another.
type load struct {
	name string
	size int // in bytes; 0: values
	// value is the i-th message. encode and decode are for peers that carry bytes.
	value  func(i int64) any
	encode func(v any) []byte
	decode func(b []byte) any
}

var loads = []load{
	{name: "16 B", size: 16},
	{name: "256 B", size: 256},
	{name: "1 KiB", size: 1 << 10},
	{name: "64 KiB", size: 64 << 10},
	{name: "1 MiB", size: 1 << 20},
	{
		name:  "struct",
		value: func(i int64) any { return reading{i, i + 1, i + 2, i + 3} },
		encode: func(v any) []byte {
			b, err := cbor.Marshal(v)
			check(err)
			return b
		},
		decode: func(b []byte) any {
			var r reading
			check(cbor.Unmarshal(b, &r))
			return r
		},
	},
	{
		name:  "struct, own format",
		value: func(i int64) any { return packed{i, i + 1, i + 2, i + 3} },
		encode: func(v any) []byte {
			b, err := v.(packed).AppendBinary(make([]byte, 0, packedSize))
			check(err)
			return b
		},
		decode: func(b []byte) any {
			var p packed
			check(p.UnmarshalBinary(b))
			return p
		},
	},
}

func loadNamed(name string) load {
	for _, l := range loads {
		if l.name == name {
			return l
		}
	}
	panic("no load is named " + name)
}

// reading is a value without a format of its own: CBOR carries it.
type reading struct{ A, B, C, D int64 }

// packed is the same with a format of its own.
type packed struct{ A, B, C, D int64 }

const packedSize = 4 * 8

// AppendBinary implements encoding.BinaryAppender.
func (p packed) AppendBinary(b []byte) ([]byte, error) {
	for _, v := range [...]int64{p.A, p.B, p.C, p.D} {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	return b, nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (p *packed) UnmarshalBinary(b []byte) error {
	if len(b) != packedSize {
		return fmt.Errorf("a packed value has %d bytes, not %d", len(b), packedSize)
	}
	for i, v := range [...]*int64{&p.A, &p.B, &p.C, &p.D} {
		*v = int64(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return nil
}

func init() {
	cluster.Register("bench.reading", reading{})
	cluster.Register("bench.packed", packed{})
}

// sender returns a function that sends the i-th message of the load to a server.
func (l load) sender(e end) func(to int, i int64) {
	switch b := make([]byte, l.size); {
	case l.size > 0 && e.send != nil:
		return func(to int, _ int64) { e.send(to, b) }
	case l.size > 0:
		v := any(b)
		return func(to int, _ int64) { e.sendValue(to, v) }
	case e.send != nil:
		return func(to int, i int64) { e.send(to, l.encode(l.value(i))) }
	default:
		return func(to int, i int64) { e.sendValue(to, l.value(i)) }
	}
}

// receiver returns a function that receives one message of the load, and ends the
// process if it gets another.
func (l load) receiver(e end) func() {
	sized := func(b []byte) {
		if len(b) != l.size {
			fail("a message of %d bytes arrived instead of one of %d", len(b), l.size)
		}
	}
	var first any
	if l.value != nil {
		first = l.value(0)
	}
	valued := func(v any) {
		switch v := v.(type) {
		case reading:
			if r, ok := first.(reading); ok && v.B-v.A == r.B-r.A {
				return
			}
		case packed:
			if p, ok := first.(packed); ok && v.B-v.A == p.B-p.A {
				return
			}
		}
		fail("%#v arrived instead of a value like %#v", v, first)
	}
	switch {
	case l.size > 0 && e.receive != nil:
		return func() { sized(e.receive()) }
	case l.size > 0:
		return func() {
			b, _ := e.receiveValue().([]byte)
			sized(b)
		}
	case e.receive != nil:
		return func() { valued(l.decode(e.receive())) }
	default:
		return func() { valued(e.receiveValue()) }
	}
}
