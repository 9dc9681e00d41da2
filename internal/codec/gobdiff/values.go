package gobdiff

import (
	"math"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"reflect"
	"time"
	"unsafe"
)

// maker makes random values. It sets unexported fields of the program's types, too.
type maker struct {
	rand *rand.Rand
	pool []reflect.Type // what interfaces may hold

	implement map[reflect.Type][]reflect.Type // of the pool, by interface
}

var special = map[reflect.Type]func(*maker) any{
	reflect.TypeFor[time.Time](): func(m *maker) any {
		t := time.Unix(m.rand.Int64N(1<<34)-1<<33, m.rand.Int64N(1e9))
		return pickFrom(m, t.UTC(), t.In(time.FixedZone("Z", 3600*5+1800)), t.In(time.FixedZone("L", 1172)), time.Time{})
	},
	reflect.TypeFor[big.Int](): func(m *maker) any {
		return *new(big.Int).Lsh(big.NewInt(m.rand.Int64()-m.rand.Int64()), m.rand.UintN(99))
	},
	reflect.TypeFor[big.Float](): func(m *maker) any {
		f := new(big.Float).SetPrec(m.rand.UintN(300) + 1).SetMode(big.RoundingMode(m.rand.IntN(6)))
		return *f.Quo(f, big.NewFloat(1+m.rand.Float64())).SetFloat64(m.rand.NormFloat64())
	},
	reflect.TypeFor[big.Rat](): func(m *maker) any { return *big.NewRat(m.rand.Int64()-m.rand.Int64(), m.rand.Int64()+1) },
	reflect.TypeFor[netip.Addr](): func(m *maker) any {
		return pickFrom(m, netip.Addr{}, netip.MustParseAddr("1.2.3.4"), netip.MustParseAddr("::1"), netip.MustParseAddr("fe80::2%eth1"))
	},
	reflect.TypeFor[url.URL](): func(m *maker) any {
		return pickFrom(m, url.URL{}, url.URL{Host: "by-hand", Path: "no/slash"}, url.URL{Scheme: "http", Host: "h", Path: "/a b", RawQuery: "q=1"},
			url.URL{Scheme: "http", User: url.UserPassword("u", "p@"), Host: "h:1", Path: "/a/b", RawPath: "/a%2Fb"})
	},
	reflect.TypeFor[*time.Location](): func(*maker) any { return time.FixedZone("X", 60) },
}

func pickFrom[T any](m *maker, from ...T) T { return from[m.rand.IntN(len(from))] }

// value returns a settable random value of type t.
func (m *maker) value(t reflect.Type, depth int) reflect.Value {
	v := reflect.New(t).Elem()
	m.fill(v, depth)
	return v
}

func (m *maker) fill(v reflect.Value, depth int) {
	t := v.Type()
	if f, ok := special[t]; ok {
		v.Set(reflect.ValueOf(f(m)))
		return
	}
	if m.rand.IntN(12) == 0 {
		return // the zero value
	}
	deep := depth > 5
	switch t.Kind() {
	case reflect.Pointer:
		if !deep {
			v.Set(m.value(t.Elem(), depth+1).Addr())
		}
	case reflect.Slice:
		if !deep {
			v.Set(reflect.MakeSlice(t, m.rand.IntN(4), 4))
		}
		for i := range v.Len() {
			m.fill(v.Index(i), depth+1)
		}
	case reflect.Array:
		for i := range v.Len() {
			m.fill(v.Index(i), depth+1)
		}
	case reflect.Map:
		if deep {
			return
		}
		v.Set(reflect.MakeMap(t))
		for range m.rand.IntN(4) {
			if key := m.value(t.Key(), depth+3); key.Comparable() {
				v.SetMapIndex(key, m.value(t.Elem(), depth+1))
			}
		}
	case reflect.Interface:
		if !deep {
			m.hold(v, depth+1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := t.Field(i); f.IsExported() || f.PkgPath == "main" {
				m.fill(reflect.NewAt(f.Type, unsafe.Pointer(v.Field(i).UnsafeAddr())).Elem(), depth+1)
			}
		}
	case reflect.Chan:
		v.Set(reflect.MakeChan(t, 0))
	case reflect.Func:
		v.Set(reflect.MakeFunc(t, func([]reflect.Value) []reflect.Value { return nil }))
	default:
		m.scalar(v)
	}
}

func (m *maker) scalar(v reflect.Value) {
	bits := m.rand.Uint64() >> m.rand.UintN(64)
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(bits&1 == 1)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(bits) << (64 - v.Type().Bits()) >> (64 - v.Type().Bits()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		v.SetUint(bits << (64 - v.Type().Bits()) >> (64 - v.Type().Bits()))
	case reflect.Float32:
		v.SetFloat(float64(float32(m.rand.NormFloat64())))
	case reflect.Float64:
		v.SetFloat(pickFrom(m, m.rand.NormFloat64(), math.Inf(1), 0, math.Copysign(0, -1), math.MaxFloat64))
	case reflect.Complex64:
		v.SetComplex(complex(float64(m.rand.Float32()), float64(m.rand.Float32())))
	case reflect.Complex128:
		v.SetComplex(complex(m.rand.NormFloat64(), m.rand.NormFloat64()))
	case reflect.String:
		v.SetString(pickFrom(m, "", "a", "Text", "\xff\xfe", "ünï"))
	}
}

// hold sets an interface to a value of a type that implements it, or to a pointer to one, if there is any.
func (m *maker) hold(v reflect.Value, depth int) {
	types, ok := m.implement[v.Type()]
	if !ok {
		for _, t := range m.pool {
			if reflect.PointerTo(t).Implements(v.Type()) {
				types = append(types, t)
			}
		}
		m.implement[v.Type()] = types
	}
	if len(types) == 0 {
		return
	}
	t := pickFrom(m, types...)
	held := m.value(t, depth)
	if t.Implements(v.Type()) && m.rand.IntN(3) > 0 {
		v.Set(held)
	} else {
		v.Set(held.Addr())
	}
}
