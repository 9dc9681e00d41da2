package observe

import (
	"slices"
	"strconv"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/quantity"
)

const (
	// meshMost is the largest cluster of which the page has the matrix: it has the square of this many cells.
	meshMost = 128
	// wordyMost is the largest whose links have words and rates in the matrix, not only a sign.
	wordyMost = 12
)

// A mesh is the matrix of all links: a row for each sender, with a cell for each receiver.
type mesh struct {
	Heads []meshHead
	Rows  []meshRow
	Small bool // the cells have words and rates
	Known bool // some row comes from the page of another server
}

type meshHead struct {
	ID   string
	Name string
}

type meshRow struct {
	Head  cell
	About string
	Cells []meshCell
}

type meshCell struct {
	cell
	About string
}

// mesh makes the matrix. Rows that are as in the last one are those.
func (v *view) mesh(before, now *sample, last *mesh) {
	members := now.report.Members
	m := &mesh{Small: len(members) <= wordyMost, Known: len(now.rows) > 1}
	names := make([]string, len(members))
	for i, member := range members {
		names[i] = strconv.Itoa(member.ID)
		m.Heads = append(m.Heads, meshHead{ID: names[i], Name: names[i]})
	}
	same := last != nil && !m.Small && slices.Equal(m.Heads, last.Heads)
	for i, from := range members {
		r := meshRow{Head: v.meshHead(from, now)}
		if tag := now.rows[from.ID].tag; same && tag != "" && tag == before.rows[from.ID].tag {
			r.Cells = last.Rows[i].Cells
		} else {
			r.Cells = meshCells(from.ID, names, before, now, m.Small)
		}
		for _, c := range r.Cells {
			v.cells = append(v.cells, c.cell)
		}
		m.Rows = append(m.Rows, r)
	}
	v.Mesh = m
}

// meshCells are the cells of the row of a server.
func meshCells(from int, names []string, before, now *sample, small bool) []meshCell {
	cells := make([]meshCell, 0, len(names))
	links, name := linksFrom(from, before, now), strconv.Itoa(from)
	for j, to := range now.report.Members {
		l := links[to.ID]
		if to.ID == from {
			l = meshLink{class: "self"}
		}
		cells = append(cells, meshCell{cell{"m" + name + "-" + names[j], l.text(small), l.class}, name + " to " + names[j]})
	}
	return cells
}

// meshHead is the head of the row of a server.
func (v *view) meshHead(m Member, now *sample) cell {
	text, class := strconv.Itoa(m.ID), ""
	switch r, known := now.rows[m.ID]; {
	case m.ID == now.report.Stats.Pid:
		text, class = text+"\n(here)", "here"
	case known && r.fault != "":
		text, class = text+"\n(silent)", "down"
	case m.Observer:
		text += "\n(observer)"
	}
	return v.cell("h"+strconv.Itoa(m.ID), text, class)
}

// A meshLink is what is known of the link between two servers; the zero value is nothing.
type meshLink struct {
	class string // of the style sheet: that of a state, "heard", or ""
	word  string
	rate  quantity.Rate
	trip  time.Duration // 0: not measured, or not now
}

// text is what stands in the cell.
func (l meshLink) text(small bool) string {
	switch {
	case l.class == "self":
		return ""
	case l.class == "":
		return "?"
	case !small:
		return signs[l.class]
	}
	text := l.word
	if l.rate != quantity.Unknown && l.class != "idle" {
		text += "\n" + l.rate.String()
	}
	if l.trip > 0 {
		text += "\n" + quantity.RoundTrip(l.trip)
	}
	return text
}

// signs stand for the states where there is no room for words.
var signs = map[string]string{"idle": "·", "connecting": "○", "up": "●", "down": "✕", "heard": "◐", "between": "◇"}

// linksFrom is what is known of the links from one server, by receiver.
func linksFrom(id int, before, now *sample) map[int]meshLink {
	r := now.rows[id]
	links := make(map[int]meshLink, len(r.Links))
	if r.fault != "" || r.Time.IsZero() { // it has not said anything; but this server may hear it
		self := now.report.Stats.Pid
		p, _ := now.peer(id)
		old, ok := before.peer(id)
		if ok && p.Received.Received > old.Received.Received {
			links[self] = meshLink{class: "heard", word: "heard", rate: quantity.RateOf(old.Received.Received, p.Received.Received, now.at.Sub(before.at))}
		}
		return links
	}
	sentBefore, apart := make(map[int]uint64), time.Duration(0)
	if before != nil {
		if old := before.rows[id]; old.Incarnation == r.Incarnation && old.tag == "" { // else it does not tell what was sent
			apart = r.Time.Sub(old.Time)
			for _, l := range old.Links {
				sentBefore[l.To] = l.Sent
			}
		}
	}
	for _, l := range r.Links {
		rate := quantity.Unknown
		if was, ok := sentBefore[l.To]; ok {
			rate = quantity.RateOf(was, l.Sent, apart)
		}
		link := meshLink{class: stateClass(l.State.LinkState), word: stateWord(l.State.LinkState), rate: rate}
		if l.State.LinkState == cluster.LinkUp {
			link.trip = time.Duration(l.RoundTrip * float64(time.Second))
		}
		links[l.To] = link
	}
	return links
}
