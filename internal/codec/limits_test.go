package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// diamond makes a value of n nodes that takes 2^n when written out.
func diamond(n int) any {
	d := &tree{}
	for range n {
		d = &tree{Left: d, Right: d}
	}
	return d
}

// stored is a type whose own form is there already.
type stored struct {
	//lint:ignore U1000 so that its text is used
	private int
}

var storedText []byte

func (stored) MarshalText() ([]byte, error) { return storedText, nil }
func (*stored) UnmarshalText([]byte) error  { return nil }

func init() { Register("stored", stored{}) }

func TestWhatIsTooLargeIsRefusedBeforeItIsWrittenOut(t *testing.T) {
	const limit = 1 << 20
	mib := make([]byte, limit-100)
	shared := many(10_000, one(mib))
	numbers := make([]int64, limit/2)
	large := make([]byte, 64*limit)
	storedText = large
	defer func() { storedText = nil }()
	long := string(make([]byte, limit+1))
	deep := any(mib)
	for range 20 {
		deep = []any{deep, deep, deep}
	}
	for name, v := range map[string]any{
		"diamond": diamond(40), "shared bytes": shared, "shared text": many(10_000, one(string(mib))), "shared numbers": many(10_000, one(numbers)),
		"shared in any": deep, "shared map": many(1000, one(mapOf(50_000, number, number))), "one slice": make([]int32, limit),
		"bytes": large, "text": string(large), "bytes inside": [][]byte{large}, "text inside": []any{string(large)},
		"form of its own inside": []stored{{}}, "pointer to text": &long,
		"own binary form": binaryOnly{string(make([]byte, limit+1))}, "own text form": []textOnly{{string(make([]byte, limit+1))}},
	} {
		t.Run(name, func(t *testing.T) {
			dst := []byte("keep")
			var err error
			var b []byte
			got := allocated(func() { b, _, err = Append(dst, v, Limits{Bytes: limit, Cost: 1 << 30}) })
			if !errors.Is(err, ErrTooLarge) || string(b) != "keep" {
				t.Errorf("got %d bytes, %v, want ErrTooLarge", len(b), err)
			}
			if got > 16*limit { // what append outgrows, too
				t.Errorf("%d bytes were allocated for it, and the limit is %d", got, limit)
			}
		})
	}
}

// TestSenderRefusesWhatTheReceiverWouldRefuse holds that both have the same limit, to the byte.
func TestSenderRefusesWhatTheReceiverWouldRefuse(t *testing.T) {
	shapes := costly()
	shapes["text"] = func() any { return "some text" }
	shapes["number"] = func() any { return 1 }
	shapes["bytes, alone"] = func() any { return make([]byte, 1000) }
	shapes["one in its own form"] = func() any { return binaryOnly{"b"} }
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			v := shape()
			b, k, err := Append(nil, v, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			types := NewTypes()
			_, cost, err := Decode(k, b, false, Limits{}, types)
			if err != nil {
				t.Fatal(err)
			}
			exact := Limits{Bytes: len(b), Cost: cost}
			if _, _, err := Append(nil, v, exact); err != nil {
				t.Errorf("encoding of what is as large as may be: %v", err)
			}
			if _, _, err := Decode(k, b, false, exact, types); err != nil {
				t.Errorf("decoding of what is as large as may be: %v", err)
			}
			for what, less := range map[string]Limits{"cost": {Bytes: len(b), Cost: cost - 1}, "length": {Bytes: len(b) - 1, Cost: cost}} {
				if _, _, err := Append(nil, v, less); !errors.Is(err, ErrTooLarge) {
					t.Errorf("encoding where the %s is one too many: got %v, want ErrTooLarge", what, err)
				}
			}
			if v, n, err := Decode(k, b, false, Limits{Cost: cost - 1}, types); !errors.Is(err, ErrTooLarge) || v != nil || n != 0 {
				t.Errorf("decoding where the cost is one too many: got %T, %d, %v, want ErrTooLarge", v, n, err)
			}
		})
	}
}

func TestManySmallThingsAreLegal(t *testing.T) {
	lim := Limits{Bytes: 1 << 20, Cost: CostLimit(1 << 20)}
	for name, v := range map[string]any{
		"empty bytes": many(100_000, func(int) []byte { return []byte{} }), "nil bytes": make([][]byte, 100_000),
		"letters": many(100_000, one("a")), "numbers": make([]int, 500_000), "booleans in any": many(100_000, one[any](true)),
		"maps": many(10_000, func(i int) map[string]any {
			return map[string]any{"index": i, "name": "some name", "tags": []any{"a", "b"}, "ok": true}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			b, k, err := Append(nil, v, lim)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := Decode(k, b, false, lim, NewTypes()); err != nil {
				t.Errorf("%d bytes: %v", len(b), err)
			}
		})
	}
}

// closer closes its channel when it is encoded or decoded.
type closer struct{}

var closing chan struct{}

func (c closer) MarshalBinary() ([]byte, error) { close(closing); return []byte{1}, nil }
func (c *closer) UnmarshalBinary([]byte) error  { close(closing); return nil }

func init() { Register("closer", closer{}) }

