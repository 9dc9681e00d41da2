package hashicorp_test

import (
	"encoding/binary"
	"io"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/raft/hashicorp"
)

// A machine is a state machine that keeps the numbers that were applied to it.
type machine struct {
	mu       sync.Mutex // guards what follows
	numbers  []uint64
	restored int // from how many snapshots
}

func (m *machine) Apply(l *raft.Log) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.numbers = append(m.numbers, binary.LittleEndian.Uint64(l.Data))
	return nil
}

func (m *machine) all() []uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.numbers)
}

func (m *machine) Snapshot() (raft.FSMSnapshot, error) { return snapshot(m.all()), nil }

func (m *machine) Restore(r io.ReadCloser) error {
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.numbers = nil
	m.restored++
	for chunk := range slices.Chunk(text, 8) {
		m.numbers = append(m.numbers, binary.LittleEndian.Uint64(chunk))
	}
	return nil
}

type snapshot []uint64

func (s snapshot) Persist(sink raft.SnapshotSink) error {
	var text []byte
	for _, n := range s {
		text = binary.LittleEndian.AppendUint64(text, n)
	}
	if _, err := sink.Write(text); err != nil {
		sink.Cancel()
		return err
	}
	return sink.Close()
}

func (snapshot) Release() {}

// A member is a server with its Raft. What it has stored outlives the server, as a disk does.
type member struct {
	store     *raft.InmemStore
	snapshots *raft.InmemSnapshotStore

	// As long as it runs:
	raft    atomic.Pointer[raft.Raft]
	machine *machine
}

// A group is members in a network that has faults, in virtual time.
type group struct {
	t       *testing.T
	net     *clustertest.Network
	servers []*member

	mu    sync.Mutex // guards what follows
	acked []uint64   // the numbers that a leader has said to be committed
	next  uint64
	rises int // how often somebody became leader
}

