package codec

import (
	"fmt"
	"reflect"
	"testing"
)

// What untyped leaves to boxed, and what both decode, is the same value at the same cost, or an error of both.
func TestWhatAnyHoldsIsDecodedOneWay(t *testing.T) {
	items := map[string]string{ // in hex
		"0": "00", "23": "17", "255": "18ff", "largest int64": "1b7fffffffffffffff", "uint64": "1b8000000000000000",
		"-1": "20", "smallest int64": "3b7fffffffffffffff", "below it": "3b8000000000000000",
		"no text": "60", "text": "6161", "no bytes": "40", "bytes": "4161", "text that ends early": "6261",
		"no list": "80", "list": "8301f66161", "list of lists": "818180", "list that ends early": "8201",
		"no map": "a0", "map": "a26161016162f6", "key twice": "a2616101616102", "key null": "a1f601", "key number": "a10101", "map that ends early": "a16161",
		"false": "f4", "true": "f5", "undefined": "f7", "float16": "f93c00", "float32": "fa3f800000", "float64": "fb3ff0000000000000",
		"simple value": "f0", "simple value in two bytes": "f820", "break": "ff", "indefinite": "9f01ff",
		"time": "c074323032302d30312d30315430303a30303a30305a", "tag": "c101", "another tag": "c201", "nothing": "",
	}
	for name, hex := range items {
		t.Run(name, func(t *testing.T) {
			var data []byte
			if _, err := fmt.Sscanf(hex, "%x", &data); err != nil && hex != "" {
				t.Fatal(err)
			}
			general := decoder{meter: newMeter(Limits{}), data: data}
			var want any
			wantErr := general.boxed(reflect.ValueOf(&want).Elem(), 0)
			short := decoder{meter: newMeter(Limits{}), data: data}
			got, ok, err := short.untyped(0)
			if !ok && err == nil {
				if short.off != 0 || short.cost() != 0 {
					t.Errorf("nothing is decoded, and %d bytes are read, at a cost of %d", short.off, short.cost())
				}
				return
			}
			if (err != nil) != (wantErr != nil) {
				t.Fatalf("got error %v, want %v", err, wantErr)
			}
			if err == nil && (!equal(got, want) || short.cost() != general.cost() || short.off != general.off) {
				t.Errorf("got %#v, %d bytes, a cost of %d; want %#v, %d, %d", got, short.off, short.cost(), want, general.off, general.cost())
			}
		})
	}
}

func TestManyMapsWithTheSameKeysArriveAsTheyAre(t *testing.T) {
	keys := []string{"", "a", "b", "ab", "ba", "index", "idnex", "a key that is longer than those that are used again"}
	for i := range 200 {
		keys = append(keys, fmt.Sprint("key ", i))
	}
	var want []map[string]any
	for i := range 3_000 {
		m := map[string]any{}
		for j := range 4 {
			m[keys[(i*7+j*j)%len(keys)]] = []any{int64(i), map[string]any{keys[(i+j)%len(keys)]: "x"}}
		}
		want = append(want, m)
	}
	if got := roundTrip(t, want); !equal(got, want) {
		t.Error("they have changed")
	}
}

func TestMapsOfAnyTakeFewAllocations(t *testing.T) {
	const maps = 1_000
	v := many(maps, func(i int) map[string]any {
		return map[string]any{"index": i, "name": "some name", "tags": []any{"a", "b"}, "ok": true}
	})
	payload, kind, err := Append(nil, v, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	allocs := testing.AllocsPerRun(5, func() {
		if _, _, err := Decode(kind, payload, false, Limits{}, nil); err != nil {
			t.Fatal(err)
		}
	})
	// The map and its group, the number, and a box and what it refers to for each of three texts and the list.
	if per := allocs / maps; per > 11 {
		t.Errorf("%.1f allocations for each map, want 11 at most", per)
	}
}
