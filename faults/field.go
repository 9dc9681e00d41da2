//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/freeport"
	"github.com/abhishekg16/cluster/peercatalog"
)

// A field is the cluster of one trial: its servers, dead or alive, each started as
// often as the trial wants.
type field struct {
	t       *trial
	cfg     cluster.Config
	exe     string // of the servers
	servers map[int]*serverPlan
	// elsewhere says of a server when another one had its address. That one refuses what was
	// meant for this one, and counts the frames, and not the messages in them.
	elsewhere map[int]span

	mu    sync.Mutex // guards what follows
	alive map[int]*life
	lives []*life
}

// A serverPlan is how one server is started. A row may change it before that.
type serverPlan struct {
	cfg         cluster.Config // as this server sees the cluster
	prefix      []string       // of the command, such as one that enters a namespace
	environment []string
	arguments   []string
}

// A life is one process of one server. Number counts the lives of all servers of a
// trial, from 1.
type life struct {
	pid, number int
	journal     string
	proc        *process
	began       int64
	ended       int64 // zero while it lives
	stopped     int64 // when it was stopped for good, before it was killed; zero: it was not
	killed      bool
	final       *counters // of one that closed in peace
}

func (l *life) String() string { return fmt.Sprintf("server %d (life %d)", l.pid, l.number) }

// newField plans servers 0 to n-1 on free ports of this machine. adjust may change the
// configuration.
func (t *trial) newField(n int, adjust func(*cluster.Config)) (*field, error) {
	f := &field{t: t, exe: t.exe, servers: make(map[int]*serverPlan), alive: make(map[int]*life)}
	for id := range n {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		f.cfg.Peers = append(f.cfg.Peers, peercatalog.Peer{ID: id, Address: fmt.Sprintf("127.0.0.1:%d", port)})
	}
	if adjust != nil {
		adjust(&f.cfg)
	}
	for _, p := range f.cfg.Peers {
		cfg := f.cfg
		cfg.Peers = slices.Clone(f.cfg.Peers)
		f.servers[p.ID] = &serverPlan{cfg: cfg}
	}
	t.fields = append(t.fields, f)
	return f, nil
}

