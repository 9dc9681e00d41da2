package codec

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
)

var (
	unusedMu sync.Mutex
	// unusedLength is the length of an array type that no test has used, nor any longer one: types live as long as the
	// process.
	unusedLength = 777
)

// unused is an expression that no test has used: format with a length for %d.
func unused(format string) string {
	unusedMu.Lock()
	defer unusedMu.Unlock()
	unusedLength++
	return fmt.Sprintf(format, unusedLength)
}

func decodeFrom(types *Types, payload []byte) error {
	_, _, err := Decode(Typed, payload, false, Limits{}, types)
	return err
}

func TestTypesThatOneSenderHasNamedAreNoLossOfOthers(t *testing.T) {
	greedy, honest := NewTypes(), NewTypes()
	var err error
	named := 0
	for ; named < 10_000 && err == nil; named++ {
		err = decodeFrom(greedy, typed(unused("[][%d]int8"), 0x80))
	}
	if !errors.Is(err, ErrMalformed) || !strings.Contains(fmt.Sprint(err), "named others") {
		t.Fatalf("after %d types: got %v, want it to be refused", named, err)
	}
	if named < 100 {
		t.Errorf("only %d types could be named", named)
	}
	known := unused("[][%d]int8")
	if err := decodeFrom(honest, typed(known, 0x80)); err != nil {
		t.Errorf("another sender's: %v", err)
	}
	for _, expr := range []string{
		known, "[]int16", "[]*uint16", "map[string]int16", "map[int8]*uint8", "[]time.Duration", "map[uint8]5:point", "[]any", "map[string]any", "[]map[string]any",
	} {
		item := byte(0x80)
		if strings.HasPrefix(expr, "map") {
			item = 0xa0
		}
		expr = strings.ReplaceAll(expr, "time.Duration", "13:time.Duration")
		if err := decodeFrom(greedy, typed(expr, item)); err != nil {
			t.Errorf("the greedy one's %s: %v", expr, err)
		}
	}
	if err := decodeFrom(nil, typed(unused("[][%d]int8"), 0x80)); err == nil {
		t.Error("a new type was made for nobody")
	}
	v := [3][777]int8{}
	if got := roundTrip(t, v); !equal(got, v) {
		t.Errorf("a type that this program sends: got %T", got)
	}
}

func TestRefusedTypesCostNothing(t *testing.T) {
	types := NewTypes()
	refused := []struct {
		format string
		body   []byte
	}{
		{"[%d]int8", []byte{0x80}},
		{"[%d]uint8", []byte{0x41, 1}},
		{"[%d]uint8", []byte{0xf6}},
		{"[][%d]int8", []byte{0x81, 0x80}},
		{"[][%d]int8", nil},
		{"[][%d]int8", []byte{0xa0}},
		{"map[string][%d]int8", []byte{0x80}},
		{"map[string][%d]int8", []byte{0xa1, 0x01, 0x80}},
		{"map[string][][%d]int8", []byte{0xa1, 0x61, 'a', 0x81, 0x80}},
		{"[]map[[%d]int8][]string", []byte{0x81, 0xa1}},
		{"map[[%d][]int8]string", []byte{0xa0}},
		{"[%d][1000][10]int", []byte{0x80}},
		{"[]*[%d]7:missing", []byte{0x80}},
		{"[]*[%d]int8 ", []byte{0x80}},
	}
	round := func() {
		for _, r := range refused {
			if err := decodeFrom(types, typed(unused(r.format), r.body...)); err == nil {
				t.Errorf("%s was taken with %x", r.format, r.body)
			}
		}
	}
	round()
	known := len(*byExpr.Load())
	if got := live(func() {
		for range 200 {
			round()
		}
	}); got > 32<<10 {
		t.Errorf("%d bytes stay of %d types that were refused", got, 200*len(refused))
	}
	if n := len(*byExpr.Load()); n != known {
		t.Errorf("%d types are known now, %d before", n, known)
	}
	if types.left != typesPerSender {
		t.Errorf("%d bytes were charged for what was refused", typesPerSender-types.left)
	}
	if err := decodeFrom(types, typed(unused("[][%d]int8"), 0x80)); err != nil {
		t.Errorf("a good one afterwards: %v", err)
	}
}

// TestTypesTakeWhatTheyAreChargedWith measures what the process keeps for types that payloads name.
func TestTypesTakeWhatTheyAreChargedWith(t *testing.T) {
	const n = 100
	for _, format := range []string{
		"[][%d]int8", "[][%d]string", "[]map[[%d]int8]string", "map[string][%d]uint16", "map[string]map[string][%d]int16", "[][%d]map[string]any",
		"[]*[%d]uint32", "[][%d][2]string", "map[[%d]int64][]*[3]any", "[][%d]5:point", "[][%d][1]8:plainMix",
	} {
		t.Run(format, func(t *testing.T) {
			types := []*Types{NewTypes(), NewTypes(), NewTypes(), NewTypes()}
			item := byte(0x80)
			if strings.HasPrefix(format, "map") {
				item = 0xa0
			}
			exprs := many(n, func(int) string { return unused(format) })
			if strings.HasSuffix(format, "plainMix") && unusedLength*int(reflect.TypeFor[plainMix]().Size()) > maxArray {
				t.Skip("earlier runs in this process have used all lengths that are short enough")
			}
			got := live(func() {
				for i, expr := range exprs {
					if err := decodeFrom(types[i%len(types)], typed(expr, item)); err != nil {
						t.Fatal(err)
					}
				}
			})
			charged := 0
			for _, ty := range types {
				charged += typesPerSender - ty.left
			}
			t.Logf("%d bytes are kept for each type, which is charged with %d", got/n, charged/n)
			// The map of all types doubles now and then, which is charged over time.
			doubled := 50 * len(*byExpr.Load())
			if got > charged+doubled+32<<10 {
				t.Errorf("%d bytes are kept, %d were charged", got, charged)
			}
		})
	}
}
