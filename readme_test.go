package cluster_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/format"
	goparser "go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/configfile"
	"github.com/abhishekg16/cluster/internal/goproxy"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

// These tests hold the documents to what they say. Their conventions: a block
// of Go is a whole file that builds within this module, tests if it has any
// included; a block of JSON in README.md is a configuration that loads; a row of
// a table whose first cell is `field` describes that field.

// A block is one fenced block of a document.
type block struct {
	file string
	line int
	lang string
	text string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.file, b.line) }

// documents are the texts that users read.
func documents(t testing.TB) []string {
	t.Helper()
	docs, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}, docs...)
}

// blocks returns the fenced blocks of the language in a document.
func blocks(t testing.TB, file, lang string) []block {
	t.Helper()
	var found []block
	var now *block // the one whose end has not come yet
	for i, line := range strings.Split(readDocument(t, file), "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && now == nil:
			now = &block{file: file, line: i + 1, lang: info}
		case fence:
			if now.lang == lang {
				found = append(found, *now)
			}
			now = nil
		case now != nil:
			now.text += line + "\n"
		}
	}
	if now != nil {
		t.Errorf("%v: the block has no end", now)
	}
	return found
}

func readDocument(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestGoInDocumentsBuildsAndPassesItsTests(t *testing.T) {
	count := 0
	for _, file := range documents(t) {
		for _, b := range blocks(t, file, "go") {
			count++
			t.Run(fmt.Sprint(b), func(t *testing.T) {
				if formatted, err := format.Source([]byte(b.text)); err != nil {
					t.Fatal(err)
				} else if string(formatted) != b.text {
					t.Error("it is not as gofmt would have it")
				}
				module, pkg := overlay(t, b)
				goCommand(t, module, "vet", pkg...)
				if isTest(b) {
					goCommand(t, module, "test", pkg...)
				} else {
					goCommand(t, module, "build", append([]string{"-o", os.DevNull}, pkg...)...)
				}
			})
		}
	}
	if count == 0 {
		t.Error("no Go in the documents: this tests nothing")
	}
}

func TestTheProgramOfTheReadmePrintsWhatTheReadmeSays(t *testing.T) {
	dir := t.TempDir()
	module, pkg := overlay(t, theProgram(t))
	goCommand(t, module, "build", append([]string{"-o", filepath.Join(dir, "hello")}, pkg...)...)
	greet(t, dir)
}

// What README.md tells who has no libzmq to type is right in a module of theirs, with a C compiler
// and without one: nothing of libzmq is asked for.
func TestTheProgramOfTheReadmeBuildsWithoutLibzmq(t *testing.T) {
	text := readDocument(t, "README.md")
	var commands []string
	for _, b := range blocks(t, "README.md", "sh") {
		commands = append(commands, strings.TrimSpace(b.text))
	}
	get, run := "go get "+goproxy.Root, "go run -tags nozmq ."
	if len(commands) < 2 || commands[0] != get || commands[1] != run {
		t.Fatalf("the first commands of README.md are %q, want %q and %q", commands[:min(len(commands), 2)], get, run)
	}
	if want := "with `CGO_ENABLED=0`, the tag goes without saying"; !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
		t.Errorf("README.md does not say %q", want)
	}
	proxy := goproxy.New(t, ".")
	for name, how := range map[string]struct{ environment, tags []string }{
		"with a C compiler": {[]string{"PKG_CONFIG=there-is-none"}, []string{"-tags", "nozmq"}},
		"without cgo":       {[]string{"CGO_ENABLED=0"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(theProgram(t).text), 0o600); err != nil {
				t.Fatal(err)
			}
			command := func(args ...string) string {
				t.Helper()
				out, err := proxy.Command(t, dir, how.environment, args...).CombinedOutput()
				if err != nil {
					t.Fatalf("go %v: %v\n%s", args, err, out)
				}
				return string(out)
			}
			command("mod", "init", "example.com/hello")
			command(strings.Fields(get)[1:]...)
			if deps := command(append(append([]string{"list", "-deps"}, how.tags...), ".")...); strings.Contains(deps, "zmq4") {
				t.Error("it needs libzmq: what it is made of has a package zmq4")
			}
			command(append(append([]string{"build", "-o", "hello"}, how.tags...), ".")...)
			greet(t, dir)
		})
	}
}

// theProgram is the complete program of README.md.
func theProgram(t testing.TB) block {
	t.Helper()
	programs := blocks(t, "README.md", "go")
	i := slices.IndexFunc(programs, func(b block) bool { return strings.Contains(b.text, "func main()") })
	if i < 0 {
		t.Fatal("no complete program in README.md")
	}
	return programs[i]
}

