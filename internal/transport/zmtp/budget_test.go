package zmtp

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestWhoHasLongestAddedNothingMakesRoomInTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 100
		b := newBudget(2*size + size/2)
		hold := func(s *stream, n int) {
			s.buf = make([]byte, n)
			b.settle(s)
			time.Sleep(time.Second)
		}
		var ended [3]endInput
		var streams [3]*stream
		for i := range streams {
			streams[i] = newStream("", nil, "")
			streams[i].input = &ended[i]
		}
		idle, slow, late := streams[0], streams[1], streams[2]
		hold(slow, size/2)
		hold(idle, size)
		hold(slow, size) // it goes on, if slowly
		hold(idle, size) // it was read, and holds as much as before
		hold(late, size)
		if !ended[0].ended || ended[1].ended || ended[2].ended {
			t.Errorf("ended: who adds nothing %v, who is slow %v, who is late %v", ended[0].ended, ended[1].ended, ended[2].ended)
		}
	})
}
