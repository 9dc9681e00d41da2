package hashicorp_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/raft/hashicorp"
)

func TestASnapshotArrivesWhole(t *testing.T) {
	for _, size := range []int{0, 1, 64 << 10, 64<<10 + 1, 5_000_000} {
		for _, window := range []int{64 << 10, 1 << 20} {
			a, b, _ := pair(t, hashicorp.Config{SnapshotWindow: window})
			data := make([]byte, size)
			rand.NewChaCha8([32]byte{}).Read(data)
			args := raft.InstallSnapshotRequest{Term: 3, Configuration: []byte("c"), Size: int64(size)}
			var got raft.InstallSnapshotResponse
			done := result(func() error { return a.InstallSnapshot("b", "1", &args, &got, bytes.NewReader(data)) })
			rpc := next(t, b)
			if diff := cmp.Diff(&args, rpc.Command); diff != "" {
				t.Errorf("(-sent +arrived)\n%s", diff)
			}
			if text, err := io.ReadAll(rpc.Reader); err != nil || !bytes.Equal(text, data) {
				t.Errorf("of %d bytes came %d, %v", size, len(text), err)
			}
			rpc.Respond(&raft.InstallSnapshotResponse{Term: 4, Success: true}, nil)
			if err := outcome(t, done); err != nil || !got.Success || got.Term != 4 {
				t.Errorf("of %d bytes: %+v, %v", size, got, err)
			}
		}
	}
}

// sizes counts how far a reader has come.
type counter struct {
	io.Reader
	n chan int64 // of one: how much was read
}

func (c counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n <- <-c.n + int64(n)
	return n, err
}

func (c counter) read() int64 {
	n := <-c.n
	c.n <- n
	return n
}

func newCounter(r io.Reader) counter {
	c := counter{r, make(chan int64, 1)}
	c.n <- 0
	return c
}

// While a follower does not store what it gets, its leader reads no more than the window, and what else they have to say
// to each other goes on.
func TestASnapshotThatIsNotTakenHoldsUpNothingElse(t *testing.T) {
	const window = 256 << 10
	a, b, _ := pair(t, hashicorp.Config{SnapshotWindow: window, HeartbeatTimeout: deadline})
	b.SetHeartbeatHandler(func(rpc raft.RPC) { rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil) })
	data := newCounter(io.LimitReader(zeros{}, 64<<20))
	args := raft.InstallSnapshotRequest{Size: 64 << 20}
	done := result(func() error { return a.InstallSnapshot("b", "1", &args, new(raft.InstallSnapshotResponse), data) })
	rpc := next(t, b)
	for end := time.Now().Add(deadline); data.read() < window; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the leader has read %d bytes, want a window of %d", data.read(), window)
		}
	}
	for range 100 {
		if err := outcome(t, result(func() error { return a.AppendEntries("b", "1", heartbeat(), new(raft.AppendEntriesResponse)) })); err != nil {
			t.Fatal(err)
		}
	}
	if got := data.read(); got > window {
		t.Errorf("the leader has read %d bytes, want no more than %d", got, window)
	}
	if n, err := io.Copy(io.Discard, rpc.Reader); n != args.Size || err != nil {
		t.Errorf("%d bytes came, %v", n, err)
	}
	rpc.Respond(&raft.InstallSnapshotResponse{Success: true}, nil)
	if err := outcome(t, done); err != nil {
		t.Error(err)
	}
}

func TestASnapshotTakesNoMoreMemoryThanItsWindow(t *testing.T) {
	const size, window = 256 << 20, 1 << 20
	a, b, _ := pair(t, hashicorp.Config{SnapshotWindow: window}, func(cfg *cluster.Config) { cfg.Transport = "go" })
	args := raft.InstallSnapshotRequest{Size: size}
	done := result(func() error {
		return a.InstallSnapshot("b", "1", &args, new(raft.InstallSnapshotResponse), io.LimitReader(zeros{}, size))
	})
	rpc := next(t, b)
	var most uint64
	buf := make([]byte, 1<<20)
	for n := 0; ; n++ {
		if _, err := io.ReadFull(rpc.Reader, buf); err != nil {
			break
		}
		if n%16 == 0 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
	}
	rpc.Respond(&raft.InstallSnapshotResponse{Success: true}, nil)
	if err := outcome(t, done); err != nil {
		t.Error(err)
	}
	// Both servers are in this process, with what they need to send and receive.
	if most > 64<<20 {
		t.Errorf("%d MiB were in use for a snapshot of %d MiB", most>>20, size>>20)
	}
}

