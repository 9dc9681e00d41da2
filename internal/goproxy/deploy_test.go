package goproxy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/deploy.md says how to add the library to a module, and to build with and without libzmq. This does
// it as it stands there, in an empty directory.
func TestTheDeployDocumentAddsTheLibraryToAModule(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("there is no bash to run commands with")
	}
	p, dir := New(t, "../.."), t.TempDir()
	text := read(t, "../../docs/deploy.md")
	_, text, _ = strings.Cut(text, "\n## Add the library to a program\n")
	text, _, _ = strings.Cut(text, "\n## ")
	fences := regexp.MustCompile("(?ms)^```(sh|go|console)\n(.*?)^```$").FindAllStringSubmatch(text, -1)
	run := func(t *testing.T, script string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
		cmd.Dir, cmd.Env = dir, p.Env(t)
		out, err := cmd.CombinedOutput()
		if err != nil && !strings.Contains(string(out), "-tags libzmq") { // a build that is to fail says why
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
		return string(out)
	}
	sessions := 0
	for _, f := range fences {
		switch lang, body := f[1], f[2]; lang {
		case "sh":
			run(t, body)
			dir = filepath.Join(dir, "hello") // where these commands lead
		case "go":
			if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(body), 0o600); err != nil {
				t.Fatal(err)
			}
		case "console":
			sessions++
			command, want, _ := strings.Cut(strings.TrimPrefix(body, "$ "), "\n")
			t.Run(command, func(t *testing.T) {
				if strings.HasPrefix(command, "go build -tags libzmq") && !hasLibzmq(t) {
					t.Skip("it takes cgo and libzmq")
				}
				if got := run(t, command); normal(got) != normal(want) {
					t.Errorf("it printed\n%s\nwhere the document has\n%s", got, want)
				}
			})
		}
	}
	if sessions != 4 {
		t.Errorf("found %d sessions, want 4", sessions)
	}
}

// hasLibzmq reports whether programs can be built with libzmq here.
func hasLibzmq(t *testing.T) bool {
	t.Helper()
	return goEnv(t, "CGO_ENABLED") == "1" && exec.Command("pkg-config", "--exists", "libzmq").Run() == nil
}

var (
	sourcePlace = regexp.MustCompile(`(?m)^\S*/(internal/\S+\.go):\d+:\d+: `)
	aside       = regexp.MustCompile(`(?m) \(untyped string constant .*$`)
)

// normal is what a build prints without where the sources are, and without the compiler's own words behind the message.
func normal(out string) string {
	return strings.TrimSpace(aside.ReplaceAllString(sourcePlace.ReplaceAllString(out, "$1: "), ""))
}
