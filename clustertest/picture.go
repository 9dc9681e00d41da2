package clustertest

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// A picture is the space-time diagram of a page, in pixels: time runs down, each
// server has a lane, and a message is an arrow from one lane to another.
type picture struct {
	Width, Height int
	Lanes         []lane
	Times         []mark
	Gaps          []mark // where much time is left out
	Bands         []band
	Arrows        []drawing
	Notes         []drawing
	Right         int // where the labels of notes begin
	Bottom        int
}

type lane struct{ ID, X int }

// lanes tells where the lane of each server is.
type lanes struct {
	ids     []int // from left to right
	spacing int
}

func (ls lanes) x(id int) int { return leftMargin + slices.Index(ls.ids, id)*ls.spacing }

type mark struct {
	Y    int
	Text string
}

// A band is a time during which something was the matter with a server.
type band struct {
	X, Y, Height int
	Class, Label string
}

// A drawing is an arrow, or the mark of a note with its label.
type drawing struct {
	ID             int
	Class          string
	fate           fate
	X1, Y1, X2, Y2 int
	Angle          int // of the arrow, in degrees
	End            string
	Held           bool
	Label, Tip     string
	LabelX, LabelY int
	Anchor         string
}

// ends are the shapes at the ends of arrows; page.html defines them.
var ends = map[fate]string{
	delivered: "head", late: "head", duplicate: "open", lost: "cross", dropped: "cross", held: "square", underway: "ring",
}

const (
	leftMargin  = 120 // for the times
	rightMargin = 260 // for the labels of notes
	topMargin   = 16
	lineHeight  = 13 // of labels
)

// draw lays out the last entries of a record, with the state of the servers as it
// follows from all of them.
func draw(servers []int, all, drawn []entry) picture {
	ls := lanes{ids: servers}
	if len(servers) > 1 {
		ls.spacing = min(300, max(110, 900/(len(servers)-1)))
	}
	s := newScale(drawn)
	p := picture{Bottom: s.bottom(), Times: s.marks(), Gaps: s.gaps}
	p.Right = leftMargin + (len(servers)-1)*ls.spacing + 30
	p.Width, p.Height = p.Right+rightMargin, p.Bottom+topMargin
	for _, id := range servers {
		p.Lanes = append(p.Lanes, lane{id, ls.x(id)})
	}
	p.Bands = bands(ls, all, s)
	labels := make(map[[2]int]int) // the height of the last label, by lane and side
	noteY := 0
	for i, x := range drawn {
		id := len(all) - len(drawn) + i
		if x.Fate == noFate {
			d := drawNote(id, x, s, ls, p.Right)
			d.LabelY = max(d.LabelY, noteY+lineHeight)
			noteY = d.LabelY
			p.Notes = append(p.Notes, d)
			continue
		}
		p.Arrows = append(p.Arrows, drawArrow(id, x, s, ls, labels))
	}
	p.Height = max(p.Height, noteY+topMargin)
	// What went wrong is drawn above what went well.
	slices.SortStableFunc(p.Arrows, func(a, b drawing) int { return cmp.Compare(a.fate, b.fate) })
	return p
}

func drawNote(id int, x entry, s *scale, ls lanes, right int) drawing {
	y := s.y(x.At)
	d := drawing{
		ID: id, Class: strings.ReplaceAll(x.Kind.String(), " ", "-"), Label: shorten(x.text(), rightMargin/7), Tip: x.At.String() + "  " + x.text(),
		X1: leftMargin, Y1: y, X2: right - 6, LabelX: right, LabelY: y + 4,
	}
	if x.From != Any {
		d.X1, d.End = ls.x(x.From), "dot"
	}
	return d
}

// reach is how much of its way an arrow is drawn of a message that does not arrive.
var reach = map[fate]float64{lost: 0.62, dropped: 0.62, held: 0.38, underway: 0.38}

// drawArrow draws an arrow from its sending to its arrival, or as far as it came.
func drawArrow(id int, x entry, s *scale, ls lanes, labels map[[2]int]int) drawing {
	const end = 7 // of an arrow, before the middle of the lane
	side := 1
	way := ls.x(x.To) - ls.x(x.From)
	if way < 0 {
		side = -1
	}
	d := drawing{
		ID: id, Class: x.Fate.class(), fate: x.Fate, End: ends[x.Fate], Held: x.WasHeld, Tip: tip(x),
		X1: ls.x(x.From), Y1: s.y(x.Message.Sent), Y2: s.y(x.At),
	}
	d.X2 = d.X1 + way - side*end
	if part := reach[x.Fate]; part > 0 {
		d.X2 = d.X1 + int(part*float64(way))
		d.Y2 = max(d.Y2, d.Y1+10)
	}
	d.Angle = int(math.Round(math.Atan2(float64(d.Y2-d.Y1), float64(d.X2-d.X1)) * 180 / math.Pi))
	d.label(x, side, ls.spacing, labels)
	return d
}

// label puts the text below the end of the arrow, if there is room.
func (d *drawing) label(x entry, side, spacing int, labels map[[2]int]int) {
	at := [2]int{d.X2, side}
	y := d.Y2 + 11
	if last, ok := labels[at]; ok && y < last+lineHeight {
		return
	}
	labels[at] = y
	d.LabelX, d.LabelY, d.Anchor = d.X2-side*4, y, "end"
	if side < 0 {
		d.Anchor = "start"
	}
	d.Label = shorten(x.text(), spacing/7)
}

// shorten cuts a text to so many characters.
func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// tip tells all about a message.
func tip(x entry) string {
	s := fmt.Sprintf("%d → %d  #%d  %s\nsent at %v\n%s", x.From, x.To, x.Message.number, x.text(), x.Message.Sent, x.status())
	if x.At != x.Message.Sent {
		s += fmt.Sprintf(" at %v, after %v", x.At, x.At-x.Message.Sent)
	}
	return s + fmt.Sprintf("\nmessage id %d, %d bytes", x.Message.MsgID, x.Message.Size)
}

// bands are the times during which servers were crashed, paused, or in a partition.
func bands(ls lanes, all []entry, s *scale) []band {
	var done []band
	open := make(map[string]map[int]band)
	for _, class := range []string{"partition", "pause", "crash"} {
		open[class] = make(map[int]band)
	}
	begin := func(class string, id int, at time.Duration, label string) {
		open[class][id] = band{X: ls.x(id), Y: s.y(at), Class: class, Label: label}
	}
	end := func(class string, id int, y int) {
		b, ok := open[class][id]
		delete(open[class], id)
		if b.Height = y - b.Y; ok && b.Height > 0 {
			done = append(done, b)
		}
	}
	for _, x := range all {
		switch y := s.y(x.At); x.Kind {
		case Crashed:
			begin("crash", x.From, x.At, "")
		case Restarted:
			end("crash", x.From, y)
		case Paused:
			begin("pause", x.From, x.At, "")
		case Resumed:
			end("pause", x.From, y)
		case Partitioned, Healed:
			for _, id := range ls.ids {
				end("partition", id, y)
				if x.Kind == Partitioned {
					begin("partition", id, x.At, groupName(id, x.Groups))
				}
			}
		}
	}
	for _, class := range []string{"partition", "pause", "crash"} {
		for _, id := range ls.ids {
			end(class, id, s.bottom())
		}
	}
	return done
}

// groupName is A, B and so on, by the group that a server is in.
func groupName(id int, groups [][]int) string {
	for i := len(groups) - 1; i >= 0; i-- {
		if slices.Contains(groups[i], id) {
			return string(rune('A' + i%26))
		}
	}
	return ""
}
