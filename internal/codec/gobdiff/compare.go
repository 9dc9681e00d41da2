package gobdiff

import (
	"math/big"
	"net/netip"
	"net/url"
	"reflect"
	"time"
)

// comparer knows which types are compared with their unexported fields, since their methods see to these. In other types
// unexported fields stay behind, with gob and with codec.
type comparer struct {
	whole map[reflect.Type]bool
	where string // the parts around the last difference, the innermost first
	inKey bool   // keys of maps are compared, in which a pointer is another one than any that is received
}

func (c *comparer) equal(a, b reflect.Value) bool {
	if !a.IsValid() || !b.IsValid() || a.Type() != b.Type() {
		return a.IsValid() == b.IsValid() && !a.IsValid()
	}
	if equal, known := equalStandard(a, b); known {
		return equal
	}
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() && b.IsNil()
		}
		return c.equal(a.Elem(), b.Elem())
	case reflect.Interface:
		if c.inKey && a.Elem().Kind() == reflect.Pointer {
			return false
		}
		return c.equal(pointedTo(a.Elem()), pointedTo(b.Elem()))
	case reflect.Slice, reflect.Array:
		if a.Kind() == reflect.Slice && a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !c.equal(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map:
		return c.maps(a, b)
	case reflect.Struct:
		whole := c.whole[a.Type()] || hidesAll(a.Type())
		for i := range a.NumField() {
			f := a.Type().Field(i)
			if (f.IsExported() || f.Anonymous || whole) && !c.equal(a.Field(i), b.Field(i)) {
				c.where += " of " + f.Name + " of " + a.Type().String()
				return false
			}
		}
		return true
	case reflect.Chan, reflect.Func:
		return a.IsNil() && b.IsNil()
	case reflect.Float32, reflect.Float64:
		return a.Float() == b.Float() || a.Float() != a.Float() && b.Float() != b.Float()
	}
	return a.Equal(b)
}

// equalStandard compares values of those types of the standard library whose unexported fields may differ though they are
// equal. It reports false for other types.
func equalStandard(a, b reflect.Value) (equal, known bool) {
	if a.Kind() == reflect.Interface || !a.CanInterface() || !b.CanInterface() {
		return false, false
	}
	switch x := a.Interface().(type) {
	case time.Time:
		y := b.Interface().(time.Time)
		_, xo := x.Zone()
		_, yo := y.Zone()
		return x.Equal(y) && xo == yo, true
	case big.Int:
		y := b.Interface().(big.Int)
		return x.Cmp(&y) == 0, true
	case big.Rat:
		y := b.Interface().(big.Rat)
		return x.Cmp(&y) == 0, true
	case big.Float:
		y := b.Interface().(big.Float)
		return x.Cmp(&y) == 0 && x.Prec() == y.Prec() && x.Mode() == y.Mode() && x.Signbit() == y.Signbit(), true
	case netip.Addr:
		return x == b.Interface().(netip.Addr), true
	case url.URL:
		return reflect.DeepEqual(x, b.Interface()), true
	}
	return false, false
}

// hidesAll reports whether nothing of a struct can be seen from outside: then it is its unexported fields that count.
func hidesAll(t reflect.Type) bool {
	for i := range t.NumField() {
		if t.Field(i).IsExported() || t.Field(i).Anonymous {
			return false
		}
	}
	return true
}

// pointedTo follows pointers: what an interface holds by pointer may arrive by value.
func pointedTo(v reflect.Value) reflect.Value {
	for v.IsValid() && v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	return v
}

func (c *comparer) maps(a, b reflect.Value) bool {
	if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
		return false
	}
	for it := a.MapRange(); it.Next(); {
		found := false
		for jt := b.MapRange(); jt.Next() && !found; {
			found = c.sameKey(it.Key(), jt.Key()) && c.equal(it.Value(), jt.Value())
		}
		if !found {
			return false
		}
	}
	return true
}

func (c *comparer) sameKey(a, b reflect.Value) bool {
	outer := c.inKey
	c.inKey = true
	defer func() { c.inKey = outer }()
	return c.equal(a, b)
}
