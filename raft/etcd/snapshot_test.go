package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/clustertest"
	"github.com/abhishekg16/cluster/raft/etcd"
)

var (
	finished = result{2, raft.SnapshotFinish}
	failed   = result{2, raft.SnapshotFailure}
)

func TestASnapshotArrivesWhole(t *testing.T) {
	for _, window := range []int{64 << 10, 1 << 20} {
		a, ra, rb, _ := pair(t, etcd.Options{SnapshotWindow: window})
		for _, size := range []int{0, 1, 64 << 10, 64<<10 + 1, 5_000_000} {
			data := make([]byte, size)
			rand.NewChaCha8([32]byte{}).Read(data)
			sent := snap(4, data)
			sent.Context = []byte("context")
			before := proto.Clone(sent)
			a.Send([]*raftpb.Message{sent})
			got := next(t, rb.steps, "snapshot")
			if !bytes.Equal(got.GetSnapshot().GetData(), data) {
				t.Errorf("of %d bytes came %d, or others", size, len(got.GetSnapshot().GetData()))
			}
			got.Snapshot.Data = data // nil and empty are the same to Raft
			if !proto.Equal(got, before) || !proto.Equal(sent, before) {
				t.Errorf("of %d bytes: another message came, or what was sent was changed", size)
			}
			if got := next(t, ra.snapshots, "report"); got != finished {
				t.Errorf("of %d bytes: reported %+v", size, got)
			}
		}
		none(t, ra.snapshots, "reported once more")
		none(t, ra.unreachable, "reported to be unreachable")
	}
}

// A machine whose snapshots are large is as good for heartbeats as another.
func TestASnapshotHoldsUpNothingElse(t *testing.T) {
	nodes := clustertest.StartLocal(t, 2, patient)
	ra, rb := newPlayed(), newPlayed()
	free := make(chan struct{})
	rb.step = func(ctx context.Context, m *raftpb.Message) error {
		if m.GetType() == raftpb.MsgSnap {
			select {
			case <-free:
			case <-ctx.Done(): // The test has failed.
			}
		}
		rb.steps <- m
		return nil
	}
	open(t, nodes[1], rb, etcd.Options{})
	a := open(t, nodes[0], ra, etcd.Options{})
	a.Send([]*raftpb.Message{snap(1, make([]byte, 8<<20))})
	for n := range uint64(20) {
		a.Send([]*raftpb.Message{msg(raftpb.MsgHeartbeat, n)})
		if got := next(t, rb.steps, "heartbeat"); got.GetType() != raftpb.MsgHeartbeat || got.GetTerm() != n {
			t.Fatalf("got %v of term %d, want heartbeat %d", got.GetType(), got.GetTerm(), n)
		}
	}
	none(t, ra.snapshots, "reported before Raft has it")
	close(free)
	next(t, rb.steps, "snapshot")
	if got := next(t, ra.snapshots, "report"); got != finished {
		t.Errorf("reported %+v", got)
	}
}

// Raft may take longer for a snapshot than anything else: the sender waits as long as the receiver says that it is at it.
func TestASnapshotMayTakeRaftLong(t *testing.T) {
	t.Parallel() // It mostly waits.
	const timeout = 3 * time.Second
	nodes := clustertest.StartLocal(t, 2, patient)
	ra, rb := newPlayed(), newPlayed()
	rb.step = func(context.Context, *raftpb.Message) error {
		time.Sleep(3 * timeout / 2)
		return nil
	}
	open(t, nodes[1], rb, etcd.Options{Timeout: timeout})
	open(t, nodes[0], ra, etcd.Options{Timeout: timeout}).Send([]*raftpb.Message{snap(1, []byte("data"))})
	if got := next(t, ra.snapshots, "report"); got != finished {
		t.Errorf("reported %+v", got)
	}
}

