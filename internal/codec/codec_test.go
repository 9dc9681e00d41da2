package codec

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

type (
	point   struct{ X, Y int }
	ints4   struct{ A, B, C, D int64 }
	label   string
	counts  map[string]int
	weights []float64

	entry struct {
		Index, Term uint64
		At          time.Time
		Cmd         any
	}
	appendEntries struct {
		Term    int
		Entries []entry
		Tags    map[string]any
		By      *point
		Hidden  int `cbor:"-"`
		private int
	}
	tree struct {
		Val         int
		Left, Right *tree
		Kids        []*tree `cbor:",omitempty"`
	}
	ring struct {
		Name string
		Next *ring
	}

	shape  interface{ Area() float64 }
	square struct{ Side float64 }
	circle struct{ R float64 }
	canvas struct {
		Main   shape
		Shapes []shape
		ByName map[string]shape
		Err    fmt.Stringer
	}

	binaryOnly struct{ s string }
	textOnly   struct{ s string }
	cborOnly   struct{ n int }
	panicky    struct{ N int }
	halfText   struct{ S string }

	base  struct{ ID int }
	inner struct{ Deep string }
	outer struct {
		base
		*Ptr
		Name  string `json:"n,omitempty"`
		Zero  time.Time
		Z2    point `cbor:"z2,omitzero"`
		Raw   []byte
		Arr   [3]byte
		Big   *big.Int
		Bin   binaryOnly
		PBin  *binaryOnly
		Text  textOnly
		Cbor  cborOnly
		F32   float32
		Any   any
		Inner inner
	}
	Ptr   struct{ P, Q any }
	tuple struct {
		_ struct{} `cbor:",toarray"`
		A int
		B any
	}
	intKeys struct {
		A int `cbor:"1,keyasint"`
		B any `cbor:"-2,keyasint"`
	}
	plainMix struct {
		S   string
		B   []byte
		M   map[string]int
		L   []int32
		P   *point
		F   float64
		Arr [2]point
		Nil []string
		E   []string
		U8  uint8
	}
	sparse struct {
		ID  int         `cbor:",omitempty"`
		Pad [40]int64   `cbor:",omitempty"`
		A   [20]string  `cbor:",omitzero"`
		L   []int       `cbor:",omitempty"`
		M   map[int]int `cbor:",omitempty"`
	}
	hoarder struct {
		ID int
		//lint:ignore U1000 its size is what is tested
		cache [1 << 12]byte
	}
	withChan struct{ C chan int }
	unknown  struct{ A int }

	Number      int
	Pair[T any] struct{ A, B T }
)

func (s square) Area() float64  { return s.Side * s.Side }
func (c *circle) Area() float64 { return 3 * c.R * c.R }

func (b binaryOnly) AppendBinary(p []byte) ([]byte, error) { return append(p, b.s...), nil }
func (b *binaryOnly) UnmarshalBinary(p []byte) error {
	if string(p) == "bad" {
		return errors.New("bad")
	}
	if string(p) == "panic" {
		panic("UnmarshalBinary")
	}
	b.s = string(p)
	return nil
}
func (t *textOnly) MarshalText() ([]byte, error) { return []byte(t.s), nil }
func (t *textOnly) UnmarshalText(p []byte) error { t.s = string(p); return nil }
func (c *cborOnly) MarshalCBOR() ([]byte, error) { return cbor.Marshal(c.n) }
func (c *cborOnly) UnmarshalCBOR(b []byte) error { return cbor.Unmarshal(b, &c.n) }
func (p panicky) MarshalBinary() ([]byte, error) { panic("MarshalBinary") }
func (p *panicky) UnmarshalBinary([]byte) error  { panic("UnmarshalBinary") }
func (h halfText) MarshalText() ([]byte, error)  { return []byte("half"), nil }

func init() {
	for _, v := range []any{
		point{}, ints4{}, label(""), counts{}, weights{}, entry{}, appendEntries{}, tree{}, ring{}, square{}, circle{},
		canvas{}, binaryOnly{}, textOnly{}, cborOnly{}, panicky{}, halfText{}, outer{}, tuple{}, intKeys{}, plainMix{},
		sparse{}, hoarder{},
	} {
		Register(reflect.TypeOf(v).Name(), v)
	}
}

// emptyIsNil makes same take an empty slice or map for a nil one. Only the fuzz target sets it: omitempty does that.
var emptyIsNil bool

