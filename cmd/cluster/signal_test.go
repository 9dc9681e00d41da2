//go:build unix

package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
)

// Whatever a command waits for, the first signal ends it, with the exit code that the help
// says.
func TestTheFirstSignalEndsEachCommand(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		args []string
		// ready waits until the command waits for what it is to be ended in.
		ready func(t *testing.T, p *process, dir string)
		code  int // 0: that of the signal
		says  string
	}{
		{"send waits for a line", []string{"send", "Config.json", "-id", "0", "--to", "1", "-"}, func(t *testing.T, p *process, dir string) {
			io.WriteString(p.in, "first\n")
			eventually(t, "the first line arrives", func() bool { return strings.Contains(read(t, filepath.Join(dir, "listened")), "first") })
		}, 0, "server 1: 1 message written"},
		{"send waits for a server", []string{"send", "slow.json", "-id", "0", "--to", "2", "hello"}, func(t *testing.T, p *process, dir string) {
			eventually(t, "server 0 listens", func() bool {
				c, err := net.Dial("tcp", load(t, dir).Peers[0].Address)
				if err == nil {
					c.Close()
				}
				return err == nil
			})
		}, 0, "server 2: 1 message dropped: "}, // closed, or timed out where it ends before it is sent
		{"listen", []string{"listen", "Config.json", "-id", "2"}, waitsFor("listens"), -1, ""},
		{"run", []string{"run", "Config.json", "-id", "2"}, waitsFor("runs"), -1, ""},
		{"top waits for an answer", []string{"top", "silent.json", "--once", "--wait", "1h"}, func(t *testing.T, p *process, dir string) {
			eventually(t, "top connects", func() bool { return read(t, filepath.Join(dir, "connected")) != "" })
		}, 0, "ended by "},
		{"listen for more messages", []string{"listen", "Config.json", "-id", "2", "--count", "3"}, waitsFor("listens"), 0, "0 of 3 messages came: ended by "},
		{"ping between questions", []string{"ping", "Config.json", "-id", "0", "--to", "1", "-n", "9", "--interval", "1h"}, func(t *testing.T, p *process, _ string) {
			for !strings.Contains(p.line(t), "1: answered") {
			}
		}, 0, "was asked 1 of 9 times: ended by "},
		{"ping waits for a connection", []string{"ping", "Config.json", "-id", "0", "--to", "2", "--wait", "1h", "--deadline", "1h"}, asks, 0, ": ended by "}, // before or after it has asked for the first time
		{"check waits for an answer", []string{"check", "silent.json", "--wait", "1h"}, func(t *testing.T, p *process, dir string) {
			eventually(t, "check connects", func() bool { return read(t, filepath.Join(dir, "connected")) != "" })
		}, 0, "ended by "},
		{"check opens a pipe", []string{"check", "pipe"}, opensPipe, 0, "ended by "},
		{"keygen opens a pipe", []string{"keygen", "pipe"}, opensPipe, 0, "ended by "},
		{"listen opens a pipe", []string{"listen", "pipe", "-id", "0"}, opensPipe, 0, "ended by "},
	} {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
			if c.name == "run" && sig == syscall.SIGHUP {
				continue // it reads its configuration again
			}
			t.Run(fmt.Sprint(c.name, "/", sig), func(t *testing.T) {
				t.Parallel()
				dir := surroundings(t)
				p := running(t, dir, c.args...)
				c.ready(t, p, dir)
				if err := p.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				want := 128 + int(sig)
				if c.code < 0 {
					want = exitOK // it goes on until then
				}
				if code := p.ended(t); code != want {
					t.Errorf("it ended with %d, want %d", code, want)
				}
				said := p.stderr() + strings.Join(p.said, "\n")
				if !strings.Contains(said, c.says) || strings.Contains(said, "context") {
					t.Errorf("it said %q, want %q in it and none of Go's words", said, c.says)
				}
			})
		}
	}
}