func TestASnapshotThatDoesNotArriveIsReportedOnce(t *testing.T) {
	const size = 8 << 20
	// once fails the test unless that and nothing else is reported, also when all has been closed.
	once := func(t *testing.T, a *etcd.Transport, ra *played, want result) {
		t.Helper()
		if got := next(t, ra.snapshots, "report"); got != want {
			t.Errorf("reported %+v, want %+v", got, want)
		}
		a.Close()
		none(t, ra.snapshots, "reported once more")
	}
	logger := func() (*bytes.Buffer, *slog.Logger) {
		b := new(bytes.Buffer)
		return b, slog.New(slog.NewTextHandler(b, nil))
	}
	t.Run("it is too large for its receiver", func(t *testing.T) {
		log, to := logger()
		a, ra, rb, _ := pair(t, etcd.Options{MaxSnapshotBytes: size - 1, Logger: to})
		a.Send([]*raftpb.Message{snap(1, make([]byte, size))})
		once(t, a, ra, failed)
		none(t, rb.steps, "Raft got")
		if !strings.Contains(log.String(), "the snapshot is of 8388608 bytes, and Options.MaxSnapshotBytes of server 1 is 8388607") {
			t.Errorf("the log says %s", log)
		}
	})
	t.Run("its receiver's Raft does not take it", func(t *testing.T) {
		log, to := logger()
		nodes := clustertest.StartLocal(t, 2, patient)
		ra, rb := newPlayed(), newPlayed()
		rb.step = func(context.Context, *raftpb.Message) error { return errors.New("disk full") }
		open(t, nodes[1], rb, etcd.Options{})
		a := open(t, nodes[0], ra, etcd.Options{Logger: to})
		a.Send([]*raftpb.Message{snap(1, make([]byte, size))})
		once(t, a, ra, failed)
		if !strings.Contains(log.String(), "disk full") {
			t.Errorf("the log says %s", log)
		}
	})
	t.Run("nothing is heard from its receiver", func(t *testing.T) {
		nodes := clustertest.StartLocal(t, 2, patient)
		ra := newPlayed()
		a := open(t, nodes[0], ra, etcd.Options{Timeout: time.Second})
		a.Send([]*raftpb.Message{snap(1, make([]byte, size))})
		once(t, a, ra, failed)
	})
	t.Run("its receiver is down", func(t *testing.T) {
		a, ra, _, nodes := pair(t, etcd.Options{}, func(cfg *cluster.Config) { cfg.SendTimeout = time.Second })
		closeNode(t, nodes[1], nodes[0])
		a.Send([]*raftpb.Message{snap(1, make([]byte, size))})
		once(t, a, ra, failed)
	})
	t.Run("its receiver goes down meanwhile", func(t *testing.T) {
		nodes := clustertest.StartLocal(t, 2, func(cfg *cluster.Config) { cfg.SendTimeout = time.Second })
		ra, rb := newPlayed(), newPlayed()
		got := make(chan struct{})
		rb.step = func(ctx context.Context, _ *raftpb.Message) error {
			close(got)
			<-ctx.Done()
			return ctx.Err()
		}
		open(t, nodes[1], rb, etcd.Options{})
		a := open(t, nodes[0], ra, etcd.Options{Timeout: time.Hour}) // It need not wait for that.
		a.Send([]*raftpb.Message{snap(1, make([]byte, size))})
		next(t, got, "snapshot")
		closeNode(t, nodes[1], nodes[0])
		once(t, a, ra, failed)
	})
	t.Run("its sender closes", func(t *testing.T) {
		nodes := clustertest.StartLocal(t, 2, patient)
		ra := newPlayed()
		a := open(t, nodes[0], ra, etcd.Options{})
		a.Send([]*raftpb.Message{snap(1, make([]byte, size))})
		a.Close()
		once(t, a, ra, failed)
	})
	t.Run("no server has the id", func(t *testing.T) {
		a, ra, _, _ := pair(t, etcd.Options{})
		m := snap(1, make([]byte, size))
		m.To = new(uint64(1 << 40))
		a.Send([]*raftpb.Message{m})
		once(t, a, ra, result{1 << 40, raft.SnapshotFailure})
	})
}

// The report of one that was replaced comes behind that of the one that Raft waits for.
func TestASnapshotReplacesOneThatIsUnderWay(t *testing.T) {
	nodes := clustertest.StartLocal(t, 2, patient)
	ra, rb := newPlayed(), newPlayed()
	a := open(t, nodes[0], ra, etcd.Options{})
	for term := range uint64(3) { // Nobody takes them yet.
		a.Send([]*raftpb.Message{snap(term, make([]byte, 1<<20))})
	}
	none(t, ra.snapshots, "reported before the last has come")
	open(t, nodes[1], rb, etcd.Options{})
	for m := next(t, rb.steps, "snapshot"); m.GetTerm() != 2; {
		t.Fatalf("that of term %d came", m.GetTerm())
	}
	for _, want := range []result{finished, failed, failed} {
		if got := next(t, ra.snapshots, "report"); got != want {
			t.Errorf("reported %+v, want %+v", got, want)
		}
	}
	a.Close()
	none(t, ra.snapshots, "reported once more")
}

func TestASnapshotTakesAsMuchMemoryAsItIsLarge(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector takes memory of its own")
	}
	const size = 64 << 20
	a, ra, rb, _ := pair(t, etcd.Options{}, func(cfg *cluster.Config) { cfg.Transport = "go" })
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	data := make([]byte, size)
	before, most := heap(), uint64(0)
	a.Send([]*raftpb.Message{snap(1, data)})
	for reported := false; !reported; {
		select {
		case got := <-ra.snapshots:
			if reported = true; got != finished {
				t.Errorf("reported %+v", got)
			}
		case <-time.After(5 * time.Millisecond):
			most = max(most, heap()-before)
		}
	}
	if got := next(t, rb.steps, "snapshot"); len(got.GetSnapshot().GetData()) != size {
		t.Errorf("%d bytes came", len(got.GetSnapshot().GetData()))
	}
	// Both servers are in this process, with what they need to send and receive; what is sent is there before.
	if limit := uint64(size*3/2 + 48<<20); most > limit {
		t.Errorf("%d MiB more were in use for a snapshot of %d MiB, want %d at most", most>>20, size>>20, limit>>20)
	}
}
