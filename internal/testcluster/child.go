//go:build unix

package testcluster

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
)

// The rest of what a child is told through its environment; see childRole.
const (
	childConfig = "CLUSTER_TEST_CONFIG" // path of the configuration
	childPids   = "CLUSTER_TEST_PIDS"   // servers to play, separated by commas
)

// A Child is this test binary in a process of its own, where it plays one server
// or several. It starts none of them before Start is called. It is killed when
// the test ends.
type Child struct {
	T       testing.TB // of the test, or of the part of it that is under way
	Name    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	replies chan string
	exited  chan struct{} // closed when the process has ended and all it wrote is read

	mu   sync.Mutex // guards what follows
	logs []string   // what it wrote to stderr
}

// Spawn starts a child that plays the servers pids of the configuration.
func Spawn(t testing.TB, cfg cluster.Config, pids ...int) *Child {
	t.Helper()
	return SpawnRole(t, "servers", cfg, pids...)
}

// SpawnRole starts a child that plays another role.
func SpawnRole(t testing.TB, role string, cfg cluster.Config, pids ...int) *Child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &Child{
		T:       t,
		Name:    "child " + listed(pids),
		cmd:     exec.Command(exe),
		replies: make(chan string, 1),
		exited:  make(chan struct{}),
	}
	if len(pids) > 3 {
		c.Name = fmt.Sprintf("child %d-%d", pids[0], pids[len(pids)-1])
	}
	c.cmd.Env = append(os.Environ(), childRole+"="+role, childConfig+"="+WriteConfig(t, cfg), childPids+"="+listed(pids))
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	logs, err := c.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	readers.Go(func() { // It ends with the process, whose end of the pipe closes then.
		defer close(c.replies)
		for s := longLines(out); s.Scan(); {
			c.replies <- s.Text()
		}
	})
	readers.Go(func() { c.forward(t, logs) }) // likewise
	go func() {                               // kill waits for exited.
		readers.Wait()
		c.cmd.Wait()
		close(c.exited)
	}()
	t.Cleanup(c.Kill)
	c.Do("hello", nil)
	return c
}

// listed writes numbers with commas in between.
func listed(ns []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(ns), "[]"), " ", ",")
}

func longLines(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 64<<20)
	return s
}

// forward passes what the child writes to stderr on to the test's log.
func (c *Child) forward(t testing.TB, stderr io.Reader) {
	for s := longLines(stderr); s.Scan(); {
		line := s.Text()
		c.mu.Lock()
		c.logs = append(c.logs, line)
		c.mu.Unlock()
		t.Logf("%s: %s", c.Name, line)
		for _, bad := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: ", "Assertion failed"} {
			if strings.Contains(line, bad) {
				t.Errorf("%s: %s", c.Name, line)
			}
		}
	}
}

// Logged is in how many lines that the child has written to stderr so far a text is.
func (c *Child) Logged(text string) (count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, line := range c.logs {
		if strings.Contains(line, text) {
			count++
		}
	}
	return count
}

// Do gives the child a command and waits for its reply, which reply is decoded
// from unless it is nil.
func (c *Child) Do(command string, reply any) {
	c.T.Helper()
	if _, err := io.WriteString(c.in, command+"\n"); err != nil {
		c.T.Fatalf("%s: %s: %v", c.Name, command, err)
	}
	select {
	case line, ok := <-c.replies:
		switch {
		case !ok:
			<-c.exited
			c.T.Fatalf("%s ended at %q: %v", c.Name, command, c.cmd.ProcessState)
		case strings.HasPrefix(line, "error: "):
			c.T.Fatalf("%s: %s: %s", c.Name, command, line)
		case reply == nil:
			return
		}
		if err := json.Unmarshal([]byte(line), reply); err != nil {
			c.T.Fatalf("%s: %s: reply %.200q: %v", c.Name, command, line, err)
		}
	case <-time.After(Limit):
		c.T.Fatalf("%s did not reply to %q in %v", c.Name, command, Limit)
	}
}

// Start starts the child's servers.
func (c *Child) Start() *Child {
	c.T.Helper()
	c.Do("start", nil)
	return c
}

// Send makes each server of the child send count messages of size bytes to each
// server of to, or messages without end until it is told to halt if count is 0, with a pause
// after each round. It does not wait for that.
func (c *Child) Send(to []int, count, size int, pause time.Duration) {
	c.T.Helper()
	c.Do(fmt.Sprintf("send %s %d %d %v", listed(to), count, size, pause), nil)
}

// Pace makes each server of the child pause after each message that it takes.
func (c *Child) Pace(pause time.Duration) {
	c.T.Helper()
	c.Do("pace "+pause.String(), nil)
}

// Report asks what the child's only, or first, server has done.
func (c *Child) Report() Report {
	c.T.Helper()
	return c.Reports()[0]
}

// Reports asks what each of the child's servers has done.
func (c *Child) Reports() []Report {
	c.T.Helper()
	var r []Report
	c.Do("report", &r)
	return r
}

// Until asks for the report of the child's first server until cond holds; what
// says what was missing otherwise.
func (c *Child) Until(what string, cond func(r *Report) bool) Report {
	c.T.Helper()
	for deadline := time.Now().Add(Limit); ; time.Sleep(10 * time.Millisecond) {
		r := c.Report()
		if cond(&r) {
			return r
		}
		if time.Now().After(deadline) {
			line, _ := json.Marshal(r)
			c.T.Fatalf("%s: not within %v: %s; it reports %.4000s", c.Name, Limit, what, line)
		}
	}
}

// Usage asks what the child's process uses.
func (c *Child) Usage() Usage {
	c.T.Helper()
	var u Usage
	c.Do("usage", &u)
	return u
}

// Leave makes the child, once it has put all that it was told to send into its
// Outbox, call Shutdown and then os.Exit(0), and waits for that.
func (c *Child) Leave() {
	c.T.Helper()
	if _, err := io.WriteString(c.in, "leave\n"); err != nil {
		c.T.Fatalf("%s: leave: %v", c.Name, err)
	}
	select {
	case <-c.exited:
	case <-time.After(2 * Limit):
		c.T.Fatalf("%s has not exited %v after it was told to shut down", c.Name, 2*Limit)
	}
	if code := c.cmd.ProcessState.ExitCode(); code != 0 {
		c.T.Fatalf("%s: Shutdown and exit: %v", c.Name, c.cmd.ProcessState)
	}
}

// Close makes the child close its servers, and checks that nothing is left open.
func (c *Child) Close() {
	c.T.Helper()
	var faults []string
	c.Do("close", &faults)
	for _, f := range faults {
		c.T.Errorf("%s: %s", c.Name, f)
	}
}

// Signal sends the child a signal.
func (c *Child) Signal(s syscall.Signal) {
	c.T.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.T.Fatalf("%s: %v: %v", c.Name, s, err)
	}
}

// Kill ends the child with SIGKILL, which works on stopped ones too.
func (c *Child) Kill() {
	c.cmd.Process.Kill() // an error means that it has ended
	select {
	case <-c.exited:
	case <-time.After(Limit):
		c.T.Errorf("%s has not ended %v after SIGKILL", c.Name, Limit)
	}
	c.in.Close()
}