// surroundings is a directory with what the commands of the test need: server 1 runs and
// writes what it gets to the file listened, a program that says nothing writes to the file
// connected when somebody connects, and pipe is one that nobody writes to.
func surroundings(t *testing.T) string {
	t.Helper()
	dir, _ := configured(t, 3)
	text := read(t, filepath.Join(dir, "Config.json"))
	write(t, dir, "slow.json", strings.Replace(text, "{", `{"sendTimeout": "1h",`, 1), 0o644)
	write(t, dir, "listened", "", 0o644)
	write(t, dir, "connected", "", 0o644)
	n := node(t, dir, 1)
	done := make(chan struct{})
	go func() { // Closing the node ends it; the cleanup waits for it.
		defer close(done)
		for e := range n.Inbox() {
			os.WriteFile(filepath.Join(dir, "listened"), fmt.Append(nil, e.Msg), 0o644)
		}
	}()
	silent := addresses(t, 1)[0]
	write(t, dir, "silent.json", fmt.Sprintf(`{"peers":[{"id":0,"address":%q,"http":%[1]q}]}`, silent), 0o644)
	serveEach(t, silent, func(io.ReadWriteCloser) {
		os.WriteFile(filepath.Join(dir, "connected"), []byte("yes"), 0o644)
	})
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.Close()
		<-done
	})
	return dir
}

// waitsFor waits until the command says that.
func waitsFor(text string) func(*testing.T, *process, string) {
	return func(t *testing.T, p *process, _ string) {
		eventually(t, "it says "+text, func() bool { return strings.Contains(p.stderr(), text) })
	}
}

func asks(t *testing.T, p *process, _ string) {
	for !strings.Contains(p.line(t), "asking at ") {
	}
}

// opensPipe waits until the process sleeps in the system call that opens a file for which
// there is no writer.
func opensPipe(t *testing.T, p *process, dir string) {
	status, err := os.ReadFile("/proc/self/wchan")
	if err != nil || len(status) == 0 {
		t.Skip("this machine does not say what a process waits for")
	}
	threads := fmt.Sprintf("/proc/%d/task", p.Process.Pid)
	eventually(t, "it opens the pipe", func() bool {
		all, _ := os.ReadDir(threads)
		for _, thread := range all {
			where, _ := os.ReadFile(filepath.Join(threads, thread.Name(), "wchan"))
			if strings.Contains(string(where), "fifo") || strings.Contains(string(where), "wait_for_partner") {
				return true
			}
		}
		return false
	})
}

// With nohup the end of the terminal ends nothing.
func TestWithNohupACommandGoesOnAfterSIGHUP(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 2)
	c := exec.CommandContext(t.Context(), "sh", "-c", `trap "" HUP; exec "$0" listen Config.json -id 1 --count 3`, program)
	c.Dir = dir
	errs, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len("server 1 listens\n"))
	if _, err := io.ReadFull(errs, line); err != nil {
		t.Fatal(err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM} {
		if err := c.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	said, _ := io.ReadAll(errs)
	if c.Wait(); c.ProcessState.ExitCode() != 143 || !strings.Contains(string(said), "ended by SIGTERM") {
		t.Errorf("it ended with %v and said %q, want 143, by SIGTERM", c.ProcessState, said)
	}
}

// What comes after the first signal does not wait for anything.
func TestALaterSignalEndsTheProgramAtOnce(t *testing.T) {
	t.Parallel()
	dir := surroundings(t)
	p := running(t, dir, "check", "pipe")
	opensPipe(t, p, dir)
	eventually(t, "it ends", func() bool {
		p.Process.Signal(syscall.SIGTERM) // the process is not waited for, so it is there
		select {
		case _, more := <-p.lines:
			return !more
		default:
			return false
		}
	})
	if code := p.ended(t); code != -1 {
		t.Errorf("it ended with %d, want that a signal has ended it", code)
	}
}

func TestTimeoutsEndInPlainWords(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 3)
	text := read(t, filepath.Join(dir, "Config.json"))
	write(t, dir, "slow.json", strings.Replace(text, "{", `{"sendTimeout": "1h",`, 1), 0o644)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"send", "slow.json", "-id", "0", "--to", "2", "--timeout", "100ms", "hello"}, "not done within 100ms (--timeout)"},
		{[]string{"listen", "Config.json", "-id", "0", "--timeout", "50ms", "--count", "2"}, "0 of 2 messages came: not done within 50ms (--timeout)"},
		{[]string{"ping", "Config.json", "-id", "1", "--to", "2", "--deadline", "2s"}, "server 2 does not answer: not done within 2s (--deadline)"},
	} {
		got := call(t, dir, "", c.args...).want(t, exitFailed, c.want)
		if strings.Contains(got.out+got.err, "context") || strings.Contains(got.out+got.err, "deadline exceeded") {
			t.Errorf("cluster %s ends in Go's words:\n%s", strings.Join(c.args, " "), got.err)
		}
	}
}

