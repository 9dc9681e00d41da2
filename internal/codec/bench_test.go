package codec

import (
	"fmt"
	"testing"
	"time"
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
			dst, _, err := Append(nil, c.v)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(dst)))
			b.ReportAllocs()
			for b.Loop() {
				dst, _, _ = Append(dst[:0], c.v)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range benchValues {
		b.Run(c.name, func(b *testing.B) {
			p, k, err := Append(nil, c.v)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(k, p, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWalk compares our own walk with package cbor on types that both can do.
func BenchmarkWalk(b *testing.B) {
	for _, v := range []any{ints4{1, 200, 30000, 1 << 40}, benchValues[4].v, make([]point, 1000)} {
		b.Run(fmt.Sprintf("%T", v), func(b *testing.B) {
			p, k, err := Append(nil, v)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				p, _, _ = Append(p[:0], v)
				if _, err := Decode(k, p, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