// same is reflect.DeepEqual, except that NaN equals NaN, and times are compared by instant and offset: which *Location
// stands for an offset depends on the machine.
func same(a, b reflect.Value) bool {
	if !a.IsValid() || !b.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	if a.Type() != b.Type() {
		return false
	}
	switch a.Type() {
	case timeType:
		if a.CanInterface() && b.CanInterface() {
			x, y := a.Interface().(time.Time), b.Interface().(time.Time)
			_, xo := x.Zone()
			_, yo := y.Zone()
			return x.Equal(y) && xo == yo
		}
	case bigIntType:
		if a.CanInterface() && b.CanInterface() {
			x, y := a.Interface().(big.Int), b.Interface().(big.Int)
			return x.Cmp(&y) == 0
		}
	case reflect.TypeFor[big.Float]():
		// A foreign encoding can make a Float of more bits than its precision. Float's own methods do not write those.
		if a.CanInterface() && b.CanInterface() {
			x, y := a.Interface().(big.Float), b.Interface().(big.Float)
			xb, errX := x.GobEncode()
			yb, errY := y.GobEncode()
			return errX == nil && errY == nil && bytes.Equal(xb, yb)
		}
	case reflect.TypeFor[netip.Addr](), reflect.TypeFor[netip.AddrPort](), reflect.TypeFor[netip.Prefix]():
		if a.CanInterface() && b.CanInterface() {
			return a.Interface() == b.Interface()
		}
	}
	switch a.Kind() {
	case reflect.Float32, reflect.Float64:
		return math.Float64bits(a.Float()) == math.Float64bits(b.Float()) || a.Float() != a.Float() && b.Float() != b.Float()
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return same(a.Elem(), b.Elem())
	case reflect.Slice, reflect.Array:
		if emptyIsNil && a.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0 {
			return true
		}
		if a.Kind() == reflect.Slice && a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map:
		if emptyIsNil && a.Len() == 0 && b.Len() == 0 {
			return true
		}
		if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		for it := a.MapRange(); it.Next(); {
			found := false
			for jt := b.MapRange(); jt.Next() && !found; {
				found = same(it.Key(), jt.Key()) && same(it.Value(), jt.Value())
			}
			if !found {
				return false
			}
		}
		return true
	case reflect.Struct:
		for i := range a.NumField() {
			if !same(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	}
	if a.Comparable() {
		return a.Equal(b)
	}
	return false
}

// encoded is Append, and decoded is Decode, with no other limits than those of the wire format.
func encoded(dst []byte, v any) ([]byte, Kind, error) { return Append(dst, v, Limits{}) }

func decoded(kind Kind, payload []byte, alias bool) (any, error) {
	v, _, err := Decode(kind, payload, alias, Limits{}, NewTypes())
	return v, err
}

func equal(a, b any) bool { return same(reflect.ValueOf(a), reflect.ValueOf(b)) }

func roundTrip(t testing.TB, v any) any {
	t.Helper()
	b, k, err := encoded(nil, v)
	if err != nil {
		t.Fatalf("Append(%T): %v", v, err)
	}
	got, cost, err := Decode(k, b, false, Limits{}, NewTypes())
	if err != nil {
		t.Fatalf("Decode(%v, %x) of %T: %v", k, b, v, err)
	}
	if _, _, want, err := appendValue(nil, &v, Limits{}, form{}); cost != want || err != nil {
		t.Errorf("%T costs %d for the decoder, %d for the encoder, %v", v, cost, want, err)
	}
	return got
}

func TestRoundTrip(t *testing.T) {
	zone := time.FixedZone("X", 5*3600+30*60)
	when := time.Date(2024, 2, 29, 23, 59, 58, 123456789, zone)
	odd := time.Date(1890, 1, 1, 0, 0, 0, 7, time.FixedZone("LMT", 1172))
	five := 5
	anys := []any{
		nil, true, "s", []byte{1}, []byte{}, []byte(nil), 1, int8(-1), int16(-2), int32(-3), int64(math.MinInt64), int64(5),
		uint(6), uint8(7), uint16(8), uint32(9), uint64(math.MaxUint64), float32(1.5), 2.5, math.NaN(), math.Inf(-1),
		math.Copysign(0, -1), when, time.Time{}, odd, time.Second, time.March, label("l"), counts{"a": 1}, weights{1},
		[]string{"x"}, []string(nil), map[string]int{"k": 1}, [4]int{1, 2}, point{1, 2}, []point{{3, 4}}, []*point{{5, 6}, nil},
		[]any{1, "a", []any{point{}}}, []any(nil), map[string]any(nil), map[string]any{"k": uint8(1), "n": nil},
		map[any]any{1: "a", "b": 2, point{1, 2}: nil}, binaryOnly{"b"}, textOnly{"t"}, cborOnly{3},
		*big.NewInt(-12345), netip.MustParseAddr("fe80::1%eth0"), square{2}, "\xff\xfe invalid",
	}
	m := map[string]any{}
	for i, v := range anys {
		m[fmt.Sprint(i)] = v
	}
	deep := &tree{}
	for i := range 60 {
		deep = &tree{Val: i, Left: deep, Kids: []*tree{{Val: 1}}}
	}
	for _, v := range append(anys,
		false, int8(-128), uint8(255), math.MaxInt, math.MinInt, float32(math.Inf(1)), "", strings.Repeat("x", 70000),
		math.Float32frombits(0x7fc00001), 0.1, time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC), anys, m,
		[]any{anys, m}, map[string][]any{"x": anys}, [][]any{anys, nil, {}},
		ints4{1, -2, math.MaxInt64, math.MinInt64}, tuple{A: 1, B: uint8(2)}, intKeys{1, int16(2)}, *deep,
		ring{"a", &ring{"b", nil}}, halfText{"kept"}, []halfText{{"x"}},
		appendEntries{Term: 1, Entries: []entry{{1, 2, when, point{1, 2}}, {2, 2, time.Time{}, nil}}, Tags: m, By: &point{1, 2}},
		canvas{Main: square{1}, Shapes: []shape{square{2}, &circle{3}, nil}, ByName: map[string]shape{"c": &circle{4}}, Err: time.Second},
		plainMix{S: "\xff", B: []byte{}, M: map[string]int{}, L: []int32{1}, P: &point{}, F: math.Inf(1), E: []string{}, U8: 9},
		[]plainMix{{S: "a"}, {}}, map[point]string{{1, 2}: "a"}, map[[2]int]bool{{1, 2}: true}, [0]int{}, []struct{}(nil),
		outer{base: base{1}, Ptr: &Ptr{1, "q"}, Name: "n", Zero: when, Z2: point{1, 2}, Raw: []byte{}, Arr: [3]byte{1, 2, 3},
			Big: new(big.Int).Lsh(big.NewInt(1), 200), Bin: binaryOnly{"x"}, PBin: &binaryOnly{"y"}, Text: textOnly{"t"},
			Cbor: cborOnly{9}, F32: 0.1, Any: []label{"x"}, Inner: inner{"d"}},
		outer{}, make([]sparse, 3), make([]sparse, 2000), []any{sparse{}, sparse{ID: 1}}, [5]string{"a"}, []float32{0.1},
		map[label][]counts{"a": {{"b": 1}, nil, {}}}, []time.Time{when, {}, odd}, []time.Duration{1, 2}, [][]byte{nil, {}, {1}},
	) {
		if v != nil && reflect.TypeOf(v) == reflect.TypeFor[[]struct{}]() {
			continue // unnamed structs are tested as errors
		}
		t.Run(strings.ReplaceAll(fmt.Sprintf("%T", v), "codec.", ""), func(t *testing.T) {
			if got := roundTrip(t, v); !equal(got, v) {
				t.Errorf("got  %T %+v\nwant %T %+v", got, got, v, v)
			}
		})
	}
	t.Run("pointers arrive as values", func(t *testing.T) {
		pp := &five
		var a any = &point{1, 2}
		for _, c := range []struct{ in, want any }{
			{&point{1, 2}, point{1, 2}}, {&five, 5}, {&pp, 5}, {&[]byte{1}, []byte{1}}, {&a, point{1, 2}}, {new(any), nil},
			{[]any{&point{1, 2}, &five, &a}, []any{point{1, 2}, 5, point{1, 2}}},
			{entry{Cmd: &point{3, 4}}, entry{Cmd: point{3, 4}}}, {&binaryOnly{"p"}, binaryOnly{"p"}},
			{canvas{Main: &square{2}}, canvas{Main: square{2}}}, {appendEntries{Hidden: 1, private: 2}, appendEntries{}},
		} {
			if got := roundTrip(t, c.in); !equal(got, c.want) {
				t.Errorf("%T: got %T %+v, want %T %+v", c.in, got, got, c.want, c.want)
			}
		}
	})
}

// TestAgreesWithPackageCBOR encodes and decodes by package cbor what needs no boxes: field names, options and embedding
// must mean the same there.
func TestAgreesWithPackageCBOR(t *testing.T) {
	enc, err := cbor.EncOptions{OmitEmpty: cbor.OmitEmptyGoValue, NaNConvert: cbor.NaNConvertNone, InfConvert: cbor.InfConvertNone}.EncMode()
	if err != nil {
		t.Fatal(err)
	}
	dec, err := cbor.DecOptions{UTF8: cbor.UTF8DecodeInvalid}.DecMode()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{
		ints4{1, -2, 3 << 40, -4 << 40}, plainMix{S: "a", M: map[string]int{"k": 1}, P: &point{1, -1}, E: []string{}, F: math.Inf(1)},
		mixedKeys{1, 2, 3, ""}, mixedKeys{1, 2, 0, "x"}, plainTuple{A: 1, B: "b"}, *big.NewInt(-5), *new(big.Int).Lsh(big.NewInt(3), 99),
		sparse{ID: 1}, map[string][]point{"p": {{1, 2}}}, [][2]float32{{1, 2}}, label("x"), 300, -70000, uint64(1 << 63),
	} {
		t.Run(fmt.Sprintf("%T", v), func(t *testing.T) {
			rv := reflect.New(reflect.TypeOf(v)).Elem()
			rv.Set(reflect.ValueOf(v))
			e := encoder{meter: newMeter(Limits{}), most: maxPayload, end: maxPayload}
			got, err := e.value(nil, rv, planOf(rv.Type()), 0)
			if err != nil {
				t.Fatal(err)
			}
			want, err := enc.Marshal(rv.Addr().Interface())
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(want) {
				t.Errorf("got  %x\nwant %x", got, want)
			}
			theirs, ours := reflect.New(rv.Type()), reflect.New(rv.Type())
			if err := dec.Unmarshal(got, theirs.Interface()); err != nil {
				t.Error(err)
			}
			d := decoder{data: want, meter: newMeter(Limits{})}
			if err := d.value(ours.Elem(), planOf(rv.Type()), 0); err != nil {
				t.Error(err)
			}
			if !same(theirs, ours) || !same(ours.Elem(), rv) {
				t.Errorf("got %+v, package cbor has %+v, want %+v", ours.Elem(), theirs.Elem(), v)
			}
		})
	}
}

type (
	Level3 struct {
		D int
		C int `cbor:"c3"`
	}
	mixedKeys struct {
		A int    `cbor:"1,keyasint"`
		B int    `cbor:"-1,keyasint"`
		C int    `cbor:"c,omitempty"`
		D string `cbor:",omitempty"`
	}
	plainTuple struct {
		_ struct{} `cbor:",toarray"`
		A int
		B string
	}
)

func TestFloatBitsAreExact(t *testing.T) {
	for _, bits := range []uint64{0x7ff8000000000123, 0xfff8000000000000, 1 << 63, 1, 0x7ff0000000000000} {
		f := math.Float64frombits(bits)
		for _, v := range []any{f, struct2{f}.F, []float64{f}, []any{f}} {
			got := reflect.ValueOf(roundTrip(t, v))
			for got.Kind() == reflect.Slice || got.Kind() == reflect.Interface {
				if got.Kind() == reflect.Interface {
					got = got.Elem()
				} else {
					got = got.Index(0)
				}
			}
			if b := math.Float64bits(got.Float()); b != bits {
				t.Errorf("%T: got %x, want %x", v, b, bits)
			}
		}
	}
}

type struct2 struct{ F float64 }

func TestNotEncodable(t *testing.T) {
	cyc := &ring{Name: "a"}
	cyc.Next = cyc
	loop := []any{nil}
	loop[0] = loop
	mloop := map[string]any{}
	mloop["m"] = mloop
	type P *P
	var p P
	p = &p
	var self any
	self = &self
	var nilPoint *point
	long := &ring{}
	for range 1000 {
		long = &ring{Next: long}
	}
	for name, v := range map[string]any{
		"chan": make(chan int), "func": func() {}, "[]chan": []chan int{},
		"cyclic struct": cyc, "cyclic slice": loop, "cyclic map": mloop, "self": self, "pointer loop": p, "too deep": long,
		"typed nil": nilPoint, "typed nil in any": []any{nilPoint}, "typed nil in interface": canvas{Main: (*circle)(nil)},
		"chan in any": []any{make(chan int)}, "unnamed struct": struct{ A int }{1}, "[]error": []error{},
		"pointer keys": map[*point]int{}, "type too deep": [][][][][][][][]int{}, "huge array": [1 << 21]byte{},
		"panic in a method": panicky{},
		"deep type in any":  []any{[][][][][][][][]int{}},
	} {
		t.Run(name, func(t *testing.T) {
			dst := []byte("keep")
			got, _, err := encoded(dst, v)
			if !errors.Is(err, ErrNotEncodable) {
				t.Errorf("got %v, want ErrNotEncodable", err)
			}
			if string(got) != "keep" {
				t.Errorf("dst is %q after the error, want it as it was", got)
			}
		})
	}
}

func TestUnregistered(t *testing.T) {
	type local struct{ A int }
	for name, v := range map[string]any{
		"top": unknown{}, "pointer": &unknown{}, "any": []any{unknown{}}, "nested": entry{Cmd: map[string]any{"x": []unknown{}}},
		"slice": []unknown{}, "map": map[string]unknown{}, "local": local{}, "key": map[any]any{unknown{}: 1},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := encoded(nil, v)
			if !errors.Is(err, ErrUnregistered) {
				t.Errorf("got %v, want ErrUnregistered", err)
			}
		})
	}
	t.Run("sender's message", func(t *testing.T) {
		for _, c := range []struct {
			v    any
			want string
		}{
			{Level3{}, `type codec.Level3 is not registered: call cluster.Register("codec.Level3", codec.Level3{}) in every program that sends or receives it`},
			{Number(1), `call cluster.Register("codec.Number", *new(codec.Number)) in every`},
			{Pair[int]{}, `call cluster.Register("codec.Pair[int]", codec.Pair[int]{}) in every`},
			{Pair[Level3]{}, `codec.Level3]", a value of it) in every`},
			{unknown{}, `type codec.unknown is not registered: call cluster.Register("codec.unknown", unknown{}) in package github.com/abhishekg16/cluster/internal/codec, which alone can name it, or send a registered type of your own`},
			{errors.New("x"), `type errors.errorString is not registered, and only package errors can name it: send the text of the error instead, or a registered error type of your own`},
		} {
			if _, _, err := encoded(nil, c.v); !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("got  %v\nwant it to contain %s", err, c.want)
			}
		}
	})
	t.Run("what Register would not take", func(t *testing.T) {
		type WithChannel struct{ C chan int }
		_, _, err := encoded(nil, WithChannel{})
		if want := "field C (chan int): a chan cannot be sent"; !errors.Is(err, ErrNotEncodable) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "Register") {
			t.Errorf("got %v, want ErrNotEncodable with %q and no advice to call Register", err, want)
		}
	})
	t.Run("receiver", func(t *testing.T) {
		_, err := decoded(Typed, typed("7:nowhere", 0xa0), false)
		if !errors.Is(err, ErrUnregistered) || !strings.Contains(err.Error(), `"nowhere"`) {
			t.Errorf("got %v, want ErrUnregistered naming it", err)
		}
	})
	t.Run("later registered", func(t *testing.T) {
		type later struct{ A any }
		if _, ok := registeredName(reflect.TypeFor[later]()); ok {
			t.Skip("a process can register it only once, and it was run before (-count)")
		}
		if _, _, err := encoded(nil, []any{later{1}}); !errors.Is(err, ErrUnregistered) {
			t.Fatalf("before: got %v, want ErrUnregistered", err)
		}
		if _, err := decoded(Typed, typed("5:later", 0xa0), false); !errors.Is(err, ErrUnregistered) {
			t.Fatalf("before: got %v, want ErrUnregistered", err)
		}
		Register("later", later{})
		if got, want := roundTrip(t, []any{later{1}}), []any{later{1}}; !equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func typed(expr string, body ...byte) []byte {
	return append(append([]byte{byte(len(expr)), byte(len(expr) >> 8)}, expr...), body...)
}

func TestRegisterPanics(t *testing.T) {
	type fn func()
	type hidden struct {
		//lint:ignore U1000 that it cannot be seen is what is tested
		a int
	}
	type ok struct{ A int }
	type other struct{ A int }
	Register("ok", ok{})
	Register("ok", ok{})
	Register("ok", &ok{})
	for name, c := range map[string]struct {
		name  string
		value any
	}{
		"empty name": {"", ok{}}, "long name": {strings.Repeat("x", 256), ok{}}, "nil": {"n", nil}, "name taken": {"ok", other{}},
		"type taken": {"ok2", ok{}}, "int": {"int", 1}, "slice": {"s", []ok{}}, "chan": {"c", make(chan int)}, "func": {"f", fn(nil)},
		"hidden": {"h", hidden{}}, "unnamed": {"u", struct{ A int }{}}, "interface": {"i", (*shape)(nil)}, "bytes": {"b", []byte{}},
		"chan field": {"wc", withChan{}},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.HasPrefix(got, "cluster: Register") {
					t.Errorf("got %q, want a panic that starts with cluster: Register", got)
				}
			}()
			Register(c.name, c.value)
		})
	}
	t.Run("longest name", func(t *testing.T) {
		type longest struct{ A int }
		Register(strings.Repeat("n", 255), longest{})
		if got := roundTrip(t, longest{1}); !equal(got, longest{1}) {
			t.Errorf("got %v, want %v", got, longest{1})
		}
	})
	t.Run("any character", func(t *testing.T) {
		type odd struct{ A any }
		Register("]*[3]:é 4:x", odd{})
		v := map[string][]any{"a": {odd{1}, []*odd{{2}}}}
		if got := roundTrip(t, v); !equal(got, v) {
			t.Errorf("got %v, want %v", got, v)
		}
	})
}