func TestStopEndsAnEncodingAndADecoding(t *testing.T) {
	closing = make(chan struct{})
	_, _, err := Append(nil, []any{closer{}, diamond(40)}, Limits{Stop: closing})
	if !errors.Is(err, ErrStopped) {
		t.Errorf("encoding of what has no end: got %v, want ErrStopped", err)
	}
	for name, v := range map[string]any{
		"numbers": make([]int, 5_000), "texts": make([]string, 5_000), "anys": make([]any, 5_000), "array": [5_000]int8{},
		"map": mapOf(5_000, number, number), "nested": many(100, one(many(100, one[any]([]int{1})))), "structs": many(3_000, one(point{})), "tree": diamond(12),
	} {
		t.Run(name, func(t *testing.T) {
			v := []any{closer{}, v}
			closing = make(chan struct{})
			if _, _, err := Append(nil, v, Limits{Stop: closing}); !errors.Is(err, ErrStopped) {
				t.Errorf("encoding: got %v, want ErrStopped", err)
			}
			closing = make(chan struct{})
			b, k, err := Append(nil, v, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			closing = make(chan struct{})
			if v, cost, err := Decode(k, b, false, Limits{Stop: closing}, NewTypes()); !errors.Is(err, ErrStopped) || v != nil || cost != 0 {
				t.Errorf("decoding: got %T, %d, %v, want ErrStopped", v, cost, err)
			}
		})
	}
}

// strayer is a type whose methods call back into the package, and do not return if they are told so.
type strayer struct{ N uint32 }

var stray func()

func (s strayer) MarshalBinary() ([]byte, error) {
	stray()
	return binary.BigEndian.AppendUint32(nil, s.N), nil
}

func (s *strayer) UnmarshalBinary(b []byte) error {
	stray()
	s.N = binary.BigEndian.Uint32(b)
	return nil
}

// omitter is one whose IsZero does so.
type omitter struct{ N int }

func (o omitter) IsZero() bool { stray(); return o.N == 0 }

// badNews is an error that does so when it is asked for its text.
type badNews struct{}

func (badNews) Error() string { stray(); return "bad news" }

type messenger struct {
	//lint:ignore U1000 so that its text is used
	private int
}

func (messenger) MarshalText() ([]byte, error) { return nil, badNews{} }
func (*messenger) UnmarshalText([]byte) error  { return badNews{} }

func init() {
	Register("strayer", strayer{})
	Register("messenger", messenger{})
	Register("omitters", struct2s{})
}

type struct2s struct {
	O omitter `cbor:",omitzero"`
	A any
}

// TestMethodsOfTheProgramHoldNothing has methods call back and end their goroutines while the package is in use.
func TestMethodsOfTheProgramHoldNothing(t *testing.T) {
	defer func() { stray = nil }()
	stray = func() {}
	payload := func(v any) (Kind, []byte) {
		b, k, err := Append(nil, v, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		return k, b
	}
	use := func() error {
		unusedMu.Lock()
		unusedLength++
		expr := fmt.Sprintf("[][%d]int8", unusedLength)
		unusedMu.Unlock()
		Register("point", point{})
		v, _, err := Decode(Typed, typed(expr, 0x80), false, Limits{}, NewTypes())
		if err != nil {
			return err
		}
		_, _, err = Append(nil, []any{v, ints4{}, map[string]any{"a": point{}}}, Limits{})
		return err
	}
	calls := map[string]func(){
		"encode": func() { Append(nil, strayer{1}, Limits{}) }, "encode inside": func() { Append(nil, []any{strayer{1}}, Limits{}) },
		"omit": func() { Append(nil, struct2s{O: omitter{1}}, Limits{}) }, "text of an error": func() { Append(nil, messenger{}, Limits{}) },
	}
	for name, v := range map[string]any{"decode": strayer{1}, "decode inside": []any{"a", strayer{1}}, "decode in a map": map[string]strayer{"a": {1}}} {
		k, b := payload(v)
		calls[name] = func() { Decode(k, b, false, Limits{}, NewTypes()) }
	}
	var failure error
	for what, f := range map[string]func(){
		"calls back":           func() { failure = errors.Join(failure, use()) },
		"ends its goroutine":   runtime.Goexit,
		"panics":               func() { panic("stray") },
		"panics with an error": func() { panic(badNews{}) },
	} {
		for name, call := range calls {
			t.Run(name+"/"+strings.ReplaceAll(what, " ", "_"), func(t *testing.T) {
				n := 0
				stray = func() {
					if n++; n == 1 { // not again for what it calls
						f()
					}
				}
				failure = nil
				var wg sync.WaitGroup
				wg.Go(call)
				wg.Wait()
				if n == 0 {
					t.Error("the method was not called")
				}
				if err := errors.Join(failure, use()); err != nil {
					t.Error(err)
				}
				stray = func() {}
				if got := roundTrip(t, []any{strayer{7}, ints4{1, 2, 3, 4}}); !equal(got, []any{strayer{7}, ints4{1, 2, 3, 4}}) {
					t.Errorf("afterwards: got %v", got)
				}
			})
		}
	}
}
