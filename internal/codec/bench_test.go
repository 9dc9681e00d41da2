package codec

import (
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

var benchValues = []struct {
	name string
	v    any
}{
	{"int", 123456789}, {"string", "a string of some length"}, {"bytes", make([]byte, 1024)}, {"ints4", ints4{1, 200, 30000, 1 << 40}},
	{"plainMix", plainMix{S: "abc", B: []byte("xyz"), M: map[string]int{"a": 1}, L: []int32{1, 2, 3}, P: &point{1, 2}}},
	{"time", time.Unix(1700000000, 5).UTC()},
	{"appendEntries", appendEntries{Term: 3, Entries: []entry{{1, 2, time.Unix(1, 2).UTC(), ints4{1, 2, 3, 4}}, {2, 2, time.Unix(3, 4).UTC(), "set x"}}}},
	{"mapany", map[string]any{"a": 1, "b": "x", "c": []string{"y"}, "d": point{1, 2}}},
	{"points1000", make([]point, 1000)},
}

func BenchmarkAppend(b *testing.B) {
	for _, c := range benchValues {
		b.Run(c.name, func(b *testing.B) {
			dst, _, err := Append(nil, c.v, Limits{})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(dst)))
			b.ReportAllocs()
			for b.Loop() {
				dst, _, _ = Append(dst[:0], c.v, Limits{})
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range benchValues {
		b.Run(c.name, func(b *testing.B) {
			p, k, err := Append(nil, c.v, Limits{})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Decode(k, p, false, Limits{}, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPackageCBOR measures package cbor alone, there and back, on types that need no boxes: the reason for a walk
// of our own is to be compared with BenchmarkRoundTrip.
func BenchmarkPackageCBOR(b *testing.B) {
	for _, c := range plainValues {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p, err := cbor.Marshal(c.v)
				if err != nil {
					b.Fatal(err)
				}
				if err := cbor.Unmarshal(p, c.into()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	for _, c := range plainValues {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var p []byte
			for b.Loop() {
				var k Kind
				p, k, _ = Append(p[:0], c.v, Limits{})
				if _, _, err := Decode(k, p, false, Limits{}, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

var plainValues = []struct {
	name string
	v    any
	into func() any
}{
	{"ints4", ints4{1, 200, 30000, 1 << 40}, func() any { return new(ints4) }},
	{"plainMix", benchValues[4].v, func() any { return new(plainMix) }},
	{"points1000", make([]point, 1000), func() any { return new([]point) }},
}

// BenchmarkExchange is there and back of what consensus sends most.
func BenchmarkExchange(b *testing.B) {
	log := appendEntries{Term: 3}
	for i := range 10 {
		log.Entries = append(log.Entries, entry{uint64(i), 2, time.Unix(int64(i), 2).UTC(), "set x to 1"})
	}
	for _, c := range []struct {
		name string
		v    any
	}{{"ints4", ints4{1, 200, 30000, 1 << 40}}, {"appendEntries10", log}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var p []byte
			for b.Loop() {
				var k Kind
				var err error
				if p, k, err = encoded(p[:0], c.v); err != nil {
					b.Fatal(err)
				}
				if _, _, err := Decode(k, p, false, Limits{}, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
