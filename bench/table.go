package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// results are the samples of one run.
type results struct {
	Date    string   `json:"date"`
	Command string   `json:"command"`
	System  string   `json:"system"`
	Rounds  int      `json:"rounds"`
	Took    string   `json:"took"`
	Notes   []string `json:"notes,omitempty"`
	Samples []sample `json:"samples"`
}

// A summary is the median of some figures and their range.
type summary struct{ median, low, high float64 }

func summarize(figures []float64) (s summary, ok bool) {
	if len(figures) == 0 {
		return summary{}, false
	}
	f := slices.Sorted(slices.Values(figures))
	middle := f[len(f)/2]
	if len(f)%2 == 0 {
		middle = (middle + f[len(f)/2-1]) / 2
	}
	return summary{middle, f[0], f[len(f)-1]}, true
}

// of returns the figures of one peer, by round.
func (r results) of(experiment, peer, figure string) map[int]float64 {
	found := make(map[int]float64)
	for _, s := range r.Samples {
		if f, ok := s.Values[figure]; ok && s.Experiment == experiment && s.Peer == peer {
			found[s.Round] = f
		}
	}
	return found
}

// absolute sums up the figures of one peer over the rounds.
func (r results) absolute(experiment, peer, figure string) (summary, bool) {
	var all []float64
	for _, f := range r.of(experiment, peer, figure) {
		all = append(all, f)
	}
	return summarize(all)
}

// ratio sums up what multiple of base's figure a peer's is, each within one round.
func (r results) ratio(experiment, peer, base, figure string) (summary, bool) {
	bases := r.of(experiment, base, figure)
	var all []float64
	for round, f := range r.of(experiment, peer, figure) {
		if b := bases[round]; b > 0 {
			all = append(all, f/b)
		}
	}
	return summarize(all)
}

// failure is why a peer has no figures.
func (r results) failure(experiment, peer string) string {
	for _, s := range r.Samples {
		if s.Experiment == experiment && s.Peer == peer && s.Failed != "" {
			return s.Failed
		}
	}
	return ""
}

// asked returns the peers that took part in an experiment, in their usual order.
func (r results) asked(experiment string) (found []string) {
	for _, p := range peers {
		if slices.ContainsFunc(r.Samples, func(s sample) bool { return s.Experiment == experiment && s.Peer == p.name }) {
			found = append(found, p.name)
		}
	}
	return found
}

// A table is for terminals and for Markdown.
type table struct {
	title  string
	text   string // what the figures are
	header []string
	rows   [][]string
}

func (t table) String() string {
	widths := make([]int, len(t.header))
	for _, row := range append([][]string{t.header}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	line := func(row []string) {
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				fmt.Fprintf(&b, "| %s%s ", cell, pad)
			} else {
				fmt.Fprintf(&b, "| %s%s ", pad, cell)
			}
		}
		b.WriteString("|\n")
	}
	line(t.header)
	for i, w := range widths {
		if i == 0 {
			b.WriteString("|" + strings.Repeat("-", w+2))
		} else {
			b.WriteString("|" + strings.Repeat("-", w+1) + ":")
		}
	}
	b.WriteString("|\n")
	for _, row := range t.rows {
		line(row)
	}
	return b.String()
}

// A column shows one figure of one experiment for each peer.
type column struct {
	header     string
	experiment string
	figure     string
	base       func(peer string) string // nil: the figure itself, not a ratio
	scale      float64                  // of the figure; 0 is 1
	plain      bool                     // without the range
}

// toBare compares all peers with the bare loop.
func toBare(string) string { return bare.name }

// tabulate makes a table of all peers that took part, without columns that nobody has
// figures in; ok is false if nothing is left. What failed is said in the cell, and why
// in the text.
func (r results) tabulate(title, text string, columns ...column) (t table, ok bool) {
	columns = slices.DeleteFunc(columns, func(c column) bool { return len(r.asked(c.experiment)) == 0 })
	if len(columns) == 0 {
		return table{}, false
	}
	t = table{title: title, text: text, header: []string{""}}
	for _, c := range columns {
		t.header = append(t.header, c.header)
	}
	var why []string
	for _, p := range peers {
		row, any := []string{p.name}, false
		for _, c := range columns {
			cell, failed := r.cell(p.name, c)
			any = any || cell != ""
			row = append(row, cell)
			if failed != "" {
				why = append(why, fmt.Sprintf("%s failed (%s): %s.", p.name, c.experiment, failed))
			}
		}
		if any {
			t.rows = append(t.rows, row)
		}
	}
	t.text = strings.Join(append([]string{t.text}, slices.Compact(why)...), " ")
	return t, true
}

func (r results) cell(peer string, c column) (text, failed string) {
	s, ok := r.absolute(c.experiment, peer, c.figure)
	if !ok {
		if failed = r.failure(c.experiment, peer); failed != "" {
			return "failed", failed
		}
		return "", ""
	}
	if c.base != nil {
		if s, ok = r.ratio(c.experiment, peer, c.base(peer), c.figure); !ok {
			return "–", ""
		}
	}
	scale := cmp.Or(c.scale, 1)
	text = digits(s.median * scale)
	if !c.plain && (c.base == nil || c.base(peer) != peer) {
		text += fmt.Sprintf(" (%s–%s)", digits(s.low*scale), digits(s.high*scale))
	}
	return text, ""
}

// digits shows three digits that count, or all before the point.
func digits(f float64) string {
	if f == 0 {
		return "0"
	}
	places := 2 - int(math.Floor(math.Log10(math.Abs(f))))
	return fmt.Sprintf("%.*f", min(max(places, 0), 4), f)
}
