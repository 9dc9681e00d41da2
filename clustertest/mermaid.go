package clustertest

import (
	"fmt"
	"strings"
)

// mermaidMost is how many bytes the entries of a diagram take; Mermaid by itself
// refuses a text of more than 50,000 characters.
const mermaidMost = 48_000

var mermaidArrows = map[fate]string{
	delivered: "->>",
	late:      "-->>",
	duplicate: "--)",
	lost:      "-x",
	dropped:   "--x",
	held:      "-->",
	underway:  "->",
}

// Mermaid is the record as a sequence diagram in the notation of Mermaid, which many
// sites and editors draw, up to the present moment. Each message is one arrow, placed
// where it arrives or is lost; a second copy is another one. What became of a message
// shows in the arrow and in its label:
//
//	->>   delivered
//	-->>  late: overtaken by one that was sent later
//	--)   a duplicate
//	-x    lost
//	--x   dropped by the test
//	-->   held by the watcher
//	->    on its way
//
// All else is a note. If the whole is more than Mermaid accepts, it begins with a note
// that says how much of the beginning is missing.
func (n *Network) Mermaid() string {
	var lines []string
	for _, x := range entries(n.Events()) {
		lines = append(lines, n.mermaidLine(x))
	}
	first, size := len(lines), 0
	for first > 0 && size+len(lines[first-1]) <= mermaidMost {
		first--
		size += len(lines[first])
	}
	var b strings.Builder
	b.WriteString("sequenceDiagram\n")
	for _, id := range n.ids {
		fmt.Fprintf(&b, "    participant s%d as server %d\n", id, id)
	}
	if first > 0 {
		fmt.Fprintf(&b, "    Note over %s: %d earlier messages and notes are left out\n", mermaidSpan(n.ids[0], n.ids[len(n.ids)-1]), first)
	}
	for _, line := range lines[first:] {
		b.WriteString(line)
	}
	return b.String()
}

// mermaidLine is an entry as a line. The label begins with a time, so that nothing
// else can stand where Mermaid looks for an instruction.
func (n *Network) mermaidLine(x entry) string {
	if x.Fate == noFate {
		span := mermaidSpan(x.From, x.To)
		if x.From == Any || x.To == Any {
			span = mermaidSpan(n.ids[0], n.ids[len(n.ids)-1])
		}
		return fmt.Sprintf("    Note over %s: %s · %s\n", span, short(x.At), mermaidText(x.text()))
	}
	label := short(x.Message.Sent)
	if x.At != x.Message.Sent {
		label += " → " + short(x.At)
	}
	if x.Fate != delivered || x.WasHeld {
		label += " · " + x.status()
	}
	return fmt.Sprintf("    s%d%ss%d: %s · %s\n", x.From, mermaidArrows[x.Fate], x.To, label, mermaidText(x.text()))
}

func mermaidSpan(first, last int) string {
	if first == last {
		return fmt.Sprintf("s%d", first)
	}
	return fmt.Sprintf("s%d,s%d", first, last)
}

// mermaidText writes characters as entities that mean something to Mermaid, to HTML,
// or to formulas (between dollars). Mermaid stands ° and ¶ in for entities, and takes
// lines in which these two words, a colon and an entity follow one another for styles.
func mermaidText(s string) string {
	return mermaidEntities.Replace(s)
}

var mermaidEntities = func() *strings.Replacer {
	pairs := []string{"style", "#115;tyle", "classDef", "#99;lassDef"}
	for _, r := range "#;%$&<>\\`°¶" {
		pairs = append(pairs, string(r), fmt.Sprintf("#%d;", r))
	}
	return strings.NewReplacer(pairs...)
}()
