package codec

import (
	"math"
	"reflect"
)

// What follows decodes []any, map[string]any and what an any holds where only the bytes say what it is, without package
// reflect: such values are often large, and half of the time and of the allocations was reflect's. It charges, counts
// steps and nests exactly as the general way does, which value and iface are.

// What the cost model has to know of them.
var (
	anyMapCosts = costsOf(anyMapType)
	anySize     = int(anyType.Size())
	stringSize  = int(stringType.Size())
	sliceSize   = int(anySliceType.Size())
	mapSize     = int(anyMapType.Size())
	numberSize  = int(int64Type.Size())
)

// element decodes the next item into an any that lies in a list or map, as value does.
func (d *decoder) element(depth int) (any, error) {
	if d.null() {
		return nil, nil
	}
	if depth++; depth > maxDepth {
		return nil, faultf(ErrMalformed, "nested deeper than %d", maxDepth)
	}
	if err := d.step(); err != nil {
		return nil, err
	}
	if x, ok, err := d.untyped(depth); ok || err != nil {
		return x, err
	}
	var x any
	err := d.boxed(reflect.ValueOf(&x).Elem(), depth)
	return x, err
}

// untyped decodes the next item, which is not null, if it has one of the types that bytes alone can tell; or else it
// reports false and has read nothing.
func (d *decoder) untyped(depth int) (x any, ok bool, err error) {
	at := d.off
	major, extra, n, err := d.head()
	if err != nil {
		return nil, false, err
	}
	switch major {
	case majorUint:
		if x = int64(n); n > math.MaxInt64 {
			x = n
		}
	case majorNegative:
		i, fits := asInt(major, n)
		if x = i; !fits {
			d.off = at
			return nil, false, nil
		}
	case majorText, majorBytes:
		return d.untypedBytes(major, n)
	case majorArray, majorMap:
		d.off = at
		return d.untypedComposite(major, depth)
	case majorOther:
		if b := extra == itemTrue&0x1f; b || extra == itemFalse&0x1f {
			x = b
		} else if f, isFloat := asFloat(major, extra, n); isFloat {
			x = f
		} else {
			d.off = at
			return nil, false, nil
		}
	default:
		d.off = at
		return nil, false, nil
	}
	return x, true, d.charge(numberSize)
}

// untypedBytes reads n bytes, or text.
func (d *decoder) untypedBytes(major byte, n uint64) (x any, ok bool, err error) {
	header := stringSize
	if major == majorBytes {
		header = sliceSize
	}
	if err := d.charge(header); err != nil {
		return nil, false, err
	}
	b, err := d.bytes(n)
	if err != nil {
		return nil, false, err
	}
	if err := d.charge(len(b)); err != nil {
		return nil, false, err
	}
	if major == majorText {
		return string(b), true, nil
	}
	return append([]byte{}, b...), true, nil
}

// untypedComposite reads an array or a map, whose head is still to be read.
func (d *decoder) untypedComposite(major byte, depth int) (x any, ok bool, err error) {
	size := sliceSize
	if major == majorMap {
		size = mapSize
	}
	if err := d.charge(size); err != nil {
		return nil, false, err
	}
	if depth++; depth > maxDepth {
		return nil, false, faultf(ErrMalformed, "nested deeper than %d", maxDepth)
	}
	if err := d.step(); err != nil {
		return nil, false, err
	}
	if major == majorMap {
		x, err = d.anyMap(depth)
	} else {
		x, err = d.anys(depth)
	}
	return x, err == nil, err
}

// anys is list for []any.
func (d *decoder) anys(depth int) ([]any, error) {
	major, _, count, err := d.head()
	if err != nil {
		return nil, err
	}
	if major != majorArray {
		return nil, wrong(anySliceType, major)
	}
	n, err := d.count(count)
	if err != nil {
		return nil, err
	}
	if err := d.chargeTimes(n, anySize); err != nil {
		return nil, err
	}
	list := make([]any, n)
	for i := range list {
		if err := d.step(); err != nil {
			return nil, err
		}
		if list[i], err = d.element(depth); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// anyMap is mapping for map[string]any.
func (d *decoder) anyMap(depth int) (map[string]any, error) {
	major, _, count, err := d.head()
	if err != nil {
		return nil, err
	}
	if major != majorMap {
		return nil, wrong(anyMapType, major)
	}
	n, err := d.count(count)
	if err != nil {
		return nil, err
	}
	if n > (len(d.data)-d.off)/2 {
		return nil, errTruncated
	}
	if err := d.chargeMap(n, &anyMapCosts); err != nil {
		return nil, err
	}
	m := make(map[string]any, n)
	for i := range n {
		if err := d.step(); err != nil {
			return nil, err
		}
		key, err := d.mapKey()
		if err != nil {
			return nil, err
		}
		elem, err := d.element(depth)
		if err != nil {
			return nil, err
		}
		if m[key] = elem; len(m) == i {
			return nil, faultf(ErrMalformed, "a key of %v occurs twice", anyMapType)
		}
	}
	return m, nil
}

const (
	// Of keys up to this length some that were read before are used again: many maps of a message have the same ones.
	keptKeyBytes = 32
	keptKeys     = 64
	// keysUntil is how many keys are read before any is kept: small messages have no use for it.
	keysUntil = 64
)

// mapKey reads a key that is text.
func (d *decoder) mapKey() (string, error) {
	if d.null() {
		return "", nil
	}
	major, _, n, err := d.head()
	if err != nil {
		return "", err
	}
	if major != majorText {
		return "", wrong(stringType, major)
	}
	b, err := d.bytes(n)
	if err != nil {
		return "", err
	}
	if err := d.charge(len(b)); err != nil {
		return "", err
	}
	if d.keysRead++; d.keysRead < keysUntil || len(b) > keptKeyBytes || len(b) == 0 {
		return string(b), nil
	}
	if d.keys == nil {
		d.keys = new([keptKeys]string)
	}
	kept := &d.keys[(len(b)*7+int(b[0])*31+int(b[len(b)-1]))%keptKeys]
	if *kept != string(b) {
		*kept = string(b)
	}
	return *kept, nil
}
