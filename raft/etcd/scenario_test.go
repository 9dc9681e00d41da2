package etcd_test

import (
	"context"
	"encoding/binary"
	"flag"
	"io"
	"log"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/raft/etcd"
)

var long = flag.Bool("long", false, "run each scenario with 20 seeds")

// A member is a server with its Raft. What it has stored outlives the server, as a disk does.
type member struct {
	store *raft.MemoryStorage

	mu       sync.Mutex // guards what follows
	numbers  []uint64   // that were applied, in their order
	restored int        // how many snapshots were

	// As long as it runs:
	raft raft.Node
	stop chan struct{}
	done chan struct{}
}

func (m *member) all() []uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.numbers)
}

func (m *member) node() raft.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.raft
}

// A group is members in a network that has faults, in virtual time.
type group struct {
	t       *testing.T
	net     *clustertest.Network
	servers []*member

	mu    sync.Mutex // guards what follows
	asked map[uint64]bool
	next  uint64
	rises int // how often somebody became leader
}

const (
	tick        = 100 * time.Millisecond // an election takes ten of them
	snapshotGap = 50                     // entries until a snapshot is made; as many are kept behind it
)

var quiet = &raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)}

// newGroup starts servers, of which the first voters are in Raft's configuration.
func newGroup(t *testing.T, seed uint64, servers, voters int) *group {
	t.Helper()
	g := &group{t: t, net: clustertest.NewNetwork(t, seed, servers), asked: make(map[uint64]bool)}
	var peers []raft.Peer
	for pid := range voters {
		peers = append(peers, raft.Peer{ID: etcd.ID(pid)})
	}
	for _, node := range g.net.Start() {
		g.servers = append(g.servers, &member{store: raft.NewMemoryStorage()})
		if node.Pid() < voters {
			g.start(node, peers)
		} else {
			g.start(node, nil)
		}
	}
	return g
}

// start runs Raft on a node, with what its member has stored, or else among peers.
func (g *group) start(node *cluster.Node, peers []raft.Peer) {
	g.t.Helper()
	m := g.servers[node.Pid()]
	conf := &raft.Config{
		ID: etcd.ID(node.Pid()), ElectionTick: 10, HeartbeatTick: 1, Storage: m.store, Logger: quiet,
		MaxSizePerMsg: 1 << 20, MaxInflightMsgs: 256, CheckQuorum: true, PreVote: true,
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if snap, err := m.store.Snapshot(); err == nil && !raft.IsEmptySnap(snap) {
		conf.Applied = snap.GetMetadata().GetIndex()
		m.restore(snap)
	} else {
		m.numbers = nil
	}
	if peers != nil {
		m.raft = raft.StartNode(conf, peers)
	} else {
		m.raft = raft.RestartNode(conf)
	}
	transport, err := etcd.New(node, m.raft, etcd.Options{Timeout: time.Second})
	if err != nil {
		g.t.Fatal(err)
	}
	m.stop, m.done = make(chan struct{}), make(chan struct{})
	go g.run(m, transport, m.raft, m.stop, m.done) // ends with end, which waits for it
}

// end stops a member's Raft, and waits for it.
func (m *member) end() {
	close(m.stop)
	<-m.done
}

// run is what a program does around etcd's Raft.
func (g *group) run(m *member, transport *etcd.Transport, r raft.Node, stop, done chan struct{}) {
	defer close(done)
	defer transport.Close()
	defer r.Stop()
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	_, conf, _ := m.store.InitialState()
	stored, _ := m.store.Snapshot()
	snapped := stored.GetMetadata().GetIndex()
	leads := false
	for {
		select {
		case <-ticks.C:
			r.Tick()
		case rd := <-r.Ready():
			if rd.SoftState != nil {
				if now := rd.RaftState == raft.StateLeader; now != leads {
					leads = now
					g.rose(now)
				}
			}
			if !raft.IsEmptyHardState(rd.HardState) {
				m.store.SetHardState(proto.Clone(rd.HardState).(*raftpb.HardState))
			}
			if !raft.IsEmptySnap(rd.Snapshot) {
				m.store.ApplySnapshot(rd.Snapshot)
				conf, snapped = rd.Snapshot.GetMetadata().GetConfState(), rd.Snapshot.GetMetadata().GetIndex()
				m.mu.Lock()
				m.restore(rd.Snapshot)
				m.restored++
				m.mu.Unlock()
			}
			m.store.Append(rd.Entries)
			transport.Send(rd.Messages)
			for _, e := range rd.CommittedEntries {
				if c := m.apply(r, e); c != nil {
					conf = c
				}
				if e.GetIndex() >= snapped+snapshotGap {
					snapped = e.GetIndex()
					m.compact(snapped, conf)
				}
			}
			r.Advance()
		case <-stop:
			return
		}
	}
}

func (g *group) rose(yes bool) {
	if yes {
		g.mu.Lock()
		g.rises++
		g.mu.Unlock()
	}
}

func (g *group) leaders() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rises
}

