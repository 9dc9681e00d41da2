package codec

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// secret stands for what a message says. No text repeats any of it.
const secret = "SECRET"

var errOwn = errors.New("own words")

// talker's methods put all that they are given into their errors.
type talker struct {
	//lint:ignore U1000 unexported, so that its text is used
	s string
}

func (t talker) MarshalText() ([]byte, error) {
	return nil, fmt.Errorf("%w: %s", errOwn, strings.Repeat("x", 1<<20))
}
func (t *talker) UnmarshalText(b []byte) error { return fmt.Errorf("cannot read %q", b) }

// panicker's panic with it.
type panicker struct{}

func (panicker) MarshalBinary() ([]byte, error)  { panic(secret) }
func (*panicker) UnmarshalBinary(b []byte) error { panic(errors.New(string(b))) }
func (*bounder) UnmarshalBinary(b []byte) error  { _ = b[len(b)]; return nil }
func (bounder) MarshalBinary() ([]byte, error)   { return []byte(secret), nil }

type bounder struct{}

func init() {
	Register("talker", talker{})
	Register("panicker", panicker{})
	Register("bounder", bounder{})
}

func TestErrorsAreShortAndSayNothingOfTheMessage(t *testing.T) {
	long := strings.Repeat(secret, 1<<18)
	text := func(major byte, s string) []byte { return append(appendHead(nil, major, uint64(len(s))), s...) }
	with := func(b []byte, more ...byte) []byte { return append(b, more...) }
	for name, c := range map[string]struct {
		kind    Kind
		payload []byte
		want    string // in the text
	}{
		"time":             {Typed, typed("9:time.Time", with([]byte{itemTime}, text(majorText, long)...)...), "1572864 bytes that are no time"},
		"short time":       {Typed, typed("9:time.Time", with([]byte{itemTime}, text(majorText, secret)...)...), "6 bytes that are no time"},
		"text form":        {Typed, typed("6:talker", text(majorText, long)...), "UnmarshalText of codec.talker does not take these 1572864 bytes"},
		"panic":            {Binary, typed("8:panicker", []byte(long)...), "panicked with a value of type *errors.errorString"},
		"runtime panic":    {Binary, typed("7:bounder", []byte(long)...), "index out of range [1572864]"},
		"expression":       {Typed, typed(strings.Repeat("é", 255)), "type expression"},
		"name":             {Typed, typed("255:"+strings.Repeat("\xff", 255), 1), "registered as"},
		"wrong type":       {Typed, typed("int", text(majorText, long)...), "for a value of type int"},
		"big integer":      {Typed, typed("7:big.Int", text(majorText, long)...), "no integer"},
		"large key":        {Typed, typed("map[string]int", with(text(majorText, long), 1)...), "CBOR major type"},
		"int of a 64 bits": {Int, []byte(long), "int takes 8 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			payload := c.payload
			_, _, err := Decode(c.kind, payload, false, Limits{}, NewTypes())
			if err == nil {
				t.Fatal("it was decoded")
			}
			if got := err.Error(); len(got) > 1024 || strings.Contains(got, secret) || !strings.Contains(got, c.want) {
				t.Errorf("got %d bytes, %.300s, want %s", len(got), got, c.want)
			}
			if made := allocated(func() { Decode(c.kind, payload, false, Limits{}, NewTypes()) }); name == "time" && made > 64<<10 {
				t.Errorf("%d bytes were allocated for a text that is not shown", made)
			}
			if kept := live(func() { _, _, err = Decode(c.kind, payload, false, Limits{}, NewTypes()) }); kept > 64<<10 {
				t.Errorf("the error keeps %d bytes", kept)
			}
		})
	}
}

func TestErrorsSayAThingOnce(t *testing.T) {
	cyc := &ring{Name: "a"}
	cyc.Next = cyc
	for name, c := range map[string]struct {
		v    any
		want string
	}{
		"cycle":     {cyc, "field Next.(121 fields).Next.Next.Next.Next.Next.Next of codec.ring: nested deeper than 256, or cyclic"},
		"path":      {outer{Any: entry{Cmd: make(chan int)}}, "field Any.Cmd of codec.outer: a chan (type chan int)"},
		"short":     {entry{Cmd: (*point)(nil)}, "field Cmd of codec.entry: nil pointer of type *codec.point (send an untyped nil, or a value)"},
		"method":    {[]talker{{}}, "MarshalText of codec.talker: own words: " + strings.Repeat("x", maxCause-3-11) + "..."},
		"panic":     {panicker{}, "encoding codec.panicker panicked with a value of type string"},
		"long name": {[]any{Pair[Pair[Pair[Pair[Pair[Pair[Pair[Pair[Level3]]]]]]]]{}}, ""},
		"long type": {reflect.New(reflect.StructOf([]reflect.StructField{{Name: "A" + strings.Repeat("a", 5000), Type: reflect.TypeFor[int]()}})).Interface(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Append(nil, c.v, Limits{})
			if c.want == "" {
				if err == nil || len(err.Error()) > 1024 {
					t.Errorf("got %.2000v, want at most 1024 bytes", err)
				}
				return
			}
			if fmt.Sprint(err) != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
	t.Run("own error comes back", func(t *testing.T) {
		if _, _, err := Append(nil, talker{}, Limits{}); !errors.Is(err, errOwn) || !errors.Is(err, ErrNotEncodable) {
			t.Errorf("got %v, want it to wrap the method's own and ErrNotEncodable", err)
		}
	})
	t.Run("no prefix", func(t *testing.T) {
		for _, v := range []any{make(chan int), unknown{}, [1 << 21]byte{}, panicker{}, struct{ A int }{}} {
			if _, _, err := Append(nil, v, Limits{}); strings.Contains(fmt.Sprint(err), "cluster: ") {
				t.Errorf("%v: callers put the prefix there", err)
			}
		}
	})
}

// TestPathsShowBothEnds holds the form of long paths.
func TestPathsShowBothEnds(t *testing.T) {
	for n, want := range map[int]string{
		1: "field f0 of T: x", 3: "field f2.f1.f0 of T: x", 7: "field f6.f5.f4.f3.f2.f1.f0 of T: x",
		8: "field f7.(1 fields).f5.f4.f3.f2.f1.f0 of T: x", 100: "field f99.(93 fields).f5.f4.f3.f2.f1.f0 of T: x",
	} {
		err := faultf(ErrNotEncodable, "x")
		for i := range n {
			err = inField(err, fmt.Sprint("f", i), named("T"))
		}
		if got := located(err).Error(); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
	err := inField(faultf(ErrNotEncodable, "%s", strings.Repeat("y", 5000)), strings.Repeat("f", 5000), named(strings.Repeat("T", 5000)))
	if got := located(err).Error(); len(got) > maxText {
		t.Errorf("got %d bytes", len(got))
	}
}

type named string

func (n named) String() string { return string(n) }
