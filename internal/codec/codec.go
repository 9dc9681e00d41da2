// Package codec turns the Msg of an envelope into a kind and a payload, and back.
//
// Values of Go's basic types have a kind each (kinds.go) and a payload of fixed form. Everything else is
// [Typed], [Typed2] or [Binary]: the payload then begins with a head that says which Go type it is,
//
//	uint16 little-endian   length of the type expression, at most 512
//	bytes                  the type expression (typeexpr.go)
//
// followed by CBOR (RFC 8949) for Typed and Typed2, or by what the type's own MarshalBinary wrote for Binary.
//
// What becomes of a value is said in docs/values.md. The CBOR is definite-length throughout. A struct is a map from field
// name to value (fields.go); an unknown field is skipped, a missing one keeps its zero value. []byte and [N]byte are byte
// strings, a string is a text string (not checked for UTF-8: Go strings need not be), a nil slice, map, pointer or interface
// is null. A complex number is an array of its two parts. A time.Time is tag 0 with RFC 3339 text, or tag 0 with
// MarshalBinary's byte string where the text could not hold it exactly. A type with methods of its own (methods.go) writes
// its own item by MarshalCBOR, a byte string by MarshalBinary or GobEncode, a text string by MarshalText. Typed and Typed2
// differ in types that have two forms (forms.go).
//
// Where the static type is an interface, these are written bare, because they come back as what they were:
// null, bool, string, []byte, int64, float64, time.Time, []any and map[string]any. Any other value is boxed,
// 27([type expression, value]), so that it arrives with its own Go type. A bare integer beyond int64 arrives as
// uint64. A pointer there, as at the top, arrives as the value that it points to, unless only the pointer
// implements the interface.
//
// Depth is counted for each array, map, box and Go pointer, and is at most 256. Decoding charges for what it allocates
// by the cost model (cost.go); the encoder charges in the same way, and refuses what the receiver would have to refuse.
package codec

import (
	"fmt"
	"reflect"
)

// maxDepth bounds the nesting of values, and so the stack that encoding and decoding use.
const maxDepth = 256

// Append encodes v and appends the payload to dst. It never modifies v. On an error dst is returned as it was:
// ErrNotEncodable or ErrUnregistered for what can never be sent like this, ErrTooLarge for what is beyond the limits,
// ErrStopped. It may be called concurrently, as long as nobody changes v meanwhile. It calls methods of the program's
// types, and holds no lock and nothing that others share while it does: a panic in one is an error of the value, and a
// method that ends its goroutine (runtime.Goexit) harms nothing here.
func Append(dst []byte, v any, lim Limits) ([]byte, Kind, error) {
	most := lim.bytes()
	b, k, ok := appendBasic(dst, v, most)
	switch n := len(b) - len(dst); {
	case !ok && k == Invalid:
		return appendTyped(dst, v, lim, form{})
	case !ok || n > most:
		return dst, Invalid, tooLong(most)
	case k.Cost(n) > lim.cost():
		return dst, Invalid, tooCostly(lim.cost())
	}
	return b, k, nil
}

// appendTyped encodes all that has no kind of its own. A panic in a method of the user's is an error of the value.
func appendTyped(dst []byte, v any, lim Limits, f form) (b []byte, k Kind, err error) {
	defer func() {
		if r := recover(); r != nil {
			b, k, err = dst, Invalid, panicked(ErrNotEncodable, fmt.Sprintf("encoding %T", v), r)
		}
	}()
	if b, k, _, err = appendValue(dst, v, lim, f); err != nil {
		return dst, Invalid, located(err)
	}
	return b, k, nil
}

// appendValue also returns what the decoded value costs.
func appendValue(dst []byte, v any, lim Limits, f form) (b []byte, k Kind, cost int, err error) {
	rv, err := indirect(reflect.ValueOf(v))
	if err != nil {
		return dst, Invalid, 0, err
	}
	if rv.Kind() == reflect.Interface {
		return dst, Nil, 0, nil // a pointer to an interface that holds nothing
	}
	if hasOwnKind(rv.Type()) {
		b, k, err = Append(dst, rv.Interface(), lim)
		return b, k, k.Cost(len(b) - len(dst)), err
	}
	in, err := infoOf(rv.Type())
	if err != nil {
		return dst, Invalid, 0, err
	}
	e := encoder{meter: newMeter(lim), most: lim.bytes(), end: len(dst) + lim.bytes(), form: f}
	if err := e.names(in); err != nil {
		return dst, Invalid, 0, err
	}
	if err := e.charge(in.plan.size); err != nil {
		return dst, Invalid, 0, err
	}
	b, k = append(dst, in.head...), Typed
	if in.plan.op == opBinary {
		k = Binary
		b, err = e.binary(b, rv, in.plan)
	} else {
		b, err = e.value(b, rv, in.plan, 0)
	}
	if e.second {
		k = Typed2
	}
	if err == nil {
		err = e.fits(b, 0)
	}
	return b, k, e.cost(), err
}

