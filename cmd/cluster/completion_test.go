package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// completing makes a directory with a configuration of servers 0, 1 and 12, another file
// and a directory.
func completing(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	text := `{"peers":[{"id":0,"address":"127.0.0.1:1"},{"id":1,"address":"127.0.0.1:2"},{"id":12,"address":"127.0.0.1:3"}]}`
	write(t, dir, "Config.json", text, 0o644)
	write(t, dir, "with space.json", text, 0o644)
	if err := os.Mkdir(filepath.Join(dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCandidatesAreWhatMayComeNext(t *testing.T) {
	t.Parallel()
	dir := completing(t)
	for _, c := range []struct {
		words []string
		also  string
		want  string // with spaces between
	}{
		{[]string{""}, "words", "keygen check ping listen send run top completion version help"},
		{[]string{"ke"}, "words", "keygen"},
		{[]string{"-"}, "words", "--help --version"},
		{[]string{"frobnicate", ""}, "words", ""},
		{[]string{"check", ""}, "files", ""},
		{[]string{"check", "Conf"}, "files", ""},
		{[]string{"check", "-"}, "words", "--id --key-file --wait --without-key --json --help"},
		{[]string{"check", "-i"}, "words", "-id"},
		{[]string{"check", "--wi"}, "words", "--without-key"},
		{[]string{"check", "--wait", ""}, "words", ""},
		{[]string{"check", "--json", ""}, "files", ""},
		{[]string{"check", "Config.json", ""}, "words", ""},
		{[]string{"check", "Config.json", "-id", ""}, "words", "0 1 12"},
		{[]string{"check", "Config.json", "--id=1"}, "words", "--id=1 --id=12"},
		{[]string{"check", "-id", ""}, "words", ""},
		{[]string{"check", "Config.json", "--key-file", ""}, "files", ""},
		{[]string{"keygen", "-id", "3", "--dir", ""}, "directories", ""},
		{[]string{"ping", "Config.json", "-id", "0", "--to", ""}, "words", "all 0 1 12"},
		{[]string{"send", "Config.json", "--to", "0,1"}, "words", "0,1 0,12"},
		{[]string{"send", "Config.json", "-"}, "words", "--id --key-file --verbose --to --timeout --json --help"},
		{[]string{"send", "Config.json", "--", "-"}, "words", ""},
		{[]string{"ping", "with space.json", "-n", "3", "--to=1"}, "words", "--to=1 --to=12"},
		{[]string{"run", "Config.json", "-id", ""}, "words", "0 1 12"},
		{[]string{"run", "Config.json", "--http-"}, "words", "--http-public --http-host"},
		{[]string{"top", ""}, "files", ""},
		{[]string{"top", "http://127.0.0.1:1", ""}, "files", ""},
		{[]string{"top", "--o"}, "words", "--once"},
		{[]string{"help", "c"}, "words", "check completion"},
		{[]string{"completion", ""}, "words", "bash fish zsh"},
		{[]string{"completion", "bash", ""}, "words", ""},
		{[]string{"version", ""}, "words", ""},
	} {
		t.Run(strings.Join(c.words, " "), func(t *testing.T) {
			t.Parallel()
			got := call(t, dir, "", append([]string{completeCommand, "fish"}, c.words...)...).want(t, 0)
			lines := strings.Split(strings.TrimSuffix(got.out, "\n"), "\n")
			var words []string
			for _, l := range lines[1:] {
				word, _, _ := strings.Cut(l, "\t")
				words = append(words, word)
			}
			if lines[0] != c.also || strings.Join(words, " ") != c.want {
				t.Errorf("got %s and %q, want %s and %q", lines[0], words, c.also, c.want)
			}
		})
	}
}

func TestWordsFromBashAreTakenAsItMeansThem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ words, want []string }{
		{[]string{"check", `with\ space.json`, "-id", ""}, []string{"check", "with space.json", "-id", ""}},
		{[]string{"check", `'it'"'"'s'`, `"a \"b\" c"`}, []string{"check", "it's", `a "b" c`}},
		{[]string{"check", "--id", "=", "1"}, []string{"check", "--id=1"}},
		{[]string{"check", "--id", "="}, []string{"check", "--id="}},
		{[]string{"check", "--id", "=", "1", "x"}, []string{"check", "--id=1", "x"}},
		{[]string{"send", "a", "=", "b"}, []string{"send", "a", "=", "b"}},
		{[]string{"check", `"unfinished`}, []string{"check", "unfinished"}},
	} {
		if diff := cmp.Diff(c.want, bashWords(c.words)); diff != "" {
			t.Errorf("%q: want -, got +:\n%s", c.words, diff)
		}
	}
}

func TestFishCompletes(t *testing.T) {
	t.Parallel()
	fish := shellOrSkip(t, "fish")
	dir := completing(t)
	home := t.TempDir()
	for _, c := range []struct{ text, want string }{
		{"cluster keyg", "keygen"},
		{"cluster check Conf", "Config.json"},
		{"cluster check Config.json -id ", "0 1 12"},
		{"cluster check 'with space.json' --id=1", "--id=1 --id=12"},
		{"cluster ping Config.json --to 0,", "0,0 0,1 0,12"},
		{"cluster keygen -id 3 --dir ke", "keys/"},
		{"cluster completion ", "bash fish zsh"},
	} {
		script := fmt.Sprintf("cluster completion fish | source; complete -C %s", fishQuote(c.text))
		cmd := exec.CommandContext(t.Context(), fish, "--no-config", "-c", script)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+home, "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		var words []string
		for l := range strings.Lines(string(out)) {
			word, _, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "\t")
			words = append(words, word)
		}
		slices.Sort(words)
		if got := strings.Join(words, " "); got != c.want {
			t.Errorf("%s: got %q, want %q", c.text, got, c.want)
		}
	}
}

func fishQuote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}

func shellOrSkip(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip("this shell is not here, so that its completion is not tried:", err)
	}
	return path
}
