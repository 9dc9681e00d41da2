package outgoing

import (
	"testing"

	"github.com/abhishekg16/cluster/internal/stream"
)

// Those who have left do not count: nobody gathers messages, or reads the network, for them.
func TestWaitersThatHaveLeftDoNotCount(t *testing.T) {
	for name, settle := range map[string]func(*Link){
		"dropped": func(l *Link) { l.dropWaiters(stream.TimedOut) },
		"written": func(l *Link) { l.unasked(l.sender.NextNumber() + 1) },
	} {
		t.Run(name, func(t *testing.T) {
			l := Link{sender: new(stream.Sender)}
			var ws Waiters
			check := func(when string, want int32, first bool) {
				t.Helper()
				if n := l.waiters.count.Load(); n != want || l.Awaited() != (want > 0) {
					t.Errorf("%s: %d count, and Awaited is %v, want %d", when, n, l.Awaited(), want)
				}
				w := ws.New()
				if l.await(w); w.First() != first {
					t.Errorf("%s: First of another is %v", when, w.First())
				}
				if f := l.Leave(w); !f.Unknown {
					t.Errorf("%s: the fate of another is %+v", when, f)
				}
			}
			stays, leaves := ws.New(), ws.New()
			l.await(leaves)
			l.await(stays)
			check("two wait", 2, false)
			l.Leave(leaves)
			check("one has left", 1, false)
			settle(&l)
			check("it is known what became of all", 0, true)
			select {
			case <-stays.Told():
			default:
				t.Error("the one who has stayed is not told")
			}
		})
	}
}
