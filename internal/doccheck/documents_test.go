// Package doccheck holds the documents of this repository to what they say: every link leads somewhere, every file, test
// and make target that is cited exists, and commands and sessions are run. CONTRIBUTING.md ("Documents") has the
// conventions.
package doccheck

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the directory of the repository, seen from that of this package.
const root = "../.."

// A document is one Markdown file.
type document struct {
	path string // from the root, with slashes
	text string
}

// documents are all Markdown files of the repository.
func documents(t testing.TB) []document {
	t.Helper()
	var all []document
	walk(t, func(path string) {
		if filepath.Ext(path) == ".md" {
			all = append(all, document{path: path, text: read(t, path)})
		}
	})
	if len(all) < 10 {
		t.Fatalf("found only %d documents: this tests nothing", len(all))
	}
	return all
}

// walk calls f with each file of the repository, from the root. Hidden directories, and what builds leave in bin, are
// no part of it.
func walk(t testing.TB, f func(path string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case d.IsDir() && rel != "." && (strings.HasPrefix(d.Name(), ".") || rel == "bin"):
			return filepath.SkipDir
		case !d.IsDir():
			f(rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A block is a fenced block of a document.
type block struct {
	line      int // of its fence
	lang      string
	directive string // what the comment in the line above the fence says of it
	text      string
}

var directive = regexp.MustCompile(`^<!-- doccheck: (.*) -->$`)

// blocks splits a document into its fenced blocks, and the prose around them, in which they are empty lines.
func (d document) blocks(t testing.TB) (found []block, prose string) {
	t.Helper()
	var b strings.Builder
	var now *block // the one whose end has not come yet
	said := ""
	for i, line := range strings.Split(d.text, "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && now == nil:
			now = &block{line: i + 1, lang: info, directive: said}
		case fence:
			found = append(found, *now)
			now = nil
		case now != nil:
			now.text += line + "\n"
		}
		said = ""
		if m := directive.FindStringSubmatch(line); m != nil {
			said = m[1]
		}
		if !fence && now == nil {
			b.WriteString(line)
		}
		b.WriteByte('\n')
	}
	if now != nil {
		t.Errorf("%s:%d: the block has no end", d.path, now.line)
	}
	return found, b.String()
}
