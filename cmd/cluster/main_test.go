package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/freeport"
	"github.com/abhishekg16/cluster/internal/keyfile"
)

// program is the real program, which TestMain builds.
var program string

func TestMain(m *testing.M) {
	os.Unsetenv(keyfile.Variable)
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")) // a second for each call of the program
	// What this process ignores, as under nohup, the commands that it starts ignore, too. What it catches they do not.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	os.Exit(testMain(m))
}

// noNameServers makes whatever this process looks up fail at once.
var noNameServers atomic.Bool

func testMain(m *testing.M) int {
	// It stays the resolver of the process: a look-up that nobody waits for any more may go on when its test has ended.
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if noNameServers.Load() {
			return nil, errors.New("no name servers in this test")
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	dir, err := os.MkdirTemp("", "cluster")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "cluster")
	args := []string{"build", "-buildvcs=false", "-o", program}
	if raceEnabled {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, out)
		return 1
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines are left:", err)
			return 1
		}
	}
	return code
}

// limit is how long a test waits for what must happen.
const limit = time.Minute

// A result is what a call of the program has left.
type result struct {
	code     int
	out, err string
}

// call runs the program to its end, in the directory dir.
func call(t testing.TB, dir, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("cluster %s did not end within %v; it said:\n%s%s", strings.Join(args, " "), limit, &out, &errs)
	}
	if cmd.ProcessState == nil {
		t.Fatalf("cluster %s: %v", strings.Join(args, " "), err)
	}
	if strings.Contains(errs.String(), "goroutine ") {
		t.Errorf("cluster %s printed a stack trace:\n%s", strings.Join(args, " "), &errs)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// command runs another program, and returns what it prints.
func command(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).Output()
	return string(out), err
}

// want checks the exit code, and that these are in what was printed.
func (r result) want(t testing.TB, code int, parts ...string) result {
	t.Helper()
	if r.code != code {
		t.Errorf("the exit code is %d, want %d", r.code, code)
	}
	for _, p := range parts {
		if !strings.Contains(r.out+r.err, p) {
			t.Errorf("%q is not in what was printed", p)
		}
	}
	if t.Failed() {
		t.Fatalf("standard output:\n%s\nstandard error:\n%s", r.out, r.err)
	}
	return r
}

// A process is the program while it runs.
type process struct {
	*exec.Cmd
	in    io.Writer   // standard input, if running has started it
	lines chan string // of standard output
	said  []string    // what line and ended have read of them

	mu   sync.Mutex
	errs bytes.Buffer
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.errs.Write(b)
}

func (p *process) stderr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.errs.String()
}

// listening starts the command listen and waits until it does. It is ended with the
// test, if not before.
func listening(t testing.TB, dir string, args ...string) *process {
	t.Helper()
	p := running(t, dir, append([]string{"listen"}, args...)...)
	eventually(t, "the server listens", func() bool { return strings.Contains(p.stderr(), "listens") })
	return p
}

// running starts a command, which is ended with the test, if not before. Its standard input
// stays open.
func running(t testing.TB, dir string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(program, args...), lines: make(chan string, 1000)}
	p.Dir, p.Stderr = dir, p
	in, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in = in
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Process.Kill()
		for range p.lines {
		}
		p.Wait()
	})
	go func() { // It ends when the process has; the cleanup waits for it.
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	return p
}

// line is the next that the process prints.
func (p *process) line(t testing.TB) string {
	t.Helper()
	select {
	case l, ok := <-p.lines:
		if !ok {
			t.Fatalf("it has ended; it said:\n%s", p.stderr())
		}
		p.said = append(p.said, l)
		return l
	case <-time.After(limit):
		t.Fatalf("it printed nothing within %v; it said:\n%s", limit, p.stderr())
	}
	panic("not reached")
}

// ended waits for the end of the process and returns its exit code, which is -1 if a
// signal has ended it.
func (p *process) ended(t testing.TB) int {
	t.Helper()
	timeout := time.After(limit)
	for {
		select {
		case l, ok := <-p.lines:
			if !ok {
				p.Wait()
				return p.ProcessState.ExitCode()
			}
			p.said = append(p.said, l)
		case <-timeout:
			t.Fatalf("it did not end within %v; it said:\n%s", limit, p.stderr())
		}
	}
}

// eventually waits until cond holds; what says what was missing otherwise.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// addresses returns n addresses on 127.0.0.1 that nobody uses.
func addresses(t testing.TB, n int) (all []string) {
	t.Helper()
	for range n {
		l, err := freeport.Listen()
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		all = append(all, l.Addr().String())
	}
	return all
}

// write writes a file into the directory and returns its path.
func write(t testing.TB, dir, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return path
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// configured makes a directory with a Config.json of n servers, and returns it and
// their addresses.
func configured(t testing.TB, n int) (dir string, at []string) {
	t.Helper()
	dir, at = t.TempDir(), addresses(t, n)
	var entries []string
	for i, a := range at {
		entries = append(entries, fmt.Sprintf(`    { "id": %d, "address": %q }`, i, a))
	}
	write(t, dir, "Config.json", "{\n  \"cluster\": \"test\",\n  \"peers\": [\n"+strings.Join(entries, ",\n")+"\n  ]\n}\n", 0o644)
	return dir, at
}

// keyed is configured, with keys.
func keyed(t testing.TB, n int) (dir string, at []string) {
	t.Helper()
	dir, at = configured(t, n)
	call(t, dir, "", "keygen", "Config.json").want(t, 0)
	return dir, at
}

// load loads the directory's Config.json.
func load(t testing.TB, dir string) cluster.Config {
	t.Helper()
	cfg, err := cluster.LoadConfig(filepath.Join(dir, "Config.json"))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// node runs a server of the directory's configuration until the test ends.
func node(t testing.TB, dir string, id int) *cluster.Node {
	t.Helper()
	n, err := cluster.NewFromConfig(id, load(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// files lists what is in a directory.
func files(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}