// greet runs two servers of the program, which is dir's file hello, and checks that the first
// prints what README.md says.
func greet(t *testing.T, dir string) {
	t.Helper()
	said := regexp.MustCompile(`(?m)^server 1: .*$`).FindAllString(readDocument(t, "README.md"), -1)
	if len(said) == 0 {
		t.Fatal("README.md does not say what the program prints")
	}
	cfg, err := json.Marshal(testcluster.Config(t, "tcp", 3))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Config.json"), cfg, 0o600); err != nil {
		t.Fatal(err)
	}
	out := make(chan string, 2)
	for id := range 2 {
		p := exec.Command(filepath.Join(dir, "hello"), "-id", fmt.Sprint(id))
		p.Dir = dir
		var printed bytes.Buffer
		p.Stdout, p.Stderr = &printed, &printed
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		// Two of the program's seconds; then it is interrupted, as the README
		// has it, and prints its Stats. Where a process cannot be interrupted it
		// is killed.
		defer time.AfterFunc(testcluster.Limit, func() { p.Process.Kill() }).Stop()
		time.AfterFunc(2500*time.Millisecond, func() {
			if p.Process.Signal(os.Interrupt) != nil {
				p.Process.Kill()
			}
		})
		go func() { // It ends with the process, whose output is received below.
			if err := p.Wait(); err != nil {
				fmt.Fprintln(&printed, err)
			}
			if id == 0 {
				out <- printed.String()
			} else {
				out <- ""
			}
		}()
	}
	printed := <-out + <-out
	for _, line := range said {
		if !strings.Contains(printed, line+"\n") {
			t.Errorf("server 0 did not print %q, as README.md has it, but\n%s", line, printed)
		}
	}
	if !strings.Contains(printed, "server 0\n") || strings.Contains(printed, "exit status") {
		t.Errorf("server 0 did not end with its Stats, but\n%s", printed)
	}
}

func isTest(b block) bool { return strings.Contains(b.text, "\"testing\"\n") }

// nested are the modules below the root that programs in documents import, each with a
// directory that holds no Go.
var nested = map[string]string{"observe": "assets", "raft/hashicorp": "internal", "raft/etcd": "testdata"}

// overlay makes a package of the block, in this module or in the nested one that it imports, without
// writing into it, and returns the module's directory and the arguments by which the go command finds
// the package there.
func overlay(t testing.TB, b block) (module string, args []string) {
	t.Helper()
	if _, err := goparser.ParseFile(token.NewFileSet(), fmt.Sprint(b), b.text, 0); err != nil {
		t.Fatalf("Go in documents is whole files: %v", err)
	}
	dir := t.TempDir()
	name := "main.go"
	if isTest(b) {
		name = "sample_test.go"
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	module, pkg := ".", "docs" // the go command wants a directory that exists; this one holds no Go
	for dir, empty := range nested {
		if strings.Contains(b.text, strconv.Quote(goproxy.Path(dir))) {
			module, pkg = dir, empty
		}
	}
	files, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(here, module, pkg, name): filepath.Join(dir, name),
	}})
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, name), []byte(b.text), 0o600),
		os.WriteFile(filepath.Join(dir, "overlay.json"), files, 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	return module, []string{"-overlay", filepath.Join(dir, "overlay.json"), "./" + pkg}
}

func goCommand(t testing.TB, module, verb string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{verb}, args...)...)
	cmd.Dir = module
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

