//go:build linux

package main

import (
	"slices"
	"testing"
)

func TestRowsAreToldApartAndSayWhatTheyAreFor(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range rows {
		if seen[r.name] {
			t.Errorf("two rows are named %q", r.name)
		}
		seen[r.name] = true
		if r.promise == "" || r.fault == "" || r.run == nil {
			t.Errorf("row %q lacks its promise, its fault, or what it does", r.name)
		}
	}
	for _, m := range mutants {
		if !slices.ContainsFunc(rows, func(r row) bool { return r.name == m.row }) {
			t.Errorf("mutant %q needs row %q, which is missing", m.rule, m.row)
		}
	}
	for i, f := range soakFaults[1:] {
		if f.name <= soakFaults[i].name {
			t.Errorf("fault %q is out of order", f.name)
		}
	}
}

func TestARowWhoseNeedsAreNotMetIsSkipped(t *testing.T) {
	r := perform(t, row{name: "needy", needs: []need{tool("no-such-tool-anywhere")}, run: func(*trial) error { panic("it ran") }})
	if r.Skipped == "" || len(r.Found) > 0 || r.verdict() != "skipped" {
		t.Errorf("got %+v", r)
	}
}
