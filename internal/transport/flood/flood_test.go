package flood

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
)

// bare is a frame without records.
func bare() []byte {
	b := make([]byte, wire.HeaderSize)
	h := wire.Header{Incarnation: 1, Start: wire.Position{Seq: 1}}
	h.Put(b)
	return b
}

func TestFramesWithoutRecordsAreAFloodIfThereAreTooManyInASecond(t *testing.T) {
	for name, c := range map[string]struct {
		takes time.Duration // so many of them
		want  bool
	}{"within a second": {time.Second - 1, true}, "in a second": {time.Second, false}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var counter Counter
				over := 0
				for range 3 { // the first are those that were never counted before
					for range mostBare {
						if counter.HandedOver(bare()) {
							over++
						}
					}
					time.Sleep(c.takes)
				}
				if want := map[bool]int{true: 2}[c.want]; over != want {
					t.Errorf("%d connections were to be ended, want %d", over, want)
				}
			})
		})
	}
}

func TestOtherFramesAreNoFlood(t *testing.T) {
	var counter Counter
	for size := range 2 * wire.HeaderSize {
		message := append(bare(), make([]byte, wire.HeaderSize)...)[:size]
		if size == wire.HeaderSize {
			continue
		}
		for range 3 * mostBare / wire.HeaderSize {
			if counter.HandedOver(message) {
				t.Fatalf("a message of %d bytes counts as a frame without records", size)
			}
		}
	}
}

func TestTheFirstBadMessagesAreHandedOnAndEachThousandAfterThemEndsAConnection(t *testing.T) {
	var counter Counter
	for i := range 5 * HandedOn {
		least, most := counter.Limits(false)
		if passes := least > 0; passes != (i >= HandedOn) {
			t.Fatalf("after %d, short messages are passed over: %v", i, passes)
		}
		if most < 1 || most > mostBad {
			t.Fatalf("after %d, %d may be passed over at once", i, most)
		}
		if least, _ := counter.Limits(true); least != 0 {
			t.Fatalf("after %d, messages of who has proved to have a key are passed over", i)
		}
		if over := counter.Bad(1); over != (i >= HandedOn && (i+1)%HandedOn == 0) {
			t.Fatalf("a connection is to be ended after %d: %v", i+1, over)
		}
	}
	counter.Idle()
	if least, most := counter.Limits(false); least != 0 || most != mostBad {
		t.Errorf("after there was nothing to be received, the limits are %d and %d", least, most)
	}
}

func TestWhatWasPassedOverIsCountedAndToldOnce(t *testing.T) {
	var counter Counter
	if counter.PassedOver(0) || counter.Untold() != nil {
		t.Error("nothing was passed over, and it is told")
	}
	over := 0
	for range 4 {
		if counter.PassedOver(mostBad / 4) {
			over++
		}
	}
	if over != 1 {
		t.Errorf("%d connections were to be ended, want 1", over)
	}
	if m, ok := counter.Untold().(*transport.Malformed); !ok || m.Count != mostBad {
		t.Errorf("it is told as %+v, want %d", m, mostBad)
	}
	if err := counter.Untold(); err != nil {
		t.Errorf("it is told again: %v", err)
	}
}