// indirect follows pointers, and interfaces that these point to, as far as a value. A nil pointer has no value to send, and
// a chain of pointers may be a circle. The result is an interface only if that is nil.
func indirect(v reflect.Value) (reflect.Value, error) {
	for n := 0; v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface; n++ {
		if v.IsNil() && v.Kind() == reflect.Interface {
			return v, nil
		}
		if v.IsNil() {
			return v, faultf(ErrNotEncodable, "nil pointer of type %v (send an untyped nil, or a value)", v.Type())
		}
		if n == maxDepth {
			return v, faultf(ErrNotEncodable, "pointers nest deeper than %d, or are cyclic: %v", maxDepth, v.Type())
		}
		v = v.Elem()
	}
	return v, nil
}

// Decode is the reverse of Append, and returns the cost of the value, too. With alias true the caller hands payload
// over, and a []byte in the result may be part of it; otherwise nothing in the result shares memory with payload. It
// never panics, and whatever the bytes are, it allocates no more than lim.Cost and about as much garbage, and what the
// program's methods do. Of lim, Bytes is not used. Types are those that the sender of the payload has named so far; with
// nil only types are taken that are known anyway. A value that takes more than lim.Cost is ErrTooLarge, a type that the
// program has not registered ErrUnregistered, the end of lim.Stop ErrStopped, any other fault ErrMalformed. What is said
// of the program's methods at Append holds here.
func Decode(kind Kind, payload []byte, alias bool, lim Limits, types *Types) (v any, cost int, err error) {
	if kind != Typed && kind != Typed2 && kind != Binary {
		if v, err = decodeBasic(kind, payload, alias); err == nil {
			if cost = kind.Cost(len(payload)); cost > lim.cost() {
				return nil, 0, tooCostly(lim.cost())
			}
		}
		return v, cost, err
	}
	return decodeTyped(kind, payload, lim, types)
}

func decodeTyped(kind Kind, payload []byte, lim Limits, types *Types) (v any, cost int, err error) {
	defer func() {
		if r := recover(); r != nil {
			v, cost, err = nil, 0, panicked(ErrMalformed, "decoding", r)
		}
	}()
	d := decoder{meter: newMeter(lim), types: types, inFirst: kind == Typed}
	if v, err = d.message(kind, payload); err != nil {
		return nil, 0, err
	}
	return v, d.cost(), nil
}

// message decodes a whole payload.
func (d *decoder) message(kind Kind, payload []byte) (any, error) {
	n, err := exprLen(payload)
	if err != nil {
		return nil, err
	}
	expr, body := payload[2:2+n], payload[2+n:]
	d.data = body
	if kind != Binary {
		in, err := d.resolve(expr)
		if err != nil {
			return nil, err
		}
		return d.root(in)
	}
	in, err := d.resolveName(expr)
	if err != nil {
		return nil, err
	}
	if in.plan.op != opBinary {
		return nil, faultf(ErrMalformed, "%v has no binary form of its own", in.typ)
	}
	if err := d.charge(in.plan.size); err != nil {
		return nil, err
	}
	if err := d.charge(len(body)); err != nil {
		return nil, err
	}
	p := reflect.New(in.typ)
	if err := readBinary(p, body); err != nil {
		return nil, err
	}
	return p.Elem().Interface(), nil
}

// exprLen is the length of the type expression that a Typed or Binary payload begins with, behind two bytes.
func exprLen(payload []byte) (int, error) {
	if len(payload) < 2 {
		return 0, faultf(ErrMalformed, "%d bytes are too short for the head of a typed payload", len(payload))
	}
	n := int(payload[0]) | int(payload[1])<<8
	if n > maxExpr || n > len(payload)-2 {
		return 0, faultf(ErrMalformed, "type expression of %d bytes", n)
	}
	return n, nil
}
