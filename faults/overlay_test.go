//go:build linux

package main

import (
	"os/exec"
	"strings"
	"testing"
)

// The edits of all mutants, and of the clock, fit the library as it is.
func TestEachEditFitsTheLibrary(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/abhishekg16/cluster").Output()
	if err != nil {
		t.Fatal(err)
	}
	root := strings.TrimSpace(string(out))
	check := func(name string, edits []edit) {
		if _, err := writeOverlay(root, t.TempDir(), name, edits); err != nil {
			t.Error(err)
		}
	}
	for _, m := range mutants {
		check(m.rule, m.edits)
	}
	check("clock", shiftable)
	if _, err := writeOverlay(root, t.TempDir(), "nothing", []edit{{"server.go", "no such line", ""}}); err == nil {
		t.Error("an edit of what is not there is taken")
	}
}
