package codec

import (
	"reflect"
)

// decoder reads data by the plan of the wanted type.
type decoder struct {
	meter
	data  []byte
	off   int
	types *Types // of who has sent data; nil if it may name no new ones

	keys     *[keptKeys]string // of maps, see mapKey
	keysRead int

	inFirst bool // types that have two forms may be in their first, see forms.go
}

var errTruncated = faultf(ErrMalformed, "truncated")

// root decodes the whole of data as one item. Package reflect needs a pointer to decode into and the caller wants a value,
// so that pointer is used again where nobody can have kept it.
func (d *decoder) root(in *info) (any, error) {
	if err := d.charge(in.plan.size); err != nil {
		return nil, err
	}
	p := in.plan.scratch()
	v := reflect.ValueOf(p).Elem()
	if err := d.whole(v, in.plan, 0); err != nil {
		return nil, err
	}
	if d.off != len(d.data) {
		return nil, faultf(ErrMalformed, "%d bytes after the value", len(d.data)-d.off)
	}
	out := v.Interface()
	in.plan.release(p, v)
	return out, nil
}

// maxSpare is the size of the largest value that is decoded into memory that is used again.
const maxSpare = 4 << 10

// scratch returns a pointer to a zero value to decode into.
func (p *plan) scratch() any {
	if p.inert && p.size <= maxSpare {
		if s := p.spare.Get(); s != nil {
			return s
		}
	}
	return reflect.New(p.typ).Interface()
}

// release takes a scratch back whose value v has been copied.
func (p *plan) release(s any, v reflect.Value) {
	if p.inert && p.size <= maxSpare {
		v.SetZero()
		p.spare.Put(s)
	}
}

// head reads an item's first byte and the number that belongs to it. Indefinite lengths are refused.
func (d *decoder) head() (major, extra byte, n uint64, err error) {
	if d.off >= len(d.data) {
		return 0, 0, 0, errTruncated
	}
	c := d.data[d.off]
	d.off++
	major, extra = c&0xe0, c&0x1f
	if extra < 24 {
		return major, extra, uint64(extra), nil
	}
	if extra > 27 {
		return 0, 0, 0, faultf(ErrMalformed, "item 0x%02x (indefinite length or reserved)", c)
	}
	size := 1 << (extra - 24)
	if len(d.data)-d.off < size {
		return 0, 0, 0, errTruncated
	}
	for _, c := range d.data[d.off : d.off+size] {
		n = n<<8 | uint64(c)
	}
	d.off += size
	return major, extra, n, nil
}

// bytes returns the next n bytes of data, not copied.
func (d *decoder) bytes(n uint64) ([]byte, error) {
	if n > uint64(len(d.data)-d.off) {
		return nil, errTruncated
	}
	b := d.data[d.off : d.off+int(n)]
	d.off += int(n)
	return b, nil
}

// count checks a number of items, of which each takes a byte at least.
func (d *decoder) count(n uint64) (int, error) {
	if n > uint64(len(d.data)-d.off) {
		return 0, errTruncated
	}
	return int(n), nil
}

// null steps over a null, if that is next.
func (d *decoder) null() bool {
	if d.off < len(d.data) && d.data[d.off] == itemNull {
		d.off++
		return true
	}
	return false
}

// skip steps over one item of any form.
func (d *decoder) skip(depth int) error {
	if depth > maxDepth {
		return faultf(ErrMalformed, "nested deeper than %d", maxDepth)
	}
	if err := d.step(); err != nil {
		return err
	}
	major, extra, n, err := d.head()
	if err != nil {
		return err
	}
	switch major {
	case majorBytes, majorText:
		_, err = d.bytes(n)
		return err
	case majorTag:
		return d.skip(depth + 1)
	case majorArray, majorMap:
		items, err := d.count(n)
		if err != nil {
			return err
		}
		if major == majorMap {
			items *= 2
		}
		for range items {
			if err := d.skip(depth + 1); err != nil {
				return err
			}
		}
	case majorOther:
		if extra == 24 && n < 32 {
			return faultf(ErrMalformed, "simple value %d in two bytes", n)
		}
	}
	return nil
}

// wrong is the error for an item that does not fit the type. It says little, since hostile input makes many of them.
func wrong(t reflect.Type, major byte) error {
	return faultf(ErrMalformed, "item of CBOR major type %d for a value of type %v", major>>5, t)
}

// whole is value for an item whose own type expression says what it is, so that null must be a value of that type.
func (d *decoder) whole(v reflect.Value, p *plan, depth int) error {
	if d.atNull() {
		switch v.Kind() {
		case reflect.Slice, reflect.Map, reflect.Interface:
		default:
			if p.op != opCBOR {
				return wrong(p.typ, majorOther)
			}
		}
	}
	return d.value(v, p, depth)
}

// value decodes the next item into v, which is settable and zero. Null is the zero value of every type, so that a field may
// be changed from a pointer to what it points to; a type with MarshalCBOR is asked first.
func (d *decoder) value(v reflect.Value, p *plan, depth int) error {
	if p.op < opBytes {
		return d.scalar(v, p)
	}
	if p.op < opCBOR && d.null() { // all up to opComplex
		return nil
	}
	switch p.op {
	case opBytes, opByteArray:
		return d.byteString(v, p)
	case opTime:
		return d.timeInto(v)
	case opComplex:
		return d.complex(v, p)
	case opCBOR, opBinary, opGob, opText, opBigInt:
		return d.own(v, p.op)
	case opForms:
		return d.forms(v, p, depth)
	case opBad:
		return faultf(ErrMalformed, "a value of type %v: %s", p.typ, p.bad)
	}
	if depth++; depth > maxDepth {
		return faultf(ErrMalformed, "nested deeper than %d", maxDepth)
	}
	if err := d.step(); err != nil {
		return err
	}
	switch p.op {
	case opSlice, opArray:
		return d.list(v, p, depth)
	case opMap:
		return d.mapping(v, p, depth)
	case opPtr:
		if d.null() {
			return nil
		}
		if err := d.charge(p.elem.size); err != nil {
			return err
		}
		v.Set(reflect.New(p.elem.typ))
		d.unwrap()
		return d.value(v.Elem(), p.elem, depth)
	case opIface:
		return d.iface(v, depth)
	default:
		return d.structure(v, p, depth)
	}
}
