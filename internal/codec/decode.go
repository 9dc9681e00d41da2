package codec

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// decoder reads data by the plan of the wanted type.
type decoder struct {
	data   []byte
	off    int
	budget int // what may still be allocated, besides the bytes of strings and the like
}

// bigIntMode reads nothing but integers, of any size.
var bigIntMode = func() cbor.DecMode {
	m, err := cbor.DecOptions{IndefLength: cbor.IndefLengthForbidden, MaxNestedLevels: 4}.DecMode()
	if err != nil {
		panic(err)
	}
	return m
}()

var errTruncated = fmt.Errorf("%w: truncated", ErrMalformed)

// root decodes the whole of data as one item. Package reflect needs a pointer to decode into and the caller wants a value,
// so that pointer is used again where nobody can have kept it.
func (d *decoder) root(in *info) (any, error) {
	if err := d.charge(1, in.rootCost); err != nil {
		return nil, err
	}
	p := in.spare.Get()
	if p == nil {
		p = reflect.New(in.typ).Interface()
	}
	v := reflect.ValueOf(p).Elem()
	if err := d.value(v, in.plan, 0); err != nil {
		return nil, err
	}
	if d.off != len(d.data) {
		return nil, fmt.Errorf("%w: %d bytes after the value", ErrMalformed, len(d.data)-d.off)
	}
	out := v.Interface()
	if in.plan.inert {
		v.SetZero()
		in.spare.Put(p)
	}
	return out, nil
}

// charge is called before n things of the given size are allocated.
func (d *decoder) charge(n, size int) error {
	if size > 0 && n > d.budget/size {
		return fmt.Errorf("%w: %d bytes of payload ask for %d times %d bytes of memory", ErrMalformed, len(d.data), n, size)
	}
	d.budget -= n * size
	return nil
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
		return 0, 0, 0, fmt.Errorf("%w: item 0x%02x (indefinite length or reserved)", ErrMalformed, c)
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
		return fmt.Errorf("%w: nested deeper than %d", ErrMalformed, maxDepth)
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
			return fmt.Errorf("%w: simple value %d in two bytes", ErrMalformed, n)
		}
	}
	return nil
}

// wrong is the error for an item that does not fit the type. It says little, since hostile input makes many of them.
func wrong(t reflect.Type, major byte) error {
	return fmt.Errorf("%w: item of CBOR major type %d for a value of type %v", ErrMalformed, major>>5, t)
}

// value decodes the next item into v, which is settable and zero.
func (d *decoder) value(v reflect.Value, p *plan, depth int) error {
	if p.op < opBytes {
		return d.scalar(v, p)
	}
	switch p.op {
	case opBytes, opByteArray:
		return d.byteString(v, p)
	case opTime:
		t, err := d.time()
		if err == nil {
			v.Set(reflect.ValueOf(t))
		}
		return err
	case opCBOR, opBinary, opText, opBigInt:
		return d.own(v, p.op)
	case opBad:
		return fmt.Errorf("%w: a value of type %v", ErrMalformed, p.typ)
	}
	if depth++; depth > maxDepth {
		return fmt.Errorf("%w: nested deeper than %d", ErrMalformed, maxDepth)
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
		if err := d.charge(1, int(p.elem.typ.Size())); err != nil {
			return err
		}
		v.Set(reflect.New(p.elem.typ))
		return d.value(v.Elem(), p.elem, depth)
	case opIface:
		return d.iface(v, depth)
	default:
		return d.structure(v, p, depth)
	}
}

func (d *decoder) scalar(v reflect.Value, p *plan) error {
	major, extra, n, err := d.head()
	if err != nil {
		return err
	}
	switch p.op {
	case opBool:
		if major == majorOther && (extra == itemFalse&0x1f || extra == itemTrue&0x1f) {
			v.SetBool(extra == itemTrue&0x1f)
			return nil
		}
	case opInt:
		i, ok := asInt(major, n)
		if ok && !v.OverflowInt(i) {
			v.SetInt(i)
			return nil
		}
	case opUint:
		if major == majorUint && !v.OverflowUint(n) {
			v.SetUint(n)
			return nil
		}
	case opFloat32, opFloat64:
		f, ok := asFloat(major, extra, n)
		if !ok {
			var i int64
			if i, ok = asInt(major, n); ok {
				f = float64(i) // A program in another language may not tell 1 from 1.0.
			}
		}
		if ok && !v.OverflowFloat(f) {
			v.SetFloat(f)
			return nil
		}
	case opString:
		if major == majorText {
			b, err := d.bytes(n)
			if err == nil {
				v.SetString(string(b))
			}
			return err
		}
	}
	return wrong(p.typ, major)
}

