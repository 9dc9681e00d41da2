//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
)

func init() {
	register(row{
		name:    "churn",
		promise: "servers open and close under traffic, nothing hangs, and nothing of them is left",
		fault:   "ten servers of one process are opened and closed a hundred times each, while all send to all",
		quick:   true,
		run:     churn,
	})
}

// churnRole, as the first argument, makes the process do what the row says.
const churnRole = "churn"

// A churned is what came of it.
type churned struct {
	Opened, Delivered         int64
	Blocked, Opening, Closing time.Duration // the longest
	Faults                    []string
	Before, After             holdings
}

func churn(t *trial) error {
	f, err := t.newField(10, func(c *cluster.Config) { c.SendTimeout = 100 * time.Millisecond })
	if err != nil {
		return err
	}
	text, err := json.Marshal(f.cfg)
	if err != nil {
		return err
	}
	path := t.path("churn.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	cycles := scale(t, 100, 10)
	t.say("%d servers, %d times each", len(f.servers), cycles)
	ctx, cancel := context.WithTimeout(t.ctx, 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.exe, churnRole, path, fmt.Sprint(cycles), t.transport)
	cmd.Env = append(append(os.Environ(), ownTransport), t.environment...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var words strings.Builder
	cmd.Stderr = &words
	out, err := cmd.Output()
	switch {
	case ctx.Err() != nil:
		return found(oracleHang, "it did not end: %v", ctx.Err())
	case err != nil:
		return found(oracleCrash, "%v; its last words:\n%s", err, words.String())
	}
	var c churned
	if err := json.Unmarshal(out, &c); err != nil {
		return err
	}
	for _, text := range c.Faults {
		oracle := oraclePhantom
		for _, o := range []string{oracleDuplicate, oracleInversion, oracleCorruption} {
			if strings.Contains(text, ": "+o) {
				oracle = o
			}
		}
		t.fail(found(oracle, "%s", text))
	}
	t.fail(leaks("the process", c.Before, c.After)...)
	for what, took := range map[string]time.Duration{"sending": c.Blocked, "opening": c.Opening, "closing": c.Closing} {
		if took > longest {
			t.fail(found(oracleHang, "%s took %v", what, took))
		}
	}
	if c.Delivered < c.Opened {
		t.fail(found(oracleVacuity, "%d messages were delivered to %d lives", c.Delivered, c.Opened))
	}
	t.figure("opened and closed", "%d, with %d messages delivered", c.Opened, c.Delivered)
	t.figure("longest", "opening %v, closing %v, handing over %v",
		c.Opening.Round(time.Millisecond), c.Closing.Round(time.Millisecond), c.Blocked.Round(time.Millisecond))
	t.figure("held", "%d goroutines, %d descriptors, %d threads, %d MiB (before: %d, %d, %d, %d MiB)",
		c.After.Goroutines, c.After.Descriptors, c.After.Threads, c.After.AnonymousBytes>>20,
		c.Before.Goroutines, c.Before.Descriptors, c.Before.Threads, c.Before.AnonymousBytes>>20)
	return nil
}

// churnHere is the role.
func churnHere(path string, cycles int, transport string) error {
	cfg, err := cluster.LoadConfig(path)
	if err != nil {
		return err
	}
	ch := &churner{cfg: cfg, transport: transport, history: new(clustertest.History)}
	// What stays for good, such as ZeroMQ's context, and threads as many as were ever busy at once, is
	// made by the first of all. What each life leaves behind still shows: ten times as many follow.
	if err := ch.round(max(1, cycles/10)); err != nil {
		return err
	}
	ch.result.Before = hold()
	if err := ch.round(cycles); err != nil {
		return err
	}
	// Of lives that end so soon nobody knows what was lost last of all.
	for _, v := range flat(ch.history.Check()) {
		if !strings.Contains(v.Error(), "unexplained loss") {
			ch.result.Faults = append(ch.result.Faults, v.Error())
		}
	}
	ch.history = nil // it is no part of what the servers hold
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		ch.result.After = hold()
		if len(leaks("", ch.result.Before, ch.result.After)) == 0 || time.Now().After(end) {
			break
		}
	}
	ch.result.Faults = ch.result.Faults[:min(len(ch.result.Faults), 10)]
	return json.NewEncoder(os.Stdout).Encode(ch.result)
}

func flat(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	if err != nil {
		return []error{err}
	}
	return nil
}

type churner struct {
	cfg       cluster.Config
	transport string // one of transports
	history   *clustertest.History
	unique    atomic.Int64 // message ids
	lives     atomic.Int64

	mu     sync.Mutex // guards what follows
	result churned
}

// round opens and closes all servers that often, each on its own.
func (ch *churner) round(cycles int) error {
	errs := make([]error, len(ch.cfg.Peers))
	var all sync.WaitGroup
	for i, p := range ch.cfg.Peers {
		all.Go(func() {
			for range cycles {
				if errs[i] = ch.live(p.ID); errs[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// live is one life of a server.
func (ch *churner) live(id int) error {
	began := time.Now()
	cfg := ch.cfg
	cfg.Transport = transportOf(ch.transport, int(ch.lives.Add(1)))
	n, err := cluster.NewFromConfig(id, cfg)
	if err != nil {
		return err
	}
	opened := time.Since(began)
	var busy sync.WaitGroup
	delivered := int64(0)
	busy.Go(func() { // It ends when Inbox is closed.
		for env := range n.Inbox() {
			ch.history.Received(id, env)
			delivered++
		}
	})
	blocked := time.Duration(0)
	busy.Go(func() { // It ends when the node has closed.
		for {
			to := ch.cfg.Peers[rand.IntN(len(ch.cfg.Peers))].ID
			env := &cluster.Envelope{Pid: to, MsgId: ch.unique.Add(1), Msg: "churn"}
			ch.history.Sent(id, env)
			began := time.Now()
			select {
			case n.Outbox() <- env:
				blocked = max(blocked, time.Since(began))
			case <-n.Done():
				return
			}
			if rand.IntN(8) == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	})
	time.Sleep(time.Duration(5+rand.IntN(45)) * time.Millisecond)
	began = time.Now()
	err = n.Close()
	closed := time.Since(began)
	busy.Wait()
	ch.mu.Lock()
	defer ch.mu.Unlock()
	r := &ch.result
	r.Opened++
	r.Delivered += delivered
	r.Opening, r.Closing, r.Blocked = max(r.Opening, opened), max(r.Closing, closed), max(r.Blocked, blocked)
	return err
}
