package codec

import (
	"encoding/binary"
	"maps"
	"math"
	"reflect"
	"slices"
	"time"
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

// itemWrap is tag 55799, which says of CBOR that it is CBOR: it keeps a pointer to null apart from a null pointer.
const itemWrap = "\xd9\xd9\xf7"

// encoder walks a value by its plan, and charges for memory as the decoder will. The walk is our own, not package cbor's:
// it alone can say at each interface which type is inside, and it was measured to be as fast or faster.
type encoder struct {
	meter
	most int // the longest payload
	end  int // the length of dst at which the payload is as long

	form   form
	second bool // something was written that only receivers of Typed2 know
	inKey  bool // what is written belongs to the key of a map
}

// fits is called before n bytes are appended to b, and between two elements.
func (e *encoder) fits(b []byte, n int) error {
	if n > e.end-len(b) {
		return tooLong(e.most)
	}
	return nil
}

// element is called for each element of what may have many.
func (e *encoder) element(b []byte) error {
	if len(b) > e.end {
		return tooLong(e.most)
	}
	return e.step()
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
	if p.op < opString {
		return scalar(b, v, p.op), nil
	}
	switch p.op {
	case opString, opBytes, opByteArray:
		return e.text(b, v, p.op)
	case opTime:
		return e.time(b, v.Interface().(time.Time))
	case opComplex:
		return appendComplex(b, v), nil
	case opBigInt, opCBOR, opBinary, opGob, opText:
		return e.own(b, v, p)
	case opForms:
		return e.forms(b, v, p, depth)
	case opBad:
		return b, faultf(ErrNotEncodable, "a value of type %v: %s", p.typ, p.bad)
	}
	if depth++; depth > maxDepth {
		return b, faultf(ErrNotEncodable, "nested deeper than %d, or cyclic", maxDepth)
	}
	if err := e.element(b); err != nil {
		return b, err
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
		if err := e.charge(p.elem.size); err != nil {
			return b, err
		}
		at := len(b)
		b, err := e.value(b, v.Elem(), p.elem, depth)
		if err == nil && (b[at] == itemNull || b[at] == itemWrap[0]) {
			return e.wrap(b, at, p.elem.typ)
		}
		return b, err
	case opIface:
		return e.iface(b, v, depth)
	default:
		return e.structure(b, v, p, depth)
	}
}

// text writes a string or bytes.
func (e *encoder) text(b []byte, v reflect.Value, o op) ([]byte, error) {
	if o == opBytes && v.IsNil() {
		return append(b, itemNull), nil
	}
	n := v.Len()
	if err := e.fits(b, n); err != nil {
		return b, err
	}
	if o == opByteArray {
		b = appendHead(b, majorBytes, uint64(n))
		for i := range n {
			b = append(b, byte(v.Index(i).Uint()))
		}
		return b, nil
	}
	if err := e.charge(n); err != nil {
		return b, err
	}
	if o == opString {
		return appendText(b, v.String()), nil
	}
	return append(appendHead(b, majorBytes, uint64(n)), v.Bytes()...), nil
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
	default:
		return binary.BigEndian.AppendUint64(append(b, itemFloat64), math.Float64bits(v.Float()))
	}
}

