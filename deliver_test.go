package cluster

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
)

func TestWhatIsReceivedIsCountedAsItGoesIntoInbox(t *testing.T) {
	bubble(t, 2, func(t *testing.T, cfg Config) {
		cfg.InboxSize = 1
		a, b := join(t, 0, cfg), join(t, 1, cfg)
		for i := range 10 {
			put(t, a, &Envelope{1, 0, fmt.Sprint(i)})
		}
		put(t, a, &Envelope{1, 0, strings.Repeat("x", 7000)})
		synctest.Wait()
		// One is in Inbox, and one waits for room.
		if r := b.Stats().Received; r.Received != 2 || r.Bytes != 2 {
			t.Errorf("while nobody reads: received %d messages of %d bytes, want 2 of 2", r.Received, r.Bytes)
		}
		b.Close()
		if r := b.Stats().Received; r.Received != 1 || r.Bytes != 1 || r.Refused[RefusedClosed] != 10 {
			t.Errorf("after Close: received %d messages of %d bytes, refused %v; want 1 of 1, and 10 as closed", r.Received, r.Bytes, r.Refused)
		}
	})
}
