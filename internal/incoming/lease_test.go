package incoming

import (
	"slices"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

// A recorder is a listener that notes what it is told of who reads it.
type recorder struct {
	transport.Listener
	lent []bool
}

func (r *recorder) Lent(lent bool) { r.lent = append(r.lent, lent) }

func (r *recorder) Interrupt() {}

func TestTheListenerIsToldWhenTheProgramReadsIt(t *testing.T) {
	r := &recorder{}
	s := newLease(r)
	t.Cleanup(s.stop)
	again := make(chan struct{})
	for range 2 {
		s.Want()
		go func() {
			s.lend()
			again <- struct{}{}
		}()
		select {
		case <-s.Free():
		case <-time.After(10 * time.Second):
			t.Fatal("no Receive gets the lease")
		}
		if n := len(r.lent); n == 0 || !r.lent[n-1] {
			t.Errorf("when a Receive has the lease, the listener was told %v", r.lent)
		}
		s.GiveBack()
		s.Leave()
		s.Recall()
		select {
		case <-again:
		case <-time.After(10 * time.Second):
			t.Fatal("Run does not get the lease back")
		}
	}
	if want := []bool{true, false, true, false}; !slices.Equal(r.lent, want) {
		t.Errorf("the listener was told %v, want %v", r.lent, want)
	}
}
