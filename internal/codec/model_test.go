package codec

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"math/big"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// The types of the table in docs/values.md.
type (
	mPlain   struct{ A, B int }
	mHidden  struct{ A, b int }
	mOption  struct{ value, set int }
	mLimits  struct{ Timeout mOption }
	mCounter struct {
		Name string
		Hits atomic.Int64
	}
	mPointer struct{ P *int }
	mPtrNil  struct{ P *[]int }
	mSlice   struct{ S []int }
	mMap     struct{ M map[string]int }
	mTwo     struct{ P, Q *int }
	mRing    struct{ Next *mRing }
	MBase    struct{ ID, Term int }
	MVote    struct{ ID int }
	mbase    struct{ Term int }
	mByValue struct {
		MBase
		Name string
	}
	mByPointer struct {
		*MBase
		Name string
	}
	mLower struct {
		mbase
		Name string
	}
	mLowerPointer struct {
		*mbase
		Name string
	}
	mError struct {
		error
		N int
	}
	mBallot struct {
		MBase
		MVote
	}
	mDerived struct {
		MBase
		ID int
	}
	mEvent struct {
		time.Time
		Name string
	}
	mJSON struct {
		A int `json:"b"`
		B int `json:"-"`
	}
	mLeft struct {
		A int
		B int `cbor:"-"`
	}
	mNamed struct {
		A int `cbor:"b"`
	}
	mTwice struct {
		A int `cbor:"x"`
		B int `cbor:"x"`
	}
	mBinary struct{ a, b int }
	mCbor   struct{ A, b int }
	mGob    struct{ A, b int }
	mText   struct{ a, b int }
	mLossy  struct{ a, b int }
	mColor  int
	mWithC  struct {
		A int
		C chan int
	}
	mNumbers struct {
		C complex128
		U uintptr
	}
	mEmpty  struct{}
	mSet    struct{ M map[string]struct{} }
	mAny    struct{ V any }
	mAnyPtr struct{ V any }
	mShape  interface{ Area() int }
	mCircle struct{ R int }
	mShapes struct{ S mShape }
	mKey    struct{ A, b int }
	mKeys   struct{ M map[mKey]int }
	mPtrKey struct{ M map[*int]int }
	mElems  struct{ S []*int }
	mTime   struct{ T time.Time }
	mText8  struct{ S string }
	mFloat  struct{ F *big.Float }
	mRegexp struct{ R *regexp.Regexp }
	mFail   struct{ Err error }
	mOther  struct{ A int }
)

func (m mBinary) MarshalBinary() ([]byte, error)  { return []byte{byte(m.a), byte(m.b)}, nil }
func (m *mBinary) UnmarshalBinary(p []byte) error { m.a, m.b = int(p[0]), int(p[1]); return nil }
func (m mCbor) MarshalCBOR() ([]byte, error)      { return cbor.Marshal([]int{m.A, m.b}) }
func (m *mCbor) UnmarshalCBOR(p []byte) (err error) {
	var l []int
	err = cbor.Unmarshal(p, &l)
	m.A, m.b = l[0], l[1]
	return err
}
func (m mGob) GobEncode() ([]byte, error)    { return []byte{byte(m.A), byte(m.b)}, nil }
func (m *mGob) GobDecode(p []byte) error     { m.A, m.b = int(p[0]), int(p[1]); return nil }
func (m mText) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%d %d", m.a, m.b), nil }
func (m *mText) UnmarshalText(p []byte) (err error) {
	_, err = fmt.Sscan(string(p), &m.a, &m.b)
	return err
}
func (m mLossy) MarshalText() ([]byte, error)        { return fmt.Append(nil, m.a), nil }
func (m *mLossy) UnmarshalText(p []byte) (err error) { _, err = fmt.Sscan(string(p), &m.a); return err }
func (m mColor) MarshalText() ([]byte, error)        { return []byte("some color"), nil }
func (m *mColor) UnmarshalText([]byte) error         { return errors.New("no such color") }
func (m *mCircle) Area() int                         { return 3 * m.R * m.R }

type modelCase struct {
	name string
	v    any
	// arrives is what comes instead of v, if that is another value; byGob likewise.
	arrives, byGob any
	gobEnds        bool // gob must not be given it
}

