package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/observe"
	"github.com/abhishekg16/cluster/peercatalog"
)

// A fleet is the servers, as processes.
type fleet struct {
	dir   string
	peers []peercatalog.Peer // all that there may be
	pages []string           // their URLs
	runs  map[int]*process
}

type process struct {
	*exec.Cmd
	leash io.Closer // standard input: the process ends when it is closed
}

// newFleet finds free ports for n servers and their pages.
func newFleet(n int) (*fleet, error) {
	dir, err := os.MkdirTemp("", "cluster-demo")
	if err != nil {
		return nil, err
	}
	f := &fleet{dir: dir, runs: make(map[int]*process)}
	for id := range n {
		var at [2]string
		for i := range at {
			l, err := net.Listen("tcp", "127.0.0.1:0") // all are held until the last is known, so that they differ
			if err != nil {
				return nil, errors.Join(err, f.close())
			}
			defer l.Close()
			at[i] = l.Addr().String()
		}
		page, _ := json.Marshal(at[1]) // a string always has a JSON form
		f.peers = append(f.peers, peercatalog.Peer{ID: id, Address: at[0], Extra: map[string]json.RawMessage{"http": page}})
		f.pages = append(f.pages, "http://"+at[1]+"/")
	}
	return f, nil
}

func (f *fleet) config() string { return filepath.Join(f.dir, "Config.json") }

// configure writes the configuration of the first n servers, in one step.
func (f *fleet) configure(n int) error {
	text, err := json.MarshalIndent(cluster.Config{Cluster: "demo", Peers: f.peers[:n], Reload: true, SendTimeout: time.Second}, "", "  ")
	if err != nil {
		return err
	}
	next := f.config() + ".new"
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return err
	}
	return os.Rename(next, f.config())
}

// start starts a server, and waits until its page answers.
func (f *fleet) start(id int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p := &process{Cmd: exec.Command(self, "-serve", fmt.Sprint(id), "-config", f.config())}
	p.Stderr = os.Stderr
	if p.leash, err = p.StdinPipe(); err != nil {
		return err
	}
	out, err := p.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.Start(); err != nil {
		return err
	}
	f.runs[id] = p
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil { // it says that it is ready
		return fmt.Errorf("server %d has ended before it was ready: %w", id, err)
	}
	return nil
}

// kill ends a server without a chance to say so.
func (f *fleet) kill(id int) error {
	p := f.runs[id]
	delete(f.runs, id)
	err := p.Process.Kill()
	_ = p.Wait() // it tells that it was killed
	return err
}

// awaitMembers waits until all servers that run have n servers in their catalogue.
func (f *fleet) awaitMembers(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errors.New("not all servers have taken the configuration over within 20 s"))
	defer cancel()
	for id := range f.runs {
		for {
			members, err := f.members(ctx, id)
			if err == nil && members == n {
				break
			}
			if !wait(ctx, 50*time.Millisecond) {
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// wait waits, and reports whether ctx has not ended meanwhile.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func (f *fleet) members(ctx context.Context, id int) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.pages[id]+"stats", nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	var r observe.Report
	err = json.NewDecoder(answer.Body).Decode(&r)
	return len(r.Members), err
}

// close ends all servers, and removes what was written.
func (f *fleet) close() error {
	for _, p := range f.runs {
		_ = p.leash.Close() // an error means that it has ended already
	}
	var faults []error
	for id, p := range f.runs {
		late := time.AfterFunc(5*time.Second, func() { _ = p.Process.Kill() })
		if err := p.Wait(); err != nil {
			faults = append(faults, fmt.Errorf("server %d: %w", id, err))
		}
		late.Stop()
	}
	slices.SortFunc(faults, func(a, b error) int { return len(a.Error()) - len(b.Error()) })
	return errors.Join(append(faults, os.RemoveAll(f.dir))...)
}
