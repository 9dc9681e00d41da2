package zmtp

import (
	"testing"
	"time"
)

// A stoppedInput is the input of a stream that ends while it is looked at.
type stoppedInput struct {
	endInput
	s *stream
}

func (i *stoppedInput) unread() bool {
	i.s.idleTimeout.stop()
	return false
}

func TestNothingIsLeftOfAnIdleTimeoutThatIsStoppedWhileItLooks(t *testing.T) {
	s := newStream("", nil, "")
	s.input = &stoppedInput{s: s}
	s.idleTimeout.set(time.Hour, s)
	s.idleTimeout.look(s)
	if s.idleTimeout.timer.Stop() {
		t.Error("its timer runs, and keeps the stream")
	}
}
