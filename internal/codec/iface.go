package codec

import (
	"fmt"
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
	p, err := d.dynamic(depth)
	if err != nil {
		return err
	}
	switch t := p.Type().Elem(); {
	case t == anyType:
		// A box of an interface holds what the interface held.
		if !p.Elem().IsNil() {
			return assign(v, p.Elem().Elem())
		}
		return nil
	case t.Implements(v.Type()):
		v.Set(p.Elem())
	case p.Type().Implements(v.Type()):
		v.Set(p)
	default:
		return fmt.Errorf("%w: a %v where %v is wanted", ErrMalformed, t, v.Type())
	}
	return nil
}

func assign(iface, v reflect.Value) error {
	if !v.Type().Implements(iface.Type()) {
		return fmt.Errorf("%w: a %v where %v is wanted", ErrMalformed, v.Type(), iface.Type())
	}
	iface.Set(v)
	return nil
}

// dynamic decodes an item of which only the bytes say what type it has. It returns a pointer to the value.
func (d *decoder) dynamic(depth int) (reflect.Value, error) {
	at := d.off
	major, extra, n, err := d.head()
	if err != nil {
		return reflect.Value{}, err
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
			return d.box(depth)
		}
		t = timeType
	default:
		switch {
		case extra == itemFalse&0x1f || extra == itemTrue&0x1f:
			t = boolType
		case extra >= itemFloat16&0x1f && extra <= itemFloat64&0x1f:
			t = float64Type
		default:
			return reflect.Value{}, fmt.Errorf("%w: simple value %d where any type may be", ErrMalformed, n)
		}
	}
	d.off = at
	return d.pointer(t, planOf(t), depth)
}

// box decodes what follows tag 27.
func (d *decoder) box(depth int) (reflect.Value, error) {
	none := reflect.Value{}
	major, _, n, err := d.head()
	if err != nil {
		return none, err
	}
	if major != majorArray || n != 2 {
		return none, fmt.Errorf("%w: tag 27 without an array of two items", ErrMalformed)
	}
	if major, _, n, err = d.head(); err != nil {
		return none, err
	}
	expr, err := d.bytes(n)
	if err != nil {
		return none, err
	}
	if major != majorText {
		return none, fmt.Errorf("%w: tag 27 without a type expression", ErrMalformed)
	}
	in, err := resolve(expr)
	if err != nil {
		return none, err
	}
	return d.pointer(in.typ, in.plan, depth)
}

func (d *decoder) pointer(t reflect.Type, p *plan, depth int) (reflect.Value, error) {
	// The value is copied once more when it goes into the interface.
	if err := d.charge(1, int(t.Size())); err != nil {
		return reflect.Value{}, err
	}
	v := reflect.New(t)
	return v, d.value(v.Elem(), p, depth)
}