// newGroup starts servers, of which the first voters are in Raft's configuration.
func newGroup(t *testing.T, seed uint64, servers, voters int) *group {
	t.Helper()
	g := &group{t: t, net: clustertest.NewNetwork(t, seed, servers)}
	var conf raft.Configuration
	for id := range voters {
		conf.Servers = append(conf.Servers, raft.Server{ID: serverID(id), Address: hashicorp.Address(id)})
	}
	for _, node := range g.net.Start() {
		m := &member{store: raft.NewInmemStore(), snapshots: raft.NewInmemSnapshotStore()}
		g.servers = append(g.servers, m)
		g.start(node)
		if node.Pid() < voters {
			if err := m.raft.Load().BootstrapCluster(conf).Error(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return g
}

func serverID(id int) raft.ServerID { return raft.ServerID("server-" + strconv.Itoa(id)) }

// start runs Raft on a node, with what its member has stored.
func (g *group) start(node *cluster.Node) {
	g.t.Helper()
	m := g.servers[node.Pid()]
	// Some servers have pipelines when they lead, some none, and some as it comes.
	transport, err := hashicorp.New(node, hashicorp.Config{MaxInFlight: node.Pid() % 3})
	if err != nil {
		g.t.Fatal(err)
	}
	conf := raft.DefaultConfig()
	conf.LocalID = serverID(node.Pid())
	conf.Logger = hclog.NewNullLogger()
	conf.SnapshotThreshold, conf.SnapshotInterval, conf.TrailingLogs = 100, 5*time.Second, 50
	m.machine = new(machine)
	r, err := raft.NewRaft(conf, m.machine, m.store, m.store, m.snapshots, transport)
	if err != nil {
		g.t.Fatal(err)
	}
	m.raft.Store(r)
	leads := r.LeaderCh()
	go func() { // ends with the node
		for {
			select {
			case yes := <-leads:
				if yes {
					g.mu.Lock()
					g.rises++
					g.mu.Unlock()
				}
			case <-node.Done():
				return
			}
		}
	}()
}

// crash kills a server, and its Raft with it.
func (g *group) crash(id int) {
	g.t.Helper()
	g.net.Crash(id)
	if err := g.servers[id].raft.Load().Shutdown().Error(); err != nil {
		g.t.Error(err)
	}
}

func (g *group) restart(id int) { g.start(g.net.Start(id)[0]) }

// close shuts all down.
func (g *group) close() {
	for id := range g.servers {
		if err := g.servers[id].raft.Load().Shutdown().Error(); err != nil {
			g.t.Error(err)
		}
		if node := g.net.Node(id); node != nil {
			node.Close()
		}
	}
}

// leader is the one of the latest term; -1 if nobody leads.
func (g *group) leader() int {
	leader, term := -1, uint64(0)
	for id, m := range g.servers {
		if r := m.raft.Load(); r.State() == raft.Leader && r.CurrentTerm() >= term {
			leader, term = id, r.CurrentTerm()
		}
	}
	return leader
}

// write gives numbers to whoever leads, for as long as until has not passed. Those that it confirms are acked.
func (g *group) write(until time.Duration) {
	for end := time.Now().Add(until); time.Now().Before(end); {
		leader := g.leader()
		if leader < 0 {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		g.mu.Lock()
		g.next++
		n := g.next
		g.mu.Unlock()
		f := g.servers[leader].raft.Load().Apply(binary.LittleEndian.AppendUint64(nil, n), time.Second)
		if f.Error() == nil {
			g.mu.Lock()
			g.acked = append(g.acked, n)
			g.mu.Unlock()
		} else {
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// check waits until all voters have the same, and finds numbers that were acked and are lost.
func (g *group) check(voters ...int) {
	g.t.Helper()
	same := func() bool {
		first := g.servers[voters[0]].machine.all()
		return !slices.ContainsFunc(voters, func(id int) bool { return !slices.Equal(g.servers[id].machine.all(), first) })
	}
	for end := time.Now().Add(time.Minute); !same() && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
	}
	if !same() {
		for _, id := range voters {
			g.t.Errorf("a minute after the end, server %d has applied %d numbers", id, len(g.servers[id].machine.all()))
		}
		return
	}
	all := g.servers[voters[0]].machine.all()
	has := make(map[uint64]bool, len(all))
	for _, n := range all {
		if has[n] {
			g.t.Errorf("number %d is there twice", n)
		}
		has[n] = true
	}
	for _, n := range g.acked {
		if !has[n] {
			g.t.Errorf("number %d was acknowledged, and is lost", n)
		}
	}
}

func everybody(n int) (ids []int) {
	for id := range n {
		ids = append(ids, id)
	}
	return ids
}

// A scenario is what happens while numbers are written: among them those of hashicorp/raft's module fuzzy.
type scenario struct {
	name            string
	servers, voters int
	faults          func(g *group, seed uint64) (voters []int) // who has to have everything in the end; takes a minute or so
	least           int                                        // how many numbers must be acked
	steady          bool                                       // nobody but the first may come to lead
}

var scenarios = []scenario{
	{name: "nothing happens", servers: 5, voters: 5, least: 4000, steady: true, faults: func(g *group, _ uint64) []int {
		time.Sleep(time.Minute)
		return everybody(5)
	}},
	{name: "the leader is cut off again and again", servers: 5, voters: 5, least: 500, faults: func(g *group, _ uint64) []int {
		for range 6 {
			if leader := g.leader(); leader >= 0 {
				g.net.Partition([]int{leader})
			}
			time.Sleep(6 * time.Second)
			g.net.Heal()
			time.Sleep(4 * time.Second)
		}
		return everybody(5)
	}},
	{name: "the leader is cut off with one follower", servers: 5, voters: 5, least: 500, faults: func(g *group, seed uint64) []int {
		for range 6 {
			if leader := g.leader(); leader >= 0 {
				g.net.Partition([]int{leader, (leader + 1 + int(seed)%4) % 5})
			}
			time.Sleep(6 * time.Second)
			g.net.Heal()
			time.Sleep(4 * time.Second)
		}
		return everybody(5)
	}},
	{name: "messages are slow and get lost", servers: 5, voters: 5, least: 100, faults: func(g *group, _ uint64) []int {
		g.net.Set(clustertest.Faults{Delay: clustertest.Between(20*time.Millisecond, 80*time.Millisecond), Loss: 0.02})
		time.Sleep(time.Minute)
		g.net.Set(clustertest.Faults{})
		return everybody(5)
	}},
	{name: "the leader crashes again and again", servers: 3, voters: 3, least: 500, faults: func(g *group, _ uint64) []int {
		for range 6 {
			leader := g.leader()
			if leader < 0 {
				leader = 0
			}
			g.crash(leader)
			time.Sleep(5 * time.Second)
			g.restart(leader)
			time.Sleep(5 * time.Second)
		}
		return everybody(3)
	}},
	{name: "one is so long away that it needs a snapshot", servers: 3, voters: 3, least: 3000, faults: func(g *group, _ uint64) []int {
		time.Sleep(3 * time.Second)
		away := (g.leader() + 1) % 3
		g.net.Partition([]int{away})
		time.Sleep(30 * time.Second)
		g.net.Heal()
		time.Sleep(20 * time.Second)
		if g.servers[away].machine.restored == 0 {
			g.t.Error("it has got no snapshot")
		}
		return everybody(3)
	}},
	{name: "servers join under load", servers: 7, voters: 3, least: 1000, faults: func(g *group, _ uint64) []int {
		for id := 3; id < 7; id++ {
			time.Sleep(5 * time.Second)
			g.change(func(r *raft.Raft) error { return r.AddVoter(serverID(id), hashicorp.Address(id), 0, 0).Error() })
		}
		time.Sleep(10 * time.Second)
		return everybody(7)
	}},
	{name: "followers are removed under load, one of them while it is cut off", servers: 5, voters: 5, least: 1000, faults: func(g *group, _ uint64) []int {
		time.Sleep(5 * time.Second)
		leader := g.leader()
		first, second := (leader+1)%5, (leader+2)%5
		g.change(func(r *raft.Raft) error { return r.RemoveServer(serverID(first), 0, 0).Error() })
		time.Sleep(5 * time.Second)
		g.net.Partition([]int{second})
		time.Sleep(5 * time.Second)
		g.change(func(r *raft.Raft) error { return r.RemoveServer(serverID(second), 0, 0).Error() })
		g.net.Heal()
		time.Sleep(20 * time.Second)
		return slices.DeleteFunc(everybody(5), func(id int) bool { return id == first || id == second })
	}},
	{name: "the leader is removed", servers: 5, voters: 5, least: 1000, faults: func(g *group, _ uint64) []int {
		time.Sleep(5 * time.Second)
		leader := g.leader()
		g.change(func(r *raft.Raft) error { return r.RemoveServer(serverID(leader), 0, 0).Error() })
		time.Sleep(30 * time.Second)
		return slices.DeleteFunc(everybody(5), func(id int) bool { return id == leader })
	}},
	{name: "leadership is handed over again and again", servers: 5, voters: 5, least: 1000, faults: func(g *group, _ uint64) []int {
		for range 20 {
			time.Sleep(2 * time.Second)
			if leader := g.leader(); leader >= 0 {
				g.servers[leader].raft.Load().LeadershipTransfer().Error() // It may fail if there is a new leader already.
			}
		}
		return everybody(5)
	}},
}

// change lets the leader change the configuration; another tries if it is none any more.
func (g *group) change(f func(*raft.Raft) error) {
	g.t.Helper()
	var err error
	for range 100 {
		if leader := g.leader(); leader >= 0 {
			if err = f(g.servers[leader].raft.Load()); err == nil {
				return
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	g.t.Errorf("the configuration could not be changed: %v", err)
}

func TestNothingAcknowledgedIsLost(t *testing.T) {
	seeds := uint64(1)
	if *long {
		seeds = 20
	}
	for i, s := range scenarios {
		if raceDetector && !*long && i%3 != 1 {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			for seed := range seeds {
				synctest.Test(t, func(t *testing.T) { s.play(t, seed+1) })
			}
		})
	}
}

func (s scenario) play(t *testing.T, seed uint64) {
	g := newGroup(t, seed, s.servers, s.voters)
	defer g.close()
	done, stop := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop; done says so
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				g.write(100 * time.Millisecond)
			}
		}
	}()
	voters := s.faults(g, seed)
	close(stop)
	<-done
	g.check(voters...)
	if len(g.acked) < s.least {
		t.Errorf("seed %d: %d numbers were acknowledged, want at least %d", seed, len(g.acked), s.least)
	}
	if s.steady && g.rises != 1 {
		t.Errorf("seed %d: somebody came to lead %d times, though nothing was wrong", seed, g.rises)
	}
	t.Logf("seed %d: %d numbers acknowledged, %d leaders", seed, len(g.acked), g.rises)
}
