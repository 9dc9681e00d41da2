package doccheck

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// CONTRIBUTING.md's map says which way imports run. Packages that only tests use are not on it.
func TestImportsRunOneWay(t *testing.T) {
	const root = "github.com/abhishekg16/cluster"
	ofTests := []string{"/internal/testcluster", "/internal/scenario", "/internal/doccheck", "/internal/wirev1", "/internal/codec/gobdiff", "/internal/goproxy"}
	cmd := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./internal/...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	// What of this module each may import, beside what those may.
	below := map[string][]string{
		"/internal/wire":     {},
		"/internal/events":   {},
		"/internal/fifo":     {},
		"/internal/stream":   {"/internal/wire", "/internal/fifo"},
		"/internal/calls":    {"/internal/stream", "/internal/codec"},
		"/internal/outgoing": {"/internal/stream", "/internal/wire", "/internal/codec", "/internal/transport", "/internal/fifo", "/internal/calls"},
		"/internal/delivery": {"/internal/stream", "/internal/wire", "/internal/codec", "/internal/transport", "/internal/calls"},
		"/internal/incoming": {"/internal/stream", "/internal/wire", "/internal/transport", "/internal/delivery", "/peercatalog"},
		"/internal/journal":  {},
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		name := strings.TrimPrefix(words[0], root)
		if slices.Contains(ofTests, name) {
			continue
		}
		may, known := below[name]
		if known {
			seen++
		}
		for _, imported := range words[1:] {
			rest, ours := strings.CutPrefix(imported, root)
			if ours && rest == "" {
				t.Errorf("%s imports the root", name)
			} else if ours && known && !slices.Contains(may, rest) {
				t.Errorf("%s imports %s", name, rest)
			}
		}
	}
	if seen != len(below) {
		t.Errorf("%d of %d packages were found", seen, len(below))
	}
}

// make portable vets for one architecture what it builds for two.
func TestNothingIsForOneArchitecture(t *testing.T) {
	of := regexp.MustCompile(`_(?:amd64|arm64)(?:_test)?\.go$`)
	constraint := regexp.MustCompile(`(?m)^//go:build .*(?:amd64|arm64)`)
	count := 0
	walk(t, func(p string) {
		if path.Ext(p) != ".go" {
			return
		}
		if count++; of.MatchString(p) || constraint.MatchString(read(t, p)) {
			t.Errorf("%s is for one architecture", p)
		}
	})
	if count < 100 {
		t.Errorf("found only %d files: this tests little", count)
	}
}

// A file and a function can be looked over. Tests tell stories, and a campaign's row, as a nested module's, is one.
func TestFilesAndFunctionsAreShort(t *testing.T) {
	const fileLines, functionLines = 400, 66
	nested := regexp.MustCompile(`^(?:bench|faults|observe|deploy|catalog|raft|cmd/cluster|examples/kv|examples/maelstrom)/`)
	count := 0
	walk(t, func(p string) {
		if path.Ext(p) != ".go" || strings.HasSuffix(p, "_test.go") || nested.MatchString(p) {
			return
		}
		count++
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, p, read(t, p), parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if n := files.File(f.FileStart).LineCount(); n > fileLines {
			t.Errorf("%s has %d lines, want at most %d", p, n, fileLines)
		}
		for _, d := range f.Decls {
			first, last := files.Position(d.Pos()), files.Position(d.End())
			if fn, ok := d.(*ast.FuncDecl); ok && last.Line-first.Line >= functionLines {
				t.Errorf("%s: %s has %d lines, want at most %d", first, fn.Name.Name, last.Line-first.Line+1, functionLines)
			}
		}
	})
	if count < 100 {
		t.Errorf("found only %d files: this tests little", count)
	}
}
