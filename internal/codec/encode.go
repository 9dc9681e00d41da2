package codec

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// The major types of CBOR, in the upper three bits of an item's first byte, and the few items used whole.
const (
	majorUint     = 0 << 5
	majorNegative = 1 << 5
	majorBytes    = 2 << 5
	majorText     = 3 << 5
	majorArray    = 4 << 5
	majorMap      = 5 << 5
	majorTag      = 6 << 5
	majorOther    = 7 << 5

	itemFalse   = 0xf4
	itemTrue    = 0xf5
	itemNull    = 0xf6
	itemFloat16 = 0xf9
	itemFloat32 = 0xfa
	itemFloat64 = 0xfb

	itemTime  = majorTag      // tag 0, a date and time
	itemEpoch = majorTag | 1  // tag 1, seconds since 1970; taken, never sent
	tagBox    = majorTag | 24 // with boxNumber: tag 27, a serialised object: [type expression, value]
	boxNumber = 27
)

// encoder walks a value by its plan, and charges for memory as the decoder will. The walk is our own, not package cbor's:
// it alone can say at each interface which type is inside, and it was measured to be as fast or faster.
type encoder struct {
	start int  // where in dst the payload begins
	cost  int  // what decoding will allocate, besides the bytes of strings and the like
	full  bool // write fields that their tags let be omitted
}

// root encodes a whole value. Where many omitted fields make the receiver allocate more than the payload's length allows, it
// writes them out after all: they arrive as the same zero values.
func (e *encoder) root(dst []byte, v reflect.Value, p *plan, cost int) ([]byte, error) {
	at := len(dst)
	for {
		e.cost = cost
		b, err := e.value(dst, v, p, 0)
		if err != nil || e.cost <= (allocFactor*(len(b)-e.start)+allocSlack)/2 {
			return b, err
		}
		if e.full {
			return dst, fmt.Errorf("%w: %v would take %d bytes in memory out of %d on the wire (large fields that are not sent?)",
				ErrNotEncodable, p.typ, e.cost, len(b)-e.start)
		}
		e.full, dst = true, b[:at]
	}
}

