package clustertest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/wire"
)

// A Message is one message on its way.
type Message struct {
	From, To int
	MsgID    int64
	Text     string        // the message as fmt prints it, cut short
	Size     int           // bytes of its payload
	Sent     time.Duration // since the network was made

	// Which it is: of a life of its sender, counted from 1, the record with this number
	// in the stream, from this byte on.
	life   int
	urgent bool // it is of the stream of urgent messages
	number uint64
	offset uint32
}

// is reports whether both are the same message, whatever else is known of it.
func (m Message) is(o Message) bool {
	return m.From == o.From && m.To == o.To && m.life == o.life && m.urgent == o.urgent && m.number == o.number && m.offset == o.offset
}

// textMost is how much of a message a Message shows.
const textMost = 60

func (m *Message) describe(r wire.Record) {
	m.MsgID, m.Size = r.MsgID, len(r.Payload)
	text, ok := textOf(codec.Kind(r.Kind), r.Payload)
	if !ok {
		text = fmt.Sprintf("%v of %d bytes", codec.Kind(r.Kind), len(r.Payload))
	}
	if len(text) > textMost {
		text = strings.ToValidUTF8(text[:textMost], "") + "…"
	}
	m.Text = text
}

// textOf is what a payload says, unless it is long or cannot be read.
func textOf(kind codec.Kind, payload []byte) (text string, ok bool) {
	switch {
	case len(payload) > 4096:
		return "", false
	case kind == codec.Failure:
		_, text, err := codec.ParseFailure(payload)
		return fmt.Sprintf("%v: %s", kind, text), err == nil
	case kind.OfCall():
		_, inner, rest, err := codec.Unwrap(payload)
		if err != nil {
			return "", false
		}
		text, ok = textOf(inner, rest)
		return fmt.Sprintf("%v: %s", kind, text), ok
	}
	v, _, err := codec.Decode(kind, payload, false, codec.Limits{}, nil)
	if b, ok := v.([]byte); ok {
		return fmt.Sprintf("%q", b), err == nil
	}
	return fmt.Sprintf("%+v", v), err == nil
}

// A Kind says what an Event is.
type Kind int

const (
	Sent       Kind = iota // a message was sent
	Delivered              // it has arrived
	Late                   // it has arrived after one that was sent later
	Duplicated             // it has arrived once more
	Lost                   // it will not arrive
	Held                   // the watcher holds it
	Disturbed              // and what follows is the network's or the servers': faults were Set
	Partitioned
	Healed
	Crashed
	Restarted
	Paused
	Resumed
)

var kindNames = [...]string{
	"sent", "delivered", "late", "duplicated", "lost", "held", "disturbed", "partitioned", "healed", "crashed", "restarted", "paused", "resumed",
}

func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("kind %d", int(k))
	}
	return kindNames[k]
}

// An Event is an entry of the record.
type Event struct {
	At       time.Duration // since the network was made
	Kind     Kind
	From, To int     // of the message or the link, or the server that it is about twice; else Any
	Message  Message // the zero value if it is about none
	Why      string  // a message was lost; "again" of Sent, for one that was sent before; of Disturbed, what the faults are
	Groups   [][]int // of a partition
}

// String is a line for people.
func (e Event) String() string {
	at := fmt.Sprintf("%12v  ", e.At)
	switch {
	case e.Kind == Disturbed:
		link := "link " + Link{e.From, e.To}.String()
		if e.From == Any && e.To == Any {
			link = "each link"
		}
		return fmt.Sprintf("%s%s: %s", at, link, e.Why)
	case e.Kind == Partitioned:
		return fmt.Sprintf("%s%v %v", at, e.Kind, e.Groups)
	case e.From == Any:
		return at + e.Kind.String()
	case e.Kind >= Partitioned:
		return fmt.Sprintf("%sserver %d %v", at, e.From, e.Kind)
	}
	s := fmt.Sprintf("%s%d -> %d  %-10v #%d %s", at, e.From, e.To, e.Kind, e.Message.number, e.Message.Text)
	if e.Why != "" {
		s += " (" + e.Why + ")"
	}
	return s
}

// recordMost is how many events are kept.
const recordMost = 100_000

func (n *Network) tail(most int) string {
	events := n.Events()
	var b strings.Builder
	for _, e := range events[max(0, len(events)-most):] {
		fmt.Fprintln(&b, e)
	}
	return b.String()
}

// note adds an event. The caller holds mu.
func (n *Network) note(e Event) {
	e.At = time.Since(n.start)
	if len(n.events) >= recordMost {
		// What happened at one moment is kept or left out as a whole: its order is made later.
		upTo := recordMost / 2
		for upTo > 0 && n.events[upTo-1].At == n.events[upTo].At {
			upTo--
		}
		n.events = slices.Delete(n.events, 0, cmp.Or(upTo, recordMost/2))
	}
	n.events = append(n.events, e)
}

func (n *Network) noteMessage(k Kind, x *parcel, why string) {
	if x.bare == 0 && x.offset == 0 {
		n.note(Event{Kind: k, From: x.From, To: x.To, Message: x.Message, Why: why})
	}
}

func (n *Network) sent(x *parcel) {
	why := ""
	if x.try > 0 {
		why = "again"
	}
	n.noteMessage(Sent, x, why)
}

func (n *Network) lost(x *parcel, why string) { n.noteMessage(Lost, x, why) }

func (n *Network) came(x *parcel, late bool) {
	switch {
	case x.again:
		n.noteMessage(Duplicated, x, "")
	case late:
		n.noteMessage(Late, x, "")
	default:
		n.noteMessage(Delivered, x, "")
	}
}

// Events is what has happened so far, the latest 50,000 events at least, in order. At one
// moment what arrives comes before what is sent, and that is in the order of its links. The
// acknowledgments that nodes send each other are not among them, and of a message
// that travels in pieces only the first.
func (n *Network) Events() []Event {
	n.mu.Lock()
	events := slices.Clone(n.events)
	n.mu.Unlock()
	return inOrder(events)
}
