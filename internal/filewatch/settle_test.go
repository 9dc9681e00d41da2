package filewatch

import (
	"errors"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"
)

// A reading is what a file has from some time on.
type reading struct {
	after time.Duration
	text  string
	err   error
}

// file reads what is there at the time, in a bubble.
func file(readings ...reading) func() ([]byte, error) {
	start := time.Now()
	return func() ([]byte, error) {
		now := readings[0]
		for _, r := range readings {
			if time.Since(start) >= r.after {
				now = r
			}
		}
		return []byte(now.text), now.err
	}
}

func TestAFileCountsAfterTwoEqualReads200msApart(t *testing.T) {
	missing := &fs.PathError{Op: "open", Path: "f", Err: fs.ErrNotExist}
	for _, c := range []struct {
		name     string
		readings []reading
		want     string
		err      error
		took     time.Duration
	}{
		{"it does not change", []reading{{0, "a", nil}}, "a", nil, 200 * time.Millisecond},
		{"it is being written", []reading{{0, "a", nil}, {100 * time.Millisecond, "ab", nil}, {300 * time.Millisecond, "abc", nil}}, "abc", nil, 600 * time.Millisecond},
		{"it was the same for less", []reading{{0, "a", nil}, {199 * time.Millisecond, "ab", nil}}, "ab", nil, 400 * time.Millisecond},
		{"it is missing for a moment", []reading{{0, "", missing}, {100 * time.Millisecond, "a", nil}}, "a", nil, 400 * time.Millisecond},
		{"it is missing", []reading{{0, "", missing}}, "", fs.ErrNotExist, 200 * time.Millisecond},
		{"it is empty, and then missing", []reading{{0, "", nil}, {100 * time.Millisecond, "", missing}}, "", fs.ErrNotExist, 400 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				data, err := Settled(nil, file(c.readings...))
				if string(data) != c.want || !errors.Is(err, c.err) {
					t.Errorf("got %q, %v, want %q, %v", data, err, c.want, c.err)
				}
				if took := time.Since(start); took != c.took {
					t.Errorf("it took %v, want %v", took, c.took)
				}
			})
		})
	}
}

func TestAFileThatGoesOnChangingIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		data, err := Settled(nil, func() ([]byte, error) { return []byte(time.Now().String()), nil })
		if data != nil || !errors.Is(err, ErrUnsettled) {
			t.Errorf("got %q, %v, want %v", data, err, ErrUnsettled)
		}
		if took := time.Since(start); took < settleMost || took > settleMost+time.Second {
			t.Errorf("it took %v, want %v", took, settleMost)
		}
	})
}

func TestSettledEndsWhenItIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		start := time.Now()
		go func() { // It ends by itself.
			time.Sleep(time.Second)
			close(stop)
		}()
		_, err := Settled(stop, func() ([]byte, error) { return []byte(time.Now().String()), nil })
		if took := time.Since(start); !errors.Is(err, ErrStopped) || took != time.Second {
			t.Errorf("got %v after %v, want %v when it was stopped", err, took, ErrStopped)
		}
	})
}

func TestSumsTellTextsAndErrorsApart(t *testing.T) {
	sums := map[uint64]string{}
	for name, sum := range map[string]uint64{
		"nothing": Sum(nil), "a": Sum([]byte("a")), "b": SumOf([]byte("b"), nil),
		"an error": SumOf(nil, fs.ErrNotExist), "another": SumOf([]byte("a"), fs.ErrPermission),
	} {
		if other, ok := sums[sum]; ok {
			t.Errorf("%s and %s have the same sum", name, other)
		}
		sums[sum] = name
	}
	if Sum([]byte("a")) != SumOf([]byte("a"), nil) {
		t.Error("the same text has two sums")
	}
}