func modelCases() []modelCase {
	one, zero, none := 1, 0, []int(nil)
	ring := &mRing{}
	ring.Next = ring
	counter := &mCounter{Name: "c"}
	counter.Hits.Store(1)
	when := time.Date(2024, 2, 29, 1, 2, 3, 4, time.FixedZone("", 3600))
	named := when.In(time.FixedZone("NAME", 3600))
	past := when.In(time.FixedZone("", -17762))
	shifted := when.In(time.FixedZone("", -17762+256))
	third := new(big.Float).SetPrec(200).Quo(big.NewFloat(1), big.NewFloat(3))
	for _, v := range []any{mPlain{}, &mCircle{}, &mAnyPtr{}} {
		gob.Register(v)
		register(v)
	}
	return []modelCase{
		{name: "exported fields", v: mPlain{1, 2}},
		{name: "unexported fields beside exported ones", v: mHidden{1, 2}, arrives: mHidden{A: 1}, byGob: mHidden{A: 1}},
		{name: "a field of a type without exported fields (`atomic.Int64`, `bytes.Buffer`)", v: counter},
		{name: "a field of the program's own type without exported fields", v: mLimits{mOption{1, 1}}},
		{name: "a string that is not UTF-8", v: mText8{"\xff"}},
		{name: "complex numbers, `uintptr`", v: mNumbers{complex(1, 2), 3}},
		{name: "a field of type `chan` or `func`", v: mWithC{1, make(chan int)}, byGob: mWithC{A: 1}},
		{name: "a struct without fields", v: mEmpty{}},
		{name: "`map[string]struct{}`", v: mSet{map[string]struct{}{"a": {}}}},
		{name: "a pointer", v: mPointer{&one}},
		{name: "a nil pointer", v: mPointer{}},
		{name: "a pointer to a zero value", v: mPointer{&zero}, byGob: mPointer{}},
		{name: "a pointer to a nil slice", v: mPtrNil{&none}, byGob: mPtrNil{}},
		{name: "two pointers to one value", v: mTwo{&one, &one}},
		{name: "a cycle of pointers", v: *ring, gobEnds: true},
		{name: "a nil slice or map", v: mSlice{}},
		{name: "an empty slice", v: mSlice{[]int{}}, byGob: mSlice{}},
		{name: "an empty map", v: mMap{map[string]int{}}},
		{name: "a slice with nil pointers", v: mElems{[]*int{&one, nil}}},
		{name: "an embedded struct", v: mByValue{MBase{1, 2}, "n"}},
		{name: "an embedded pointer to a struct", v: mByPointer{&MBase{1, 2}, "n"}},
		{name: "an embedded nil pointer", v: mByPointer{nil, "n"}},
		{name: "two embedded structs with fields of one name", v: mBallot{MBase{1, 2}, MVote{3}}},
		{name: "a field that hides one of an embedded struct", v: mDerived{MBase{1, 2}, 3}},
		{name: "an embedded struct of unexported name", v: mLower{mbase{1}, "n"}, byGob: mLower{Name: "n"}},
		{name: "an embedded pointer to a struct of unexported name", v: mLowerPointer{&mbase{1}, "n"}, byGob: mLowerPointer{Name: "n"}},
		{name: "an embedded `error`, or another type of unexported name", v: mError{errors.New("x"), 1}, byGob: mError{N: 1}},
		{name: "an embedded type with a format, beside other fields", v: mEvent{when, "n"}, byGob: mEvent{Time: when}},
		{name: "json tags", v: mJSON{1, 2}},
		{name: "a field with the tag `cbor:\"-\"`", v: mLeft{1, 2}, arrives: mLeft{A: 1}},
		{name: "a field with the tag `cbor:\"name\"`", v: mNamed{1}},
		{name: "two fields with one name in their cbor tags", v: mTwice{1, 2}},
		{name: "MarshalCBOR, UnmarshalCBOR", v: mCbor{1, 2}, byGob: mCbor{A: 1}},
		{name: "AppendBinary or MarshalBinary, UnmarshalBinary", v: mBinary{1, 2}},
		{name: "GobEncode, GobDecode", v: mGob{1, 2}},
		{name: "MarshalText, UnmarshalText, with unexported fields", v: mText{1, 2}},
		{name: "the same, where the text says less than the value", v: mLossy{1, 2}},
		{name: "MarshalText, UnmarshalText, without unexported fields", v: mColor(3)},
		{name: "`big.Float` of any precision", v: mFloat{third}},
		{name: "`regexp.Regexp` made by CompilePOSIX", v: mRegexp{regexp.MustCompilePOSIX("a|ab")}},
		{name: "`time.Time`", v: mTime{named}, arrives: mTime{when}, byGob: mTime{when}},
		{name: "`time.Time` with seconds in a negative offset, as before 1884 in New York", v: mTime{past}, byGob: mTime{shifted}},
		{name: "an interface that holds a registered type", v: mAny{mPlain{1, 2}}},
		{name: "an interface that holds another type", v: mAny{mOther{1}}},
		{name: "an interface that holds nil", v: mAny{}},
		{name: "an interface that holds a pointer", v: mAny{&mAnyPtr{1}}, arrives: mAny{mAnyPtr{1}}},
		{name: "an interface that only the pointer implements", v: mShapes{&mCircle{1}}},
		{name: "an interface that holds a nil pointer", v: mAny{(*mAnyPtr)(nil)}},
		{name: "an interface that holds what `errors.New` made", v: mFail{errors.New("x")}},
		{name: "a map with keys that differ in unexported fields", v: mKeys{map[mKey]int{{1, 2}: 1, {1, 3}: 1}}, byGob: mKeys{map[mKey]int{{A: 1}: 1}}},
		{name: "a map with pointers as keys", v: mPtrKey{map[*int]int{&one: 1}}},
	}
}

