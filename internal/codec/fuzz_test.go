package codec

import (
	"errors"
	"testing"
	"time"
)

// FuzzDecode feeds arbitrary bytes. Decoding must neither panic nor allocate more than the cost and some garbage, and
// must leave the payload alone; what it accepts must survive another round trip, in which encoder and decoder agree on
// the cost.
func FuzzDecode(f *testing.F) {
	for _, v := range []any{
		nil, true, 1, int8(-1), uint64(1), 1.5, "text", []byte("bytes"), []byte(nil), point{1, 2}, []string{"a", ""}, map[string]int{"a": 1},
		entry{1, 2, time.Unix(1, 2).UTC(), point{3, 4}}, []any{1, "a", nil, uint8(3), []point{{1, 2}}, map[any]any{1: 2, "a": label("l")}},
		canvas{Main: square{1}, Shapes: []shape{&circle{2}}}, tree{Left: &tree{Val: 1}}, binaryOnly{"b"}, outer{Ptr: &Ptr{1, 2}},
		tuple{A: 1, B: "x"}, intKeys{1, 2}, [3]int{1}, map[point][]*point{{}: {nil, {1, 2}}}, []textOnly{{"x"}}, []cborOnly{{1}},
		plainMix{S: "a"}, sparse{}, weights{1}, [][]byte{{1}, nil},
	} {
		b, k, err := encoded(nil, v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(k), b)
	}
	// Both forms of what has two.
	for _, c := range version1Cases() {
		for _, encode := range []func([]byte, any, Limits) ([]byte, Kind, error){Append, AppendFirst} {
			if b, k, err := encode(nil, c.sent, Limits{}); err == nil {
				f.Add(uint8(k), b)
			}
		}
	}
	for _, expr := range []string{"any", "[]any", "[4]uint8", "map[any]any", "[]5:sparse", "[]map[int][2]4:tree", "9:time.Time", "7:big.Int"} {
		f.Add(uint8(Typed), typed(expr, 0x80))
		f.Add(uint8(Typed), typed(expr, 0xa1, 0x61, 'a', 0xf9, 0x7e, 0))
	}
	emptyIsNil = true
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte) {
		before := string(payload)
		lim := Limits{Cost: 1 << 20}
		types := NewTypes()
		var v any
		var cost int
		var err error
		decode := func() { v, cost, err = Decode(Kind(kind), payload, false, lim, types) }
		decode() // makes the types and plans
		if err != nil {
			cost = lim.Cost
		}
		// Beside the value there are the maps that it has outgrown, scratch memory and texts of errors.
		limit := uint64(3*cost + 2*len(payload) + 64<<10)
		got := allocated(decode)
		for range 10 { // the count is that of the whole process
			if got <= limit {
				break
			}
			got = min(got, allocated(decode))
		}
		if got > limit {
			t.Errorf("%d bytes of payload that cost %d made %d, want at most %d", len(payload), cost, got, limit)
		}
		if string(payload) != before {
			t.Errorf("payload is now %x", payload)
		}
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnregistered) && !errors.Is(err, ErrTooLarge) {
				t.Errorf("got %v, want one of the package's errors", err)
			}
			if len(err.Error()) > maxText {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		b, k, want, err := appendValue(nil, &v, Limits{}, form{})
		if errors.Is(err, ErrNotEncodable) {
			return // Some foreign encodings become what cannot be sent on.
		}
		if err != nil {
			t.Fatalf("Append(%T %+v): %v", v, v, err)
		}
		w, cost, err := Decode(k, b, true, Limits{}, nil)
		if err != nil {
			t.Fatalf("Decode of %T %+v: %v", v, v, err)
		}
		if cost != want {
			t.Errorf("%T %+v costs %d for the decoder, %d for the encoder", v, v, cost, want)
		}
		if !equal(w, v) {
			t.Errorf("got  %T %+v\nwant %T %+v", w, w, v, v)
		}
	})
}