func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= math.MaxUint8:
		return append(b, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

func appendInt(b []byte, n int64) []byte {
	if n < 0 {
		return appendHead(b, majorNegative, uint64(-1-n))
	}
	return appendHead(b, majorUint, uint64(n))
}

func appendText(b []byte, s string) []byte {
	return append(appendHead(b, majorText, uint64(len(s))), s...)
}

func (e *encoder) value(b []byte, v reflect.Value, p *plan, depth int) ([]byte, error) {
	if p.op < opBytes {
		return scalar(b, v, p.op), nil
	}
	switch p.op {
	case opBytes:
		if v.IsNil() {
			return append(b, itemNull), nil
		}
		return append(appendHead(b, majorBytes, uint64(v.Len())), v.Bytes()...), nil
	case opByteArray:
		b = appendHead(b, majorBytes, uint64(v.Len()))
		for i := range v.Len() {
			b = append(b, byte(v.Index(i).Uint()))
		}
		return b, nil
	case opTime:
		return appendTime(b, v.Interface().(time.Time))
	case opBigInt:
		return appendBigInt(b, v.Interface().(big.Int))
	case opCBOR, opBinary, opText:
		return appendOwn(b, v, p.op)
	case opBad:
		return b, fmt.Errorf("%w: a value of type %v", ErrNotEncodable, p.typ)
	}
	if depth++; depth > maxDepth {
		return b, fmt.Errorf("%w: nested deeper than %d, or cyclic", ErrNotEncodable, maxDepth)
	}
	if len(b)-e.start > maxEncoded {
		return b, fmt.Errorf("%w: more than %d bytes", ErrNotEncodable, maxEncoded)
	}
	switch p.op {
	case opSlice, opArray:
		return e.list(b, v, p, depth)
	case opMap:
		return e.mapping(b, v, p, depth)
	case opPtr:
		if v.IsNil() {
			return append(b, itemNull), nil
		}
		e.cost += int(p.elem.typ.Size())
		return e.value(b, v.Elem(), p.elem, depth)
	case opIface:
		return e.iface(b, v, depth)
	default:
		return e.structure(b, v, p, depth)
	}
}

func scalar(b []byte, v reflect.Value, o op) []byte {
	switch o {
	case opBool:
		if v.Bool() {
			return append(b, itemTrue)
		}
		return append(b, itemFalse)
	case opInt:
		return appendInt(b, v.Int())
	case opUint:
		return appendHead(b, majorUint, v.Uint())
	case opFloat32:
		return binary.BigEndian.AppendUint32(append(b, itemFloat32), math.Float32bits(float32(v.Float())))
	case opFloat64:
		return binary.BigEndian.AppendUint64(append(b, itemFloat64), math.Float64bits(v.Float()))
	default:
		return appendText(b, v.String())
	}
}

func (e *encoder) list(b []byte, v reflect.Value, p *plan, depth int) ([]byte, error) {
	n := v.Len()
	if p.op == opSlice {
		if v.IsNil() {
			return append(b, itemNull), nil
		}
		e.cost += n * int(p.elem.typ.Size())
	}
	b = appendHead(b, majorArray, uint64(n))
	var err error
	for i := range n {
		if b, err = e.value(b, v.Index(i), p.elem, depth); err != nil {
			return b, err
		}
	}
	return b, nil
}

func (e *encoder) mapping(b []byte, v reflect.Value, p *plan, depth int) ([]byte, error) {
	if v.IsNil() {
		return append(b, itemNull), nil
	}
	e.cost += v.Len() * mapEntry(p.typ)
	b = appendHead(b, majorMap, uint64(v.Len()))
	var err error
	for it := v.MapRange(); it.Next(); {
		if b, err = e.value(b, it.Key(), p.key, depth); err != nil {
			return b, err
		}
		if b, err = e.value(b, it.Value(), p.elem, depth); err != nil {
			return b, err
		}
	}
	return b, nil
}

func (e *encoder) structure(b []byte, v reflect.Value, p *plan, depth int) ([]byte, error) {
	if p.toArray {
		b = appendHead(b, majorArray, uint64(len(p.fields)))
	} else {
		n := len(p.fields)
		if p.varying {
			n = 0
			for _, f := range p.fields {
				if fv, ok := f.get(v); ok && (e.full || !f.omits(fv)) {
					n++
				}
			}
		}
		b = appendHead(b, majorMap, uint64(n))
	}
	var err error
	for _, f := range p.fields {
		fv, ok := f.get(v)
		if p.toArray {
			if !ok {
				b = append(b, itemNull)
				continue
			}
		} else {
			if !ok || !e.full && f.omits(fv) {
				continue
			}
			b = append(b, f.key...)
		}
		e.cost += f.viaCost
		if b, err = e.value(b, fv, f.plan, depth); err != nil {
			return b, fmt.Errorf("field %s of %v: %w", f.name, p.typ, err)
		}
	}
	return b, nil
}

// iface writes what an interface holds so that the receiver gets the same Go type: bare where CBOR alone says which it
// is, boxed with a type expression otherwise.
func (e *encoder) iface(b []byte, v reflect.Value, depth int) ([]byte, error) {
	v, err := indirect(v)
	if err != nil {
		return b, err
	}
	if v.Kind() == reflect.Interface {
		return append(b, itemNull), nil
	}
	e.cost += int(v.Type().Size())
	switch v.Type() {
	case boolType, stringType, int64Type, float64Type, timeType:
		return e.value(b, v, planOf(v.Type()), depth)
	case bytesType, anySliceType, anyMapType:
		if !v.IsNil() {
			return e.value(b, v, planOf(v.Type()), depth)
		}
	}
	in, err := infoOf(v.Type())
	if err != nil {
		return b, err
	}
	return e.value(append(b, in.boxHead...), v, in.plan, depth)
}

// appendTime writes tag 0. RFC 3339 has four digits of year and whole minutes of offset; a time beyond that is written in
// its binary form.
func appendTime(b []byte, t time.Time) ([]byte, error) {
	b = append(b, itemTime)
	if _, offset := t.Zone(); offset%60 == 0 && offset > -24*3600 && offset < 24*3600 && t.Year() >= 0 && t.Year() <= 9999 {
		at := len(b)
		b = append(b, majorText|24, 0)
		b = t.AppendFormat(b, time.RFC3339Nano)
		b[at+1] = byte(len(b) - at - 2)
		return b, nil
	}
	own, err := t.MarshalBinary()
	if err != nil {
		return b, fmt.Errorf("%w: %w", ErrNotEncodable, err)
	}
	return append(appendHead(b, majorBytes, uint64(len(own))), own...), nil
}

// appendBigInt leaves the choice between integers and the tags 2 and 3 to package cbor.
func appendBigInt(b []byte, n big.Int) ([]byte, error) {
	own, err := cbor.Marshal(&n)
	if err != nil {
		return b, fmt.Errorf("%w: %w", ErrNotEncodable, err)
	}
	return append(b, own...), nil
}

// receiver returns v as a value that has the methods of its type and of the pointer to it. It copies v if it cannot be
// pointed to.
func receiver(v reflect.Value, iface reflect.Type) any {
	if v.Type().Implements(iface) {
		return v.Interface()
	}
	if !v.CanAddr() {
		p := reflect.New(v.Type())
		p.Elem().Set(v)
		return p.Interface()
	}
	return v.Addr().Interface()
}

// appendOwn writes what the type's own methods make of the value.
func appendOwn(b []byte, v reflect.Value, o op) ([]byte, error) {
	switch o {
	case opCBOR:
		own, err := receiver(v, cborMarshaler).(cbor.Marshaler).MarshalCBOR()
		if err == nil {
			d := decoder{data: own}
			if err = d.skip(0); err == nil && d.off != len(own) {
				err = fmt.Errorf("MarshalCBOR of %v wrote more than one item", v.Type())
			}
		}
		if err != nil {
			return b, fmt.Errorf("%w: %w", ErrNotEncodable, err)
		}
		return append(b, own...), nil
	case opText:
		own, err := receiver(v, textMarshaler).(encoding.TextMarshaler).MarshalText()
		if err != nil {
			return b, fmt.Errorf("%w: %w", ErrNotEncodable, err)
		}
		return append(appendHead(b, majorText, uint64(len(own))), own...), nil
	default:
		own, err := appendBinary(nil, v)
		if err != nil {
			return b, err
		}
		return append(appendHead(b, majorBytes, uint64(len(own))), own...), nil
	}
}

// appendBinary appends the type's own binary form without a head.
func appendBinary(b []byte, v reflect.Value) ([]byte, error) {
	if has(v.Type(), binaryAppender) {
		own, err := receiver(v, binaryAppender).(encoding.BinaryAppender).AppendBinary(b)
		if err != nil {
			return b, fmt.Errorf("%w: %w", ErrNotEncodable, err)
		}
		if !bytes.HasPrefix(own, b) {
			return b, fmt.Errorf("%w: AppendBinary of %v does not append", ErrNotEncodable, v.Type())
		}
		return own, nil
	}
	own, err := receiver(v, binaryMarshaler).(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return b, fmt.Errorf("%w: %w", ErrNotEncodable, err)
	}
	return append(b, own...), nil
}