// zoneOf is the name of the time zone in an mTime, which equal does not look at.
func zoneOf(v any) string {
	if m, ok := v.(mTime); ok {
		name, _ := m.T.Zone()
		return name
	}
	return ""
}

// outcome is how the table calls what became of a value.
func outcome(sent, got, another any, err error, refused string) string {
	switch {
	case err != nil:
		return refused
	case equal(got, sent) && zoneOf(got) == zoneOf(sent):
		return "equal"
	case another != nil && equal(got, another):
		return "arrives"
	}
	return fmt.Sprintf("another value: %+v", got)
}

// hereOutcome sends by this package.
func hereOutcome(c modelCase) string {
	if register(c.v) != "" {
		return "refused by Register"
	}
	b, k, err := encoded(nil, c.v)
	if err != nil {
		return "refused by Send"
	}
	got, err := decoded(k, b, false)
	return outcome(pointedTo(c.v), got, c.arrives, err, "refused by the receiver")
}

func gobOutcome(c modelCase) (said string) {
	defer func() {
		if r := recover(); r != nil {
			said = "an error"
		}
	}()
	v := reflect.ValueOf(pointedTo(c.v))
	var b bytes.Buffer
	got := reflect.New(v.Type())
	err := gob.NewEncoder(&b).EncodeValue(v)
	if err == nil {
		err = gob.NewDecoder(&b).DecodeValue(got)
	}
	if p, ok := got.Elem().Interface().(mPtrKey); ok && err == nil && len(p.M) == 1 {
		return "arrives" // with another pointer as key
	}
	return outcome(v.Interface(), got.Elem().Interface(), c.byGob, err, "an error")
}

// tableRows are the rows of the table under a heading of a file in docs, each a slice of its cells.
func tableRows(t *testing.T, file, heading string) [][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + file)
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("%s has no heading %q", file, heading)
	}
	var rows [][]string
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "#") {
			break
		}
		if !strings.HasPrefix(line, "|") {
			if len(rows) > 0 {
				break
			}
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	if len(rows) < 3 {
		t.Fatalf("%s: no table under %q", file, heading)
	}
	return rows[2:] // without the head and the line below it
}

// TestDocumentedModel checks docs/values.md line by line: what becomes of a value here, and what gob makes of it.
func TestDocumentedModel(t *testing.T) {
	cases := map[string]modelCase{}
	for _, c := range modelCases() {
		cases[c.name] = c
	}
	for _, row := range tableRows(t, "values.md", "## What becomes of a value") {
		c, ok := cases[row[0]]
		if !ok {
			t.Errorf("no case for the row %q", row[0])
			continue
		}
		delete(cases, row[0])
		t.Run(row[0], func(t *testing.T) {
			if got := hereOutcome(c); !strings.HasPrefix(row[1], got) {
				t.Errorf("here: got %q, the table says %q", got, row[1])
			}
			if c.gobEnds {
				return
			}
			if got := gobOutcome(c); !strings.HasPrefix(row[2], got) {
				t.Errorf("gob: got %q, the table says %q", got, row[2])
			}
		})
	}
	for name := range cases {
		t.Errorf("no row for the case %q", name)
	}
}
