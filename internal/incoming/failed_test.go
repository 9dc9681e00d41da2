package incoming

import (
	"errors"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

// A deafListener can receive nothing.
type deafListener struct {
	transport.Listener
	err error
}

func (l deafListener) Recv(time.Time) (head, tail []byte, err error) { return nil, nil, l.err }
func (deafListener) Key() string                                     { return "" }
func (deafListener) Interrupt()                                      {}
func (deafListener) Close() error                                    { return nil }

func TestAnErrorAfterWhichNothingCanBeReceivedIsToldAndEndsTheReading(t *testing.T) {
	in := open(t, 1)
	deaf := errors.New("no such socket")
	told := make(chan error, 10)
	in.cfg.Failed = func(err error) { told <- err }
	in.Open(deafListener{err: deaf})
	ended := make(chan struct{})
	go func() { // It ends with the first error.
		defer close(ended)
		in.Run()
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("the reading goes on")
	}
	if len(told) != 1 {
		t.Fatalf("it is told %d times", len(told))
	}
	if err := <-told; !errors.Is(err, deaf) {
		t.Errorf("told %v, want %v", err, deaf)
	}
}
