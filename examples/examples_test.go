// Package examples_test builds the programs of this folder and watches them run, as their users would.
package examples_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/peercatalog"
)

func TestClient2PrintsWhatClient1Broadcasts(t *testing.T) {
	t.Parallel()
	// The clients find Config.json two folders above the one they run in.
	top := t.TempDir()
	dir := filepath.Join(top, "examples", "client")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	client1, client2 := built(t, "client1"), built(t, "client2")
	writeConfig(t, filepath.Join(top, "Config.json"))

	listener := start(t, dir, client2, "-id", "1", "-wait", "1500ms")
	sender := start(t, dir, client1, "-id", "0")
	for i := range 9 {
		listener.expect(t, fmt.Sprintf("message %d of 9", i+1), "Received msg from 0: 'hello there'")
	}
	if code := sender.wait(t); code != 0 {
		t.Errorf("client1 ended with exit code %d, want 0; it said:\n%s", code, sender.stderr.String())
	}
	// It says that it waited, and goes on.
	for range 2 {
		listener.expect(t, "the word that it waited", "Waited 1.5 seconds, and no message came")
	}
	if err := listener.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := listener.wait(t); code != 0 {
		t.Errorf("client2 ended with exit code %d after an interrupt, want 0; it said:\n%s", code, listener.stderr.String())
	}
}

func TestClientsRefuseBadArguments(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "mine.json")
	writeConfig(t, config)
	for _, client := range []string{"client1", "client2"} {
		program := built(t, client)
		for _, tt := range []struct {
			name   string
			args   []string
			stdout string
			stderr string
		}{
			{"no id", nil, "Invalid Arguments", "-id"},
			{"negative id", []string{"-id", "-3"}, "Invalid Arguments", "-id"},
			{"id not in the file", []string{"-id", "77", "-config", config}, "", "77"},
			{"no such file", []string{"-id", "0", "-config", config + ".missing"}, "", "mine.json.missing"},
		} {
			t.Run(client+"/"+tt.name, func(t *testing.T) {
				p := start(t, t.TempDir(), program, tt.args...)
				if tt.stdout != "" {
					p.expect(t, "the complaint", tt.stdout)
				}
				if code := p.wait(t); code <= 0 {
					t.Errorf("exit code %d, want a positive one", code)
				}
				if !strings.Contains(p.stderr.String(), tt.stderr) {
					t.Errorf("standard error %q does not mention %q", p.stderr.String(), tt.stderr)
				}
			})
		}
	}
}

func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("takes five seconds")
	}
	t.Parallel()
	program := built(t, "demo")
	config := filepath.Join(t.TempDir(), "Config.json")
	writeConfig(t, config)

	t.Run("runs to its end", func(t *testing.T) {
		began := time.Now()
		p := start(t, t.TempDir(), program, "-config", config)
		p.expect(t, "the end of the story", "All as expected:")
		if code := p.wait(t); code != 0 || time.Since(began) > time.Minute {
			t.Errorf("exit code %d after %v, want 0 within 30 s; it said:\n%s%s", code, time.Since(began), p.stdout.String(), p.stderr.String())
		}
	})
	t.Run("takes other ports when one is busy", func(t *testing.T) {
		cfg, err := cluster.LoadConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", cfg.Peers[2].Address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		p := start(t, t.TempDir(), program, "-config", config)
		p.expect(t, "the word that the file cannot be used", "server 2 cannot have its port")
		p.expect(t, "the servers of the other file", "server 0 │ up")
		// An interrupt ends it, and the servers with it: their ends of the pipe that p.wait reads are closed.
		if err := p.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if code := p.wait(t); code != 1 || !strings.Contains(p.stderr.String(), "interrupt") {
			t.Errorf("exit code %d after an interrupt, want 1; it said:\n%s", code, p.stderr.String())
		}
	})
}

// Servers elect a leader, another when that one's process is killed, and take it in again when it comes back.
func TestElection(t *testing.T) {
	t.Parallel()
	path := built(t, "election")
	dir := t.TempDir()
	config := filepath.Join(dir, "Config.json")
	writeConfig(t, config)
	begin := func(id int) *program { return start(t, dir, path, "-config", config, "-id", strconv.Itoa(id)) }
	servers := []*program{begin(0), begin(1), begin(2)}

	type verdict struct{ term, leader int }
	// agree waits until all of them have said who leads in the same term.
	agree := func(what string, ids ...int) verdict {
		t.Helper()
		said := make(map[int]verdict)
		earlier := func(a, b int) int { return said[a].term - said[b].term }
		for {
			behind, ahead := slices.MinFunc(ids, earlier), slices.MaxFunc(ids, earlier)
			if said[behind].term == said[ahead].term && said[behind].term > 0 {
				for _, id := range ids {
					if said[id] != said[behind] {
						t.Fatalf("%s: server %d says %+v, server %d %+v", what, behind, said[behind], id, said[id])
					}
				}
				return said[behind]
			}
			var v verdict
			line := servers[behind].expect(t, what, " leads")
			if _, err := fmt.Sscanf(line, "term %d: server %d leads", &v.term, &v.leader); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			said[behind] = v
		}
	}
	before := agree("the first leader", 0, 1, 2)
	first := before.leader

	if err := servers[first].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	servers[first].wait(t)
	after := agree("another leader", (first+1)%3, (first+2)%3)
	if after.term <= before.term || after.leader == first {
		t.Errorf("first %+v; after it was killed %+v", before, after)
	}

	servers[first] = begin(first)
	servers[first].expect(t, "the leader of the others", " leads")
	for _, p := range servers {
		if err := p.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
	}
	for id, p := range servers {
		if code := p.wait(t); code != 0 {
			t.Errorf("server %d ended with exit code %d after an interrupt; it said:\n%s", id, code, p.stderr.String())
		}
	}
}

