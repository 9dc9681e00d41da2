package codec

import (
	"errors"
	"testing"
	"time"
)

// withDepth has a value of any type in a field.
type withDepth struct{ Any any }

// docs/wire.md, section 10: slices, arrays, maps, structs, pointers and interfaces count a level each.
func TestNestingCountsEachSliceStructAndInterface(t *testing.T) {
	Register("withDepth", withDepth{})
	arrays := func(n int) any {
		var v any
		for range n {
			v = []any{v}
		}
		return v
	}
	for name, c := range map[string]struct {
		value func(n int) any
		most  int
	}{
		"the message itself":        {arrays, 128},
		"in a field of type any":    {func(n int) any { return withDepth{arrays(n)} }, 127},
		"in an interface of a list": {func(n int) any { return []any{arrays(n)} }, 127},
	} {
		t.Run(name, func(t *testing.T) {
			payload, kind, err := Append(nil, c.value(c.most), Limits{})
			if err != nil {
				t.Fatalf("%d: %v", c.most, err)
			}
			if _, _, err := Decode(kind, payload, false, Limits{}, nil); err != nil {
				t.Errorf("%d: %v", c.most, err)
			}
			if _, _, err := Append(nil, c.value(c.most+1), Limits{}); !errors.Is(err, ErrNotEncodable) {
				t.Errorf("%d: got %v, want ErrNotEncodable", c.most+1, err)
			}
		})
	}
}

// docs/wire.md, section 8: a time is typed, though it has MarshalBinary.
func TestATimeIsTyped(t *testing.T) {
	if _, kind, err := Append(nil, time.Now(), Limits{}); err != nil || kind != Typed {
		t.Errorf("got kind %v and error %v, want %v", kind, err, Typed)
	}
}
