package clustertest

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// about is an event of a message that was sent at 1 ms.
func about(k Kind, at time.Duration, from, to int, text, why string) Event {
	m := Message{From: from, To: to, Text: text, Sent: time.Millisecond}
	return Event{At: at, Kind: k, From: from, To: to, Message: m, Why: why}
}

func TestEntries(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name   string
		events []Event
		want   []string
	}{
		{"an arrival is the place of a message", []Event{
			about(Sent, ms, 0, 1, "a", ""), about(Sent, ms, 0, 2, "b", ""), about(Delivered, 2*ms, 0, 2, "b", ""), about(Delivered, 3*ms, 0, 1, "a", ""),
		}, []string{"delivered b", "delivered a"}},
		{"the copy is lost", []Event{
			about(Sent, ms, 0, 1, "a", ""), about(Delivered, 2*ms, 0, 1, "a", ""), about(Lost, 3*ms, 0, 1, "a", "partition"),
		}, []string{"delivered a", "copy lost, partition a"}},
		{"held, and then dropped", []Event{
			about(Sent, ms, 0, 1, "a", ""), about(Held, ms, 0, 1, "a", ""), about(Lost, 3*ms, 0, 1, "a", byTest),
		}, []string{"held, then dropped by the test a"}},
		{"the record begins too late", []Event{
			about(Lost, 2*ms, 0, 1, "a", "cut"),
		}, []string{"lost, cut a"}},
		{"at one moment, arrivals come first, and links in order", []Event{
			about(Sent, 3*ms, 1, 2, "c", ""), about(Lost, 3*ms, 1, 2, "c", "loss"), about(Lost, 3*ms, 0, 2, "b", "loss"), about(Delivered, 3*ms, 2, 0, "a", ""),
		}, []string{"delivered a", "lost b", "lost c"}},
		{"what took no time, or is a note, keeps its place", []Event{
			about(Sent, ms, 1, 2, "a", ""), about(Delivered, ms, 1, 2, "a", ""), {At: ms, Kind: Paused, From: 2, To: 2}, about(Sent, ms, 0, 1, "b", ""),
		}, []string{"delivered a", "note server 2 paused", "on its way b"}},
		{"a kind that is not known", []Event{
			{At: ms, Kind: 99, From: Any, To: Any}, {At: ms, Kind: 99, From: 1, To: 1},
		}, []string{"note kind 99", "note server 1 kind 99"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, x := range entries(tt.events) {
				got = append(got, x.status()+" "+x.text())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAnUnknownKindIsANote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(t, 1, 3)
		n.mu.Lock()
		n.note(Event{Kind: 99, From: 0, To: 2})
		n.note(Event{Kind: 99, From: Any, To: 1})
		n.mu.Unlock()
		if got := strings.Count(n.Mermaid(), "    Note over s0,s2: 0s · "); got != 2 {
			t.Errorf("got:\n%s", n.Mermaid())
		}
		if page := string(n.page()); strings.Count(page, `data-kind="note"`) != 2 {
			t.Errorf("two notes are missing in:\n%s", page)
		}
	})
}