// The programs of the specification, of which only the import line may differ, compile and pass vet.
func TestSpecifiedProgramsCompile(t *testing.T) {
	t.Parallel()
	dirs := []string{"./testdata/spec/client1", "./testdata/spec/client2"}
	if err := compile(t.TempDir(), dirs...); err != nil {
		t.Error(err)
	}
	vet := exec.Command("go", append([]string{"vet", "-composites=false"}, dirs...)...)
	if out, err := vet.CombinedOutput(); err != nil {
		t.Errorf("%v: %v\n%s", vet, err, out)
	}
}

// programs is where the programs are, once built has compiled them.
var (
	programs string
	compiled sync.Once
	failed   error
)

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(programs)
	os.Exit(code)
}

// built returns the path of a compiled program of this folder.
func built(t *testing.T, name string) string {
	t.Helper()
	compiled.Do(func() {
		if programs, failed = os.MkdirTemp("", "cluster-examples-"); failed == nil {
			failed = compile(programs, "./client1", "./client2", "./demo", "./election")
		}
	})
	if failed != nil {
		t.Fatal(failed)
	}
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(programs, name)
}

// compile puts the programs in dirs, compiled, into out. It reads their sources, so that `go test` forgets a cached
// result when they change.
func compile(out string, dirs ...string) error {
	for _, dir := range dirs {
		sources, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(sources) == 0 {
			return fmt.Errorf("no sources in %s: %v", dir, err)
		}
		for _, s := range sources {
			if _, err := os.ReadFile(s); err != nil {
				return err
			}
		}
	}
	build := exec.Command("go", append([]string{"build", "-buildvcs=false", "-o", out + string(filepath.Separator)}, dirs...)...)
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", build, err, text)
	}
	return nil
}

// writeConfig writes a configuration of three servers, on ports that no other test takes before its server does.
func writeConfig(t *testing.T, path string) {
	t.Helper()
	cfg := cluster.Config{Cluster: "examples", SendTimeout: 3 * time.Second}
	for id, address := range testcluster.LowAddresses(t, 3) {
		cfg.Peers = append(cfg.Peers, peercatalog.Peer{ID: id, Address: address})
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A program that runs.
type program struct {
	*exec.Cmd
	lines  chan string  // of its standard output; closed at its end
	stdout bytes.Buffer // those that expect and wait have read
	stderr bytes.Buffer
}

// start runs a program in dir; the end of the test kills it, by its own process and no other.
func start(t *testing.T, dir, path string, args ...string) *program {
	t.Helper()
	p := &program{Cmd: exec.Command(path, args...), lines: make(chan string, 10000)}
	p.Dir = dir
	p.launch(t)
	return p
}

// launch starts a program that is told all it needs.
func (p *program) launch(t *testing.T) {
	t.Helper()
	p.Stderr, p.WaitDelay = &p.stderr, 5*time.Second
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the program's output; wait and the cleanup wait for it
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		if p.ProcessState == nil {
			p.Process.Kill()
			for range p.lines {
			}
			p.Wait()
		}
	})
}

// expect reads the program's output until a line contains want, and returns that line.
func (p *program) expect(t *testing.T, what, want string) string {
	t.Helper()
	for deadline := time.After(time.Minute); ; {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.Wait()
				t.Fatalf("%s ended without %s (%q); it said:\n%s%s", p.Path, what, want, p.stdout.String(), p.stderr.String())
			}
			fmt.Fprintln(&p.stdout, line)
			if strings.Contains(line, want) {
				return line
			}
		case <-deadline:
			t.Fatalf("30 s without %s (%q) from %s; it said:\n%s", what, want, p.Path, p.stdout.String())
		}
	}
}

// wait returns the exit code of a program that is about to end.
func (p *program) wait(t *testing.T) int {
	t.Helper()
	for deadline := time.After(time.Minute); ; {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.Wait()
				return p.ProcessState.ExitCode()
			}
			fmt.Fprintln(&p.stdout, line)
		case <-deadline:
			t.Fatalf("%s still runs after 30 s; it said:\n%s", p.Path, p.stdout.String())
		}
	}
}
