package doccheck

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	heading  = regexp.MustCompile(`(?m)^#+ (.*)$`)
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	inAnchor = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// anchors are the names that GitHub gives to the headings of a document.
func (d document) anchors(t testing.TB) map[string]bool {
	_, prose := d.blocks(t)
	names := make(map[string]bool)
	for _, h := range heading.FindAllStringSubmatch(prose, -1) {
		text := link.ReplaceAllString(h[1], "]")
		names[strings.ReplaceAll(inAnchor.ReplaceAllString(strings.ToLower(text), ""), " ", "-")] = true
	}
	return names
}

func TestLinksLeadToFilesAndHeadingsThatExist(t *testing.T) {
	all := documents(t)
	anchors := make(map[string]map[string]bool)
	for _, d := range all {
		anchors[d.path] = d.anchors(t)
	}
	count := 0
	for _, d := range all {
		_, prose := d.blocks(t)
		for _, l := range link.FindAllStringSubmatch(prose, -1) {
			if strings.Contains(l[1], "://") {
				continue
			}
			count++
			file, anchor, _ := strings.Cut(l[1], "#")
			target := d.path
			if file != "" {
				target = path.Join(path.Dir(d.path), file)
			}
			if !exists(target) {
				t.Errorf("%s links to %s, and there is no such file", d.path, l[1])
			} else if anchor != "" && !anchors[target][anchor] {
				t.Errorf("%s links to %s, and there is no such heading", d.path, l[1])
			}
		}
	}
	if count == 0 {
		t.Error("no links: this tests nothing")
	}
}

func exists(path string) bool {
	_, err := os.Stat(filepath.Join(root, filepath.FromSlash(path)))
	return err == nil
}

var (
	quoted = regexp.MustCompile("`([^`\n]+)`")
	// A paragraph ends at an empty line, at the next item of a list, and at the next row of a table.
	paragraph = regexp.MustCompile(`\n(?:\s*\n|- |\d+\. |\| )`)
	// What the reader is told to write is no file of the repository.
	toSave   = regexp.MustCompile("(?i)save (?:it|this) as `([^`]+)`")
	fileName = regexp.MustCompile(`^[\w./-]*\w\.(?:go|md|py|sh|html|svg|json|frames)$`)
	folder   = regexp.MustCompile(`^[\w./-]+/[\w./-]*$`)
	exported = regexp.MustCompile(`^(\w+)\.[A-Z]\w*`)
)

// cited are the files and directories that a paragraph names between backquotes, each with where it may be: relative to
// the document or to the root, or beside what was named before it in the paragraph (`internal/names/names.go`,
// `route.go`), of which one may be a name of a package of ours (`stream.Receiver`).
func cited(d document, text string, top map[string]bool) map[string][]string {
	found := make(map[string][]string)
	dirs := []string{path.Dir(d.path), "."}
	saved := toSave.FindAllStringSubmatch(d.text, -1)
	for _, q := range quoted.FindAllStringSubmatch(text, -1) {
		name := q[1]
		if m := exported.FindStringSubmatch(name); m != nil && exists("internal/"+m[1]) {
			dirs = append(dirs, "internal/"+m[1])
		}
		first, _, nested := strings.Cut(name, "/")
		switch {
		case slices.ContainsFunc(saved, func(m []string) bool { return m[1] == name }):
			continue
		case fileName.MatchString(name):
		case nested && top[first] && folder.MatchString(name):
		default:
			continue
		}
		var places []string
		for _, dir := range dirs {
			places = append(places, path.Join(dir, name))
		}
		found[name] = append(found[name], places...)
		for _, p := range slices.Backward(places) {
			if exists(p) {
				if path.Ext(p) != "" {
					p = path.Dir(p)
				}
				dirs = append(dirs, p)
				break
			}
		}
	}
	return found
}

func TestFilesThatDocumentsCiteExist(t *testing.T) {
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	top := make(map[string]bool)
	for _, e := range entries {
		top[e.Name()] = e.IsDir()
	}
	count := 0
	for _, d := range documents(t) {
		_, prose := d.blocks(t)
		for _, text := range paragraph.Split(prose, -1) {
			for name, places := range cited(d, text, top) {
				count++
				if !slices.ContainsFunc(places, exists) {
					t.Errorf("%s cites %s, and there is none of %v", d.path, name, places)
				}
			}
		}
	}
	if count < 50 {
		t.Errorf("found only %d files that are cited: this tests little", count)
	}
}

var (
	testName = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w*`)
	function = regexp.MustCompile(`(?m)^func (?:\([^)]*\) )?((?:Test|Fuzz|Benchmark)[A-Z]\w*)[(\[]`)
)

// tests are the names of all tests, fuzz targets and benchmarks in the repository, and of what else is called so.
func tests(t testing.TB) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	walk(t, func(path string) {
		if filepath.Ext(path) == ".go" {
			for _, m := range function.FindAllStringSubmatch(read(t, path), -1) {
				names[m[1]] = true
			}
		}
	})
	return names
}

func TestTestsThatDocumentsCiteExist(t *testing.T) {
	have, count := tests(t), 0
	for _, d := range documents(t) {
		found, prose := d.blocks(t)
		for _, b := range found {
			if b.lang != "go" {
				prose += b.text
			}
		}
		for _, name := range testName.FindAllString(prose, -1) {
			if count++; !have[name] {
				t.Errorf("%s names %s, and there is no such test", d.path, name)
			}
		}
	}
	if count == 0 {
		t.Error("no document names a test: this tests nothing")
	}
}

// The go command runs nothing, and succeeds, where -run names no test.
func TestTestsThatTheMakefileRunsExist(t *testing.T) {
	have := tests(t)
	for _, name := range testName.FindAllString(read(t, "Makefile"), -1) {
		found := false
		for test := range have {
			found = found || strings.HasPrefix(test, name)
		}
		if !found {
			t.Errorf("the Makefile runs %s, and no test begins like this", name)
		}
	}
}

var (
	rule       = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)
	inProse    = regexp.MustCompile("`make ([a-z][a-z-]*)")
	inCommands = regexp.MustCompile(`(?m)^\s*(?:\$ )?make ([a-z][a-z-]*)`)
)

func targets(t testing.TB) map[string]bool {
	t.Helper()
	have := make(map[string]bool)
	for _, m := range rule.FindAllStringSubmatch(read(t, "Makefile"), -1) {
		have[m[1]] = true
	}
	return have
}

func TestTargetsThatDocumentsCiteExist(t *testing.T) {
	have, count := targets(t), 0
	check := func(where string, found [][]string) {
		for _, m := range found {
			if count++; !have[m[1]] {
				t.Errorf("%s says make %s, and the Makefile has no such target", where, m[1])
			}
		}
	}
	for _, d := range documents(t) {
		check(d.path, inProse.FindAllStringSubmatch(d.text, -1))
		check(d.path, inCommands.FindAllStringSubmatch(d.text, -1))
	}
	check(".ci/run", regexp.MustCompile(`[ (]([a-z][a-z-]*)`).FindAllStringSubmatch(
		regexp.MustCompile(`steps=\(.*\)`).FindString(read(t, ".ci/run")), -1))
	if count < 10 {
		t.Errorf("found only %d targets that are cited: this tests little", count)
	}
}
