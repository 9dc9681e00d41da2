package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// A measurement is one peer doing one thing for a while.
type measurement struct {
	Kind    kind
	Load    string
	Servers int
	Peer    string

	warm, window time.Duration

	program string // which to run; empty: this one
}

// values are the figures of a measurement by their names.
type values map[string]float64

// take measures in fresh processes, which are gone when it returns. The window is
// extended while nothing arrives, within reason.
func (m measurement) take(ctx context.Context) (values, error) {
	at, err := freeAddresses(m.Servers)
	if err != nil {
		return nil, err
	}
	j := job{Kind: m.Kind, Peer: m.Peer, Load: m.Load, At: at}
	var all []*process
	defer func() {
		for _, p := range all {
			p.stop()
		}
	}()
	add := func(me int) error {
		j.Me = me
		p, err := newProcess(ctx, m.program, j)
		if err == nil {
			all = append(all, p)
		}
		return err
	}
	if err := add(0); err != nil {
		return nil, err
	}
	if (m.Kind == stream || m.Kind == roundTrip) && !peerNamed(m.Peer).oneProcess {
		if err := add(1); err != nil {
			return nil, err
		}
	}
	for _, p := range all {
		if _, err := p.line(); err != nil {
			return nil, because(all, err)
		}
	}
	if err := pause(ctx, m.warm); err != nil {
		return nil, err
	}
	before, err := snapshots(all)
	if err != nil {
		return nil, err
	}
	for began := time.Now(); ; {
		if err := pause(ctx, m.window); err != nil {
			return nil, err
		}
		after, err := snapshots(all)
		if err != nil {
			return nil, err
		}
		switch {
		case m.Kind == nodes || after[0].Messages > before[0].Messages:
			return m.evaluate(before, after), nil
		case time.Since(began) > patience/6:
			return nil, fmt.Errorf("nothing arrived in %v", time.Since(began).Round(time.Millisecond))
		}
	}
}

// evaluate makes figures of what the processes said at the beginning of the window and
// at its end. The first process is the one that receives.
func (m measurement) evaluate(before, after []snapshot) values {
	v := make(values)
	for i := range after {
		v["peak"] += float64(after[i].PeakKiB) / 1024
	}
	near := after[0]
	if m.Kind == nodes {
		v["start"], v["ring"] = near.StartMillis, near.RingMillis
		v["until"] = near.StartMillis + near.RingMillis
		v["resident"], v["threads"] = float64(near.ResidentKiB)/1024, float64(near.Threads)
		return v
	}
	messages := float64(near.Messages - before[0].Messages)
	v["rate"] = messages / (time.Duration(near.Nanos - before[0].Nanos)).Seconds()
	for i := range after {
		v["cpu"] += float64(after[i].CPUNanos-before[i].CPUNanos) / 1e3 / messages
		v["allocs"] += float64(after[i].Mallocs-before[i].Mallocs) / messages
		for reason, n := range after[i].Lost {
			if n > before[i].Lost[reason] {
				v[lostPrefix+reason] += float64(n - before[i].Lost[reason])
			}
		}
	}
	for name, p := range near.Percentiles {
		v[name] = p
	}
	return v
}

// lostPrefix begins the names of figures that count losses by reason.
const lostPrefix = "lost, "

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A process is one that measures.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan []byte // what it prints; closed at its end
	said  complaints
}

// newProcess runs a program, or this one again if that is empty, to do the job. The
// caller calls stop.
func newProcess(ctx context.Context, program string, j job) (*process, error) {
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	p := &process{cmd: exec.CommandContext(ctx, program), lines: make(chan []byte)}
	p.cmd.Env = append(os.Environ(), workerVariable+"=1")
	p.cmd.Stderr = &p.said
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // stop ends the process, and waits for lines to be closed.
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- bytes.Clone(s.Bytes())
		}
	}()
	if err := json.NewEncoder(p.in).Encode(j); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// line is the next line that the process prints.
func (p *process) line() ([]byte, error) {
	select {
	case line, ok := <-p.lines:
		if !ok {
			return nil, errors.New("a process ended early")
		}
		return line, nil
	case <-time.After(patience + 5*time.Second):
		return nil, errors.New("a process said nothing for too long")
	}
}

// snapshots asks all processes at about the same time.
func snapshots(all []*process) ([]snapshot, error) {
	found := make([]snapshot, len(all))
	for _, p := range all {
		fmt.Fprintln(p.in) // an error shows when it does not answer
	}
	for i, p := range all {
		line, err := p.line()
		if err != nil {
			return nil, because(all, err)
		}
		if err := json.Unmarshal(line, &found[i]); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// stop ends the process and waits for its end.
func (p *process) stop() {
	p.cmd.Process.Kill()
	for range p.lines {
	}
	p.cmd.Wait()
}

// because returns what the processes complained of, or else err. It ends them.
func because(all []*process, err error) error {
	var found []string
	for _, p := range all {
		p.stop()
		if r := p.said.reason(); r != "" {
			found = append(found, r)
		}
	}
	if found == nil {
		return err
	}
	return errors.New(strings.Join(found, "; "))
}

// complaints are the first lines that a process writes about its troubles.
type complaints struct {
	mu   sync.Mutex
	text []byte
}

func (c *complaints) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text = append(c.text, b[:min(len(b), max(0, 4096-len(c.text)))]...)
	return len(b), nil
}

// reason is the line that says the most.
func (c *complaints) reason() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := ""
	for line := range strings.Lines(string(c.text)) {
		line = strings.TrimSpace(line)
		for _, start := range []string{"bench: ", "panic: ", "fatal error: "} {
			if strings.HasPrefix(line, start) {
				return strings.TrimPrefix(line, "bench: ")
			}
		}
		if first == "" {
			first = line
		}
	}
	return first
}

// freeAddresses returns addresses of this machine with ports that nobody uses. They are
// below those that the system gives to connections, so that none takes them before a
// server listens.
func freeAddresses(n int) ([]string, error) {
	var found []string
	for tries := 0; len(found) < n; tries++ {
		if tries > lastPort-firstPort {
			return nil, fmt.Errorf("fewer than %d ports are free", n)
		}
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+nextPort)
		nextPort = (nextPort + 1) % (lastPort - firstPort)
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		l.Close()
		found = append(found, address)
	}
	return found, nil
}

const firstPort, lastPort = 12_000, 32_000

// nextPort, beyond firstPort, differs between runs at the same time.
var nextPort = os.Getpid() * 97 % (lastPort - firstPort)
