package cluster

import (
	"fmt"
	"reflect"
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

// The memory that frames come in is used again, and messages must not be in it.
func TestWhatWasReceivedStaysAsItIs(t *testing.T) {
	cfg := config(t, "tcp", 2)
	cfg.InboxSize = 2 // so that frames wait
	a, b := join(t, 0, cfg), join(t, 1, cfg)
	const count = 1200
	sizes := []int{10, 100, 3_000, 5_000, 20_000, 40_000, 200_000}
	message := func(i int) any {
		text := strings.Repeat(fmt.Sprintf("%6d ", i), sizes[i%len(sizes)]/7+1)
		switch i % 3 {
		case 0:
			return []byte(text)
		case 1:
			return text
		}
		return []any{text, []byte(text)}
	}
	go func() { // It ends with its last message.
		for i := range count {
			a.Outbox() <- &Envelope{1, 0, message(i)}
		}
	}()
	var kept []*Envelope
	for range count {
		kept = append(kept, take(t, b))
	}
	for i, e := range kept {
		if !reflect.DeepEqual(e.Msg, message(i)) {
			t.Fatalf("message %d is another now", i)
		}
	}
}