// apply does what a committed entry says. It returns the configuration if that has changed.
func (m *member) apply(r raft.Node, e *raftpb.Entry) *raftpb.ConfState {
	switch {
	case e.GetType() == raftpb.EntryConfChange:
		c := new(raftpb.ConfChange)
		if err := proto.Unmarshal(e.GetData(), c); err != nil {
			panic(err)
		}
		return r.ApplyConfChange(c)
	case e.GetType() == raftpb.EntryConfChangeV2:
		c := new(raftpb.ConfChangeV2)
		if err := proto.Unmarshal(e.GetData(), c); err != nil {
			panic(err)
		}
		return r.ApplyConfChange(c)
	case len(e.GetData()) > 0:
		m.mu.Lock()
		m.numbers = append(m.numbers, binary.LittleEndian.Uint64(e.GetData()))
		m.mu.Unlock()
	}
	return nil
}

// compact makes a snapshot, and drops what is behind the one before.
func (m *member) compact(index uint64, conf *raftpb.ConfState) {
	var data []byte
	for _, n := range m.all() {
		data = binary.LittleEndian.AppendUint64(data, n)
	}
	m.store.CreateSnapshot(index, conf, data)
	if index > snapshotGap {
		m.store.Compact(index - snapshotGap)
	}
}

// restore takes the numbers of a snapshot. mu is held.
func (m *member) restore(s *raftpb.Snapshot) {
	m.numbers = nil
	for chunk := range slices.Chunk(s.GetData(), 8) {
		m.numbers = append(m.numbers, binary.LittleEndian.Uint64(chunk))
	}
}

// crash kills a server, and its Raft with it.
func (g *group) crash(pid int) {
	g.net.Crash(pid)
	g.servers[pid].end()
}

func (g *group) restart(pid int) { g.start(g.net.Start(pid)[0], nil) }

func (g *group) close() {
	for pid, m := range g.servers {
		m.end()
		if node := g.net.Node(pid); node != nil {
			node.Close()
		}
	}
}

// leader is the one of the latest term; -1 if nobody leads.
func (g *group) leader() int {
	leader, term := -1, uint64(0)
	for pid, m := range g.servers {
		if s := m.node().Status(); s.RaftState == raft.StateLeader && s.HardState.GetTerm() >= term {
			leader, term = pid, s.HardState.GetTerm()
		}
	}
	return leader
}

// lead waits until somebody leads.
func (g *group) lead() int {
	g.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(tick) {
		if leader := g.leader(); leader >= 0 {
			return leader
		}
	}
	g.t.Fatal("nobody has come to lead for a minute")
	return -1
}

// write proposes numbers to servers in turn until stop, of which followers send them on. Those that any server has applied must not be lost.
func (g *group) write(stop, done chan struct{}) {
	defer close(done)
	for turn := 0; ; turn++ {
		select {
		case <-stop:
			return
		case <-time.After(20 * time.Millisecond):
		}
		g.mu.Lock()
		g.next++
		n := g.next
		g.asked[n] = true
		g.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		g.servers[turn%len(g.servers)].node().Propose(ctx, binary.LittleEndian.AppendUint64(nil, n))
		cancel()
	}
}

