package codec

import (
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"testing"
	"time"
)

// many makes a slice of n values.
func many[T any](n int, f func(i int) T) []T {
	s := make([]T, n)
	for i := range s {
		s[i] = f(i)
	}
	return s
}

// mapOf makes a map of n entries.
func mapOf[K comparable, V any](n int, k func(i int) K, v func(i int) V) map[K]V {
	m := map[K]V{}
	for i := range n {
		m[k(i)] = v(i)
	}
	return m
}

func number(i int) int           { return i }
func text(i int) string          { return fmt.Sprint("text ", i) }
func nothing(int) void           { return void{} }
func one[T any](v T) func(int) T { return func(int) T { return v } }

type (
	bigKey  struct{ A, B [20]int64 }
	holder  struct{ Held any }
	pointed struct {
		P *[3]int64
		Q *string
	}
	void     struct{}
	embedder struct {
		*Ptr
		*Level3
		Own int
	}
)

func init() {
	Register("bigKey", bigKey{})
	Register("holder", holder{})
	Register("pointed", pointed{})
	Register("void", void{})
	Register("embedder", embedder{})
}

// costly are values of shapes that take much more memory than bytes on the wire, or that the allocator treats in a way
// of its own. Each takes some hundred kilobytes.
func costly() map[string]func() any {
	odd := time.FixedZone("", 5*3600+30*60)
	name := "name"
	shapes := map[string]func() any{
		"empty []byte":        func() any { return make([][]byte, 20_000) },
		"empty strings":       func() any { return make([]string, 20_000) },
		"letters":             func() any { return many(20_000, one("a")) },
		"short strings":       func() any { return many(10_000, text) },
		"long strings":        func() any { return many(2_000, func(i int) string { return strings.Repeat("x", i) }) },
		"bytes":               func() any { return many(5_000, func(i int) []byte { return make([]byte, i%70+1) }) },
		"large bytes":         func() any { return many(40, func(i int) []byte { return make([]byte, 30_000+500*i) }) },
		"slices":              func() any { return many(6_000, func(i int) []int16 { return make([]int16, i%20) }) },
		"slices of slices":    func() any { return many(5_000, func(i int) [][]int { return [][]int{{1}, {}, {1, 2, 3}} }) },
		"slices of structs":   func() any { return many(1_000, func(i int) []plainMix { return make([]plainMix, i%8) }) },
		"arrays":              func() any { return many(5_000, func(i int) [9]string { return [9]string{text(i)} }) },
		"pointers to arrays":  func() any { return many(5_000, func(i int) *[33]int32 { return new([33]int32) }) },
		"pointers":            func() any { return many(10_000, func(i int) *point { return &point{i, i} }) },
		"pointers to bytes":   func() any { return many(10_000, func(i int) *uint8 { return new(uint8) }) },
		"pointers in fields":  func() any { return many(5_000, func(i int) pointed { return pointed{new([3]int64), &name} }) },
		"any: integers":       func() any { return many[any](10_000, func(i int) any { return int64(i) }) },
		"any: booleans":       func() any { return many[any](10_000, func(i int) any { return i%2 == 0 }) },
		"any: strings":        func() any { return many[any](10_000, func(i int) any { return text(i) }) },
		"any: bytes":          func() any { return many[any](10_000, func(i int) any { return []byte(text(i)) }) },
		"any: small integers": func() any { return many[any](10_000, func(i int) any { return uint8(i) }) },
		"any: mixture": func() any {
			return many[any](10_000, func(i int) any { return []any{true, "ab", uint8(1), int64(i), float32(2), "abcdefghijkl"} })
		},
		"any: slices":        func() any { return many[any](10_000, func(i int) any { return []any{} }) },
		"any: nested":        func() any { return many[any](5_000, func(i int) any { return []any{[]any{[]any{1}}} }) },
		"any: structs":       func() any { return many[any](5_000, func(i int) any { return plainMix{S: text(i)} }) },
		"any: empty structs": func() any { return many[any](5_000, func(i int) any { return sparse{} }) },
		"any: maps": func() any {
			return many[any](5_000, func(i int) any { return map[string]any{"a": i, "b": nil, "c": "x"} })
		},
		"any: pointers kept": func() any {
			return many(5_000, func(i int) canvas { return canvas{Main: &circle{float64(i)}, Err: time.Duration(i)} })
		},
		"any: times":         func() any { return many[any](5_000, func(i int) any { return time.Unix(int64(i), 0).UTC() }) },
		"any in a field":     func() any { return many(5_000, func(i int) holder { return holder{holder{i}} }) },
		"empty structs":      func() any { return make([]sparse, 2_000) },
		"hidden fields":      func() any { return make([]hoarder, 1_000) },
		"embedded pointers":  func() any { return many(5_000, func(i int) embedder { return embedder{&Ptr{}, &Level3{D: i}, i} }) },
		"times of odd zones": func() any { return many(5_000, func(i int) time.Time { return time.Unix(int64(i), 0).In(odd) }) },
		"times":              func() any { return many(10_000, func(i int) time.Time { return time.Unix(int64(i), 0).UTC() }) },
		"big integers": func() any {
			return many(5_000, func(i int) *big.Int { return new(big.Int).Lsh(big.NewInt(int64(i)), uint(i%2000)) })
		},
		"binary":     func() any { return many(10_000, func(i int) binaryOnly { return binaryOnly{text(i)} }) },
		"texts":      func() any { return many(10_000, func(i int) textOnly { return textOnly{text(i)} }) },
		"empty maps": func() any { return many(10_000, func(i int) map[string]int { return map[string]int{} }) },
		"map of sets": func() any {
			return mapOf(3_000, text, func(i int) map[string]void { return mapOf(i%20, text, nothing) })
		},
		"maps in maps": func() any {
			return many(3_000, func(i int) map[string]map[string]any { return map[string]map[string]any{"a": {"b": 1}} })
		},
		"map of any": func() any { return map[any]any{1: many[any](10_000, func(i int) any { return map[any]any{i: i} })} },
	}
	for _, n := range []int{1, 2, 7, 8, 9, 13, 14, 15, 28, 29, 100, 896, 897, 1000, 1792, 3584, 3600, 7168, 7200, 20_000} {
		times := max(1, 4_000/n)
		shapes[fmt.Sprintf("maps of %d", n)] = func() any { return many(times, func(int) map[string]int { return mapOf(n, text, number) }) }
		shapes[fmt.Sprintf("maps of %d to any", n)] = func() any {
			return many(times, func(int) map[string]any { return mapOf(n, text, func(int) any { return true }) })
		}
		shapes[fmt.Sprintf("maps of %d small", n)] = func() any {
			return many(times, func(int) map[int32]bool { return mapOf(n, func(i int) int32 { return int32(i) }, one(true)) })
		}
		shapes[fmt.Sprintf("maps of %d large", n)] = func() any {
			return many(max(1, times/20), func(int) map[bigKey]hoarder {
				return mapOf(min(n, 1000), func(i int) (k bigKey) { k.A[0] = int64(i); return k }, one(hoarder{}))
			})
		}
	}
	return shapes
}

