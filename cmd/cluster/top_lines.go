package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/charmbracelet/lipgloss"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/quantity"
	"github.com/abhishekg16/cluster/observe"
)

// topLines are the lines of top: the servers, and all their links. Rates are since before, if that is
// of the same servers.
func topLines(before, now []watched, coloured bool) []string {
	servers := grid{coloured: coloured}
	servers.head("server", "cluster", "links up", "sent", "received", "dropped", "refused", "lost", "outbox", "inbox", "transport", "configuration", "page")
	links := grid{coloured: coloured}
	links.head("from", "to", "link", "since", "sent", "received", "queue", "on its way", "round trip", "dropped", "unconfirmed", "refused", "lost", "trouble")
	var rows []linkLine
	for i, w := range now {
		if w.Report == nil {
			servers.row(cell{"-", "down"}, cell{w.Error, "down"}, "", "", "", "", "", "", "", "", "", "", cell{w.URL, ""})
			continue
		}
		old := &observe.Report{}
		if i < len(before) && before[i].Report != nil && before[i].Report.Stats.Incarnation == w.Report.Stats.Incarnation {
			old = before[i].Report
		}
		serverLine(&servers, old, w)
		rows = append(rows, linkLines(old, w.Report)...)
	}
	slices.SortStableFunc(rows, func(a, b linkLine) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.from, b.from), cmp.Compare(a.now.ID, b.now.ID))
	})
	for _, l := range rows {
		l.add(&links)
	}
	return append(append(servers.lines(), ""), links.lines()...)
}

// serverLine adds what is to be said of one server.
func serverLine(g *grid, old *observe.Report, w watched) {
	r, s := w.Report, w.Report.Stats
	apart := r.Time.Sub(old.Time)
	if old.Time.IsZero() {
		apart = 0
	}
	up, others := 0, 0
	for _, m := range r.Members {
		if m.ID != s.Pid {
			others++
		}
	}
	for _, p := range s.Peers {
		if p.ID != s.Pid && p.State == cluster.LinkUp {
			up++
		}
	}
	configuration := cell{"as at the start", ""}
	switch {
	case s.Reload.Error != "":
		configuration = cell{"the changed one is not in effect", "down"}
	case s.Reload.Generation > 0:
		configuration.text = fmt.Sprintf("change %d", s.Reload.Generation)
	}
	g.row(fmt.Sprint(s.Pid), s.Cluster, cell{fmt.Sprintf("%d of %d", up, others), stateOf(up == others, "down")},
		amount(old.Stats.Sent.Sent, s.Sent.Sent, apart), amount(old.Stats.Received.Received, s.Received.Received, apart),
		growing(old.Stats.Sent.DroppedTotal(), s.Sent.DroppedTotal(), apart), growing(old.Stats.Received.RefusedTotal(), s.Received.RefusedTotal(), apart),
		growing(old.Stats.Received.Lost, s.Received.Lost, apart),
		fmt.Sprintf("%d/%d", s.OutboxLen, r.OutboxSize), fmt.Sprintf("%d/%d", s.InboxLen, r.InboxSize), s.Transport, configuration, w.URL)
}

// A linkLine is a link of a server that is watched.
type linkLine struct {
	from     int
	now, old cluster.PeerStats
	at       time.Time
	apart    time.Duration
	bound    int
}

func linkLines(old, now *observe.Report) (lines []linkLine) {
	was := make(map[int]cluster.PeerStats)
	for _, p := range old.Stats.Peers {
		was[p.ID] = p
	}
	for _, p := range now.Stats.Peers {
		l := linkLine{from: now.Stats.Pid, now: p, at: now.Time, bound: now.Stats.QueueBytes}
		if o, ok := was[p.ID]; ok {
			l.old, l.apart = o, now.Time.Sub(old.Time)
		}
		lines = append(lines, l)
	}
	return lines
}