func TestRegisterWhileInUse(t *testing.T) {
	types := []any{}
	for i := range 64 {
		types = append(types, reflect.New(reflect.ArrayOf(i, reflect.TypeFor[point]())).Elem().Interface())
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				Register("point", point{})
				v := []any{types[(i+g)%64], entry{Cmd: point{i, g}}}
				b, k, err := encoded(nil, v)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := decoded(k, b, true)
				if err != nil || !equal(got, v) {
					t.Errorf("got %v, %v, want %v", got, err, v)
				}
			}
		})
	}
	wg.Wait()
}

func TestValueIsNotModified(t *testing.T) {
	mk := func() any {
		return &appendEntries{Term: 1, Entries: []entry{{Cmd: &point{1, 2}}, {Cmd: []any{&square{1}, uint8(3)}}},
			Tags: map[string]any{"a": []any{1, &point{}}, "b": map[string]any{"c": int32(1)}}, By: &point{3, 4}}
	}
	v, want := mk(), mk()
	if _, _, err := encoded(nil, v); err != nil {
		t.Fatal(err)
	}
	if !equal(v, want) {
		t.Errorf("got %+v, want %+v", v, want)
	}
}

func TestAlias(t *testing.T) {
	b, k, _ := encoded(nil, []byte("abc"))
	shared, _ := decoded(k, b, true)
	copied, _ := decoded(k, b, false)
	str, _ := decoded(String, b, true)
	b[0] = 'X'
	if got := string(shared.([]byte)); got != "Xbc" {
		t.Errorf("alias: got %q, want %q", got, "Xbc")
	}
	if c := cap(shared.([]byte)); c != 3 {
		t.Errorf("alias: capacity %d reaches beyond the payload of 3", c)
	}
	if string(copied.([]byte)) != "abc" || str != "abc" {
		t.Errorf("got %q and %q, want copies", copied, str)
	}
	for _, v := range []any{[][]byte{[]byte("abc")}, []any{[]byte("abc"), "abc", binaryOnly{"abc"}}, plainMix{S: "abc", B: []byte("abc")},
		map[string][]byte{"abc": []byte("abc")}} {
		b, k, _ := encoded(nil, v)
		for _, alias := range []bool{false, true} {
			in := append([]byte(nil), b...)
			got, err := decoded(k, in, alias)
			if err != nil {
				t.Fatal(err)
			}
			clear(in)
			if !equal(got, v) {
				t.Errorf("%T, alias %v: got %v after the payload was cleared, want %v", v, alias, got, v)
			}
		}
	}
}

