package codec

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// item is a CBOR item as another program may write it.
func item(t *testing.T, v any) []byte {
	t.Helper()
	b, err := cbor.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEachFieldIsReadInEitherForm decodes structs in kind Typed, of which each field may have its first name or that of today,
// and in kind Typed2, where first names mean nothing.
func TestEachFieldIsReadInEitherForm(t *testing.T) {
	type m = map[string]any
	flat := v1Flat{V1Meta: &V1Meta{ID: 1, Leaf: "l"}, Name: "n"}
	for _, c := range []struct {
		name string
		kind Kind
		item any
		want any // nil: refused
	}{
		{"first name", Typed, m{"name": "n", "age": 3}, v1User{Name: "n", Age: 3}},
		{"name of today", Typed, m{"Name": "n", "Age": 3}, v1User{Name: "n", Age: 3}},
		{"one of each", Typed, m{"name": "n", "Age": 3}, v1User{Name: "n", Age: 3}},
		{"both of one field", Typed, m{"name": "n", "Name": "n"}, nil},
		{"a name that had none", Typed, m{"Hash": "h"}, v1User{Hash: "h"}},
		{"flattened", Typed, m{"id": 1, "Leaf": "l", "Name": "n"}, flat},
		{"a field", Typed, m{"V1Meta": m{"ID": 1, "Leaf": "l"}, "Name": "n"}, flat},
		{"a field whose own fields have first names", Typed, m{"V1Meta": m{"id": 1, "Leaf": "l"}, "Name": "n"}, flat},
		{"a field, and one of its fields flattened", Typed, m{"V1Meta": m{"Leaf": "l"}, "id": 1}, nil},
		{"one of its fields flattened, and the field", Typed, m{"id": 1, "V1Meta": nil}, nil},
		{"unexported name", Typed, m{"v1base": m{"Term": 7}}, v1Flat{v1base: v1base{7}}},
		{"unexported name, flattened", Typed, m{"Term": 7}, v1Flat{v1base: v1base{7}}},
		{"null", Typed, []any{nil}, []v1User{{}}},
		{"tuple flattened", Typed, []any{1, "l", 2}, v1Tuple{V1Meta: V1Meta{1, "l"}, B: int64(2)}},
		{"tuple of today", Typed, []any{m{"ID": 1, "Leaf": "l"}, 2}, v1Tuple{V1Meta: V1Meta{1, "l"}, B: int64(2)}},
		{"tuple of another length", Typed, []any{1}, nil},
		{"text", Typed, []any{"color-3", 4}, []v1Color{3, 4}},
		{"promoted", Typed, []any{m{"Name": "n"}}, nil},

		{"kind 21, first name", Typed2, m{"name": "n"}, v1User{}},
		{"kind 21, name of today", Typed2, m{"Name": "n", "Hash": "h"}, v1User{Name: "n", Hash: "h"}},
		{"kind 21, twice", Typed2, rawItem("\xa2\x64Name\x61a\x64Name\x61b"), nil},
		{"kind 21, flattened", Typed2, m{"id": 1, "Term": 7, "Name": "n"}, v1Flat{Name: "n"}},
		{"kind 21, tuple flattened", Typed2, []any{1, "l", 2}, nil},
		{"kind 21, text", Typed2, []any{"color-3"}, nil},
		{"kind 21, promoted", Typed2, []any{m{"Name": "n"}}, []v1Event{{Name: "n"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := c.want
			typ := reflect.TypeFor[v1User]()
			switch {
			case want != nil:
				typ = reflect.TypeOf(want)
			case strings.Contains(c.name, "field"):
				typ = reflect.TypeFor[v1Flat]()
			case strings.Contains(c.name, "tuple"):
				typ = reflect.TypeFor[v1Tuple]()
			case strings.Contains(c.name, "text"):
				typ = reflect.TypeFor[[]v1Color]()
			case strings.Contains(c.name, "promoted"):
				typ = reflect.TypeFor[[]v1Event]()
			}
			if c.name == "both of one field" {
				typ = reflect.TypeFor[v1User]()
			}
			in, err := infoOf(typ)
			if err != nil {
				t.Fatal(err)
			}
			body, ok := c.item.(rawItem)
			if !ok {
				body = rawItem(item(t, c.item))
			}
			got, err := decoded(c.kind, append(append([]byte{}, in.head...), body...), false)
			if want == nil {
				if !errors.Is(err, ErrMalformed) {
					t.Errorf("got %+v, %v, want it refused", got, err)
				}
				return
			}
			if err != nil || !equal(got, want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
			}
		})
	}
}

type rawItem string

type (
	fOwn struct {
		time.Time
		N int
	}
	fSole  struct{ time.Time }
	fSole2 struct{ fSole }
	fBlank struct {
		_ int
		time.Time
	}
	fSoleOfTwo struct{ fTwo }
	fTwo       struct {
		time.Time
		N int
	}
	fPointer struct{ *time.Time }
	fHalf    struct {
		time.Time
		N int
	}
	fGeneric[T any] struct {
		time.Time
		V T
	}
	fAppend struct {
		mAppends
		N int
	}
	mAppends struct{ S string }
)

func (f fOwn) MarshalBinary() ([]byte, error)            { return []byte{byte(f.N)}, nil }
func (f *fOwn) UnmarshalBinary(p []byte) error           { f.N = int(p[0]); return nil }
func (f fHalf) MarshalBinary() ([]byte, error)           { return []byte{byte(f.N)}, nil }
func (f fGeneric[T]) MarshalBinary() ([]byte, error)     { return nil, nil }
func (f *fGeneric[T]) UnmarshalBinary([]byte) error      { return nil }
func (m mAppends) AppendBinary(p []byte) ([]byte, error) { return append(p, m.S...), nil }
func (f fAppend) MarshalBinary() ([]byte, error)         { return []byte{byte(f.N)}, nil }
func (f *fAppend) UnmarshalBinary(p []byte) error        { f.N = int(p[0]); return nil }

// TestPromotedMethodsDoNotSpeakForOtherFields tells methods that a type declares from those that it has from what it embeds.
func TestPromotedMethodsDoNotSpeakForOtherFields(t *testing.T) {
	for _, c := range []struct {
		typ     reflect.Type
		want    op
		appends bool
	}{
		{reflect.TypeFor[fOwn](), opBinary, false}, {reflect.TypeFor[fSole](), opBinary, true}, {reflect.TypeFor[fSole2](), opBinary, true},
		{reflect.TypeFor[fBlank](), opBinary, true}, {reflect.TypeFor[fTwo](), opStruct, false}, {reflect.TypeFor[fSoleOfTwo](), opStruct, false},
		{reflect.TypeFor[fPointer](), opStruct, false}, {reflect.TypeFor[fHalf](), opStruct, false},
		{reflect.TypeFor[fGeneric[int]](), opBinary, false}, {reflect.TypeFor[fGeneric[fTwo]](), opBinary, false},
		{reflect.TypeFor[fAppend](), opBinary, false},
	} {
		p := planOf(c.typ)
		if p.op == opForms {
			p = p.now
		}
		if p.op != c.want || p.appends != c.appends {
			t.Errorf("%v: got %d, by AppendBinary %v, want %d, %v", c.typ, p.op, p.appends, c.want, c.appends)
		}
	}
}

type (
	wInner struct {
		//lint:ignore U1000 that it cannot be seen is what is tested
		a int
	}
	wChan struct{ C chan int }
	wDeep struct{ M map[string][]*wMid }
	wMid  struct{ In [2]wInner }
	wKey  struct{ M map[[1]wInner]int }
	wRec  struct {
		Next *wRec
		Bad  []wChan
	}
	wGen[T any] struct{ V T }
	wTagged     struct {
		In wInner `cbor:"-"`
		N  int
	}
	wAllLeft struct {
		N int `cbor:"-"`
	}
	wName struct {
		A int `cbor:"B"`
		B int
	}
	wFunc []func()
)

// TestRegisterLooksAtAllOfAType names the part that cannot arrive, and the way out.
func TestRegisterLooksAtAllOfAType(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string // in the panic; none if it is empty
	}{
		{wChan{}, "field C (chan int): a chan cannot be sent; or leave the field out with the tag `cbor:\"-\"`"},
		{wDeep{}, "field M[][].In[] (codec.wInner): it has fields, but none would arrive"},
		{wKey{}, "field M[key][] (codec.wInner): it has fields, but none would arrive"},
		{wRec{}, "field Bad[].C (chan int)"},
		{wGen[wInner]{}, "field V (codec.wInner)"},
		{wFunc{}, "its part [] (func()): a func cannot be sent"},
		{wAllLeft{}, "it has fields, but none would arrive"},
		{wName{}, `its fields A and B both travel as "B"`},
		{wTagged{}, ""}, {wGen[int]{}, ""},
	} {
		t.Run(reflect.TypeOf(c.v).Name(), func(t *testing.T) {
			said := register(c.v)
			if c.want == "" && said != "" || !strings.Contains(said, c.want) {
				t.Errorf("got %q, want it to contain %q", said, c.want)
			}
		})
	}
	t.Run("what needs no name", func(t *testing.T) {
		for _, v := range []any{[]int{}, map[string]int{}, 1, ""} {
			said := ""
			func() {
				defer func() { said, _ = recover().(string) }()
				Register("x", v)
			}()
			if !strings.Contains(said, "needs no name: leave this call out") {
				t.Errorf("%T: got %q", v, said)
			}
		}
	})
}

// TestKeysThatWouldMergeAreRefused, and so are keys whose identity does not travel.
func TestKeysThatWouldMergeAreRefused(t *testing.T) {
	register(mKey{})
	register(mPlain{})
	when := time.Unix(1, 2)
	for name, v := range map[string]any{
		"unexported fields": map[any]int{mKey{1, 2}: 1, mKey{1, 3}: 2},
		"times":             map[time.Time]int{when.UTC(): 1, when.In(time.FixedZone("", 0)): 2},
		"a pointer":         map[any]int{&mPlain{1, 2}: 1},
		"within a key":      map[[1]any]int{{&mPlain{1, 2}}: 1},
	} {
		if b, _, err := encoded(nil, v); !errors.Is(err, ErrNotEncodable) {
			t.Errorf("%s: got %x, %v, want ErrNotEncodable", name, b, err)
		}
	}
	for _, v := range []any{map[any]int{mKey{A: 1}: 1, mKey{A: 2}: 2, 1: 3, "a": 4}, map[time.Time]int{when.UTC(): 1}} {
		if got := roundTrip(t, v); !equal(got, v) {
			t.Errorf("got %v, want %v", got, v)
		}
	}
}

// TestOmitzeroAsksNoPromotedMethod: what an embedded type calls zero need not be zero.
func TestOmitzeroAsksNoPromotedMethod(t *testing.T) {
	type event struct {
		time.Time
		Name string
	}
	type log struct {
		E event     `cbor:",omitzero"`
		T time.Time `cbor:",omitzero"`
	}
	register(log{})
	v := log{E: event{Name: "kept"}}
	if got := roundTrip(t, v); !equal(got, v) {
		t.Errorf("got %+v, want %+v", got, v)
	}
}

// TestPointersToNilAreKeptApartFromNilPointers at any depth.
func TestPointersToNilAreKeptApartFromNilPointers(t *testing.T) {
	type pointers struct {
		S *[]int
		P ***int
		A *any
	}
	register(pointers{})
	var none []int
	var null any
	var p0 *int
	p1 := &p0
	var p2 **int
	for _, v := range []pointers{{}, {S: &none}, {P: &p1}, {P: &p2}, {A: &null}, {S: &[]int{}}} {
		if got := roundTrip(t, v); !equal(got, v) {
			t.Errorf("got %+v, want %+v", got, v)
		}
	}
}