func asInt(major byte, n uint64) (int64, bool) {
	if n > math.MaxInt64 {
		return 0, false
	}
	if major == majorNegative {
		return -1 - int64(n), true
	}
	return int64(n), major == majorUint
}

func asFloat(major, extra byte, n uint64) (float64, bool) {
	if major != majorOther {
		return 0, false
	}
	switch extra {
	case itemFloat16 & 0x1f:
		return half(uint16(n)), true
	case itemFloat32 & 0x1f:
		return float64(math.Float32frombits(uint32(n))), true
	case itemFloat64 & 0x1f:
		return math.Float64frombits(n), true
	}
	return 0, false
}

// half converts an IEEE 754 number of 16 bits. We never send one, but other encoders do.
func half(h uint16) float64 {
	exp, mant := int(h>>10&0x1f), float64(h&0x3ff)
	var f float64
	switch exp {
	case 0:
		f = math.Ldexp(mant, -24)
	case 31:
		if f = math.Inf(1); mant != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(mant+1024, exp-25)
	}
	if h>>15 != 0 {
		f = math.Copysign(f, -1)
	}
	return f
}

func (d *decoder) byteString(v reflect.Value, p *plan) error {
	if p.op == opBytes && d.null() {
		return nil
	}
	major, _, n, err := d.head()
	if err != nil {
		return err
	}
	if major != majorBytes {
		return wrong(p.typ, major)
	}
	b, err := d.bytes(n)
	if err != nil {
		return err
	}
	if p.op == opBytes {
		v.SetBytes(append([]byte{}, b...))
		return nil
	}
	if len(b) != v.Len() {
		return fmt.Errorf("%w: %d bytes for %v", ErrMalformed, len(b), p.typ)
	}
	for i, c := range b {
		v.Index(i).SetUint(uint64(c))
	}
	return nil
}

