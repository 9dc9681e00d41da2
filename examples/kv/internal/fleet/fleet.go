// Package fleet runs servers of the store in processes of their own, on this machine, and does to them what happens to
// servers: they are killed, stopped for a while, cut off from one another, added and removed. The demo and the tests
// use it.
package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/curve"
	"github.com/abhishekg16/cluster/internal/keyfile"
	"github.com/abhishekg16/cluster/peercatalog"
)

// A Fleet is servers in a directory of their own, where each has its configuration, its data and its log. Its methods
// may be called concurrently.
type Fleet struct {
	dir     string
	command func(args ...string) *exec.Cmd
	relayed bool

	mu      sync.Mutex // guards what follows
	servers map[int]*server
}

type server struct {
	peer    peercatalog.Peer // as the others would reach it without relays
	http    string
	removed bool           // it is in the configuration no more
	process *exec.Cmd      // nil before it is started
	ended   chan struct{}  // closed when the process has ended
	relays  map[int]*Relay // where it reaches the others
}

// New makes a fleet without servers in an empty directory. command is that of a server, with the flags that it is to
// have. With relayed, what the servers say to one another goes through relays, which can be cut.
func New(dir string, relayed bool, command func(args ...string) *exec.Cmd) *Fleet {
	return &Fleet{dir: dir, command: command, relayed: relayed, servers: make(map[int]*server)}
}

// Add gives a server a key, addresses, and an entry in the configuration of all, which they take over as they run. It
// does not start it.
func (f *Fleet) Add(ids ...int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		public, secret, err := curve.Generate()
		if err != nil {
			return err
		}
		addresses, err := freeAddresses(2)
		if err != nil {
			return err
		}
		home := f.home(id)
		err = errors.Join(
			os.MkdirAll(home, 0o700),
			os.WriteFile(keyfile.Path("", home, id), keyfile.Text(secret), 0o600),
		)
		if err != nil {
			return err
		}
		s := &server{http: addresses[1], relays: make(map[int]*Relay)}
		s.peer = peercatalog.Peer{ID: id, Address: addresses[0], PublicKey: public, Extra: map[string]json.RawMessage{"kv": json.RawMessage(strconv.Quote(s.http))}}
		f.servers[id] = s
	}
	return f.write()
}

// Remove takes a server out of the configuration of the others. It does not end it.
func (f *Fleet) Remove(id int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.servers[id].removed = true
	return f.write()
}

func (f *Fleet) home(id int) string { return filepath.Join(f.dir, strconv.Itoa(id)) }

// config is where the configuration of a server is.
func (f *Fleet) config(id int) string { return filepath.Join(f.home(id), "Config.json") }

// write writes the configurations of all servers, each as that server is to see it.
func (f *Fleet) write() error {
	for _, id := range f.ids() {
		s := f.servers[id]
		cfg := cluster.Config{Cluster: "kv", Reload: true}
		for _, other := range f.ids() {
			p := f.servers[other].peer
			if f.relayed && other != id {
				if s.relays[other] == nil {
					r, err := newRelay(p.Address)
					if err != nil {
						return err
					}
					s.relays[other] = r
				}
				p.Address = s.relays[other].address()
			}
			cfg.Peers = append(cfg.Peers, p)
		}
		text, err := json.MarshalIndent(cfg, "", "  ")
		if err != nil {
			return err
		}
		next := f.config(id) + ".next"
		if err := errors.Join(os.WriteFile(next, text, 0o600), os.Rename(next, f.config(id))); err != nil {
			return err
		}
	}
	return nil
}

// ids are those of the servers in the configuration.
func (f *Fleet) ids() []int {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(f.servers)), func(id int) bool { return f.servers[id].removed })
}

// Servers are the ids of the servers in the configuration, whether they run or not.
func (f *Fleet) Servers() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ids()
}

// Address is where a server answers HTTP.
func (f *Fleet) Address(id int) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.servers[id].http
}

// Addresses are where the servers of the configuration answer HTTP.
func (f *Fleet) Addresses() (all []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range f.ids() {
		all = append(all, f.servers[id].http)
	}
	return all
}