func TestBlob(t *testing.T) {
	v := []byte("abc")
	if p, k, ok := Blob(v); !ok || k != Bytes || &p[0] != &v[0] {
		t.Errorf("got %q %v %v, want the same memory", p, k, ok)
	}
	if p, k, ok := Blob("abc"); !ok || k != String || string(p) != "abc" {
		t.Errorf("got %q %v %v", p, k, ok)
	}
	if p, k, ok := Blob([]byte(nil)); !ok || k != NilBytes || p != nil {
		t.Errorf("got %q %v %v", p, k, ok)
	}
	if p, k, ok := Blob(""); !ok || k != String || len(p) != 0 {
		t.Errorf("got %q %v %v", p, k, ok)
	}
	for _, v := range []any{1, nil, label("x"), point{}} {
		if _, _, ok := Blob(v); ok {
			t.Errorf("Blob(%T) is ok", v)
		}
	}
}

func TestEvolution(t *testing.T) {
	type wide struct {
		A, B int
		C    []any
	}
	type narrow struct {
		A int
		X any
	}
	Register("wide", wide{})
	Register("narrow", narrow{})
	b, _, err := encoded(nil, wide{1, 2, []any{point{1, 2}}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := decoded(Typed, append(typed("6:narrow"), b[2+len("4:wide"):]...), false)
	if err != nil || !equal(got, narrow{A: 1}) {
		t.Errorf("got %v, %v, want %v", got, err, narrow{A: 1})
	}
}

// TestForeign holds payloads as another language's CBOR library would write them.
func TestForeign(t *testing.T) {
	for _, c := range []struct {
		name, expr string
		body       []byte
		want       any
	}{
		{"half float", "any", []byte{0xf9, 0x3e, 0x00}, 1.5},
		{"int for float", "float64", []byte{0x03}, 3.0},
		{"long head", "int", []byte{0x1b, 0, 0, 0, 0, 0, 0, 0, 7}, 7},
		{"uint64", "any", []byte{0x1b, 255, 255, 255, 255, 255, 255, 255, 255}, uint64(math.MaxUint64)},
		{"epoch", "any", []byte{0xc1, 0x01}, time.Unix(1, 0).UTC()},
		{"other order", "5:point", []byte{0xa2, 0x61, 'Y', 2, 0x61, 'X', 1}, point{1, 2}},
		{"unknown field", "5:entry", []byte{0xa2, 0x61, 'Q', 0x81, 2, 0x64, 'T', 'e', 'r', 'm', 1}, entry{Term: 1}},
		{"box", "any", append([]byte{0xd8, 27, 0x82, 0x65}, "uint8\x07"...), uint8(7)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := decoded(Typed, typed(c.expr, c.body...), false)
			if err != nil || !equal(got, c.want) {
				t.Errorf("got %T %v, %v, want %T %v", got, got, err, c.want, c.want)
			}
		})
	}
}

func TestMalformed(t *testing.T) {
	deepTags := make([]byte, 100000)
	for i := range deepTags {
		deepTags[i] = 0x81
	}
	type m = struct {
		kind Kind
		b    []byte
	}
	for name, c := range map[string]m{
		"kind 0": {0, nil}, "kind 22": {22, nil}, "nil with bytes": {Nil, []byte{1}}, "short int": {Int, []byte{1}},
		"long uint8": {Uint8, []byte{1, 2}}, "no head": {Typed, nil}, "half a head": {Typed, []byte{1}},
		"head too long": {Typed, []byte{200, 0, 'i'}}, "empty expression": {Typed, typed("", 1)},
		"trailing": {Typed, typed("int", 1, 1)}, "trailing plain": {Typed, typed("5:point", 0xa0, 0)}, "empty body": {Typed, typed("int")},
		"no such basic": {Typed, typed("foo", 1)}, "uintptr": {Typed, typed("uintptr", 1)}, "error": {Typed, typed("error", 0xf6)},
		"pointer on top": {Typed, typed("*5:point", 0xa0)}, "slice key": {Typed, typed("map[[]int]int", 0xa0)},
		"pointer key": {Typed, typed("map[*int]int", 0xa0)}, "uncomparable key": {Typed, typed("map[13:appendEntries]int", 0xa0)},
		"array of uncomparable": {Typed, typed("map[[2]6:counts]int", 0xa0)},
		"huge array":            {Typed, typed("[1048577]uint8", 0x40)}, "array of arrays": {Typed, typed("[1000000][1000000]uint8", 0x80)},
		"array of nothing": {Typed, typed("[99999999][0]int", 0x80)}, "leading zero": {Typed, typed("[]05:point", 0x80)},
		"name too long": {Typed, typed("9:point", 0xa0)}, "name of 0": {Typed, typed("0:", 0xa0)}, "unclosed": {Typed, typed("map[int", 0xa0)},
		"deep type": {Typed, typed(strings.Repeat("[]", 8)+"int", 0x80)}, "long type": {Typed, typed(strings.Repeat("[]", 300)+"int", 0x80)},
		"indefinite": {Typed, typed("[]any", 0x9f, 0xff)}, "indefinite plain": {Typed, typed("[]int", 0x9f, 0xff)},
		"count over length": {Typed, typed("[]any", 0x9b, 255, 255, 255, 255, 255, 255, 255, 255)},
		"map count":         {Typed, typed("map[string]any", 0xbb, 127, 255, 255, 255, 255, 255, 255, 255)},
		"bytes over length": {Typed, typed("any", 0x5b, 255, 255, 255, 255, 255, 255, 255, 255)},
		"duplicate key":     {Typed, typed("map[string]any", 0xa2, 0x61, 'a', 1, 0x61, 'a', 1)},
		"duplicate plain":   {Typed, typed("map[string]int", 0xa2, 0x61, 'a', 1, 0x61, 'a', 1)},
		"duplicate field":   {Typed, typed("5:entry", 0xa2, 0x64, 'T', 'e', 'r', 'm', 1, 0x64, 'T', 'e', 'r', 'm', 1)},
		"unhashable key":    {Typed, typed("map[any]any", 0xa1, 0x80, 1)}, "overflow": {Typed, typed("int8", 0x18, 200)},
		"negative uint": {Typed, typed("uint", 0x20)}, "text for int": {Typed, typed("int", 0x61, 'a')}, "tag": {Typed, typed("any", 0xc2, 0x41, 1)},
		"box of nothing": {Typed, typed("any", 0xd8, 27, 0x80)}, "box of bytes": {Typed, typed("any", 0xd8, 27, 0x82, 0x41, 'a', 1)},
		"nested arrays": {Typed, typed("any", deepTags...)}, "nested in unknown field": {Typed, append(typed("5:entry", 0xa1, 0x61, 'Q'), deepTags...)},
		"wrong interface": {Typed, typed("6:canvas", append([]byte{0xa1, 0x64, 'M', 'a', 'i', 'n'}, 1)...)},
		"bad time":        {Typed, typed("9:time.Time", 0xc0, 0x61, 'x')}, "time without tag": {Typed, typed("9:time.Time", 0x61, 'x')},
		"bad binary": {Binary, typed("10:binaryOnly", []byte("bad")...)}, "panic": {Binary, typed("10:binaryOnly", []byte("panic")...)},
		"binary of no such": {Binary, typed("5:point", 1)}, "short array": {Typed, typed("[3]uint8", 0x41, 1)},
		"null int": {Typed, typed("int", 0xf6)},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := decoded(c.kind, c.b, false)
			if !errors.Is(err, ErrMalformed) || v != nil {
				t.Errorf("got %v, %v, want ErrMalformed", v, err)
			}
			if strings.HasPrefix(name, "nested") && !strings.Contains(fmt.Sprint(err), "nested deeper") {
				t.Errorf("got %.200v, want it refused for its depth", err)
			}
			if got := strings.Contains(fmt.Sprint(err), "panicked"); got != (name == "panic") {
				t.Errorf("got %v: only a method of the type's own may panic", err)
			}
		})
	}
	t.Run("every prefix", func(t *testing.T) {
		v := appendEntries{Term: 300, Entries: []entry{{Cmd: point{1, 2}, At: time.Unix(1, 2)}}, Tags: map[string]any{"x": []string{"a"}}}
		b, k, err := encoded(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			if _, err := decoded(k, b[:i], false); !errors.Is(err, ErrMalformed) {
				t.Errorf("prefix of %d of %d: got %v, want ErrMalformed", i, len(b), err)
			}
		}
	})
}

