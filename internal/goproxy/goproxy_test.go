package goproxy

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// needFetched skips what fetches a hundred modules and builds them, where tests are to be short.
func needFetched(t *testing.T, dir string) {
	t.Helper()
	if (dir == "bench" || dir == "deploy" || dir == "catalog/etcd/integration") && testing.Short() {
		t.Skip("it takes much of others")
	}
}

// buildable skips a module that cannot be built here.
func buildable(t *testing.T, dir string) {
	t.Helper()
	needFetched(t, dir)
	if dir == "faults" && runtime.GOOS != "linux" {
		t.Skip("the fault campaign is for Linux")
	}
	if (dir == "faults" || dir == "bench") && goEnv(t, "CGO_ENABLED") == "0" {
		t.Skip("it sets the library beside libzmq, which needs cgo")
	}
}

func TestNestedModulesAreUsableFromOutside(t *testing.T) {
	p := New(t, "../..")
	if len(p.Nested) < 3 {
		t.Errorf("only %v: this tests little", p.Nested)
	}
	for _, dir := range p.Nested {
		t.Run(dir, func(t *testing.T) {
			buildable(t, dir)
			// The go command refuses to install what has replacements, and knows nothing of a go.work.
			use := [][]string{{"install", Path(dir) + "@" + p.Version}}
			if !hasCommand(t, dir) {
				use = [][]string{{"mod", "init", "example.com/user"}, {"get", Path(dir) + "@" + p.Version}, {"build", Path(dir) + "/..."}}
			}
			in := t.TempDir()
			for _, args := range use {
				cmd := p.Command(t, in, []string{"GOBIN=" + t.TempDir()}, args...)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
				}
			}
		})
	}
	t.Run("the command without cgo", func(t *testing.T) {
		cmd := p.Command(t, t.TempDir(), []string{"GOBIN=" + t.TempDir(), "CGO_ENABLED=0"}, "install", Path("cmd/cluster")+"@"+p.Version)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("go install: %v\n%s", err, out)
		}
	})
}

// hasCommand reports whether a module is a command; the others are used by importing their packages.
func hasCommand(t *testing.T, dir string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(name string) bool {
		return strings.Contains("\n"+read(t, name), "\npackage main\n")
	})
}

// go mod tidy looks for the version of the root that go.mod requires also where a go.work is, so
// that it can be run at this proxy alone until that version is published. The hash of the root in
// go.sum is then known.
func TestNestedModulesAreTidy(t *testing.T) {
	p := New(t, "../..")
	ours := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(Root) + `(?:/\S+)? .*\n`)
	for _, dir := range p.Nested {
		t.Run(dir, func(t *testing.T) {
			needFetched(t, dir)
			in := filepath.Join(p.top, dir)
			copied := filepath.Join(t.TempDir(), "go.mod")
			for _, name := range []string{"go.mod", "go.sum"} {
				text := read(t, filepath.Join(in, name))
				if err := os.WriteFile(filepath.Join(filepath.Dir(copied), name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := p.Command(t, in, nil, "mod", "tidy", "-modfile="+copied)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("go mod tidy: %v\n%s", err, out)
			}
			for _, name := range []string{"go.mod", "go.sum"} {
				got := read(t, filepath.Join(filepath.Dir(copied), name))
				if name == "go.sum" {
					got = ours.ReplaceAllString(got, "")
				}
				if diff := cmp.Diff(read(t, filepath.Join(in, name)), got); diff != "" {
					t.Errorf("%s/%s is not tidy (-is +go mod tidy):\n%s", dir, name, diff)
				}
			}
		})
	}
}

// In the repository the go.work of each module puts the root in the place of the version that is required.
func TestEachNestedModuleIsJoinedToTheRoot(t *testing.T) {
	p := New(t, "../..")
	for _, dir := range p.Nested {
		work := read(t, filepath.Join(p.top, dir, "go.work"))
		up, err := filepath.Rel(dir, ".")
		if err != nil {
			t.Fatal(err)
		}
		up = filepath.ToSlash(up)
		for _, want := range []string{"\n\t.\n", "\n\t" + up + "\n", "\nreplace " + Root + " " + p.Version + " => " + up + "\n"} {
			if !strings.Contains(work, want) {
				t.Errorf("%s/go.work lacks %q", dir, want)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(p.top, "go.work")); err == nil {
		t.Error("the root has a go.work: it would be built with the versions that the nested modules need")
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