// Start starts a server with what it has stored. More flags may be given.
func (f *Fleet) Start(id int, flags ...string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.servers[id]
	log, err := os.OpenFile(filepath.Join(f.home(id), "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	cmd := f.command(append(flags, f.Flags(id)...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	s.process, s.ended = cmd, ended
	go func() { // ends with the process, which Close kills at the latest
		cmd.Wait()
		close(ended)
	}()
	return nil
}

// Flags are those that a server is started with.
func (f *Fleet) Flags(id int) []string {
	return []string{"-id", strconv.Itoa(id), "-config", f.config(id), "-data", filepath.Join(f.home(id), "data")}
}

// Signal sends a signal to a server: SIGSTOP and SIGCONT stop it for a while.
func (f *Fleet) Signal(id int, s syscall.Signal) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.servers[id].process.Process.Signal(s)
}

// Kill ends a server by SIGKILL, as a power cut would but for what its system has not written to the disk yet.
func (f *Fleet) Kill(id int) error { return f.end(id, syscall.SIGKILL) }

// Stop lets a server end in good order.
func (f *Fleet) Stop(id int) error { return f.end(id, syscall.SIGTERM) }

func (f *Fleet) end(id int, by syscall.Signal) error {
	if err := f.Signal(id, by); err != nil {
		return err
	}
	f.mu.Lock()
	ended := f.servers[id].ended
	f.mu.Unlock()
	select {
	case <-ended:
		return nil
	case <-time.After(20 * time.Second):
		return fmt.Errorf("server %d has not ended 20 s after %v", id, by)
	}
}

// Close kills all servers, and leaves no goroutine. What they have written stays.
func (f *Fleet) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.servers {
		if s.process != nil {
			s.process.Process.Kill() // a process that has ended already is left alone
			<-s.ended
		}
		for _, r := range s.relays {
			r.close()
		}
	}
}

// between are the relays on the way from one server to another; the second is the way back.
func (f *Fleet) between(a, b int) [2]*Relay {
	f.mu.Lock()
	defer f.mu.Unlock()
	return [2]*Relay{f.servers[a].relays[b], f.servers[b].relays[a]}
}

// Cut lets nothing pass between a server and each of the others, in either direction, until Heal. Connections stand:
// what is sent waits, and arrives afterwards.
func (f *Fleet) Cut(id int, others ...int) {
	for _, other := range others {
		for _, r := range f.between(id, other) {
			r.shut()
		}
	}
}

// Heal lets everything pass again between all servers.
func (f *Fleet) Heal() { f.each((*Relay).unshut) }

// Reset breaks all connections between servers, with what is on its way. They can be made anew at once.
func (f *Fleet) Reset() { f.each((*Relay).reset) }

func (f *Fleet) each(do func(*Relay)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.servers {
		for _, r := range s.relays {
			do(r)
		}
	}
}

// Leader waits until a server says that it leads, and is the one of the latest term that does.
func (f *Fleet) Leader(ctx context.Context) (int, error) {
	type claim struct {
		Role string
		Term uint64
		id   int
	}
	for {
		var claims []claim
		for _, id := range f.Servers() {
			c := claim{id: id}
			text, err := Status(ctx, f.Address(id))
			if err == nil && json.Unmarshal(text, &c) == nil && c.Role == "Leader" {
				claims = append(claims, c)
			}
		}
		if len(claims) > 0 {
			return slices.MaxFunc(claims, func(a, b claim) int { return cmp.Compare(a.Term, b.Term) }).id, nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return 0, fmt.Errorf("no server says that it leads: %w", context.Cause(ctx))
		}
	}
}

// given are the addresses that this process has given to servers, which may not listen there yet, or not again.
var given sync.Map // string -> true

// freeAddresses are addresses of this machine that nobody listens at, each given once. Their ports are below those that
// the system gives away by itself, so that a server finds its own still free when it comes back.
func freeAddresses(n int) (all []string, err error) {
	for range 100 * n {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(22_000))
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		l.Close()
		if _, again := given.LoadOrStore(address, true); again {
			continue
		}
		if all = append(all, address); len(all) == n {
			return all, nil
		}
	}
	return nil, errors.New("no free ports from 10000 to 31999")
}
