package codec

import (
	"encoding"
	"reflect"

	"github.com/fxamacker/cbor/v2"
)

// bigIntMode reads nothing but integers, of any size.
var bigIntMode = func() cbor.DecMode {
	m, err := cbor.DecOptions{IndefLength: cbor.IndefLengthForbidden, MaxNestedLevels: 4}.DecMode()
	if err != nil {
		panic(err)
	}
	return m
}()

// own gives the item to the methods that the type brings.
func (d *decoder) own(v reflect.Value, o op) error {
	var b []byte
	if o == opCBOR || o == opBigInt {
		at := d.off
		if err := d.skip(0); err != nil {
			return err
		}
		b = d.data[at:d.off:d.off]
	} else {
		if d.null() {
			return nil
		}
		major, _, n, err := d.head()
		if err != nil {
			return err
		}
		if (o == opText && major != majorText) || (o != opText && major != majorBytes) {
			return wrong(v.Type(), major)
		}
		if b, err = d.bytes(n); err != nil {
			return err
		}
	}
	if err := d.chargeOwn(len(b), o); err != nil {
		return err
	}
	var err error
	switch o {
	case opCBOR:
		if err = v.Addr().Interface().(cbor.Unmarshaler).UnmarshalCBOR(b); err != nil {
			if len(b) == 1 && b[0] == itemNull {
				v.SetZero()
				return nil
			}
			return rejected("UnmarshalCBOR", v.Type(), len(b), err)
		}
	case opBigInt:
		if err = bigIntMode.Unmarshal(b, v.Addr().Interface()); err != nil {
			return faultf(ErrMalformed, "an item of %d bytes that is no integer", len(b))
		}
	case opGob:
		if err = v.Addr().Interface().(gobDecoder).GobDecode(b[:len(b):len(b)]); err != nil {
			return rejected("GobDecode", v.Type(), len(b), err)
		}
	case opText:
		if err = v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(b[:len(b):len(b)]); err != nil {
			return rejected("UnmarshalText", v.Type(), len(b), err)
		}
	default:
		return readBinary(v.Addr(), b)
	}
	return nil
}

func readBinary(p reflect.Value, b []byte) error {
	if err := p.Interface().(encoding.BinaryUnmarshaler).UnmarshalBinary(b[:len(b):len(b)]); err != nil {
		return rejected("UnmarshalBinary", p.Type().Elem(), len(b), err)
	}
	return nil
}