func (d *decoder) list(v reflect.Value, p *plan, depth int) error {
	if p.op == opSlice && d.null() {
		return nil
	}
	major, _, count, err := d.head()
	if err != nil {
		return err
	}
	if major != majorArray {
		return wrong(p.typ, major)
	}
	n, err := d.count(count)
	if err != nil {
		return err
	}
	if p.op == opSlice {
		if err := d.charge(n, int(p.elem.typ.Size())); err != nil {
			return err
		}
		v.Set(reflect.MakeSlice(p.typ, n, n))
	} else if n != v.Len() {
		return fmt.Errorf("%w: %d elements for %v", ErrMalformed, n, p.typ)
	}
	for i := range n {
		if err := d.value(v.Index(i), p.elem, depth); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) mapping(v reflect.Value, p *plan, depth int) error {
	if d.null() {
		return nil
	}
	major, _, count, err := d.head()
	if err != nil {
		return err
	}
	if major != majorMap {
		return wrong(p.typ, major)
	}
	n, err := d.count(count)
	if err != nil {
		return err
	}
	if n > (len(d.data)-d.off)/2 {
		return errTruncated
	}
	if err := d.charge(n, mapEntry(p.typ)); err != nil {
		return err
	}
	v.Set(reflect.MakeMapWithSize(p.typ, n))
	key, elem := reflect.New(p.key.typ).Elem(), reflect.New(p.elem.typ).Elem()
	for i := range n {
		key.SetZero()
		elem.SetZero()
		if err := d.value(key, p.key, depth); err != nil {
			return err
		}
		if !key.Comparable() {
			return fmt.Errorf("%w: a key of %v holds a value that cannot be a key", ErrMalformed, p.typ)
		}
		if err := d.value(elem, p.elem, depth); err != nil {
			return err
		}
		if v.SetMapIndex(key, elem); v.Len() == i {
			return fmt.Errorf("%w: a key of %v occurs twice", ErrMalformed, p.typ)
		}
	}
	return nil
}

func (d *decoder) structure(v reflect.Value, p *plan, depth int) error {
	major, _, count, err := d.head()
	if err != nil {
		return err
	}
	n, err := d.count(count)
	if err != nil {
		return err
	}
	if p.toArray {
		if major != majorArray || n != len(p.fields) {
			return fmt.Errorf("%w: not an array of %d items for %v", ErrMalformed, len(p.fields), p.typ)
		}
		for _, f := range p.fields {
			if f.viaPointer && d.null() {
				continue // A nil pointer: of the embedded struct, or of the field itself.
			}
			if err := d.field(v, f, depth); err != nil {
				return err
			}
		}
		return nil
	}
	if major != majorMap {
		return wrong(p.typ, major)
	}
	// Each field is set once at most; the set of those that were is kept without allocating for usual structs.
	var few [4]uint64
	seen := few[:]
	if len(p.fields) > 64*len(few) {
		seen = make([]uint64, len(p.fields)/64+1)
	}
	next := 0 // our own encoder writes the fields in order, so the next one is probably this
	for range n {
		i, err := d.fieldKey(p, next, depth)
		if err != nil {
			return err
		}
		if i < 0 {
			if err := d.skip(depth); err != nil {
				return err
			}
			continue
		}
		if seen[i/64]&(1<<(i%64)) != 0 {
			return fmt.Errorf("%w: field %s of %v occurs twice", ErrMalformed, p.fields[i].name, p.typ)
		}
		seen[i/64] |= 1 << (i % 64)
		next = i + 1
		if err := d.field(v, p.fields[i], depth); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) field(v reflect.Value, f *field, depth int) error {
	fv, err := f.set(d, v)
	if err != nil {
		return err
	}
	return d.value(fv, f.plan, depth)
}

// fieldKey reads the key of a struct's map and returns the index of the field, -1 for one that this program does not know.
func (d *decoder) fieldKey(p *plan, next, depth int) (int, error) {
	if next < len(p.fields) {
		key := p.fields[next].key
		if len(d.data)-d.off > len(key) && string(d.data[d.off:d.off+len(key)]) == string(key) {
			d.off += len(key)
			return next, nil
		}
	}
	at := d.off
	major, _, n, err := d.head()
	if err != nil {
		return 0, err
	}
	switch major {
	case majorText:
		b, err := d.bytes(n)
		if err != nil {
			return 0, err
		}
		if i, ok := p.byName[string(b)]; ok {
			return i, nil
		}
	case majorUint, majorNegative:
		if k, ok := asInt(major, n); ok {
			if i, ok := p.byInt[k]; ok {
				return i, nil
			}
		}
	default:
		d.off = at
		return -1, d.skip(depth)
	}
	return -1, nil
}

// time reads tag 0 with text, or with the binary form of package time, or tag 1 with seconds since 1970.
func (d *decoder) time() (time.Time, error) {
	var t time.Time
	major, _, tag, err := d.head()
	if err != nil {
		return t, err
	}
	if major != majorTag || tag > 1 {
		return t, wrong(timeType, major)
	}
	major, extra, n, err := d.head()
	if err != nil {
		return t, err
	}
	if tag == 1 {
		if s, ok := asInt(major, n); ok {
			return time.Unix(s, 0).UTC(), nil
		}
		if f, ok := asFloat(major, extra, n); ok && math.Abs(f) < 1<<40 {
			s, frac := math.Modf(f)
			return time.Unix(int64(s), int64(frac*1e9)).UTC(), nil
		}
		return t, wrong(timeType, major)
	}
	if major != majorText && major != majorBytes {
		return t, wrong(timeType, major)
	}
	b, err := d.bytes(n)
	if err != nil {
		return t, err
	}
	if major == majorText {
		err = t.UnmarshalText(b)
	} else {
		err = t.UnmarshalBinary(b)
	}
	if err != nil {
		return t, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return t, nil
}

// own gives the item to the methods that the type brings.
func (d *decoder) own(v reflect.Value, o op) error {
	if o == opCBOR || o == opBigInt {
		at := d.off
		if err := d.skip(0); err != nil {
			return err
		}
		item := d.data[at:d.off:d.off]
		var err error
		if o == opCBOR {
			err = v.Addr().Interface().(cbor.Unmarshaler).UnmarshalCBOR(item)
		} else {
			err = bigIntMode.Unmarshal(item, v.Addr().Interface())
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		return nil
	}
	major, _, n, err := d.head()
	if err != nil {
		return err
	}
	if (o == opBinary && major != majorBytes) || (o == opText && major != majorText) {
		return wrong(v.Type(), major)
	}
	b, err := d.bytes(n)
	if err != nil {
		return err
	}
	if o == opBinary {
		return unmarshalBinary(v.Addr(), b)
	}
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(b); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

func unmarshalBinary(p reflect.Value, b []byte) error {
	if err := p.Interface().(encoding.BinaryUnmarshaler).UnmarshalBinary(b[:len(b):len(b)]); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}
