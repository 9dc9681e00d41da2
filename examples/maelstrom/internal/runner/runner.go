// Package runner plays the part of Maelstrom: it starts servers as processes, carries their messages with delays, losses
// and partitions, lets clients ask them, and checks what they answer, and that they keep to the protocol. It is much less
// than Maelstrom is, and needs nothing but Go.
package runner

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config says what is run.
type Config struct {
	Workload string    // echo, unique-ids, broadcast or lin-kv
	Command  []string  // starts one server
	Env      []string  // beside this process's environment, for the servers
	Stderr   io.Writer // of the servers, which write to it concurrently; nil: what they write there is dropped

	Nodes, Clients int
	Duration       time.Duration // of the clients' requests
	Pause          time.Duration // of a client between two requests, on average

	// Seed is what the clients' requests, the delays and losses of each path, and the partitions are drawn from. How the
	// processes run is not, so that a seed gives the same network, and not always the same history.
	Seed uint64
	// Latency is how long a message between servers takes on average, exponentially distributed: later ones may
	// overtake it. Messages of clients take no time.
	Latency time.Duration
	// Loss is what part of the messages between servers is lost, from 0 to 1.
	Loss float64
	// Partition is how long the servers are in two parts, and then whole, in turn; 0 means that they are always whole.
	Partition time.Duration
	// Patience is how long a client waits for an answer; 0 means 5 s, as Maelstrom's wait, but for those of lin-kv, which
	// wait for 1 s at least.
	Patience time.Duration
	// Settle is how long the servers have, when the faults are over, until all is in order; 0 means 30 s.
	Settle time.Duration
}

// A Report is what came of a run.
type Report struct {
	OK, Failed, Unknown int // requests of clients: answered, refused for certain, and those whose fate is not known
	Messages, Lost      int // between servers; those that were lost are among Messages
	Partitions          int
	Faults              []string // what was wrong; empty if all was right
}

func (r Report) String() string {
	s := fmt.Sprintf("%d requests ok, %d failed, %d unknown; %d messages between servers, %d lost; %d partitions",
		r.OK, r.Failed, r.Unknown, r.Messages, r.Lost, r.Partitions)
	if len(r.Faults) > 0 {
		s += "\nFAULTS:\n  " + strings.Join(r.Faults, "\n  ")
	}
	return s
}

const (
	usualPatience = 5 * time.Second
	usualSettle   = 30 * time.Second
)

// A workload makes the requests of one kind of service, and checks what comes of them.
type workload interface {
	// request asks a server for something once. It is called concurrently, for each client by one goroutine.
	request(c *client, chance *rand.Rand)
	// settle waits until the servers are in order, when the faults are over, and tells what is missing.
	settle(ctx context.Context, c *client)
	// check tells what was wrong in all that was answered.
	check()
}

var workloads = map[string]func(*run) workload{
	"echo":       func(r *run) workload { return &echo{run: r} },
	"unique-ids": func(r *run) workload { return &uniqueIDs{run: r, seen: make(map[string]string)} },
	"broadcast":  func(r *run) workload { return &broadcast{run: r, sent: make(map[string]bool)} },
	"lin-kv":     func(r *run) workload { return &linKV{run: r, began: time.Now()} },
}

// run is one run.
type run struct {
	cfg   Config
	net   *network
	names []string // of the servers

	mu     sync.Mutex // guards report
	report Report
}

// chance is what is drawn for one purpose. It depends on nothing else than the seed.
func (r *run) chance(purpose string, number int) *rand.Rand {
	return rand.New(rand.NewPCG(r.cfg.Seed, uint64(number)<<32|hash(purpose)))
}

func hash(s string) (h uint64) {
	for _, b := range []byte(s) {
		h = (h*31 + uint64(b)) & 0xffff_ffff
	}
	return h
}

// maxFaults is how many faults are told; those after them say little more.
const maxFaults = 10

// fault notes what was wrong.
func (r *run) fault(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.report.Faults) < maxFaults {
		r.report.Faults = append(r.report.Faults, fmt.Sprintf(format, args...))
	}
}

// Run starts the servers, has them asked and checked, and ends them. The error says why nothing could be run; what was
// wrong with the servers is in the report.
func Run(ctx context.Context, cfg Config) (Report, error) {
	workloadOf, ok := workloads[cfg.Workload]
	if !ok {
		return Report{}, fmt.Errorf("the workload %q is unknown: want one of %v", cfg.Workload, slices.Sorted(maps.Keys(workloads)))
	}
	if cfg.Nodes < 1 || cfg.Clients < 1 || len(cfg.Command) == 0 {
		return Report{}, fmt.Errorf("%d servers of %q and %d clients: want one of each at least", cfg.Nodes, cfg.Command, cfg.Clients)
	}
	if cfg.Patience == 0 {
		cfg.Patience = usualPatience
	}
	if cfg.Settle == 0 {
		cfg.Settle = usualSettle
	}
	r := &run{cfg: cfg}
	for i := range cfg.Nodes {
		r.names = append(r.names, fmt.Sprintf("n%d", i+1))
	}
	r.net = newNetwork(r)
	err := r.net.start()
	if err == nil {
		r.play(ctx, workloadOf(r))
	}
	r.net.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.report, err
}

// play goes through all parts of a run while the servers are there.
func (r *run) play(ctx context.Context, w workload) {
	admin := r.net.client("c0")
	if !r.begin(ctx, admin) {
		return
	}
	during, cancel := context.WithTimeout(ctx, r.cfg.Duration)
	defer cancel()
	var running sync.WaitGroup
	for i := range r.cfg.Clients {
		c := r.net.client(fmt.Sprintf("c%d", i+1))
		running.Go(func() {
			chance := r.chance("client", i)
			for during.Err() == nil {
				w.request(c, chance)
				sleep(during, time.Duration(chance.ExpFloat64()*float64(r.cfg.Pause)))
			}
		})
	}
	running.Go(func() { r.net.divide(during) })
	running.Wait()
	r.net.calm()
	settled, cancel := context.WithTimeout(ctx, r.cfg.Settle)
	defer cancel()
	w.settle(settled, admin)
	w.check()
}

// begin tells the servers who they are, and what Maelstrom tells them more of.
func (r *run) begin(ctx context.Context, admin *client) bool {
	for _, name := range r.names {
		a := admin.call(ctx, name, "init", fields{"node_id": name, "node_ids": r.names}, "init_ok")
		if a.outcome != ok {
			r.fault("%s did not answer init: %v", name, a)
			return false
		}
	}
	if r.cfg.Workload != "broadcast" {
		return true
	}
	topology := make(map[string][]string)
	for _, name := range r.names {
		topology[name] = slices.DeleteFunc(slices.Clone(r.names), func(other string) bool { return other == name })
	}
	for _, name := range r.names {
		if a := admin.call(ctx, name, "topology", fields{"topology": topology}, "topology_ok"); a.outcome != ok {
			r.fault("%s did not answer topology: %v", name, a)
			return false
		}
	}
	return true
}

// sleep waits for a time, or until the context ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
