//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheDocumentKeepsWhatWasNotMeasuredAnew(t *testing.T) {
	document := filepath.Join(t.TempDir(), "reliability.md")
	if err := os.WriteFile(document, []byte("before\n"+beginMark+"\nstale text\n"+endMark+"\nafter\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	wrote := func(c campaign) string {
		t.Helper()
		if err := c.write(document); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	measured := func(row, value string) result {
		return result{Row: row, Promise: "a | b", Figures: []figure{{"rate", value}}}
	}
	wrote(campaign{Date: "day 1", Results: []result{measured("pause", "1"), measured("close", "2"), measured("gone", "3")}})
	skipped := measured("close", "")
	skipped.Skipped = "it needs something"
	failed := measured("pause", "4")
	failed.Oracles = []string{oracleRate}
	// What was found over another transport stands beside it.
	wrote(campaign{Date: "day 2", Transport: mixed, Results: []result{measured("close", "5")}})
	got := wrote(campaign{Date: "day 2", Results: []result{failed, skipped}})
	for _, want := range []string{"before\n", "after\n", "**FAILED: rate**<br>rate: 4", "**holds**<br>rate: 2", "| `close` | mixed | **holds**<br>rate: 5", `a \| b`, "on day 1", "on day 2"} {
		if !strings.Contains(got, want) {
			t.Errorf("the document lacks %q", want)
		}
	}
	for _, not := range []string{"stale text", "rate: 1", "`gone`"} {
		if strings.Contains(got, not) {
			t.Errorf("the document has %q", not)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}

func TestAMixedCampaignHasBothTransports(t *testing.T) {
	for _, choice := range transports {
		if err := checkTransport(choice); err != nil {
			t.Error(err)
		}
		first, second := transportOf(choice, 1), transportOf(choice, 2)
		if (first != second) != (choice == mixed) || choice != mixed && first != choice {
			t.Errorf("%s: servers have %s and %s", choice, first, second)
		}
	}
	if err := checkTransport("tcp"); err == nil {
		t.Error("there is a transport tcp")
	}
}
