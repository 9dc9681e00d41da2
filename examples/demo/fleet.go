package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A fleet is the servers as the story sees them: their processes, and what they report.
type fleet struct {
	config  string
	began   time.Time
	colours bool

	servers map[int]*server
	pipe    *os.File // where all servers write; the other end is read into events
	events  chan event

	got map[string][]int // message -> who received it, in the order of reception
}

type server struct {
	process *exec.Cmd
	orders  io.WriteCloser
	ended   chan struct{} // closed when the process has ended
	leaving bool          // its end is expected
}

func newFleet(config string) (*fleet, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	f := &fleet{
		config:  config,
		began:   time.Now(),
		colours: wantsColours(),
		servers: map[int]*server{},
		pipe:    w,
		events:  make(chan event, 1024),
		got:     map[string][]int{},
	}
	go func() { // ends with the last writer: close waits for the servers and closes our own end
		defer r.Close()
		for lines := bufio.NewScanner(r); lines.Scan(); {
			var e event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				e = event{Server: -1, What: "failed", Text: "not an event: " + lines.Text()}
			}
			f.events <- e
		}
	}()
	return f, nil
}

// start starts server id in a process of its own: this program again, in its other role.
func (f *fleet) start(id int) error { return f.startWith(id, f.config, id) }

// startWith starts server id of a configuration, which is known here as another number.
func (f *fleet) startWith(as int, config string, id int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s := &server{ended: make(chan struct{})}
	s.process = exec.Command(self, "-config", config, "-serve", strconv.Itoa(id), "-as", strconv.Itoa(as))
	s.process.Stdout, s.process.Stderr = f.pipe, os.Stderr
	if s.orders, err = s.process.StdinPipe(); err != nil {
		return err
	}
	if err := s.process.Start(); err != nil {
		return err
	}
	f.servers[as] = s
	go func() { // ends with the process, which close kills at the latest
		err := s.process.Wait()
		close(s.ended)
		f.events <- event{Server: as, What: "ended", Text: fmt.Sprint(err)}
	}()
	return nil
}

// order tells a server what to do, and shows a message that is about to be sent.
func (f *fleet) order(id int, do string, text string, to ...int) error {
	line, err := json.Marshal(order{Do: do, Text: text, To: to})
	if err != nil {
		return err
	}
	if do != "stats" {
		whom := strings.Trim(fmt.Sprint(to), "[]")
		if whom == "-1" {
			whom = "all"
		}
		f.show(id, "→ %s: %q", strings.ReplaceAll(whom, " ", ", "), text)
	}
	_, err = f.servers[id].orders.Write(append(line, '\n'))
	return err
}

// kill ends a server as a power cut would: no goodbye, nothing flushed.
func (f *fleet) kill(ctx context.Context, id int) error {
	s := f.servers[id]
	s.leaving = true
	f.show(id, "✗ SIGKILL to process %d", s.process.Process.Pid)
	if err := s.process.Process.Kill(); err != nil {
		return err
	}
	_, err := f.await(ctx, 5*time.Second, event{Server: id, What: "ended"})
	return err
}

// shutdown lets every server close in good order.
func (f *fleet) shutdown(ctx context.Context) error {
	var want []event
	for _, id := range slices.Sorted(maps.Keys(f.servers)) {
		f.servers[id].leaving = true
		f.servers[id].orders.Close()
		want = append(want, event{Server: id, What: "closed"}, event{Server: id, What: "ended"})
	}
	if _, err := f.await(ctx, 8*time.Second, want...); err != nil {
		return err
	}
	for id, s := range f.servers {
		if code := s.process.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("server %d ended with exit code %d", id, code)
		}
	}
	return nil
}

// close leaves nothing running, whatever happened before.
func (f *fleet) close() {
	for _, s := range f.servers {
		s.process.Process.Kill() // a process that has ended already is left alone
		<-s.ended
	}
	f.pipe.Close()
}

var errMissing = errors.New("still missing")

// await shows what the servers report until all that is wanted has been reported, in whatever order, and returns the
// last of it.
func (f *fleet) await(ctx context.Context, patience time.Duration, wanted ...event) (event, error) {
	wanted = slices.Clone(wanted)
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case e := <-f.events:
			if err := f.note(e); err != nil {
				return e, err
			}
			if i := slices.IndexFunc(wanted, e.is); i >= 0 {
				if wanted = slices.Delete(wanted, i, i+1); len(wanted) == 0 {
					return e, nil
				}
			}
		case <-deadline.C:
			return event{}, fmt.Errorf("%w after %v: %v", errMissing, patience, wanted)
		case <-ctx.Done():
			return event{}, fmt.Errorf("%w while waiting for: %v", context.Cause(ctx), wanted)
		}
	}
}

// linger goes on showing reports for a while.
func (f *fleet) linger(ctx context.Context, d time.Duration) error {
	pause := time.After(d)
	for {
		select {
		case e := <-f.events:
			if err := f.note(e); err != nil {
				return err
			}
		case <-pause:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// note shows one report, keeps it for the final comparison, and finds what must not happen at all.
func (f *fleet) note(e event) error {
	switch e.What {
	case "up":
		f.show(e.Server, "up: %s", e.Text)
	case "received":
		f.got[e.Text] = append(f.got[e.Text], e.Server)
		f.show(e.Server, "← %d: %s", e.Peer, e.Text)
	case "outcome":
		f.show(e.Server, "Send: %s", e.Text)
	case "closed":
		f.show(e.Server, "closed: everything it had accepted is out")
	case "failed":
		return fmt.Errorf("server %d: %s", e.Server, e.Text)
	case "ended":
		if !f.servers[e.Server].leaving {
			return fmt.Errorf("server %d ended by itself: %s", e.Server, e.Text)
		}
	}
	return nil
}

// is says whether e is what was wanted: a wanted event says only what matters.
func (e event) is(wanted event) bool {
	return e.What == wanted.What && e.Server == wanted.Server && (wanted.Text == "" || e.Text == wanted.Text)
}

func (e event) String() string {
	return strings.TrimSpace(fmt.Sprintf("server %d %s %s", e.Server, e.What, e.Text))
}

// show prints one line of the log; each server has its colour on a terminal.
func (f *fleet) show(id int, format string, args ...any) {
	who := fmt.Sprintf("server %d", id)
	if id == strangerID {
		who = "stranger"
	}
	if f.colours {
		who = fmt.Sprintf("\x1b[%dm%s\x1b[0m", 31+(id+1)%6, who)
	}
	fmt.Printf("%7.3f s  %s │ %s\n", time.Since(f.began).Seconds(), who, fmt.Sprintf(format, args...))
}

// step prints the heading of a step of the story.
func (f *fleet) step(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if f.colours {
		text = "\x1b[1m" + text + "\x1b[0m"
	}
	fmt.Printf("\n%s\n", text)
}

func wantsColours() bool {
	info, err := os.Stdout.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
