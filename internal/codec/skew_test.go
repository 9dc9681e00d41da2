package codec

import (
	"bytes"
	"encoding/gob"
	"math"
	"reflect"
	"strings"
	"testing"
)

// A sent type and a received one, for the table of docs/values.md about programs that differ.
type (
	kA     struct{ A int }
	kAB    struct{ A, B int }
	kBA    struct{ B, A int }
	kPtr   struct{ A *int }
	kElems struct{ S []int }
	kPtrs  struct{ S []*int }
	kI32   struct{ A int32 }
	kI64   struct{ A int64 }
	kUint  struct{ A uint }
	kF32   struct{ A float32 }
	kF64   struct{ A float64 }
	kStr   struct{ A string }
	kByt   struct{ A []byte }
	kZ     struct{ Z int }
	kTag   struct {
		Z int `cbor:"A"`
	}
	kJSON struct {
		A int `json:"a"`
	}
	KInner  struct{ A int }
	kField  struct{ KInner KInner }
	kEmbeds struct{ KInner }
	kArray  struct{ S [2]int }
	kMap    struct{ KInner map[string]int }
	kAny    struct{ V any }
)

type skewCase struct {
	name        string
	sent, wants any // wants is of the receiver's type; what is not said to be refused arrives as it
	rest        string
}

func skewCases() []skewCase {
	one, zero := 1, 0
	return []skewCase{
		{"a field that only the receiver has", kA{1}, kAB{A: 1}, "zero"},
		{"a field that only the sender has", kAB{1, 2}, kA{1}, "skipped"},
		{"fields in another order", kAB{1, 2}, kBA{2, 1}, "equal"},
		{"`T` becomes `*T`", kA{1}, kPtr{&one}, "equal"},
		{"`*T` becomes `T`", kPtr{&one}, kA{1}, "equal"},
		{"a nil `*T` becomes `T`", kPtr{}, kA{}, "zero"},
		{"`[]*T` with nil elements becomes `[]T`", kPtrs{[]*int{&one, nil, &zero}}, kElems{[]int{1, 0, 0}}, "zero"},
		{"`int32` becomes `int64`", kI32{math.MinInt32}, kI64{math.MinInt32}, "equal"},
		{"`int64` becomes `int32`, in its range", kI64{math.MaxInt32}, kI32{math.MaxInt32}, "equal"},
		{"`int64` becomes `int32`, beyond its range", kI64{math.MaxInt32 + 1}, kI32{}, "equal"},
		{"`int` becomes `uint`, negative", kA{-1}, kUint{}, "equal"},
		{"`int` becomes `uint`", kA{1}, kUint{1}, "equal"},
		{"`int` becomes `float64`", kA{1}, kF64{1}, "equal"},
		{"`int` becomes `float64`, which cannot hold it exactly", kA{1<<53 + 1}, kF64{}, "equal"},
		{"`float64` becomes `int`", kF64{1}, kA{1}, "equal"},
		{"`float32` becomes `float64`", kF32{0.1}, kF64{float64(float32(0.1))}, "equal"},
		{"`float64` becomes `float32`", kF64{0.1}, kF32{0.1}, "rounded"},
		{"`string` becomes `[]byte`", kStr{"a"}, kByt{[]byte("a")}, "equal"},
		{"the type has another name in Go", kA{1}, KInner{1}, "equal"},
		{"a field has another name in Go", kA{1}, kZ{}, "zero"},
		{"a field has another name in Go, and its old one in a cbor tag", kA{1}, kTag{1}, "equal"},
		{"a json tag is added", kA{1}, kJSON{1}, "equal"},
		{"a struct that was a field is embedded", kField{KInner{1}}, kEmbeds{KInner{1}}, "equal"},
		{"fields move into an embedded struct", kA{1}, kEmbeds{KInner{1}}, "equal"},
		{"fields move out of an embedded struct", kEmbeds{KInner{1}}, kA{}, "zero"},
		{"`[]T` becomes `[2]T`, of two elements", kElems{[]int{1, 2}}, kArray{[2]int{1, 2}}, "equal"},
		{"`[]T` becomes `[2]T`, of three elements", kElems{[]int{1, 2, 3}}, kArray{}, "equal"},
		{"a struct becomes a map of its fields", kField{KInner{1}}, kMap{map[string]int{"A": 1}}, "equal"},
		{"the type gets a format of its own", kA{1}, mBinary{}, "equal"},
	}
}

func (c skewCase) outcome(got any, err error, refused string) string {
	switch {
	case err != nil:
		return refused
	case equal(got, c.wants):
		return c.rest
	}
	return "another value"
}

// here sends by this package. The two types have the name of their program's, and this program can have only one of a name.
func (c skewCase) here(t *testing.T) string {
	for _, v := range []any{c.sent, c.wants} {
		if said := register(v); said != "" {
			t.Fatal(said)
		}
	}
	b, k, err := encoded(nil, c.sent)
	if err != nil {
		t.Fatal(err)
	}
	n, err := exprLen(b)
	if err != nil {
		t.Fatal(err)
	}
	in, err := infoOf(reflect.TypeOf(c.wants))
	if err != nil {
		t.Fatal(err)
	}
	got, err := decoded(k, append(bytes.Clone(in.head), b[2+n:]...), false)
	return c.outcome(got, err, "refused by the receiver")
}

func (c skewCase) byGob() string {
	var b bytes.Buffer
	got := reflect.New(reflect.TypeOf(c.wants))
	err := gob.NewEncoder(&b).Encode(c.sent)
	if err == nil {
		err = gob.NewDecoder(&b).DecodeValue(got)
	}
	return c.outcome(got.Elem().Interface(), err, "an error")
}

// TestDocumentedSkew checks the table of docs/values.md about programs that differ, line by line.
func TestDocumentedSkew(t *testing.T) {
	cases := map[string]skewCase{}
	for _, c := range skewCases() {
		cases[c.name] = c
	}
	for _, row := range tableRows(t, "values.md", "## When programs differ") {
		t.Run(row[0], func(t *testing.T) {
			here, byGob := "", ""
			if c, ok := cases[row[0]]; ok {
				here, byGob = c.here(t), c.byGob()
			} else if row[0] == "an interface holds a type that the receiver has not registered" {
				here, byGob = unregisteredSkew(t)
			} else {
				t.Fatal("there is no case for this row")
			}
			delete(cases, row[0])
			if !strings.HasPrefix(row[1], here) || !strings.HasPrefix(row[2], byGob) {
				t.Errorf("here %q, by gob %q; the table says %q and %q", here, byGob, row[1], row[2])
			}
		})
	}
	for name := range cases {
		t.Errorf("no row for the case %q", name)
	}
}

func unregisteredSkew(t *testing.T) (here, byGob string) {
	register(kAny{})
	register(kA{})
	b, k, err := encoded(nil, kAny{kA{1}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decoded(k, bytes.Replace(b, []byte("codec.kA\xa1"), []byte("codec.kQ\xa1"), 1), false); err != nil {
		here = "refused by the receiver"
	}
	gob.RegisterName("kA sent", kA{})
	var g bytes.Buffer
	if err := gob.NewEncoder(&g).Encode(kAny{kA{1}}); err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(g.String(), "kA sent", "kA lost", 1)
	if err := gob.NewDecoder(strings.NewReader(other)).Decode(&kAny{}); err != nil {
		byGob = "an error"
	}
	return here, byGob
}