// freePort is below those that the kernel gives to connections: a server that is
// restarted must find its port free.
func freePort() (int, error) {
	l, err := freeport.Listen()
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// ids are those of all servers.
func (f *field) ids() []int { return slices.Sorted(maps.Keys(f.servers)) }

// others are the ids of all servers but some.
func (f *field) others(but ...int) []int {
	return slices.DeleteFunc(f.ids(), func(id int) bool { return slices.Contains(but, id) })
}

// start starts one server.
func (f *field) start(id int) error {
	plan := f.servers[id]
	f.mu.Lock()
	l := &life{pid: id, number: int(f.t.lives.Add(1))}
	f.lives = append(f.lives, l)
	f.mu.Unlock()
	file := filepath.Join(f.t.dir, fmt.Sprintf("life%d", l.number))
	l.journal = file + ".journal"
	cfg := plan.cfg
	cfg.Transport = transportOf(f.t.transport, l.number)
	text, err := json.Marshal(cfg)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".json", text, 0o600); err != nil {
		return err
	}
	arguments := append([]string{
		"-config", file + ".json", "-pid", fmt.Sprint(id), "-life", fmt.Sprint(l.number), "-journal", l.journal,
	}, plan.arguments...)
	l.began = now()
	environment := append(slices.Clone(f.t.environment), plan.environment...)
	l.proc, err = startProcess(l.String(), plan.prefix, environment, f.exe, arguments...)
	if err != nil {
		l.ended = now()
		return fmt.Errorf("starting server %d: %w", id, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alive[id] = l
	return nil
}

// each does something with several servers at once.
func (f *field) each(ids []int, do func(id int) error) error {
	errs := make([]error, len(ids))
	var all sync.WaitGroup
	for i, id := range ids {
		all.Go(func() { errs[i] = do(id) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (f *field) startAll() error { return f.each(f.ids(), f.start) }

// startUnder starts all servers, and makes each send to all others.
func (f *field) startUnder(l load) error {
	if err := f.startAll(); err != nil {
		return err
	}
	return f.loadAll(l)
}

// life is the process that a server has now, or nil.
func (f *field) life(id int) *life {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.alive[id]
}

func (f *field) ask(id int, c command) (answer, error) {
	l := f.life(id)
	if l == nil {
		return answer{}, fmt.Errorf("server %d is not running", id)
	}
	return l.proc.ask(c)
}

// living are the ids of the servers that run.
func (f *field) living() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.alive))
}

// load makes a server send. To all others, if the load does not say to whom.
func (f *field) load(id int, l load) error {
	if len(l.To) == 0 {
		l.To = f.others(id)
	}
	_, err := f.ask(id, command{Do: "load", Load: l})
	return err
}

// loadAll makes all servers that run send.
func (f *field) loadAll(l load) error {
	return f.each(f.living(), func(id int) error { return f.load(id, l) })
}

func (f *field) haltAll() error {
	return f.each(f.living(), func(id int) error {
		_, err := f.ask(id, command{Do: "halt"})
		return err
	})
}

// counters asks a server for its counters.
func (f *field) counters(id int) (counters, error) {
	a, err := f.ask(id, command{Do: "counters"})
	if err != nil {
		return counters{}, err
	}
	return *a.Counters, nil
}

// holdings asks a server what it holds of the machine.
func (f *field) holdings(id int) (holdings, error) {
	a, err := f.ask(id, command{Do: "holdings"})
	if err != nil {
		return holdings{}, err
	}
	return *a.Holdings, nil
}

// kill ends a server's process without warning.
func (f *field) kill(id int) {
	f.mu.Lock()
	l := f.alive[id]
	delete(f.alive, id)
	f.mu.Unlock()
	if l == nil {
		return
	}
	l.killed, l.ended = true, now()
	l.proc.kill()
}

// stop stops a server's process, which is going to be killed.
func (f *field) stop(id int) error {
	f.life(id).stopped = now()
	return f.signal(id, syscall.SIGSTOP)
}

// signal sends a signal to a server's process.
func (f *field) signal(id int, s syscall.Signal) error {
	l := f.life(id)
	if l == nil {
		return fmt.Errorf("server %d is not running", id)
	}
	return l.proc.signal(s)
}

// quit makes a server close in peace, and its process end.
func (f *field) quit(id int) error {
	f.mu.Lock()
	l := f.alive[id]
	delete(f.alive, id)
	f.mu.Unlock()
	if l == nil {
		return nil
	}
	a, err := l.proc.ask(command{Do: "quit"})
	l.ended = now()
	if err != nil {
		l.killed = true
		l.proc.kill()
		return err
	}
	l.final = a.Counters
	return errors.Join(l.proc.end(), l.proc.outcry())
}

// quiet is how long nothing may change before a field counts as settled in which
// something is still under way: more than a sender waits before it asks what became of
// the last that it sent.
const quiet = 5 * time.Second

// settle waits until all that was sent has come, or is known not to. Nothing may be
// sending any more.
func (f *field) settle() error {
	var before map[int]counters
	since := time.Now()
	for end := time.Now().Add(4 * quiet); ; time.Sleep(50 * time.Millisecond) {
		var mu sync.Mutex
		all := make(map[int]counters)
		err := f.each(f.living(), func(id int) error {
			c, err := f.counters(id)
			mu.Lock()
			defer mu.Unlock()
			all[id] = c
			return err
		})
		switch {
		case err != nil:
			return err
		case settled(all):
			return nil
		case before != nil && same(before, all) && idle(all) && time.Since(since) > time.Second:
			return nil
		case before == nil || !same(before, all):
			before, since = all, time.Now()
		case time.Since(since) > quiet:
			return nil
		}
		if time.Now().After(end) {
			return violation{oracleHang, fmt.Sprintf("counters still change %v after the last was sent", 4*quiet)}
		}
	}
}

// settled reports whether all that the servers have sent to one another has come.
func settled(all map[int]counters) bool {
	for id, c := range all {
		if c.OutboxLen > 0 || c.InboxLen > 0 {
			return false
		}
		for to, p := range c.Peers {
			other, ok := all[to]
			if p.Queued > 0 || ok && p.Sent != other.Peers[id].came() {
				return false
			}
		}
	}
	return true
}

// idle reports whether nothing waits, or is waited for. That is less than settled, but
// servers that were killed have taken along what settled asks for.
func idle(all map[int]counters) bool {
	for _, c := range all {
		for _, p := range c.Peers {
			if p.Queued > 0 || p.FlightBytes > 0 || p.BacklogBytes > 0 || p.HeldBytes > 0 {
				return false
			}
		}
	}
	return true
}

// same reports whether nothing has happened between two looks.
func same(a, b map[int]counters) bool {
	for id, c := range a {
		for to, p := range c.Peers {
			q := b[id].Peers[to]
			if p.Sent != q.Sent || p.came() != q.came() || p.Queued != q.Queued {
				return false
			}
		}
	}
	return true
}

// finish ends the load, waits until everything has settled, closes all servers in peace,
// holds the books against the contract and returns them.
func (f *field) finish() (*books, error) {
	if err := f.haltAll(); err != nil {
		return nil, err
	}
	if err := f.settle(); err != nil {
		return nil, err
	}
	if err := f.each(f.living(), f.quit); err != nil {
		return nil, err
	}
	b, err := f.books()
	if err != nil {
		return nil, err
	}
	f.t.judge(b)
	return b, nil
}

// finishHolding is finish, once server 0 holds no more of the machine than it did before.
func (f *field) finishHolding(before holdings) (*books, error) {
	if err := f.t.returnsTo(f, 0, before); err != nil {
		return nil, err
	}
	return f.finish()
}

// abandon kills what still runs.
func (f *field) abandon() {
	for _, id := range f.living() {
		f.kill(id)
	}
}