func TestConfigurationsOfTheReadmeLoad(t *testing.T) {
	found := blocks(t, "README.md", "json")
	if len(found) == 0 {
		t.Error("no JSON in README.md: this tests nothing")
	}
	for _, b := range found {
		t.Run(fmt.Sprint(b), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "Config.json")
			if err := os.WriteFile(path, []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := cluster.LoadConfig(path); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTheErrorsThatTheReadmeShowsAreThoseThatComeUp(t *testing.T) {
	const file = `{
  "cluster": "demo",
  "sendTimout": "1s",
  "peers": [
    { "id": 0, "adress": "127.0.0.1:8081" },
    { "id": 0, "address": "127.0.0.1" }
  ]
}`
	_, err := cluster.ParseConfig("Config.json", []byte(file))
	if err == nil {
		t.Fatal("no error")
	}
	if !strings.Contains(readDocument(t, "README.md"), "\n```text\n"+err.Error()+"\n```\n") {
		t.Errorf("README.md does not show these errors:\n%v", err)
	}
}

// fieldTable is the table of README.md with this heading: its rows by their
// first cell, as the cells of the columns by their names, without backquotes.
func fieldTable(t testing.TB, heading string) map[string]map[string]string {
	t.Helper()
	cells := func(line string) []string {
		var c []string
		for _, cell := range strings.Split(strings.Trim(line, "|"), "|") {
			c = append(c, strings.Trim(strings.TrimSpace(cell), "`"))
		}
		return c
	}
	_, rest, ok := strings.Cut(readDocument(t, "README.md"), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("README.md has no table headed %s", heading)
	}
	columns := cells(heading)
	rows := make(map[string]map[string]string)
	for i, line := range strings.Split(rest, "\n") {
		if i == 0 {
			continue // the rule below the heading
		}
		if !strings.HasPrefix(line, "|") {
			break
		}
		row := make(map[string]string)
		for i, cell := range cells(line) {
			row[columns[i]] = cell
		}
		rows[row["Field"]] = row
	}
	return rows
}

func TestTheFieldsInTheReadmeAreThoseOfTheCode(t *testing.T) {
	load := func(t *testing.T, top, entry string) (cluster.Config, error) {
		t.Helper()
		if entry == "" {
			entry = `"id": 0, "address": "mem://a"`
		}
		c, err := cluster.ParseConfig("Config.json", fmt.Appendf(nil, `{"peers": [{%s}]%s}`, entry, top))
		if err != nil {
			return c, err
		}
		return c.Prepared()
	}
	defaults, err := load(t, "", "")
	if err != nil {
		t.Fatal(err)
	}

	t.Run("top", func(t *testing.T) {
		rows := fieldTable(t, "| Field | Default | Smallest | Largest | Meaning |")
		checkNames(t, rows, configfile.TopFields)
		for name, row := range rows {
			if name == "peers" || strings.HasPrefix(name, "replica") {
				continue // what has no default, and what these need beside them
			}
			set := func(value string) (cluster.Config, error) {
				return load(t, fmt.Sprintf(`, %q: %s`, name, value), "")
			}
			got, err := set(row["Default"])
			if err != nil {
				t.Errorf("%s: the default: %v", name, err)
			} else if diff := cmp.Diff(defaults, got, cluster.SameConfig); diff != "" {
				t.Errorf("%s: %s is not the default: -want +got:\n%s", name, row["Default"], diff)
			}
			checkLimits(t, row, func(value int) error {
				_, err := set(strconv.Itoa(value))
				return err
			})
		}
	})
	t.Run("replicas", func(t *testing.T) {
		rows := fieldTable(t, "| Field | Default | Smallest | Largest | Meaning |")
		address := regexp.MustCompile("`([^`]*\\{id\\}[^`]+)`").FindStringSubmatch(rows["replicaAddress"]["Meaning"])[1]
		try := func(count int) error {
			_, err := cluster.ParseConfig("Config.json", fmt.Appendf(nil, `{"replicas": %d, "replicaAddress": %q, "replicaBind": %s}`, count, address, rows["replicaBind"]["Default"]))
			return err
		}
		if err := errors.Join(try(1), try(3)); err != nil {
			t.Error(err)
		}
		checkLimits(t, rows["replicas"], try)
	})
	t.Run("entry", func(t *testing.T) {
		rows := fieldTable(t, "| Field | Smallest | Largest | Meaning |")
		checkNames(t, rows, configfile.PeerFields)
		checkLimits(t, rows["id"], func(value int) error {
			_, err := load(t, "", fmt.Sprintf(`"id": %d, "address": "mem://a"`, value))
			return err
		})
		meaning := rows["address"]["Meaning"]
		for _, address := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(meaning, -1) {
			a := strings.NewReplacer("port", "8081", "v6", "::1").Replace(address[1])
			if err := (peercatalog.Peer{Address: a}).Validate(); err != nil {
				t.Errorf("address: %v", err)
			}
		}
	})
}

func checkNames(t *testing.T, rows map[string]map[string]string, want []string) {
	t.Helper()
	var got []string
	for name := range rows {
		got = append(got, name)
	}
	slices.Sort(got)
	if want := slices.Sorted(slices.Values(want)); !slices.Equal(got, want) {
		t.Errorf("the table has the fields %v, the code has %v", got, want)
	}
}

// checkLimits tries the smallest and the largest value of a field, and one
// beyond each. 0 stands for the default, so that it is always allowed.
func checkLimits(t *testing.T, row map[string]string, try func(value int) error) {
	t.Helper()
	for column, step := range map[string]int{"Smallest": -1, "Largest": 1} {
		if row[column] == "" {
			continue
		}
		value, err := strconv.Atoi(row[column])
		if err != nil {
			t.Errorf("%s: %s: %v", row["Field"], column, err)
			continue
		}
		if err := try(value); err != nil {
			t.Errorf("%s: %s: %v", row["Field"], column, err)
		}
		if beyond := value + step; beyond != 0 && try(beyond) == nil {
			t.Errorf("%s: %d is beyond the limits of the README, and is no error", row["Field"], beyond)
		}
	}
}
