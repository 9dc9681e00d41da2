package codec

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"math"
	"math/big"
	"reflect"

	"github.com/fxamacker/cbor/v2"
)

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

// own writes what the type's own methods make of the value, and a big.Int as package cbor has it: as an integer, or with
// tag 2 or 3.
func (e *encoder) own(b []byte, v reflect.Value, p *plan) ([]byte, error) {
	own, err := ownForm(v, p)
	if err != nil {
		return b, err
	}
	if err := e.fits(b, len(own)); err != nil {
		return b, err
	}
	if err := e.chargeOwn(len(own), p.op); err != nil {
		return b, err
	}
	if err := p.verified(v, own); err != nil {
		return b, err
	}
	switch p.op {
	case opText:
		b = appendHead(b, majorText, uint64(len(own)))
	case opBinary, opGob:
		b = appendHead(b, majorBytes, uint64(len(own)))
	}
	return append(b, own...), nil
}

func ownForm(v reflect.Value, p *plan) ([]byte, error) {
	switch p.op {
	case opBigInt:
		n := v.Interface().(big.Int)
		own, err := cbor.Marshal(&n)
		if err != nil {
			return nil, failed("encoding", v.Type(), err)
		}
		return own, nil
	case opCBOR:
		own, err := receiver(v, marshalCBOR.iface).(cbor.Marshaler).MarshalCBOR()
		if err != nil {
			return nil, failed("MarshalCBOR", v.Type(), err)
		}
		d := decoder{data: own}
		if err := d.skip(0); err != nil || d.off != len(own) {
			return nil, faultf(ErrNotEncodable, "MarshalCBOR of %v wrote %d bytes that are not one item of definite length",
				v.Type(), len(own))
		}
		return own, nil
	case opGob:
		own, err := receiver(v, gobEncode.iface).(gobEncoder).GobEncode()
		if err != nil {
			return nil, failed("GobEncode", v.Type(), err)
		}
		return own, nil
	case opText:
		own, err := receiver(v, marshalText.iface).(encoding.TextMarshaler).MarshalText()
		if err != nil {
			return nil, failed("MarshalText", v.Type(), err)
		}
		return own, nil
	default:
		return appendBinary(nil, v, p)
	}
}

// binary writes a value that is the whole message, in its own binary form.
func (e *encoder) binary(b []byte, v reflect.Value, p *plan) ([]byte, error) {
	at := len(b)
	b, err := appendBinary(b, v, p)
	if err != nil {
		return b, err
	}
	if err := e.fits(b, 0); err != nil {
		return b, err
	}
	if err := e.charge(len(b) - at); err != nil {
		return b, err
	}
	return b, p.verified(v, b[at:])
}

// appendBinary appends the type's own binary form without a head.
func appendBinary(b []byte, v reflect.Value, p *plan) ([]byte, error) {
	if p.appends {
		own, err := receiver(v, appendsBinary.iface).(encoding.BinaryAppender).AppendBinary(b)
		if err != nil {
			return b, failed("AppendBinary", v.Type(), err)
		}
		if !bytes.HasPrefix(own, b) {
			return b, faultf(ErrNotEncodable, "AppendBinary of %v does not append", v.Type())
		}
		b = own
	} else {
		own, err := receiver(v, marshalBinary.iface).(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil {
			return b, failed("MarshalBinary", v.Type(), err)
		}
		b = append(b, own...)
	}
	return b, nil
}

// verified reads back what the methods of a type have made of v, and returns an error if that is another value: text is
// made for people first, and leaves out what they do not need to see. A regexp.Regexp forgets so that it is a POSIX one.
// Most types are not asked.
func (p *plan) verified(v reflect.Value, own []byte) error {
	if !p.verify {
		return nil
	}
	back := reflect.New(p.typ)
	var err error
	if p.op == opText {
		err = back.Interface().(encoding.TextUnmarshaler).UnmarshalText(bytes.Clone(own))
	} else {
		err = back.Interface().(encoding.BinaryUnmarshaler).UnmarshalBinary(bytes.Clone(own))
	}
	if err != nil {
		return failed("reading back what it wrote", p.typ, err)
	}
	if !equalValues(v, back.Elem()) {
		return faultf(ErrNotEncodable, "what the methods of %v write of this value reads back as another value", p.typ)
	}
	return nil
}

// equalValues compares by the type's method Equal, if it has one, and otherwise all there is.
func equalValues(a, b reflect.Value) bool {
	m := a.MethodByName("Equal")
	if m.IsValid() && m.Type().NumIn() == 1 && m.Type().In(0) == b.Type() && m.Type().NumOut() == 1 && m.Type().Out(0) == boolType {
		return m.Call([]reflect.Value{b})[0].Bool()
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// appendComplex writes an array of the real and the imaginary part.
func appendComplex(b []byte, v reflect.Value) []byte {
	b = append(b, majorArray|2)
	for _, part := range [2]float64{real(v.Complex()), imag(v.Complex())} {
		if v.Kind() == reflect.Complex64 {
			b = binary.BigEndian.AppendUint32(append(b, itemFloat32), math.Float32bits(float32(part)))
		} else {
			b = binary.BigEndian.AppendUint64(append(b, itemFloat64), math.Float64bits(part))
		}
	}
	return b
}
