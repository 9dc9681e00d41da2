package filewatch

import (
	"bytes"
	"errors"
	"hash/maphash"
	"time"
)

const (
	// settleTime is for how long a file has to stay the same before what it says counts: somebody
	// may be in the midst of writing it.
	settleTime = 200 * time.Millisecond
	// settleMost is how long Settled waits for that.
	settleMost = 10 * time.Second
)

var (
	// ErrUnsettled says that a file did not stay the same for long enough.
	ErrUnsettled = errors.New("it goes on changing")
	// ErrStopped says that Settled was stopped.
	ErrStopped = errors.New("stopped")
)

// Settled calls read until it returns the same twice in a row, 200 ms apart, and returns that. An
// error counts like text: a file that is replaced in two steps is missing for a moment. After 10 s
// the error is ErrUnsettled, and once stop is closed it is ErrStopped.
func Settled(stop <-chan struct{}, read func() ([]byte, error)) ([]byte, error) {
	data, err := read()
	for end := time.Now().Add(settleMost); ; {
		select {
		case <-stop:
			return nil, ErrStopped
		case <-time.After(settleTime):
		}
		again, errAgain := read()
		if bytes.Equal(data, again) && textOf(err) == textOf(errAgain) {
			return again, errAgain
		}
		if time.Now().After(end) {
			return nil, ErrUnsettled
		}
		data, err = again, errAgain
	}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

var seed = maphash.MakeSeed()

// Sum is a number that tells one text from another, within this process.
func Sum(data []byte) uint64 { return maphash.Bytes(seed, data) }

// SumOf is Sum for what was read, or the error instead.
func SumOf(data []byte, err error) uint64 {
	if err != nil {
		return maphash.String(seed, "error: "+err.Error())
	}
	return Sum(data)
}