// rank brings links forward that somebody should see.
func (l linkLine) rank() int {
	switch l.now.State {
	case cluster.LinkUp:
		return 2
	case cluster.LinkIdle:
		return 1
	}
	return 0
}

func (l linkLine) add(g *grid) {
	since := quantity.None
	if !l.now.Since.IsZero() {
		since = quantity.Ago(l.at.Sub(l.now.Since))
	}
	s, r, os, or := l.now.Sent, l.now.Received, l.old.Sent, l.old.Received
	g.row(fmt.Sprint(l.from), fmt.Sprint(l.now.ID), cell{l.now.State.String(), l.now.State.String()}, since,
		amount(os.Sent, s.Sent, l.apart), amount(or.Received, r.Received, l.apart),
		quantity.Size(float64(s.QueueBytes))+"/"+quantity.Size(float64(l.bound)), quantity.Size(float64(s.FlightBytes)), quantity.RoundTrip(l.now.RoundTrip),
		growing(os.DroppedTotal(), s.DroppedTotal(), l.apart), growing(os.Unconfirmed, s.Unconfirmed, l.apart), growing(or.RefusedTotal(), r.RefusedTotal(), l.apart), growing(or.Lost, r.Lost, l.apart),
		l.now.Trouble)
}

// amount is a counter's rate, or where that is not known, the counter.
func amount(old, now uint64, apart time.Duration) string {
	if apart == 0 {
		return quantity.Count(now)
	}
	return quantity.RateOf(old, now, apart).String()
}

// growing is a counter, which stands out while it grows.
func growing(old, now uint64, apart time.Duration) cell {
	return cell{quantity.Count(now), stateOf(apart == 0 || now <= old, "connecting")}
}

func stateOf(fine bool, otherwise string) string {
	if fine {
		return ""
	}
	return otherwise
}

// A grid is a table for a terminal.
type grid struct {
	coloured bool
	rows     [][]cell
}

type cell struct{ text, state string }

// states are the colours of the terminal for the states of links.
var states = map[string]lipgloss.Style{
	"up":             lipgloss.NewStyle().Foreground(lipgloss.Color("2")),
	"down":           lipgloss.NewStyle().Foreground(lipgloss.Color("1")).Bold(true),
	"connecting":     lipgloss.NewStyle().Foreground(lipgloss.Color("3")),
	"unacknowledged": lipgloss.NewStyle().Foreground(lipgloss.Color("3")),
	"stalled":        lipgloss.NewStyle().Foreground(lipgloss.Color("3")),
	"head":           lipgloss.NewStyle().Bold(true),
}

func (g *grid) head(names ...string) {
	var row []cell
	for _, n := range names {
		row = append(row, cell{n, "head"})
	}
	g.rows = append(g.rows, row)
}

// row adds a line of strings and cells.
func (g *grid) row(values ...any) {
	row := make([]cell, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case cell:
			row[i] = v
		case string:
			row[i].text = v
		}
	}
	g.rows = append(g.rows, row)
}

// lines are those of the grid, with columns of one width. What has been said by a server is one line of plain text.
func (g *grid) lines() (lines []string) {
	var widths []int
	for _, row := range g.rows {
		for i := range row {
			row[i].text = plain(row[i].text)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if len(row)-1 > i {
				widths[i] = max(widths[i], min(utf8.RuneCountInString(row[i].text), widthMost))
			}
		}
	}
	for _, row := range g.rows {
		var b strings.Builder
		for i, c := range row {
			if style, ok := states[c.state]; ok && g.coloured {
				b.WriteString(style.Render(c.text))
			} else {
				b.WriteString(c.text)
			}
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", 2+max(0, widths[i]-utf8.RuneCountInString(c.text))))
			}
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return lines
}

// widthMost is the widest that a column gets; a longer text moves the rest of its line.
const widthMost = 30

// plain is a text without what a terminal would act on.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, text)
}