func TestASnapshotThatBreaksOffIsAnErrorOnBothSides(t *testing.T) {
	t.Run("its sender cannot read it", func(t *testing.T) {
		a, b, _ := pair(t, hashicorp.Config{})
		done := result(func() error {
			return a.InstallSnapshot("b", "1", &raft.InstallSnapshotRequest{Size: 1 << 20}, new(raft.InstallSnapshotResponse), failing(300_000))
		})
		rpc := next(t, b)
		if _, err := io.ReadAll(rpc.Reader); err == nil || !strings.Contains(err.Error(), "bad sector") {
			t.Errorf("Raft reads %v", err)
		}
		if err := outcome(t, done); err == nil || !strings.Contains(err.Error(), "bad sector") {
			t.Errorf("the sender gets %v", err)
		}
	})
	t.Run("its receiver does not want it", func(t *testing.T) {
		a, b, _ := pair(t, hashicorp.Config{})
		done := result(func() error {
			return a.InstallSnapshot("b", "1", &raft.InstallSnapshotRequest{Size: 1 << 40}, new(raft.InstallSnapshotResponse), zeros{})
		})
		rpc := next(t, b)
		rpc.Respond(nil, errors.New("disk full"))
		if err := outcome(t, done); err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("the sender gets %v", err)
		}
	})
	t.Run("its receiver closes", func(t *testing.T) {
		a, b, _ := pair(t, hashicorp.Config{Timeout: time.Second})
		done := result(func() error {
			return a.InstallSnapshot("b", "1", &raft.InstallSnapshotRequest{Size: 1 << 40}, new(raft.InstallSnapshotResponse), zeros{})
		})
		rpc := next(t, b)
		b.Close()
		if _, err := io.ReadAll(rpc.Reader); err != raft.ErrTransportShutdown {
			t.Errorf("Raft reads %v", err)
		}
		if err := outcome(t, done); err == nil || !strings.Contains(err.Error(), "server 1 has not answered the InstallSnapshot for 1s") {
			t.Errorf("the sender gets %v", err)
		}
	})
	t.Run("another comes", func(t *testing.T) {
		a, b, _ := pair(t, hashicorp.Config{})
		install := func() <-chan error {
			return result(func() error {
				return a.InstallSnapshot("b", "1", &raft.InstallSnapshotRequest{Size: 1 << 20}, new(raft.InstallSnapshotResponse), io.LimitReader(zeros{}, 1<<20))
			})
		}
		install()
		first := next(t, b)
		second := install()
		rpc := next(t, b)
		if _, err := io.ReadAll(first.Reader); err == nil || !strings.Contains(err.Error(), "sent anew") {
			t.Errorf("of the first Raft reads %v", err)
		}
		first.Respond(nil, errors.New("too late"))
		if n, err := io.Copy(io.Discard, rpc.Reader); n != 1<<20 || err != nil {
			t.Errorf("of the second %d bytes came, %v", n, err)
		}
		rpc.Respond(&raft.InstallSnapshotResponse{Success: true}, nil)
		if err := outcome(t, second); err != nil {
			t.Error(err)
		}
	})
}

// A restore may take longer than any message: the sender waits as long as the receiver says that it is at it.
func TestASnapshotMayTakeLongToRestore(t *testing.T) {
	t.Parallel() // It mostly waits.
	const timeout = 3 * time.Second
	a, b, _ := pair(t, hashicorp.Config{Timeout: timeout})
	done := result(func() error {
		return a.InstallSnapshot("b", "1", &raft.InstallSnapshotRequest{Size: 10}, new(raft.InstallSnapshotResponse), strings.NewReader("0123456789"))
	})
	rpc := next(t, b)
	io.Copy(io.Discard, rpc.Reader)
	select {
	case err := <-done:
		t.Errorf("while it is restored: %v", err)
	case <-time.After(3 * timeout / 2):
	}
	rpc.Respond(&raft.InstallSnapshotResponse{Success: true}, nil)
	if err := outcome(t, done); err != nil {
		t.Error(err)
	}
}
