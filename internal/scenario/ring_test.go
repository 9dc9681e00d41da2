//go:build unix

package scenario

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/transport/sockets"
)

const (
	ringServers  = 1000
	ringMessages = 1000
	// ringFiles is what the servers of the ring need: each has a socket to
	// receive, one that watches it, and one to each of its two neighbours, with
	// two or three descriptors each, and both ends of its connections.
	ringFiles = 15_000
)

func init() { testcluster.Roles["ring"] = playRing }

// A ringReport is what the ring used, and the time that its parts took.
type ringReport struct {
	Start, Round, Close time.Duration
	Resident, Peak      int
	Threads             [3]int // after each part; they never become fewer
	Files               int
	Faults              []string
}

// playRing is the role of a child that plays all servers of the configuration as
// a ring, in which each message makes one full turn.
func playRing() {
	var r ring
	testcluster.Obey(func(words []string) (any, error) {
		switch words[0] {
		case "start":
			return nil, r.start()
		case "round":
			return nil, r.goRound()
		case "close":
			r.close()
			return r.report, nil
		}
		return nil, nil
	})
}

// A ring are its servers, in its order.
type ring struct {
	pids   []int
	nodes  []*cluster.Node
	report ringReport
}

func (r *ring) start() error {
	began := time.Now()
	cfg, pids, err := testcluster.ChildServers(slog.LevelWarn)
	if err != nil {
		return err
	}
	r.pids, r.nodes = pids, make([]*cluster.Node, len(pids))
	for i, pid := range pids {
		if r.nodes[i], err = cluster.NewFromConfig(pid, cfg); err != nil {
			return err
		}
	}
	r.report.Start, r.report.Threads[0] = time.Since(began), testcluster.StatusField("Threads")
	return nil
}

func (r *ring) goRound() error {
	began, pids, nodes := time.Now(), r.pids, r.nodes
	for i, n := range nodes[1:] {
		next := pids[(i+2)%len(pids)]
		go func() { // It ends when the node closes.
			for e := range n.Inbox() {
				n.Outbox() <- &cluster.Envelope{Pid: next, MsgId: e.MsgId, Msg: e.Msg.(int64)}
			}
		}()
	}
	first := nodes[0]
	go func() { // It ends with its last message.
		for k := range int64(ringMessages) {
			first.Outbox() <- &cluster.Envelope{Pid: pids[1], Msg: k}
		}
	}()
	for k := range int64(ringMessages) {
		select {
		case e := <-first.Inbox():
			if e.Msg != k || e.Pid != pids[len(pids)-1] {
				r.fault("message %v from %d came back, want %d from %d", e.Msg, e.Pid, k, pids[len(pids)-1])
			}
		case <-time.After(testcluster.Limit / 2):
			return fmt.Errorf("message %d has not come back", k)
		}
	}
	r.report.Round = time.Since(began)
	u := testcluster.UsageNow()
	r.report.Resident, r.report.Threads[1], r.report.Files = u.Resident, u.Threads, u.Files
	return nil
}

func (r *ring) fault(format string, args ...any) {
	r.report.Faults = append(r.report.Faults, fmt.Sprintf(format, args...))
}

func (r *ring) close() {
	began := time.Now()
	var closing sync.WaitGroup
	errs := make([]error, len(r.nodes))
	// Each that is inside ZeroMQ can cost a thread, so not all close at once.
	turns := make(chan struct{}, 16)
	for i, n := range r.nodes {
		turns <- struct{}{}
		closing.Go(func() {
			errs[i] = n.Close()
			<-turns
		})
	}
	closing.Wait()
	u := testcluster.UsageNow()
	r.report.Close, r.report.Threads[2], r.report.Peak = time.Since(began), u.Threads, u.Peak
	for i, n := range r.nodes {
		if errs[i] != nil {
			r.fault("%v", errs[i])
		}
		if d := n.Stats().Sent.Dropped; len(d) > 0 {
			r.fault("server %d dropped %v", n.Pid(), d)
		}
		if s := n.Stats(); s.Sent.Accepted != ringMessages || s.Sent.Sent != ringMessages || s.Received.Received != ringMessages {
			r.fault("the books of server %d do not close:\n%v", n.Pid(), s)
		}
	}
}

func TestARingOfAThousandServersInOneProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if files.Max < ringFiles {
		t.Skipf("the limit of open files is %d; %d are needed (ulimit -n %d)", files.Max, ringFiles, ringFiles)
	}
	servers := ringServers
	if testcluster.RaceEnabled {
		servers = 200 // everything takes ten times as long
	}
	cfg := testcluster.ProcessConfig(t, servers)
	cfg.SendTimeout = testcluster.Limit
	var pids []int
	for _, p := range cfg.Peers {
		pids = append(pids, p.ID)
	}
	c := testcluster.SpawnRole(t, "ring", cfg, pids...)
	var r ringReport
	c.Do("start", nil) // Each part takes seconds, and has a limit of its own.
	c.Do("round", nil)
	c.Do("close", &r)
	t.Logf("started in %v, went round in %v, closed in %v; %d MB resident, %d MB at the peak, threads %v, %d descriptors",
		r.Start, r.Round, r.Close, r.Resident>>20, r.Peak>>20, r.Threads, r.Files)
	for _, f := range r.Faults[:min(len(r.Faults), 10)] {
		t.Error(f)
	}
	memory, threads := 300<<20, 32 // each server has a connection in both directions, and libzmq needs 50 KB for each
	if os.Getenv(sockets.Variable) == sockets.Go {
		memory, threads = 250<<20, 16
	}
	if slices.Max(r.Threads[:]) > threads {
		t.Errorf("the process had %v threads after its parts, want at most %d", r.Threads, threads)
	}
	if r.Resident > memory && !testcluster.RaceEnabled {
		t.Errorf("the process had %d MB in memory, want at most %d", r.Resident>>20, memory>>20)
	}
}