// A pipe that nobody reads any more ends a command as it ends any program of the system.
func TestAPipeThatIsClosedEarlyEndsACommandQuietly(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 3)
	for _, command := range []string{
		"cluster check Config.json | head -n 1",
		"cluster --help | head -n 1",
		"cluster keygen Config.json | head -n 1; cluster check Config.json > checked",
	} {
		sh := exec.CommandContext(t.Context(), "sh", "-c", command)
		sh.Dir = dir
		sh.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
		var errs strings.Builder
		sh.Stderr = &errs
		out, err := sh.Output()
		if err != nil || errs.Len() > 0 || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%s: %v\n%s%s", command, err, out, &errs)
		}
	}
}

// What a server has taken beyond the messages that were to be printed is told. All of them wait for it to begin: the first
// message was taken out of the queue already, and comes in a frame of its own, and the others come together, so that one frame brings
// what is printed and what is not.
func TestListenSaysWhatItHasTakenAndNotPrinted(t *testing.T) {
	t.Parallel()
	dir, _ := configured(t, 2)
	cfg := load(t, dir)
	cfg.SendTimeout = time.Minute
	n, err := cluster.NewFromConfig(0, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	const sent = 1000
	for i := range sent {
		n.Outbox() <- &cluster.Envelope{Pid: 1, Msg: i}
		if i == 0 || i == sent-1 {
			eventually(t, "they are queued", func() bool { return n.Stats().Peers[0].Sent.Queued == uint64(i+1) })
		}
	}
	l := listening(t, dir, "Config.json", "-id", "1", "--count", "2")
	if code := l.ended(t); code != 0 || len(l.said) != 2 {
		t.Errorf("it ended with %d and printed %q, want 0 and 2 messages", code, l.said)
	}
	var told uint64
	for line := range strings.Lines(l.stderr()) {
		fmt.Sscanf(line, "%d messages more had arrived here", &told)
	}
	if written := n.Stats().Peers[0].Sent.Sent; told == 0 || told > written-2 {
		t.Errorf("it says that %d more had arrived, and %d were written:\n%s", told, written, l.stderr())
	}
}

func TestAMessageBeyondTheCountIsNotPrintedButCounted(t *testing.T) {
	var out, errs strings.Builder
	p := printer{out: &out, write: writeLine, count: 2}
	for i := range 5 {
		if err := p.print(&cluster.Envelope{Pid: 7, MsgId: int64(i), Msg: i}); err != nil {
			t.Fatal(err)
		}
	}
	st := cluster.Stats{Received: cluster.ReceivedStats{Refused: map[cluster.Refusal]uint64{cluster.RefusedClosed: 10}}}
	p.account(&errs, st)
	if want := "7 0 int 0\n7 1 int 1\n"; out.String() != want {
		t.Errorf("it printed %q, want %q", &out, want)
	}
	if want := "13 messages more had arrived here"; !strings.HasPrefix(errs.String(), want) || strings.Count(errs.String(), "\n") != 1 {
		t.Errorf("it said %q, want one line that begins with %q", &errs, want)
	}
}
