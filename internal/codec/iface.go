package codec

import (
	"reflect"
)

var (
	anySliceType = reflect.TypeFor[[]any]()
	anyMapType   = reflect.TypeFor[map[string]any]()
	int64Type    = reflect.TypeFor[int64]()
	uint64Type   = reflect.TypeFor[uint64]()
	float64Type  = reflect.TypeFor[float64]()
	boolType     = reflect.TypeFor[bool]()
	stringType   = reflect.TypeFor[string]()
)

// iface decodes the next item into an interface: the reverse of the encoder's iface.
func (d *decoder) iface(v reflect.Value, depth int) error {
	if d.null() {
		return nil
	}
	if v.Type() == anyType {
		if x, ok, err := d.untyped(depth); ok || err != nil {
			*v.Addr().Interface().(*any) = x
			return err
		}
	}
	return d.boxed(v, depth)
}

// boxed is iface for an item that is not null, and of any type that may be there.
func (d *decoder) boxed(v reflect.Value, depth int) error {
	made, err := d.dynamic()
	if err != nil {
		return err
	}
	s := made.scratch()
	p := reflect.ValueOf(s)
	if err := d.charge(made.size); err != nil {
		return err
	}
	if err := d.whole(p.Elem(), made, depth); err != nil {
		return err
	}
	switch t := made.typ; {
	case t == anyType:
		// A box of an interface holds what the interface held.
		if !p.Elem().IsNil() {
			return assign(v, p.Elem().Elem())
		}
		return nil
	case t.Implements(v.Type()):
		v.Set(p.Elem()) // copies it
		made.release(s, p.Elem())
	case p.Type().Implements(v.Type()):
		v.Set(p)
	default:
		return faultf(ErrMalformed, "a %v where %v is wanted", t, v.Type())
	}
	return nil
}

func assign(iface, v reflect.Value) error {
	if !v.Type().Implements(iface.Type()) {
		return faultf(ErrMalformed, "a %v where %v is wanted", v.Type(), iface.Type())
	}
	iface.Set(v)
	return nil
}

// dynamic finds out of what type the next item is, where only the bytes say so. What it leaves unread is the value.
func (d *decoder) dynamic() (*plan, error) {
	at := d.off
	major, extra, n, err := d.head()
	if err != nil {
		return nil, err
	}
	var t reflect.Type
	switch major {
	case majorUint:
		if t = int64Type; n > 1<<63-1 {
			t = uint64Type
		}
	case majorNegative:
		t = int64Type
	case majorBytes:
		t = bytesType
	case majorText:
		t = stringType
	case majorArray:
		t = anySliceType
	case majorMap:
		t = anyMapType
	case majorTag:
		if n == boxNumber {
			return d.box()
		}
		t = timeType
	default:
		switch {
		case extra == itemFalse&0x1f || extra == itemTrue&0x1f:
			t = boolType
		case extra >= itemFloat16&0x1f && extra <= itemFloat64&0x1f:
			t = float64Type
		default:
			return nil, faultf(ErrMalformed, "simple value %d where any type may be", n)
		}
	}
	d.off = at
	return planOf(t), nil
}

// box reads what follows tag 27, up to the value.
func (d *decoder) box() (*plan, error) {
	major, _, n, err := d.head()
	if err != nil {
		return nil, err
	}
	if major != majorArray || n != 2 {
		return nil, faultf(ErrMalformed, "tag 27 without an array of two items")
	}
	if major, _, n, err = d.head(); err != nil {
		return nil, err
	}
	expr, err := d.bytes(n)
	if err != nil {
		return nil, err
	}
	if major != majorText {
		return nil, faultf(ErrMalformed, "tag 27 without a type expression")
	}
	in, err := d.resolve(expr)
	if err != nil {
		return nil, err
	}
	return in.plan, nil
}