// live is the memory that what f makes keeps alive.
func live(f func()) int {
	var a, b runtime.MemStats
	clean := func(s *runtime.MemStats) {
		runtime.GC() // twice, since a sync.Pool keeps what it holds for one collection more
		runtime.GC()
		runtime.ReadMemStats(s)
	}
	clean(&a)
	f()
	clean(&b)
	return int(b.HeapAlloc) - int(a.HeapAlloc)
}

func TestLiveMemoryIsWithinTheCost(t *testing.T) {
	const constant = 16 << 10 // what the process does beside it
	allowed := func(cost int) int { return cost + cost*3/10 + constant }
	if raceEnabled {
		// Small allocations do not share memory then, and are padded.
		allowed = func(cost int) int { return 2*cost + constant }
	}
	for name, shape := range costly() {
		t.Run(name, func(t *testing.T) {
			v := shape()
			b, k, err := Append(nil, v, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			_, _, want, _ := appendValue(nil, v, Limits{}, form{})
			types := NewTypes()
			Decode(k, b, false, Limits{}, types) // makes the types
			got, cost := 0, 0
			for try := 0; try < 5 && (try == 0 || got > allowed(cost)); try++ {
				var kept any
				n := live(func() {
					if kept, cost, err = Decode(k, b, false, Limits{}, types); err != nil {
						t.Fatal(err)
					}
				})
				runtime.KeepAlive(kept)
				if try == 0 || n < got {
					got = n
				}
			}
			t.Logf("%d bytes of payload cost %d, %.2f of that is live", len(b), cost, float64(got)/float64(cost))
			if cost != want {
				t.Errorf("costs %d for the decoder, %d for the encoder", cost, want)
			}
			if got > allowed(cost) {
				t.Errorf("%d bytes are live, which cost %d", got, cost)
			}
			if 3*got < cost {
				t.Errorf("only %d bytes are live, which cost %d", got, cost)
			}
		})
	}
}
