// Package codec turns the Msg of an envelope into a kind and a payload, and back.
//
// Values of Go's basic types have a kind each (kinds.go) and a payload of fixed form. Everything else is
// [Typed] or [Binary]: the payload then begins with a head that says which Go type it is,
//
//	uint16 little-endian   length of the type expression, at most 512
//	bytes                  the type expression (typeexpr.go)
//
// followed by CBOR (RFC 8949) for Typed, or by what the type's own MarshalBinary wrote for Binary.
//
// The CBOR is definite-length throughout. A struct is a map from field name to value: exported fields only,
// named and omitted by `cbor:` tags, or `json:` tags where there is no other, as in encoding/json; an unknown
// field is skipped, a missing one keeps its zero value. []byte and [N]byte are byte strings, a string is a text
// string (not checked for UTF-8: Go strings need not be), a nil slice, map, pointer or interface is null. A
// time.Time is tag 0 with RFC 3339 text, or tag 0 with MarshalBinary's byte string where the text could not
// hold it exactly. A type with MarshalCBOR and UnmarshalCBOR writes its own item, one with MarshalBinary and
// UnmarshalBinary is a byte string, one with MarshalText and UnmarshalText a text string, in that order of
// preference; a type with one half of such a pair is encoded by its structure.
//
// Where the static type is an interface, these are written bare, because they come back as what they were:
// null, bool, string, []byte, int64, float64, time.Time, []any and map[string]any. Any other value is boxed,
// 27([type expression, value]), so that it arrives with its own Go type. A bare integer beyond int64 arrives as
// uint64. A pointer there, as at the top, arrives as the value that it points to, unless only the pointer
// implements the interface.
//
// Depth is counted for each array, map, box and Go pointer, and is at most 256. Decoding charges what it is about to
// allocate against 64 bytes for each byte of payload plus 64 KiB; the encoder keeps to half of that, so that
// a receiver whose structs have grown still accepts.
package codec

import (
	"errors"
	"fmt"
	"reflect"
)

// The errors a caller can tell apart; what Append and Decode return wraps one of them.
var (
	// ErrUnregistered: a Go type that Register was not told of, at the sender or at the receiver.
	ErrUnregistered = errors.New("cluster: type not registered")
	// ErrMalformed: bytes that are not the encoding of any value, or that ask for more memory than they may.
	ErrMalformed = errors.New("cluster: malformed payload")
	// ErrNotEncodable: a value that no receiver could be given: a channel, a cycle, a typed nil pointer.
	ErrNotEncodable = errors.New("cluster: value cannot be sent")
)

const (
	// maxDepth bounds the nesting of values, and so the stack that encoding and decoding use.
	maxDepth = 256
	// maxEncoded ends the encoding of a value that shares its parts so often that writing it out would not end.
	maxEncoded = 1 << 30
	// allocFactor and allocSlack bound what decoding may allocate by the length of the payload.
	allocFactor = 64
	allocSlack  = 64 << 10
)

// Append encodes v and appends the payload to dst. It never modifies v. On an error dst is returned as it was.
// It may be called concurrently, as long as nobody changes v meanwhile.
func Append(dst []byte, v any) ([]byte, Kind, error) {
	if b, k, ok := appendBasic(dst, v); ok {
		return b, k, nil
	}
	return appendTyped(dst, v)
}

// appendTyped encodes all that has no kind of its own. A panic in a method of the user's is an error of the value.
func appendTyped(dst []byte, v any) (b []byte, k Kind, err error) {
	defer func() {
		if r := recover(); r != nil {
			b, k, err = dst, Invalid, fmt.Errorf("%w: encoding %T panicked: %v", ErrNotEncodable, v, r)
		}
	}()
	rv, err := indirect(reflect.ValueOf(v))
	if err != nil {
		return dst, Invalid, err
	}
	if rv.Kind() == reflect.Interface {
		return dst, Nil, nil // a pointer to an interface that holds nothing
	}
	if hasOwnKind(rv.Type()) {
		b, k, _ = appendBasic(dst, rv.Interface())
		return b, k, nil
	}
	in, err := infoOf(rv.Type())
	if err != nil {
		return dst, Invalid, err
	}
	e := encoder{start: len(dst)}
	b = append(dst, in.head...)
	if in.plan.op == opBinary {
		b, err = appendBinary(b, rv)
		k = Binary
	} else {
		b, err = e.root(b, rv, in.plan, in.rootCost)
		k = Typed
	}
	if err != nil {
		return dst, Invalid, err
	}
	return b, k, nil
}

// indirect follows pointers, and interfaces that these point to, as far as a value. A nil pointer has no value to send, and
// a chain of pointers may be a circle. The result is an interface only if that is nil.
func indirect(v reflect.Value) (reflect.Value, error) {
	for n := 0; v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface; n++ {
		if v.IsNil() && v.Kind() == reflect.Interface {
			return v, nil
		}
		if v.IsNil() {
			return v, fmt.Errorf("%w: nil pointer of type %v (send an untyped nil, or a value)", ErrNotEncodable, v.Type())
		}
		if n == maxDepth {
			return v, fmt.Errorf("%w: pointers nest deeper than %d, or are cyclic: %v", ErrNotEncodable, maxDepth, v.Type())
		}
		v = v.Elem()
	}
	return v, nil
}

// Decode is the reverse of Append. With alias true the caller hands payload over, and a []byte in the result may be
// part of it; otherwise nothing in the result shares memory with payload. It never panics, and allocates no more
// than a bounded multiple of len(payload), whatever the bytes are.
func Decode(kind Kind, payload []byte, alias bool) (any, error) {
	if kind != Typed && kind != Binary {
		return decodeBasic(kind, payload, alias)
	}
	return decodeTyped(kind, payload)
}

func decodeTyped(kind Kind, payload []byte) (v any, err error) {
	defer func() {
		if r := recover(); r != nil {
			v, err = nil, fmt.Errorf("%w: decoding panicked: %v", ErrMalformed, r)
		}
	}()
	in, body, err := splitHead(payload)
	if err != nil {
		return nil, err
	}
	if kind == Binary {
		if in.plan.op != opBinary {
			return nil, fmt.Errorf("%w: %v has no binary form of its own", ErrMalformed, in.typ)
		}
		p := reflect.New(in.typ)
		if err := unmarshalBinary(p, body); err != nil {
			return nil, err
		}
		return p.Elem().Interface(), nil
	}
	d := decoder{data: body, budget: allocFactor*len(payload) + allocSlack}
	return d.root(in)
}

// splitHead reads the type expression that a Typed or Binary payload begins with.
func splitHead(payload []byte) (*info, []byte, error) {
	if len(payload) < 2 {
		return nil, nil, fmt.Errorf("%w: %d bytes are too short for the head of a typed payload", ErrMalformed, len(payload))
	}
	n := int(payload[0]) | int(payload[1])<<8
	if n > maxExpr || n > len(payload)-2 {
		return nil, nil, fmt.Errorf("%w: type expression of %d bytes", ErrMalformed, n)
	}
	in, err := resolve(payload[2 : 2+n])
	return in, payload[2+n:], err
}