// allocated measures what f allocates in all, garbage included.
func allocated(f func()) uint64 {
	var a, b runtime.MemStats
	runtime.ReadMemStats(&a)
	f()
	runtime.ReadMemStats(&b)
	return b.TotalAlloc - a.TotalAlloc
}

func TestAllocationIsBounded(t *testing.T) {
	const n = 1 << 17
	type big1k struct {
		A   int
		Pad [127]int64 `cbor:",omitempty"`
	}
	type wideArr struct {
		A []*[1000]int
		B [][1000]int
		C map[int][1000]int
	}
	type tuples struct {
		_ struct{} `cbor:",toarray"`
		A *[200]int
	}
	Register("big1k", big1k{})
	Register("wideArr", wideArr{})
	Register("tuples", tuples{})
	fill := func(expr string, prefix []byte, c ...byte) []byte {
		body := bytes.Clone(prefix)
		body = appendHead(body, majorArray, uint64(n/len(c)))
		for range n / len(c) {
			body = append(body, c...)
		}
		return typed(expr, body...)
	}
	fillMap := func(expr string, c byte) []byte {
		body := appendHead(nil, majorMap, n/6)
		for i := range n / 6 {
			body = append(body, 0x1a, byte(i>>24), byte(i>>16), byte(i>>8), byte(i), c)
		}
		return typed(expr, body...)
	}
	box := append([]byte{0xd8, 27, 0x82, 0x67}, "5:big1k\xa0"...)
	box[3] = 0x67
	for name, p := range map[string][]byte{
		"null structs": fill("[]5:big1k", nil, 0xf6), "empty structs": fill("[]5:big1k", nil, 0xa0), "pointers": fill("[]*5:big1k", nil, 0xa0),
		"boxes": fill("[]any", nil, box...), "anys": fill("[]any", nil, 0x00), "empty slices": fill("[]any", nil, 0x80),
		"empty maps": fill("[]any", nil, 0xa0), "strings": fill("[]string", nil, 0x60), "plain maps": fill("[]map[string]int", nil, 0xa0),
		"arrays": fill("[][1000]int", nil, 0x80), "array pointers": fill("[]*[1000]int", nil, 0x80), "tuples": fill("[]6:tuples", nil, 0x81, 0x80),
		"in a field": fill("7:wideArr", []byte{0xa1, 0x61, 'A'}, 0x80), "in a field, values": fill("7:wideArr", []byte{0xa1, 0x61, 'B'}, 0x80),
		"map values": fillMap("map[int][1000]int", 0x80), "map of any": fillMap("map[int]any", 0x00), "plain map": fillMap("map[int]int", 0),
		"wrong types": fill("[]int", nil, 0x60), "wrong structs": fill("[]5:point", nil, 0x01), "wrong boxes": fill("[]any", nil, 0xd8, 27, 0x80),
		"slices of slices": fill("[][][]int", nil, 0x81, 0x80), "structs": fill("[]8:plainMix", nil, 0xa0), "times": fill("[]9:time.Time", nil, 0xf6),
		"big ints": fill("[]7:big.Int", nil, 0x01), "big int pointers": fill("[]*7:big.Int", nil, 0x01),
		"unknown types": fill("[]any", nil, append([]byte{0xd8, 27, 0x82, 0x64}, "2:zz\x01"...)...),
	} {
		t.Run(name, func(t *testing.T) {
			const cost = 8 << 20
			types := NewTypes()
			Decode(Typed, p, false, Limits{Cost: cost}, types) // makes the types and plans
			var err error
			got := allocated(func() { _, _, err = Decode(Typed, p, false, Limits{Cost: cost}, types) })
			t.Logf("%.1f bytes for each byte, %.60v", float64(got)/float64(len(p)), err)
			if limit := uint64(2*cost + 256<<10); got > limit {
				t.Errorf("%d bytes of payload made %d, want at most %d", len(p), got, limit)
			}
		})
	}
}
