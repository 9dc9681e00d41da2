package codec

import (
	"reflect"
)

func (d *decoder) list(v reflect.Value, p *plan, depth int) error {
	if p.op == opSlice && d.null() {
		return nil
	}
	if p.typ == anySliceType {
		list, err := d.anys(depth)
		*v.Addr().Interface().(*[]any) = list
		return err
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
		if err := d.chargeTimes(n, p.elem.size); err != nil {
			return err
		}
		v.Set(reflect.MakeSlice(p.typ, n, n))
	} else if n != v.Len() {
		return faultf(ErrMalformed, "%d elements for %v", n, p.typ)
	}
	for i := range n {
		if err := d.step(); err != nil {
			return err
		}
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
	if p.typ == anyMapType {
		m, err := d.anyMap(depth)
		*v.Addr().Interface().(*map[string]any) = m
		return err
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
	if err := d.chargeMap(n, &p.costs); err != nil {
		return err
	}
	v.Set(reflect.MakeMapWithSize(p.typ, n))
	key, elem := reflect.New(p.key.typ).Elem(), reflect.New(p.elem.typ).Elem()
	for i := range n {
		if err := d.step(); err != nil {
			return err
		}
		key.SetZero()
		elem.SetZero()
		if err := d.value(key, p.key, depth); err != nil {
			return err
		}
		if !key.Comparable() {
			return faultf(ErrMalformed, "a key of %v holds a value that cannot be a key", p.typ)
		}
		if err := d.value(elem, p.elem, depth); err != nil {
			return err
		}
		if v.SetMapIndex(key, elem); v.Len() == i {
			return faultf(ErrMalformed, "a key of %v occurs twice", p.typ)
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
			return faultf(ErrMalformed, "not an array of %d items for %v", len(p.fields), p.typ)
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
			return faultf(ErrMalformed, "field %s of %v occurs twice", p.fields[i].name, p.typ)
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
	if f.plan.op < opBytes {
		return d.scalar(fv, f.plan) // the short way
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