// applied is what any of the servers has applied: it is committed.
func (g *group) applied() map[uint64]bool {
	all := make(map[uint64]bool)
	for _, m := range g.servers {
		for _, n := range m.all() {
			all[n] = true
		}
	}
	return all
}

// check waits until all voters have the same, and finds numbers that were committed and are lost, or that nobody proposed.
func (g *group) check(committed map[uint64]bool, voters ...int) {
	g.t.Helper()
	same := func() bool {
		first := g.servers[voters[0]].all()
		return !slices.ContainsFunc(voters, func(pid int) bool { return !slices.Equal(g.servers[pid].all(), first) })
	}
	for end := time.Now().Add(time.Minute); !same() && time.Now().Before(end); {
		time.Sleep(tick)
	}
	if !same() {
		for _, pid := range voters {
			g.t.Errorf("a minute after the end, server %d has applied %d numbers", pid, len(g.servers[pid].all()))
		}
		return
	}
	has := make(map[uint64]bool)
	for _, n := range g.servers[voters[0]].all() {
		if has[n] || !g.asked[n] {
			g.t.Errorf("number %d is there twice, or was not proposed", n)
		}
		has[n] = true
	}
	for n := range committed {
		if !has[n] {
			g.t.Errorf("number %d was committed, and is lost", n)
		}
	}
}

// A scenario is what happens while numbers are proposed: among them those of etcd's package rafttest.
type scenario struct {
	name            string
	servers, voters int
	faults          func(g *group) (voters []int) // who has to have everything in the end
	least           int                           // how many numbers must be committed
	steady          bool                          // nobody but the first may come to lead
}

func everybody(n int) (pids []int) {
	for pid := range n {
		pids = append(pids, pid)
	}
	return pids
}

func without(n int, gone ...int) []int {
	return slices.DeleteFunc(everybody(n), func(pid int) bool { return slices.Contains(gone, pid) })
}

