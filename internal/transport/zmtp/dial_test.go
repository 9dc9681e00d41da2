package zmtp

import (
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

func TestAPeerIsDialedLessAndLessOftenAndNotByAllAtOnce(t *testing.T) {
	var b backoff
	for range 2 {
		drawn := make(map[time.Duration]bool)
		for i, least := 0, transport.ReconnectMin; i < 20; i, least = i+1, min(2*least, transport.ReconnectMax) {
			got := b.next()
			if most := least + least/4; got < least || got >= most {
				t.Errorf("pause %d is %v, want from %v to %v", i, got, least, most)
			}
			drawn[got] = true
		}
		if len(drawn) < 10 {
			t.Errorf("the pauses are %v: nothing is left to chance", drawn)
		}
		b.reset()
	}
}
