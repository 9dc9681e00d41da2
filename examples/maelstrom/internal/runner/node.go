package runner

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"
)

// endTimeout is how long a server has to end by itself after its input has ended.
const endTimeout = 10 * time.Second

// node is the process of a server.
type node struct {
	name string
	net  *network
	cmd  *exec.Cmd
	in   io.WriteCloser
	done sync.WaitGroup // what feed and read do

	mu    sync.Mutex // guards what follows
	more  sync.Cond  // of mu: lines or ended have changed
	lines [][]byte   // what it is to read
	ended bool
}

// startNode starts the server of that name.
func startNode(net *network, name string) (*node, error) {
	cfg := net.run.cfg
	p := &node{name: name, net: net, cmd: exec.Command(cfg.Command[0], cfg.Command[1:]...)}
	p.more.L = &p.mu
	p.cmd.Env = slices.Concat(os.Environ(), cfg.Env)
	p.cmd.Stderr = cfg.Stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start a server: %w", err)
	}
	p.in = in
	p.done.Go(p.feed)                 // It ends when end has been called, or the process has ended.
	p.done.Go(func() { p.read(out) }) // It ends with the process.
	return p, nil
}

// send gives the server a message. It does not wait.
func (p *node) send(m message) {
	line, err := json.Marshal(m)
	if err != nil {
		panic(err) // Bodies are JSON.
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.lines = append(p.lines, append(line, '\n'))
		p.more.Signal()
	}
}

// feed writes what the server is to read.
func (p *node) feed() {
	defer p.in.Close()
	for {
		p.mu.Lock()
		for len(p.lines) == 0 && !p.ended {
			p.more.Wait()
		}
		lines, ended := p.lines, p.ended
		p.lines = nil
		p.mu.Unlock()
		if _, err := p.in.Write(bytes.Join(lines, nil)); err != nil {
			if !p.net.ending() {
				p.net.run.fault("%s does not read any more: %v", p.name, err)
			}
			return
		}
		if ended {
			return
		}
	}
}

// read takes what the server writes.
func (p *node) read(out io.Reader) {
	in := bufio.NewReader(out)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			p.line(line)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) || !p.net.ending() {
				p.net.run.fault("%s does not write any more: %v", p.name, err)
			}
			return
		}
	}
}

// line checks that what the server has written keeps to the protocol, and passes it on.
func (p *node) line(line []byte) {
	r := p.net.run
	var m message
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil || line[len(line)-1] != '\n' || len(bytes.TrimSpace(line[d.InputOffset():])) > 0 {
		r.fault("%s wrote %.200q: want an object with src, dest and body in a line (%v)", p.name, line, err)
		return
	}
	var body struct {
		Type string `json:"type"`
	}
	isNode, isClient := p.net.knows(m.Dest)
	switch err := json.Unmarshal(m.Body, &body); {
	case err != nil || body.Type == "":
		r.fault("%s wrote the body %.200q: want an object with a type", p.name, m.Body)
	case m.Src != p.name:
		r.fault("%s wrote a message of %q", p.name, m.Src)
	case !isNode && !isClient:
		r.fault("%s wrote a message for %q, whom there is not", p.name, m.Dest)
	default:
		p.net.fromNode(m)
	}
}

// end ends the server's input, upon which it should end.
func (p *node) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.more.Signal()
}

// wait waits until the server has ended.
func (p *node) wait() {
	late := time.AfterFunc(endTimeout, func() {
		p.net.run.fault("%s has not ended within %v of the end of its input", p.name, endTimeout)
		p.cmd.Process.Kill()
	})
	defer late.Stop()
	p.done.Wait() // before Wait, which closes what they use
	if err := p.cmd.Wait(); err != nil {
		p.net.run.fault("%s ended with %v", p.name, err)
	}
}