var scenarios = []scenario{
	{name: "nothing happens", servers: 5, voters: 5, least: 1300, steady: true, faults: func(*group) []int {
		time.Sleep(30 * time.Second)
		return everybody(5)
	}},
	{name: "two followers crash one after the other, and come back", servers: 5, voters: 5, least: 200, faults: func(g *group) []int {
		leader := g.lead()
		first, second := (leader+1)%5, (leader+2)%5
		for _, f := range []func(){
			func() { g.crash(first) }, func() { g.crash(second) }, func() { g.restart(second) }, func() { g.restart(first) },
		} {
			f()
			time.Sleep(3 * time.Second)
		}
		return everybody(5)
	}},
	{name: "two followers stop, and go on", servers: 5, voters: 5, least: 200, faults: func(g *group) []int {
		leader := g.lead()
		first, second := (leader+1)%5, (leader+2)%5
		for _, f := range []func(){
			func() { g.net.Pause(first) }, func() { g.net.Pause(second) }, func() { g.net.Resume(second) }, func() { g.net.Resume(first) },
		} {
			f()
			time.Sleep(3 * time.Second)
		}
		return everybody(5)
	}},
	{name: "messages are slow, overtake one another, come twice and get lost", servers: 5, voters: 5, least: 100, faults: func(g *group) []int {
		g.net.Set(clustertest.Faults{Delay: clustertest.Between(10*time.Millisecond, 60*time.Millisecond), Loss: 0.02, Duplicate: 0.05, Reorder: 0.1})
		time.Sleep(30 * time.Second)
		g.net.Set(clustertest.Faults{})
		return everybody(5)
	}},
	{name: "the leader is cut off again and again", servers: 5, voters: 5, least: 150, faults: func(g *group) []int {
		for range 4 {
			g.net.Partition([]int{g.lead()})
			time.Sleep(6 * time.Second)
			g.net.Heal()
			time.Sleep(3 * time.Second)
		}
		return everybody(5)
	}},
	{name: "the leader is cut off with one follower", servers: 5, voters: 5, least: 150, faults: func(g *group) []int {
		for range 4 {
			leader := g.lead()
			g.net.Partition([]int{leader, (leader + 1) % 5})
			time.Sleep(6 * time.Second)
			g.net.Heal()
			time.Sleep(3 * time.Second)
		}
		return everybody(5)
	}},
	{name: "the leader crashes again and again", servers: 3, voters: 3, least: 150, faults: func(g *group) []int {
		for range 5 {
			leader := g.lead()
			g.crash(leader)
			time.Sleep(5 * time.Second)
			g.restart(leader)
			time.Sleep(3 * time.Second)
		}
		return everybody(3)
	}},
	{name: "one is so long away that it needs a snapshot", servers: 3, voters: 3, least: 150, faults: func(g *group) []int {
		away := (g.lead() + 1) % 3
		g.net.Partition([]int{away})
		time.Sleep(15 * time.Second)
		g.net.Heal()
		time.Sleep(10 * time.Second)
		m := g.servers[away]
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.restored == 0 {
			g.t.Error("it has got no snapshot")
		}
		return everybody(3)
	}},
	{name: "snapshots get lost", servers: 3, voters: 3, least: 200, faults: func(g *group) []int {
		away := (g.lead() + 1) % 3
		for range 3 {
			g.net.Partition([]int{away})
			time.Sleep(8 * time.Second)
			g.net.Heal()
			g.net.Set(clustertest.Faults{Loss: 0.1, Bandwidth: 40_000})
			time.Sleep(3 * time.Second)
			g.crash(away) // a snapshot to it may be under way
			g.net.Set(clustertest.Faults{})
			g.restart(away)
			time.Sleep(3 * time.Second)
		}
		return everybody(3)
	}},
	{name: "servers join under load, and the leader is removed", servers: 5, voters: 3, least: 200, faults: func(g *group) []int {
		for pid := 3; pid < 5; pid++ {
			time.Sleep(3 * time.Second)
			g.change(raftpb.ConfChangeAddNode, pid)
		}
		time.Sleep(5 * time.Second)
		leader := g.lead()
		g.change(raftpb.ConfChangeRemoveNode, leader)
		time.Sleep(10 * time.Second)
		return without(5, leader)
	}},
	{name: "leadership is handed over again and again", servers: 5, voters: 5, least: 200, faults: func(g *group) []int {
		for turn := range 10 {
			leader := g.lead()
			asked := g.servers[(leader+2)%5].node() // a follower, which sends it on
			asked.TransferLeadership(context.Background(), etcd.ID(leader), etcd.ID((leader+1+turn%4)%5))
			time.Sleep(2 * time.Second)
		}
		if n := g.leaders(); n < 8 {
			g.t.Errorf("there were %d leaders", n)
		}
		return everybody(5)
	}},
}

// change lets servers propose a change of the configuration until all but those that it removes have applied it.
func (g *group) change(typ raftpb.ConfChangeType, pid int) {
	g.t.Helper()
	leader := g.lead()
	c := &raftpb.ConfChange{Type: typ.Enum(), NodeId: new(etcd.ID(pid))}
	for range 20 {
		g.servers[leader].node().ProposeConfChange(context.Background(), c)
		time.Sleep(500 * time.Millisecond)
		leader = g.lead()
		_, is := g.servers[leader].node().Status().Config.Voters.IDs()[etcd.ID(pid)]
		if is == (typ == raftpb.ConfChangeAddNode) {
			return
		}
	}
	g.t.Errorf("%v of server %d was not done", typ, pid)
}

func TestNothingCommittedIsLost(t *testing.T) {
	seeds := uint64(1)
	if *long {
		seeds = 20
	}
	for i, s := range scenarios {
		if raceDetector && !*long && i%6 != 1 {
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
	g.lead()
	stop, done := make(chan struct{}), make(chan struct{})
	go g.write(stop, done) // ends with stop; done says so
	voters := s.faults(g)
	close(stop)
	<-done
	committed := g.applied()
	g.check(committed, voters...)
	if len(committed) < s.least {
		t.Errorf("seed %d: %d numbers were committed, want at least %d", seed, len(committed), s.least)
	}
	leaders := g.leaders()
	if s.steady && leaders != 1 {
		t.Errorf("seed %d: somebody came to lead %d times, though nothing was wrong", seed, leaders)
	}
	t.Logf("seed %d: %d numbers committed of %d, %d leaders", seed, len(committed), g.next, leaders)
}
