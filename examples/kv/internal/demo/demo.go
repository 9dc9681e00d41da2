// Package demo tells what happens to a replicated store whose servers are killed, added and removed while clients
// write, and checks that nothing is lost.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"time"

	"github.com/abhishekg16/cluster/examples/kv/internal/fleet"
)

// between is how many writes are acknowledged between two things that happen.
const between = 150

// A story is told as it happens.
type story struct {
	ctx   context.Context
	out   io.Writer
	began time.Time
	fleet *fleet.Fleet
	load  *load
}

// Run tells the story on out, and returns an error if it does not end well, or ctx ends. The servers are processes
// that command makes; what they have lies in dir, which must be empty.
func Run(ctx context.Context, out io.Writer, dir string, command func(args ...string) *exec.Cmd) error {
	f := fleet.New(dir, false, command)
	defer f.Close()
	s := &story{ctx: ctx, out: out, began: time.Now(), fleet: f}
	if err := s.start(); err != nil {
		return err
	}
	s.load = beginLoad(f)
	s.tell("%d clients write one key after the other", writers)
	failed := s.disturb()
	acked, err := s.load.end()
	if err := errors.Join(failed, err); err != nil {
		return err
	}
	s.tell("the clients have ended: %d writes were acknowledged, and each that was begun", len(acked))
	if err := s.killAll(); err != nil {
		return err
	}
	lost, err := missing(ctx, f, acked)
	if err != nil {
		return err
	}
	s.tell("%d keys are read: %d acknowledged writes are lost", len(acked), len(lost))
	if len(lost) > 0 {
		return fmt.Errorf("%d of %d acknowledged writes are lost: %.200q", len(lost), len(acked), lost)
	}
	return nil
}

func (s *story) tell(format string, args ...any) {
	fmt.Fprintf(s.out, "%6.2f s  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// start starts the servers 0, 1 and 2.
func (s *story) start() error {
	if err := s.fleet.Add(0, 1, 2); err != nil {
		return err
	}
	s.tell("servers 0, 1 and 2 start, each with a key; server 0 begins a new store with all of them")
	for id, flags := range [][]string{{"-bootstrap"}, nil, nil} {
		if err := s.fleet.Start(id, flags...); err != nil {
			return err
		}
	}
	leader, err := s.fleet.Leader(s.ctx)
	if err != nil {
		return err
	}
	s.tell("server %d leads", leader)
	return nil
}

// disturb is what happens while the clients write.
func (s *story) disturb() error {
	for _, step := range []func() error{s.killLeader, s.addServer, s.removeServer} {
		if err := s.load.more(s.ctx, between); err != nil {
			return err
		}
		if err := step(); err != nil {
			return err
		}
	}
	return s.load.more(s.ctx, between)
}

func (s *story) killLeader() error {
	leader, err := s.fleet.Leader(s.ctx)
	if err != nil {
		return err
	}
	s.tell("%d writes are acknowledged; server %d, which leads, is killed", s.load.count(), leader)
	killed := time.Now()
	if err := s.fleet.Kill(leader); err != nil {
		return err
	}
	// Each client may have been told of one write by the server that is dead. One more write was begun since.
	if err := s.load.more(s.ctx, writers+1); err != nil {
		return err
	}
	next, err := s.fleet.Leader(s.ctx)
	if err != nil {
		return err
	}
	s.tell("server %d leads, and writes are acknowledged again, %d ms after the kill", next, time.Since(killed).Milliseconds())
	if err := s.load.more(s.ctx, between); err != nil {
		return err
	}
	s.tell("server %d starts again, with what it has on its disk", leader)
	return s.fleet.Start(leader)
}

func (s *story) addServer() error {
	const id = 3
	s.tell("server %d gets a key and an entry in the Config.json of all, which they read while they run", id)
	if err := errors.Join(s.fleet.Add(id), s.fleet.Start(id)); err != nil {
		return err
	}
	began := time.Now()
	if err := s.change(http.MethodPut, id); err != nil {
		return err
	}
	if err := s.caughtUp(id); err != nil {
		return err
	}
	s.tell("server %d votes, and has all that was written before it came, after %d ms", id, time.Since(began).Milliseconds())
	return nil
}

func (s *story) removeServer() error {
	leader, err := s.fleet.Leader(s.ctx)
	if err != nil {
		return err
	}
	id := (leader + 1) % 3 // one of the first three, but not the leader
	s.tell("server %d is removed from Raft, and then from the Config.json of the others, and ends", id)
	if err := s.change(http.MethodDelete, id); err != nil {
		return err
	}
	return errors.Join(s.fleet.Remove(id), s.fleet.Stop(id))
}

// change changes who votes. The leader may not have read its changed configuration yet.
func (s *story) change(method string, id int) error {
	c := fleet.NewClient(s.fleet.Addresses)
	for {
		a, err := c.Do(s.ctx, fleet.Request{Method: method, Path: fmt.Sprintf("/members/%d", id)})
		switch {
		case err == nil && a.Status == http.StatusNoContent:
			return nil
		case err != nil && !errors.Is(err, fleet.ErrUnknown): // such a change can be asked for again
			return err
		case err == nil && a.Status != http.StatusConflict:
			return fmt.Errorf("%s /members/%d: status %d: %s", method, id, a.Status, a.Body)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-s.ctx.Done():
			return fmt.Errorf("%s /members/%d: %w", method, id, context.Cause(s.ctx))
		}
	}
}

// progress is what a server says of itself.
type progress struct {
	Committed uint64
	Voters    []int
}

func (s *story) progress(id int) (p progress, err error) {
	text, err := fleet.Status(s.ctx, s.fleet.Address(id))
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	return p, err
}

// caughtUp waits until a server votes, and has what the leader had at first.
func (s *story) caughtUp(id int) error {
	leader, err := s.fleet.Leader(s.ctx)
	if err != nil {
		return err
	}
	want, err := s.progress(leader)
	if err != nil {
		return err
	}
	for {
		if p, err := s.progress(id); err == nil && p.Committed >= want.Committed && slices.Contains(p.Voters, id) {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-s.ctx.Done():
			return fmt.Errorf("server %d has not caught up: %w", id, context.Cause(s.ctx))
		}
	}
}

// killAll kills all servers at once, and starts them again.
func (s *story) killAll() error {
	all := s.fleet.Servers()
	for _, do := range []func(int) error{s.fleet.Kill, func(id int) error { return s.fleet.Start(id) }} {
		for _, id := range all {
			if err := do(id); err != nil {
				return err
			}
		}
	}
	leader, err := s.fleet.Leader(s.ctx)
	if err != nil {
		return err
	}
	s.tell("servers %v were all killed, and started again; server %d leads", all, leader)
	return nil
}
