//go:build cgo && !nozmq

package cluster_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/testcluster"
	"github.com/abhishekg16/cluster/internal/transport/sockets"
	"github.com/abhishekg16/cluster/internal/wirev1"
)

// What a message costs is held here by counting, which a busy machine does not change
// much; make bench-quick says how long it takes.
func TestAMessageCostsFewAllocationsAndCallsOfC(t *testing.T) {
	if testcluster.RaceEnabled {
		t.Skip("the race detector allocates, too")
	}
	for _, c := range []struct {
		size        int
		allocations float64 // per message, of both servers and the program
		calls       float64 // of C
	}{
		{16, 1.5, 0.1},
		{256, 3.5, 0.3},
	} {
		t.Run(fmt.Sprint(c.size), func(t *testing.T) {
			cfg := testcluster.Config(t, "tcp", 2)
			from, to := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
			const warm, count = 20_000, 200_000
			var msg any = make([]byte, c.size)
			go func() { // It ends with its last message.
				for range warm + count {
					from.Outbox() <- &cluster.Envelope{1, 0, msg}
				}
			}()
			for range warm {
				testcluster.Take(t, to)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			calls := runtime.NumCgoCall()
			late := time.After(time.Minute)
			for i := range count {
				select {
				case <-to.Inbox():
				case <-late:
					t.Fatalf("%d of %d messages came within a minute", i, count)
				}
			}
			calls = runtime.NumCgoCall() - calls
			runtime.ReadMemStats(&after)
			if got := float64(after.Mallocs-before.Mallocs) / count; got > c.allocations {
				t.Errorf("%.2f allocations for each message, want at most %v", got, c.allocations)
			} else {
				t.Logf("%.2f allocations for each message", got)
			}
			if got := float64(calls) / count; got > c.calls {
				t.Errorf("%.3f calls of C for each message, want at most %v", got, c.calls)
			} else {
				t.Logf("%.4f calls of C for each message", got)
			}
		})
	}
}

// Nothing is in a batch here: each frame has one message, and is acknowledged with the answer.
func TestARoundTripCostsFewAllocations(t *testing.T) {
	if testcluster.RaceEnabled {
		t.Skip("the race detector allocates, too")
	}
	cfg := testcluster.Config(t, "tcp", 2)
	from, to := testcluster.Join(t, 0, cfg), testcluster.Join(t, 1, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Limit)
	defer cancel()
	go func() { // It ends with the node.
		for {
			e, err := to.Receive(ctx)
			if err != nil {
				return
			}
			if err := to.Send(ctx, &cluster.Envelope{Pid: 0, Msg: e.Msg}); err != nil {
				return
			}
		}
	}()
	var msg any = make([]byte, 16)
	most := batchCost{22, 12} // 19 and 10 were counted; 26 where what is on its way got new memory for each frame
	if os.Getenv(sockets.Variable) == sockets.Go {
		most = batchCost{14, 0} // 12, and 18
	}
	checkCost(t, 1, most, func() {
		if err := from.Send(ctx, &cluster.Envelope{Pid: 1, Msg: msg}); err != nil {
			t.Fatal(err)
		}
		if _, err := from.Receive(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

// Messages for many servers, each of which gets few of them, share frames all the same:
// also where the rest of the program leaves the node little of the processor.
func TestMessagesForManyServersShareFrames(t *testing.T) {
	if testcluster.RaceEnabled {
		t.Skip("how much is in a frame depends on how fast everybody is, and the race detector is not the same for all")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	cfg := testcluster.Config(t, "tcp", 1+2*cluster.SpreadLeast)
	cfg.OutboxSize = 4 * 2 * cluster.SpreadLeast
	var nodes []*cluster.Node
	for pid := range 1 + 2*cluster.SpreadLeast {
		nodes = append(nodes, testcluster.Join(t, pid, cfg))
		if pid > 0 {
			testcluster.ReadAll(nodes[pid])
		}
	}
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				for began := time.Now(); time.Since(began) < cluster.TurnTime; {
				}
				runtime.Gosched()
			}
		}
	}()
	const warm, count = 2000, 20_000
	send := func(count int) {
		for i := range count {
			testcluster.Put(t, nodes[0], &cluster.Envelope{1 + i%(2*cluster.SpreadLeast), 0, "x"})
		}
	}
	send(warm)
	// It is 0.25; where the time for which others run counts against a turn, 0.35; without letting
	// them run, 0.7. Other processes that take the processor away bring it up to 0.3, now and then in all
	// tries: the best of some counts, and what it may be is between that and the 0.35.
	const most = 0.31
	best := math.Inf(1)
	for tries := 0; tries < 20 && best > most; tries++ {
		calls := runtime.NumCgoCall()
		send(count)
		best = min(best, float64(runtime.NumCgoCall()-calls)/count)
	}
	if best > most {
		t.Errorf("%.3f calls of C for each message, want at most %v", best, most)
	} else {
		t.Logf("%.4f calls of C for each message", best)
	}
}

// What a message costs at each end is counted here in batches of a fixed number, against a
// server of version 1 that the test plays, whose own share is counted, too: it is the same
// for every version of the library. The processor is one while it is counted
// (testing.AllocsPerRun sees to that), so that what a batch is does not depend on chance.

// A batchCost is that of a message.
type batchCost struct{ allocations, calls float64 }

// batchCosts are the costs that are not to grow: what was counted with commit 7a5cfda, and
// what it varies by.
var batchCosts = []struct {
	size, batch int
	sent        batchCost // with what the receiver, which the test plays, has its share in
	received    batchCost // likewise the sender
}{
	{16, 64, batchCost{1.25, 0.25}, batchCost{0.4, 0.15}},
	{1 << 10, 32, batchCost{1.4, 0.42}, batchCost{2.5, 0.3}},
	{1 << 20, 1, batchCost{52, 100}, batchCost{26, 34}},
}

// largeOnGo is what a message of 1 MiB may cost its sender beyond that on the transport in Go: 55 to 60
// allocations were counted. What libzmq allocates itself is not.
const largeOnGo = 10

func TestAMessageInABatchCostsNoMoreThanItDid(t *testing.T) {
	if testcluster.RaceEnabled {
		t.Skip("the race detector allocates, too")
	}
	onGo := os.Getenv(sockets.Variable) == sockets.Go
	for _, c := range batchCosts {
		if onGo && c.size == 1<<20 {
			c.sent.allocations += largeOnGo
		}
		t.Run(fmt.Sprintf("%d of %d bytes sent", c.batch, c.size), func(t *testing.T) {
			checkCost(t, c.batch, c.sent, sendBatches(t, c.size, c.batch))
		})
		t.Run(fmt.Sprintf("%d of %d bytes received", c.batch, c.size), func(t *testing.T) {
			checkCost(t, c.batch, c.received, receiveBatches(t, c.size, c.batch))
		})
	}
}

// checkCost counts what one call of pass, which is about a batch, costs for each message.
// Other work of the process, and other processes, make it more at times: the least of
// some counts is what it costs.
func checkCost(t *testing.T, batch int, most batchCost, pass func()) {
	t.Helper()
	const warm, runs, tries = 20, 50, 20
	for range warm {
		pass()
	}
	got := batchCost{math.Inf(1), math.Inf(1)}
	for range tries {
		calls := runtime.NumCgoCall()
		allocations := testing.AllocsPerRun(runs, pass)
		calls = runtime.NumCgoCall() - calls // of runs and one to warm up
		got.allocations = min(got.allocations, allocations/float64(batch))
		got.calls = min(got.calls, float64(calls)/float64(batch*(runs+1)))
		if got.allocations <= most.allocations && got.calls <= most.calls {
			break
		}
	}
	t.Logf("for each message %.2f allocations and %.3f calls of C", got.allocations, got.calls)
	if got.allocations > most.allocations {
		t.Errorf("%.2f allocations for each message, want at most %v", got.allocations, most.allocations)
	}
	if got.calls > most.calls {
		t.Errorf("%.3f calls of C for each message, want at most %v", got.calls, most.calls)
	}
}

// sendBatches returns a function that lets a node send a batch, and reads it.
func sendBatches(t *testing.T, size, batch int) func() {
	cfg, at := wireConfig(t)
	cfg.OutboxSize = 2 * batch
	p := wirev1.NewPeer(t, wireName, 2)
	p.Listen(at[2])
	n := startNode(t, wireWriter, cfg)
	p.Connect(wireWriter, at[wireWriter])
	var msg any = make([]byte, size)
	var s wirev1.Stream
	s.Next = wirev1.Position{Number: 1, Offset: 0}
	ack := p.BareFrame(wireWriter, 0, s.Next, &s)
	return func() {
		p.Deadline = time.Now().Add(wirev1.Deadline)
		for range batch {
			n.Outbox() <- &cluster.Envelope{Pid: 2, Msg: msg}
		}
		for end := s.Next.Number + uint64(batch); s.Next.Number < end; {
			f := p.ReceiveLean()
			s.Incarnation = f.Incarnation
			s.Skip(f, size)
			binary.LittleEndian.PutUint64(ack[32:], s.Incarnation)
			binary.LittleEndian.PutUint64(ack[40:], s.Next.Number)
			binary.LittleEndian.PutUint32(ack[48:], s.Next.Offset)
			p.Send(wireWriter, ack)
		}
	}
}

// receiveBatches returns a function that sends a node a batch, as frames of its own or
// in pieces, and takes it from the node's inbox.
func receiveBatches(t *testing.T, size, batch int) func() {
	cfg, at := wireConfig(t)
	p := wirev1.NewPeer(t, wireName, 2)
	p.Listen(at[2])
	n := startNode(t, wireWriter, cfg)
	p.Connect(wireWriter, at[wireWriter])
	frames := batchFrames(p, wireWriter, size, batch)
	number := uint64(1)
	return func() {
		for _, f := range frames {
			binary.LittleEndian.PutUint64(f[24:], number)
			p.Send(wireWriter, f)
		}
		number += uint64(batch)
		late := time.After(wirev1.Deadline)
		for i := range batch {
			select {
			case <-n.Inbox():
			case <-late:
				t.Fatalf("%d of %d messages came in %v", i, batch, wirev1.Deadline)
			}
		}
		p.Drain()
	}
}

// batchFrames are those of a batch of messages: one with all, or one message in pieces.
func batchFrames(p *wirev1.Peer, to uint16, size, batch int) (frames [][]byte) {
	const pieceSize = 128 << 10
	record := make([]byte, 16+size)
	record[0] = 17 // bytes
	binary.LittleEndian.PutUint32(record[4:], uint32(size))
	first := wirev1.Position{Number: 1, Offset: 0}
	if size <= pieceSize {
		h := wirev1.Header(p.Cluster, p.Pid, to, p.Incarnation, 0, first)
		binary.LittleEndian.PutUint32(h[56:], uint32(batch))
		return [][]byte{slices.Concat(h, slices.Repeat(record, batch))}
	}
	for offset := 0; offset < size; offset += pieceSize {
		flags := byte(wirev1.FlagPiece)
		if offset/pieceSize%4 == 3 {
			flags |= wirev1.FlagAckNow
		}
		h := wirev1.Header(p.Cluster, p.Pid, to, p.Incarnation, flags, wirev1.Position{Number: 1, Offset: uint32(offset)})
		binary.LittleEndian.PutUint32(h[56:], 1)
		begin := 16 + offset
		if offset == 0 {
			begin = 0
		}
		frames = append(frames, slices.Concat(h, record[begin:min(len(record), 16+offset+pieceSize)]))
	}
	return frames
}

// BenchmarkOneWay measures both ends of one link, in one process.
func BenchmarkOneWay(b *testing.B) {
	for _, size := range []int{16, 1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			cfg := testcluster.Config(b, "tcp", 2)
			from, to := testcluster.Join(b, 0, cfg), testcluster.Join(b, 1, cfg)
			msg := make([]byte, size)
			go func() {
				for range b.N + 1 {
					from.Outbox() <- &cluster.Envelope{1, 0, msg}
				}
			}()
			<-to.Inbox()
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				<-to.Inbox()
			}
		})
	}
}

