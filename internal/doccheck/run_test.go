//go:build unix

package doccheck

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/freeport"
)

// limit bounds how long one command of a document may take.
const limit = 2 * time.Minute

// A sandbox is where the commands of one document run: blocks marked sh in a copy of the repository, sessions (blocks
// marked console) in a directory with a copy of Config.json, whose ports are free ones. The command cluster is there.
type sandbox struct {
	repository, session string
	env                 []string
	ports               *strings.Replacer // back to those of the document
}

var port = regexp.MustCompile(`127\.0\.0\.1:\d+`)

func newSandbox(t *testing.T, bin string) *sandbox {
	t.Helper()
	s := &sandbox{repository: t.TempDir(), session: t.TempDir()}
	s.env = append(os.Environ(), "GOBIN="+bin, "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "GOFLAGS=-buildvcs=false -trimpath", "GOWORK=")
	walk(t, func(path string) {
		to := filepath.Join(s.repository, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(read(t, path)), 0o755); err != nil {
			t.Fatal(err)
		}
	})
	var back []string
	config := port.ReplaceAllStringFunc(read(t, "Config.json"), func(address string) string {
		free := freeAddress(t)
		back = append(back, free, address)
		return free
	})
	s.ports = strings.NewReplacer(back...)
	if err := os.WriteFile(filepath.Join(s.session, "Config.json"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := freeport.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// command is a line for a shell, in a process group of its own, which ends with the test at the latest.
func (s *sandbox) command(t *testing.T, dir, line string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", line)
	c.Dir, c.Env, c.WaitDelay = dir, s.env, 5*time.Second
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	return c
}

// missing names a program that the commands need and that is not here.
func (s *sandbox) missing(lines []string) string {
	for _, line := range lines {
		name, _, _ := strings.Cut(strings.TrimLeft(line, "( "), " ")
		c := exec.Command("bash", "-c", `type "$1" >/dev/null 2>&1`, "-", name)
		c.Env = s.env
		if c.Run() != nil {
			return name
		}
	}
	return ""
}

func TestCommandsOfDocumentsDoWhatTheySay(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("there is no bash to run commands with")
	}
	bin := t.TempDir()
	// With -trimpath, what is built from the copies is in Go's cache when they are built next.
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-trimpath", "-o", filepath.Join(bin, "cluster"), ".")
	build.Dir, build.Env = filepath.Join(root, "cmd", "cluster"), append(os.Environ(), "GOWORK=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	count := 0
	for _, d := range documents(t) {
		found, _ := d.blocks(t)
		found = slices.DeleteFunc(found, func(b block) bool { return b.lang != "sh" && b.lang != "console" })
		if len(found) == 0 {
			continue
		}
		t.Run(d.path, func(t *testing.T) {
			s := newSandbox(t, bin)
			for _, b := range found {
				count++
				t.Run(fmt.Sprint(b.line), func(t *testing.T) { s.run(t, b) })
			}
		})
	}
	if count < 10 {
		t.Errorf("found only %d blocks of commands: this tests little", count)
	}
}

// run does what a block says, with what its directive says of it.
func (s *sandbox) run(t *testing.T, b block) {
	verb, argument, _ := strings.Cut(b.directive, ": ")
	switch verb {
	case "not run":
		t.Skip(b.directive)
	case "before":
		if out, err := s.command(t, s.session, argument).CombinedOutput(); err != nil {
			t.Fatalf("before it, %s: %v\n%s", argument, err, out)
		}
	case "beside":
		s.beside(t, argument)
	case "":
	default:
		t.Fatalf("%q is no directive", b.directive)
	}
	if b.lang == "console" {
		s.converse(t, b)
		return
	}
	var lines []string
	for line := range strings.Lines(b.text) {
		if strings.HasPrefix(line, "make ") {
			t.Logf("not started, but the target is there: %s", strings.TrimSpace(line))
		} else {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		t.Skip("targets of the Makefile alone")
	}
	if name := s.missing(lines); name != "" {
		t.Skipf("it needs %s, which is not here", name)
	}
	if out, err := s.command(t, s.repository, strings.Join(lines, "")).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", b.text, err, out)
	}
}

// beside starts a command that runs until the block's end, and waits for the first line that it prints.
func (s *sandbox) beside(t *testing.T, line string) {
	t.Helper()
	c := s.command(t, s.session, line)
	lines := output(t, c)
	t.Cleanup(func() {
		syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		for range lines {
		}
		c.Wait()
	})
	if first, ok := <-lines; !ok {
		t.Fatalf("beside it, %s: it ended without a word", line)
	} else {
		t.Logf("beside it, %s: %s", line, first)
	}
}

// output starts a command and returns the lines that it prints on both of its outputs. The channel is closed at its end.
func output(t *testing.T, c *exec.Cmd) <-chan string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout, c.Stderr = w, w
	err = c.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1000)
	go func() { // ends when the last process that has the other end does; who called reads to the end
		defer close(lines)
		defer r.Close()
		for in := bufio.NewReader(r); ; {
			line, err := in.ReadString('\n')
			if line != "" {
				lines <- strings.TrimSuffix(line, "\n")
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					lines <- err.Error()
				}
				return
			}
		}
	}()
	return lines
}

// converse runs what follows each "$ " of a session, and compares what it prints. One that goes on when it has printed
// all that the session shows is interrupted.
func (s *sandbox) converse(t *testing.T, b block) {
	parts := regexp.MustCompile(`(?m)^\$ `).Split(b.text, -1)
	if strings.TrimSpace(parts[0]) != "" {
		t.Fatalf("a session begins with a command, not with %q", parts[0])
	}
	for _, part := range parts[1:] {
		line, want, _ := strings.Cut(part, "\n")
		if name := s.missing([]string{line}); name != "" {
			t.Skipf("it needs %s, which is not here", name)
		}
		c := s.command(t, s.session, line)
		printed := ""
		for l := range output(t, c) {
			printed += l + "\n"
			if normal(s.ports.Replace(printed)) == normal(want) {
				syscall.Kill(-c.Process.Pid, syscall.SIGINT)
			}
		}
		c.Wait() // a session may show how a command fails
		if got, want := normal(s.ports.Replace(printed)), normal(want); got != want {
			t.Errorf("%s printed\n%s\nwhere the document has\n%s", line, got, want)
		}
	}
}

var (
	duration  = regexp.MustCompile(`\b\d+(\.\d+)?(ns|µs|ms|s)\b`)
	messageID = regexp.MustCompile(`\b\d{12,}\b`)
	key       = regexp.MustCompile(`"[0-9A-Za-z.:+=^!/*?&<>()\[\]{}@%$#-]{40}"`)
	spaces    = regexp.MustCompile(` +`)
)

// normal is a text without what differs from run to run: durations, message ids, keys, and how wide columns are.
func normal(text string) string {
	text = duration.ReplaceAllString(text, "DURATION")
	text = messageID.ReplaceAllString(text, "MESSAGE-ID")
	text = key.ReplaceAllString(text, "KEY")
	text = spaces.ReplaceAllString(text, " ")
	return strings.TrimSpace(text)
}
