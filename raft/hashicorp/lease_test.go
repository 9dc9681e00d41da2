package hashicorp_test

import (
	"io"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/raft/hashicorp"
)

// A bulky is a state machine whose snapshots are of that many zeros, and which keeps nothing.
type bulky struct {
	size     int64
	restored chan int64 // of one: the size of a snapshot that was restored
}

func (bulky) Apply(*raft.Log) any                   { return nil }
func (b bulky) Snapshot() (raft.FSMSnapshot, error) { return b, nil }
func (bulky) Release()                              {}

func (b bulky) Persist(sink raft.SnapshotSink) error {
	if _, err := io.CopyN(sink, zeros{}, b.size); err != nil {
		return err
	}
	return sink.Close()
}

func (b bulky) Restore(r io.ReadCloser) error {
	n, err := io.Copy(io.Discard, r)
	b.restored <- n
	return err
}

// An attic is a raft.SnapshotStore for snapshots of zeros, of which it knows the latest.
type attic struct {
	mu     sync.Mutex // guards latest
	latest *raft.SnapshotMeta
}

func (a *attic) Create(version raft.SnapshotVersion, index, term uint64, conf raft.Configuration, confIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return &box{attic: a, meta: raft.SnapshotMeta{
		Version: version, ID: "latest", Index: index, Term: term, Configuration: conf, ConfigurationIndex: confIndex,
	}}, nil
}

func (a *attic) List() ([]*raft.SnapshotMeta, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.latest == nil {
		return nil, nil
	}
	return []*raft.SnapshotMeta{a.latest}, nil
}

func (a *attic) Open(string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.latest, io.NopCloser(io.LimitReader(zeros{}, a.latest.Size)), nil
}

// A box is a snapshot that is being put into an attic.
type box struct {
	attic *attic
	meta  raft.SnapshotMeta
}

func (b *box) Write(p []byte) (int, error) { b.meta.Size += int64(len(p)); return len(p), nil }
func (b *box) ID() string                  { return b.meta.ID }
func (b *box) Cancel() error               { return nil }

func (b *box) Close() error {
	b.attic.mu.Lock()
	defer b.attic.mu.Unlock()
	b.attic.latest = &b.meta
	return nil
}

const lease = 3 * time.Second

// run starts a Raft of three voters on a node.
func run(t *testing.T, node *cluster.Node, fsm raft.FSM) *raft.Raft {
	t.Helper()
	transport, err := hashicorp.New(node, hashicorp.Config{Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	conf := raft.DefaultConfig()
	conf.LocalID, conf.Logger, conf.TrailingLogs = serverID(node.Pid()), hclog.NewNullLogger(), 0
	// A machine that is busy with something else for a second is no reason for an election.
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = lease, lease, lease
	store := raft.NewInmemStore()
	r, err := raft.NewRaft(conf, fsm, store, store, new(attic), transport)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Shutdown().Error(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// A follower that has nothing gets a snapshot, while the leader keeps its lease, and goes on taking entries.
func TestALargeSnapshotCausesNoElectionAndWritesGoOn(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector is as slow as a busy machine")
	}
	size := int64(64 << 20)
	if *long {
		size = 1 << 30
	}
	nodes := clustertest.StartLocal(t, 3, patient, func(cfg *cluster.Config) { cfg.Transport = "go" })
	fsm := bulky{size, make(chan int64, 1)}
	rafts := []*raft.Raft{run(t, nodes[0], fsm), run(t, nodes[1], fsm)}
	var all raft.Configuration
	for id := range nodes {
		all.Servers = append(all.Servers, raft.Server{ID: serverID(id), Address: hashicorp.Address(id)})
	}
	for _, r := range rafts {
		if err := r.BootstrapCluster(all).Error(); err != nil {
			t.Fatal(err)
		}
	}
	leader := leaderOf(t, rafts)
	if err := leader.Apply([]byte("x"), deadline).Error(); err != nil {
		t.Fatal(err)
	}
	if err := leader.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	term, began := leader.CurrentTerm(), time.Now()
	run(t, nodes[2], fsm) // has nothing, and is not bootstrapped: it joins by the snapshot
	var writes int
	var slowest time.Duration
	for {
		before := time.Now()
		if err := leader.Apply([]byte("x"), deadline).Error(); err != nil {
			t.Fatalf("after %v and %d writes: %v", time.Since(began), writes, err)
		}
		writes, slowest = writes+1, max(slowest, time.Since(before))
		select {
		case n := <-fsm.restored:
			if n != size {
				t.Errorf("a snapshot of %d bytes was restored, want %d", n, size)
			}
			if leader.State() != raft.Leader || leader.CurrentTerm() != term {
				t.Errorf("it is %v in term %d, and led in term %d", leader.State(), leader.CurrentTerm(), term)
			}
			t.Logf("%d MiB took %v, with %d writes meanwhile, the slowest in %v", size>>20, time.Since(began), writes, slowest)
			if writes < 10 {
				t.Error("too few writes to say that they go on")
			}
			return
		default:
		}
		if time.Since(began) > 10*deadline {
			t.Fatal("the snapshot has not arrived")
		}
	}
}

func leaderOf(t *testing.T, rafts []*raft.Raft) *raft.Raft {
	t.Helper()
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		for _, r := range rafts {
			if r.State() == raft.Leader {
				return r
			}
		}
	}
	t.Fatal("nobody leads")
	panic("unreachable")
}
