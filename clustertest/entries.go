package clustertest

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// A fate is what became of a message, as the pictures of the record tell it.
type fate int

const (
	noFate fate = iota // it is not about a message, or of a kind unknown here: a note
	delivered
	late
	duplicate
	lost
	dropped // by the test
	held    // to the end of the record
	underway
)

var fateNames = [...]string{"note", "delivered", "late", "duplicate", "lost", "dropped", "held", "on its way"}

func (f fate) String() string { return fateNames[f] }

func (e Event) fate() fate {
	switch e.Kind {
	case Sent:
		return underway
	case Delivered:
		return delivered
	case Late:
		return late
	case Duplicated:
		return duplicate
	case Held:
		return held
	case Lost:
		if e.Why == byTest {
			return dropped
		}
		return lost
	}
	return noFate
}

// An entry is what a picture of the record shows as one thing: a message with its
// fate, the second copy of a message, or a note.
type entry struct {
	Event        // that decided the fate
	Fate    fate // as of the end of the record
	WasHeld bool // before
	Copy    bool // it is about the second of two
}

// entries puts the events of each message together, at the place of the last one. So
// what a server does because of a message stands below the arrival of the message.
func entries(events []Event) []entry {
	const decided = -1
	var all []entry
	at := make(map[Message]int) // the entry of a message, until its fate is decided
	replaced := make(map[int]bool)
	for _, e := range inOrder(events) {
		x := entry{Event: e, Fate: e.fate()}
		if x.Fate != noFate {
			i, known := at[e.Message]
			at[e.Message] = decided
			if x.Fate == underway || x.Fate == held {
				at[e.Message] = len(all)
			}
			x.Copy = known && i == decided
			if known && i != decided {
				replaced[i] = true
				x.WasHeld = all[i].Fate == held
			}
		}
		all = append(all, x)
	}
	kept := all[:0]
	for i, x := range all {
		if !replaced[i] {
			kept = append(kept, x)
		}
	}
	return kept
}

// inOrder makes the order of what happened to several messages at the very same
// moment, which is left to chance, the same in each run. It changes events.
func inOrder(events []Event) []Event {
	for i := 0; i < len(events); {
		end := i + 1
		for end < len(events) && events[end].At == events[i].At && events[i].movable() && events[end].movable() {
			end++
		}
		slices.SortStableFunc(events[i:end], func(a, b Event) int {
			return cmp.Or(cmp.Compare(a.turn(), b.turn()), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(b.stream(), a.stream()))
		})
		i = end
	}
	return events
}

// movable tells whether an event may change places with others of the same moment.
// What follows a note, or a message that took no time, may be its consequence.
func (e Event) movable() bool {
	return e.fate() != noFate && (!e.arrival() || e.Message.Sent < e.At)
}

func (e Event) arrival() bool {
	f := e.fate()
	return f == delivered || f == late || f == duplicate
}

// turn puts what arrives before what is sent, which may be a consequence of it.
func (e Event) turn() int {
	if e.arrival() {
		return 0
	}
	return 1
}

// stream is 1 for an urgent message, which goes first, and else 0.
func (e Event) stream() int {
	if e.Message.urgent {
		return 1
	}
	return 0
}

// status tells the fate in words, the cause of a loss included.
func (x entry) status() string {
	s := x.Fate.String()
	if x.Copy && x.Fate == lost {
		s = "copy lost"
	}
	switch {
	case x.Fate == dropped:
		s = byTest
	case x.Fate == lost && x.Why != "loss":
		s += ", " + x.Why
	}
	if x.WasHeld {
		s = "held, then " + s
	}
	return s
}

// text is the message, or what the note says, without characters that do not print.
func (x entry) text() string {
	if x.Fate == noFate {
		return printable(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(x.String()), x.At.String())))
	}
	if x.Message.Text == "" {
		return fmt.Sprintf("%d bytes", x.Message.Size)
	}
	return printable(x.Message.Text)
}

// printable writes what does not print as Go would: a newline as \n.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// short is a time as exact as a reader wants it.
func short(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}