// BenchmarkSend is BenchmarkOneWay by Send, one message at a time.
func BenchmarkSend(b *testing.B) {
	cfg := testcluster.Config(b, "tcp", 2)
	from, to := testcluster.Join(b, 0, cfg), testcluster.Join(b, 1, cfg)
	msg := make([]byte, 16)
	go func() {
		for range b.N {
			from.Send(context.Background(), &cluster.Envelope{1, 0, msg})
		}
	}()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		<-to.Inbox()
	}
}

// BenchmarkRoundTrip measures one message there and back, in one process.
func BenchmarkRoundTrip(b *testing.B) {
	cfg := testcluster.Config(b, "tcp", 2)
	near, far := testcluster.Join(b, 0, cfg), testcluster.Join(b, 1, cfg)
	go func() {
		for e := range far.Inbox() {
			far.Outbox() <- &cluster.Envelope{Pid: e.Pid, Msg: e.Msg}
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		near.Outbox() <- &cluster.Envelope{1, 0, "x"}
		<-near.Inbox()
	}
}

// BenchmarkBroadcast counts deliveries: one message to seven peers.
func BenchmarkBroadcast(b *testing.B) {
	cfg := testcluster.Config(b, "tcp", 8)
	nodes := make([]*cluster.Node, 8)
	for i := range nodes {
		nodes[i] = testcluster.Join(b, i, cfg)
	}
	msg := make([]byte, 256)
	go func() {
		for range b.N {
			nodes[0].Outbox() <- &cluster.Envelope{cluster.BROADCAST, 0, msg}
		}
	}()
	b.ReportAllocs()
	b.ResetTimer()
	done := make(chan struct{})
	for _, n := range nodes[1:] {
		go func() {
			for range b.N {
				<-n.Inbox()
			}
			done <- struct{}{}
		}()
	}
	for range nodes[1:] {
		<-done
	}
}
