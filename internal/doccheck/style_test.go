package doccheck

import (
	"path"
	"regexp"
	"strings"
	"testing"
)

var indented = regexp.MustCompile(`(?m)^(?:    |\t)(?:\$ |make |go |cd |cluster |source |python3 ).*$`)

// What stands elsewhere is not run.
func TestCommandsStandInBlocksThatAreRun(t *testing.T) {
	for _, d := range documents(t) {
		found, prose := d.blocks(t)
		for _, line := range indented.FindAllString(prose, -1) {
			t.Errorf("%s: %q is in no block marked sh", d.path, strings.TrimSpace(line))
		}
		for _, b := range found {
			if session := strings.HasPrefix(b.text, "$ "); session && b.lang != "console" {
				t.Errorf("%s:%d: this session is in a block marked %q, not console", d.path, b.line, b.lang)
			}
			if b.directive != "" && b.lang != "sh" && b.lang != "console" {
				t.Errorf("%s:%d: a block marked %q is not run: no directive applies", d.path, b.line, b.lang)
			}
		}
	}
}

var (
	goRun    = regexp.MustCompile("go run \\. ([^`#\n]*)")
	given    = regexp.MustCompile(`(?:^| )-([a-z][a-z-]*)`)
	declared = regexp.MustCompile(`\b(?:flag|flags|f|fs|set)\.\w+\((?:&[\w.]+, )?"([a-z][a-z-]*)"`)
	onlyRows = regexp.MustCompile(`-only ([a-z0-9,-]+)`)
	goPath   = regexp.MustCompile(`go (?:run|build|vet|test) (?:-\S+ )*(\./[\w/-]+|\.\./[\w/-]+)`)
)

// The campaigns of bench and faults are not started by tests. The flags that documents give them exist, and so do the
// rows that are named.
func TestFlagsAndRowsThatDocumentsGiveToCampaignsExist(t *testing.T) {
	source := map[string]string{"bench": "", "faults": ""}
	walk(t, func(p string) {
		if dir := path.Dir(p); path.Ext(p) == ".go" && (dir == "bench" || dir == "faults") {
			source[dir] += read(t, p)
		}
	})
	count := 0
	for _, d := range documents(t) {
		for _, m := range goRun.FindAllStringSubmatch(d.text, -1) {
			// Only the documents of the two say which one it is; what another document has is of either.
			code, ok := source[path.Dir(d.path)]
			if !ok {
				code = source["bench"] + source["faults"]
			}
			flags := make(map[string]bool)
			for _, f := range declared.FindAllStringSubmatch(code, -1) {
				flags[f[1]] = true
			}
			for _, f := range given.FindAllStringSubmatch(m[1], -1) {
				if count++; !flags[f[1]] {
					t.Errorf("%s: %s: there is no flag -%s", d.path, m[0], f[1])
				}
			}
			for _, only := range onlyRows.FindAllStringSubmatch(m[1], -1) {
				for row := range strings.SplitSeq(only[1], ",") {
					if !strings.Contains(source["faults"], `"`+row+`"`) {
						t.Errorf("%s: %s: there is no row %s", d.path, m[0], row)
					}
				}
			}
		}
	}
	if count < 10 {
		t.Errorf("found only %d flags: this tests little", count)
	}
}

func TestPackagesThatDocumentsRunExist(t *testing.T) {
	for _, d := range documents(t) {
		for _, m := range goPath.FindAllStringSubmatch(d.text, -1) {
			saved := toSave.FindStringSubmatch(d.text)
			if saved != nil && path.Join(".", m[1]) == path.Dir(saved[1]) {
				continue
			}
			if p := strings.TrimSuffix(m[1], "/..."); !exists(path.Join(path.Dir(d.path), p)) && !exists(p) {
				t.Errorf("%s: %s: there is no such directory", d.path, m[0])
			}
		}
	}
}

// What users fetch is this module.
func TestGoGetFetchesThisModule(t *testing.T) {
	module := regexp.MustCompile(`(?m)^module (\S+)$`).FindStringSubmatch(read(t, "go.mod"))[1]
	found := regexp.MustCompile(`(?m)^go get (\S+)$`).FindAllStringSubmatch(read(t, "README.md"), -1)
	if len(found) == 0 {
		t.Error("README.md does not say how to get the library")
	}
	for _, m := range found {
		if p, _, _ := strings.Cut(m[1], "@"); p != module {
			t.Errorf("README.md gets %s, and the module is %s", m[1], module)
		}
	}
}
