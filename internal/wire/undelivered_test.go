package wire_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/abhishekg16/cluster/internal/wire"
)

func TestUndeliveredRecordsAreReadAsTheyWereWritten(t *testing.T) {
	want := []wire.Undelivered{
		{From: 1, Count: 1, Why: wire.WhyTooLarge}, {From: 7, Count: 1<<32 - 1}, {From: 1 << 62, Count: 3, Why: 200},
	}
	body := wire.AppendUndelivered(nil, want)
	if err := wire.CheckUndelivered(body); err != nil {
		t.Fatal(err)
	}
	var got []wire.Undelivered
	for rest := body; len(rest) > 0; {
		var u wire.Undelivered
		u, rest = wire.SplitUndelivered(rest)
		got = append(got, u)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWhatNamesNoRecordsIsMalformed(t *testing.T) {
	good := wire.AppendUndelivered(nil, []wire.Undelivered{{From: 1, Count: 1, Why: 1}})
	change := func(i int, to byte) []byte {
		b := slices.Clone(good)
		b[i] = to
		return b
	}
	for name, body := range map[string][]byte{
		"nothing":         nil,
		"a part of one":   good[:15],
		"number 0":        change(0, 0),
		"a large number":  change(7, 0x80),
		"no records":      change(8, 0),
		"a reserved byte": change(15, 1),
		"too many":        slices.Repeat(good, wire.UndeliveredMost+1),
	} {
		if err := wire.CheckUndelivered(body); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
	if err := wire.CheckUndelivered(slices.Repeat(good, wire.UndeliveredMost)); err != nil {
		t.Error(err)
	}
}