func (e *encoder) list(b []byte, v reflect.Value, p *plan, depth int) ([]byte, error) {
	n := v.Len()
	if p.op == opSlice {
		if v.IsNil() {
			return append(b, itemNull), nil
		}
		if err := e.chargeTimes(n, p.elem.size); err != nil {
			return b, err
		}
	}
	if err := e.fits(b, n); err != nil {
		return b, err // each element takes a byte at least
	}
	b = appendHead(b, majorArray, uint64(n))
	var err error
	for i := range n {
		if err = e.element(b); err != nil {
			return b, err
		}
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
	n := v.Len()
	if err := e.chargeMap(n, &p.costs); err != nil {
		return b, err
	}
	if err := e.fits(b, n); err != nil {
		return b, err
	}
	b = appendHead(b, majorMap, uint64(n))
	if p.mergeable || e.form.sorted {
		return e.entries(b, v, p, depth)
	}
	var err error
	for it := v.MapRange(); it.Next(); {
		if err = e.element(b); err != nil {
			return b, err
		}
		if b, err = e.value(b, it.Key(), p.key, depth); err != nil {
			return b, err
		}
		if b, err = e.value(b, it.Value(), p.elem, depth); err != nil {
			return b, err
		}
	}
	return b, nil
}

// entries writes the entries of a map whose keys have to be compared with one another.
func (e *encoder) entries(b []byte, v reflect.Value, p *plan, depth int) ([]byte, error) {
	keys := make(map[string]reflect.Value, v.Len())
	end, outer := e.end, e.inKey
	for it := v.MapRange(); it.Next(); {
		e.end, e.inKey = end-len(b), true
		key, err := e.value(nil, it.Key(), p.key, depth)
		e.end, e.inKey = end, outer
		if err != nil {
			return b, err
		}
		if _, taken := keys[string(key)]; taken {
			return b, faultf(ErrNotEncodable, "two keys of a %v would arrive as one", p.typ)
		}
		keys[string(key)] = it.Value()
	}
	inOrder := slices.Collect(maps.Keys(keys))
	if e.form.sorted {
		slices.Sort(inOrder)
	}
	var err error
	for _, key := range inOrder {
		if err = e.element(b); err != nil {
			return b, err
		}
		if err = e.fits(b, len(key)); err != nil {
			return b, err
		}
		b = append(b, key...)
		if b, err = e.value(b, keys[key], p.elem, depth); err != nil {
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
				if fv, ok := f.get(v); ok && !f.omits(fv) {
					n++
				}
			}
		}
		b = appendHead(b, majorMap, uint64(n))
	}
	var err error
	var prev *field // the last that made the decoder set a field
	for _, f := range p.fields {
		fv, ok := f.get(v)
		if p.toArray {
			if !ok {
				b = append(b, itemNull)
				continue
			}
		} else {
			if !ok || p.varying && f.omits(fv) {
				continue
			}
			b = append(b, f.key...)
		}
		if f.plan.op < opString && !f.viaPointer {
			b = scalar(b, fv, f.plan.op) // the short way
			continue
		}
		at := len(b)
		if b, err = e.value(b, fv, f.plan, depth); err != nil {
			return b, inField(err, f.name, p.typ)
		}
		if f.viaPointer {
			if p.toArray && len(b) == at+1 && b[at] == itemNull {
				continue // the decoder steps over a null, and makes nothing on the way to it
			}
			if err := f.chargeVia(&e.meter, prev); err != nil {
				return b, inField(err, f.name, p.typ)
			}
			prev = f
		}
	}
	return b, nil
}

// iface writes what an interface holds so that the receiver gets the same Go type: bare where CBOR alone says which it
// is, boxed with a type expression otherwise.
func (e *encoder) iface(b []byte, v reflect.Value, depth int) ([]byte, error) {
	if e.inKey && v.Elem().Kind() == reflect.Pointer {
		return b, faultf(ErrNotEncodable, "a %v as the key of a map", v.Elem().Type())
	}
	v, err := indirect(v)
	if err != nil {
		return b, err
	}
	if v.Kind() == reflect.Interface {
		return append(b, itemNull), nil
	}
	if err := e.charge(int(v.Type().Size())); err != nil {
		return b, err
	}
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
	if err := e.names(in); err != nil {
		return b, err
	}
	return e.value(append(b, in.boxHead...), v, in.plan, depth)
}

// time writes tag 0. RFC 3339 has four digits of year and whole minutes of offset; a time beyond that is written in
// its binary form.
func (e *encoder) time(b []byte, t time.Time) ([]byte, error) {
	_, offset := t.Zone()
	if err := e.chargeZone(offset); err != nil {
		return b, err
	}
	b = append(b, itemTime)
	if offset%60 == 0 && offset > -24*3600 && offset < 24*3600 && t.Year() >= 0 && t.Year() <= 9999 {
		at := len(b)
		b = append(b, majorText|24, 0)
		b = t.AppendFormat(b, time.RFC3339Nano)
		b[at+1] = byte(len(b) - at - 2)
		return b, nil
	}
	own, err := t.MarshalBinary()
	if err != nil {
		return b, failed("MarshalBinary", timeType, err)
	}
	var back time.Time
	err = back.UnmarshalBinary(own)
	if _, read := back.Zone(); err != nil || read != offset {
		return b, faultf(ErrNotEncodable, "a time with an offset of %d seconds, which package time reads back as %d", offset, read)
	}
	return append(appendHead(b, majorBytes, uint64(len(own))), own...), nil
}
