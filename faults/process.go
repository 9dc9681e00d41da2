//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience is how long anything may take that a server is asked for. A server that
// takes longer hangs.
const patience = 15 * time.Second

// A process is a server that the driver has started. It ends when the driver does: its
// standard input ends then, and should it be stopped, the kernel kills it.
type process struct {
	name    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan answer
	exited  chan struct{} // closed when it has ended, and all it wrote is read

	mu   sync.Mutex // guards what follows
	said bytes.Buffer
	bad  []string // what no server should say
}

// startProcess starts a server and waits until it is up. prefix goes before the command.
func startProcess(name string, prefix, environment []string, exe string, arguments ...string) (*process, error) {
	line := append(append(append([]string(nil), prefix...), exe, serverRole), arguments...)
	p := &process{name: name, cmd: exec.Command(line[0], line[1:]...), answers: make(chan answer, 1), exited: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), ownTransport), environment...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	logs, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	var readers sync.WaitGroup
	readers.Go(func() { // It ends with the process, whose end of the pipe closes then.
		defer close(p.answers)
		for d := json.NewDecoder(out); ; {
			var a answer
			if d.Decode(&a) != nil {
				return
			}
			p.answers <- a
		}
	})
	readers.Go(func() { p.listen(logs) }) // likewise
	go func() {                           // end waits for exited.
		readers.Wait()
		p.cmd.Wait()
		close(p.exited)
	}()
	if _, err := p.answer("start"); err != nil {
		p.kill()
		return nil, fmt.Errorf("%w\n%s", err, p.words())
	}
	return p, nil
}

// alarming is what a server says only if something is broken.
var alarming = []string{"panic: ", "fatal error: ", "WARNING: DATA RACE", "Assertion failed", "SIGSEGV", "goroutine stack"}

const wordsKept = 64 << 10

func (p *process) listen(logs io.Reader) {
	s := bufio.NewScanner(logs)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		p.mu.Lock()
		if p.said.Len() < wordsKept {
			p.said.WriteString(s.Text() + "\n")
		}
		for _, a := range alarming {
			if strings.Contains(s.Text(), a) && len(p.bad) < 5 {
				p.bad = append(p.bad, s.Text())
			}
		}
		p.mu.Unlock()
	}
}

// words is what the process wrote to its standard error.
func (p *process) words() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

// ask gives a command and waits for its answer.
func (p *process) ask(c command) (answer, error) {
	line, err := json.Marshal(c)
	if err != nil {
		return answer{}, err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return answer{}, violation{oracleCrash, fmt.Sprintf("%s is gone: %v; its last words:\n%s", p.name, err, p.words())}
	}
	return p.answer(c.Do)
}

func (p *process) answer(to string) (answer, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case a, ok := <-p.answers:
		switch {
		case !ok:
			<-p.exited
			return a, violation{oracleCrash, fmt.Sprintf("%s ended at %q: %v; its last words:\n%s", p.name, to, p.cmd.ProcessState, p.words())}
		case a.Error != "":
			return a, fmt.Errorf("%s: %s: %s", p.name, to, a.Error)
		}
		return a, nil
	case <-timer.C:
		return answer{}, violation{oracleHang, fmt.Sprintf("%s did not answer %q in %v", p.name, to, patience)}
	}
}

// signal sends it a signal.
func (p *process) signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// kill ends it at once and waits.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.in.Close()
	for range p.answers { // nobody waits for these
	}
	<-p.exited
}

// end waits for the process to end by itself, after it was told to.
func (p *process) end() error {
	p.in.Close()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.kill()
		return violation{oracleHang, fmt.Sprintf("%s did not end in %v", p.name, patience)}
	}
	if !p.cmd.ProcessState.Success() {
		return violation{oracleCrash, fmt.Sprintf("%s: %v; its last words:\n%s", p.name, p.cmd.ProcessState, p.words())}
	}
	return nil
}

// outcry returns what it said that no server should say.
func (p *process) outcry() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, b := range p.bad {
		errs = append(errs, violation{oracleCrash, p.name + ": " + b})
	}
	return errors.Join(errs...)
}
