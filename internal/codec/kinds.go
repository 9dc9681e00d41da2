package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"unsafe"
)

// Kind says how a payload is to be read. The numbers go on the wire and never change. Integers and floats are
// little-endian; Int and Uint take 8 bytes whatever the machine's word is, and a receiver whose word cannot hold the
// value refuses it.
type Kind uint8

// The kinds. Nil, False, True and NilBytes have an empty payload.
const (
	Invalid  Kind = 0 // never sent
	Nil      Kind = 1
	False    Kind = 2
	True     Kind = 3
	Int      Kind = 4  // 8 bytes
	Int8     Kind = 5  // 1 byte
	Int16    Kind = 6  // 2 bytes
	Int32    Kind = 7  // 4 bytes
	Int64    Kind = 8  // 8 bytes
	Uint     Kind = 9  // 8 bytes
	Uint8    Kind = 10 // 1 byte
	Uint16   Kind = 11 // 2 bytes
	Uint32   Kind = 12 // 4 bytes
	Uint64   Kind = 13 // 8 bytes
	Float32  Kind = 14 // IEEE 754, 4 bytes
	Float64  Kind = 15 // IEEE 754, 8 bytes
	String   Kind = 16 // the bytes themselves, any
	Bytes    Kind = 17 // the bytes themselves; arrives as a []byte that is not nil
	NilBytes Kind = 18 // a nil []byte
	Typed    Kind = 19 // head with a type expression, then CBOR
	Binary   Kind = 20 // head with a type expression, then the type's own binary form
	Typed2   Kind = 21 // as Typed, with types in it that have two forms, in that of today (forms.go)
)

var kindNames = [...]string{
	"invalid", "nil", "false", "true", "int", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16", "uint32",
	"uint64", "float32", "float64", "string", "bytes", "nil bytes", "typed", "binary",
	"typed 2", "request", "reply", "failure",
}

// String names the kind for messages to people.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Blob returns the payload of a []byte or string without copying it: it shares v's memory, so it is to be read only.
// For any other value ok is false.
func Blob(v any) (payload []byte, kind Kind, ok bool) {
	switch v := v.(type) {
	case []byte:
		if v == nil {
			return nil, NilBytes, true
		}
		return v, Bytes, true
	case string:
		return unsafe.Slice(unsafe.StringData(v), len(v)), String, true
	}
	return nil, Invalid, false
}

// A Written is a message that arrives as a []byte, which Append writes behind what b has. Where those are no more than Size bytes, and many, they are in
// memory that the library uses again. It is for what would be encoded into memory of its own for each message otherwise. Calls and replies cannot
// carry it. The module raft/hashicorp, which has versions of its own, is built on it: it stays as it is.
type Written struct {
	Size   int
	Append func(b []byte) []byte
}

// appendBasic encodes the values that have a kind of their own. It leaves dst alone when ok is false; the kind is then Invalid
// if v has none, and otherwise v is text or bytes of more than most bytes.
func appendBasic(dst []byte, v any, most int) (b []byte, k Kind, ok bool) {
	le := binary.LittleEndian
	switch v := v.(type) {
	case nil:
		return dst, Nil, true
	case bool:
		if v {
			return dst, True, true
		}
		return dst, False, true
	case int:
		return le.AppendUint64(dst, uint64(v)), Int, true
	case int8:
		return append(dst, byte(v)), Int8, true
	case int16:
		return le.AppendUint16(dst, uint16(v)), Int16, true
	case int32:
		return le.AppendUint32(dst, uint32(v)), Int32, true
	case int64:
		return le.AppendUint64(dst, uint64(v)), Int64, true
	case uint:
		return le.AppendUint64(dst, uint64(v)), Uint, true
	case uint8:
		return append(dst, v), Uint8, true
	case uint16:
		return le.AppendUint16(dst, v), Uint16, true
	case uint32:
		return le.AppendUint32(dst, v), Uint32, true
	case uint64:
		return le.AppendUint64(dst, v), Uint64, true
	case float32:
		return le.AppendUint32(dst, math.Float32bits(v)), Float32, true
	case float64:
		return le.AppendUint64(dst, math.Float64bits(v)), Float64, true
	case string:
		if len(v) > most {
			return dst, String, false
		}
		return append(dst, v...), String, true
	case []byte:
		switch {
		case v == nil:
			return dst, NilBytes, true
		case len(v) > most:
			return dst, Bytes, false
		}
		return append(dst, v...), Bytes, true
	}
	return dst, Invalid, false
}

// hasOwnKind reports whether appendBasic takes values of type t.
func hasOwnKind(t reflect.Type) bool {
	if t == bytesType {
		return true
	}
	switch t.Kind() {
	case reflect.Complex64, reflect.Complex128, reflect.Uintptr:
		return false
	}
	return t.PkgPath() == "" && t.Name() != "" && basicTypes[t.Name()] == t
}

// sizes holds the exact payload length of each kind that has one, and -1 for the others.
var sizes = [...]int{
	Invalid: -1, Nil: 0, False: 0, True: 0, Int: 8, Int8: 1, Int16: 2, Int32: 4, Int64: 8, Uint: 8, Uint8: 1,
	Uint16: 2, Uint32: 4, Uint64: 8, Float32: 4, Float64: 8, String: -1, Bytes: -1, NilBytes: 0, Typed: -1, Binary: -1, Typed2: -1,
}

func decodeBasic(kind Kind, p []byte, alias bool) (any, error) {
	if int(kind) >= len(sizes) || kind == Invalid {
		return nil, faultf(ErrMalformed, "unknown kind %d", uint8(kind))
	}
	if n := sizes[kind]; n >= 0 && len(p) != n {
		return nil, faultf(ErrMalformed, "%v takes %d bytes, got %d", kind, n, len(p))
	}
	le := binary.LittleEndian
	switch kind {
	case Nil:
		return nil, nil
	case False:
		return false, nil
	case True:
		return true, nil
	case Int:
		n := int64(le.Uint64(p))
		if int64(int(n)) != n {
			return nil, faultf(ErrMalformed, "%d does not fit an int of this machine", n)
		}
		return int(n), nil
	case Int8:
		return int8(p[0]), nil
	case Int16:
		return int16(le.Uint16(p)), nil
	case Int32:
		return int32(le.Uint32(p)), nil
	case Int64:
		return int64(le.Uint64(p)), nil
	case Uint:
		n := le.Uint64(p)
		if uint64(uint(n)) != n {
			return nil, faultf(ErrMalformed, "%d does not fit a uint of this machine", n)
		}
		return uint(n), nil
	case Uint8:
		return p[0], nil
	case Uint16:
		return le.Uint16(p), nil
	case Uint32:
		return le.Uint32(p), nil
	case Uint64:
		return le.Uint64(p), nil
	case Float32:
		return math.Float32frombits(le.Uint32(p)), nil
	case Float64:
		return math.Float64frombits(le.Uint64(p)), nil
	case String:
		return string(p), nil
	case NilBytes:
		return []byte(nil), nil
	default: // Bytes
		if alias && p != nil {
			return p[:len(p):len(p)], nil
		}
		return append([]byte{}, p...), nil
	}
}
