package cluster

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
)

// The tests of this file are about what the node holds, and how long it takes, where
// frames or the program's own code are of the unpleasant kind.

// A slowly encoded value takes its time, and so does one that is slowly decoded.
type (
	slowlyEncoded struct{}
	slowlyDecoded struct{}
)

const slowness = time.Millisecond

func (slowlyEncoded) MarshalBinary() ([]byte, error) { time.Sleep(slowness); return []byte("x"), nil }
func (*slowlyEncoded) UnmarshalBinary([]byte) error  { return nil }
func (slowlyDecoded) MarshalBinary() ([]byte, error) { return []byte("x"), nil }
func (*slowlyDecoded) UnmarshalBinary([]byte) error  { time.Sleep(3 * slowness); return nil }

func init() {
	Register("slowlyEncoded", slowlyEncoded{})
	Register("slowlyDecoded", slowlyDecoded{})
}

// endsInTime shuts a node down with a tenth of a second, and checks that it takes no more
// than two.
func endsInTime(t *testing.T, n *Node) {
	t.Helper()
	const most = 2 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := n.Shutdown(ctx)
	if took := time.Since(began); took > most {
		t.Errorf("Shutdown took %v (%v), want at most %v", took, err, most)
	}
	checkBooks(t, n)
}

func TestShutdownIsBoundedThoughEncodingIsSlow(t *testing.T) {
	cfg := config(t, "mem", 5)
	cfg.OutboxSize = 10_000
	nodes := startAll(t, cfg)
	for _, n := range nodes[1:] {
		readAll(n)
	}
	for i := range cfg.OutboxSize {
		put(t, nodes[0], &Envelope{1 + i%4, 0, slowlyEncoded{}})
	}
	time.Sleep(10 * time.Millisecond)
	endsInTime(t, nodes[0])
}

func TestShutdownIsBoundedThoughDecodingIsSlow(t *testing.T) {
	for _, waits := range []bool{false, true} {
		t.Run(fmt.Sprint("backlog ", waits), func(t *testing.T) {
			cfg := config(t, "mem", 2)
			cfg.OutboxSize, cfg.InboxSize = 10_000, 16
			nodes := startAll(t, cfg)
			if !waits {
				readAll(nodes[1])
			}
			for range cfg.OutboxSize {
				put(t, nodes[0], &Envelope{1, 0, slowlyDecoded{}})
			}
			time.Sleep(200 * time.Millisecond)
			if waits { // so there is a backlog
				readAll(nodes[1])
				time.Sleep(20 * time.Millisecond)
			}
			endsInTime(t, nodes[1])
		})
	}
}

func TestSlowEncodingDoesNotKeepTheFirstMessageBack(t *testing.T) {
	for _, destinations := range []int{1, 3} {
		t.Run(fmt.Sprint(destinations, " servers"), func(t *testing.T) {
			nodes := startAll(t, config(t, "mem", 4))
			for _, n := range nodes[2:] {
				readAll(n)
			}
			began := time.Now()
			const count = 1000
			for i := range count {
				put(t, nodes[0], &Envelope{1 + i%destinations, 0, slowlyEncoded{}})
			}
			take(t, nodes[1])
			if took := time.Since(began); took > count*slowness/4 {
				t.Errorf("the first of %d messages, %v each, came after %v", count, slowness, took)
			}
			readAll(nodes[1])
		})
	}
}

func TestIdsThatWereReservedAndNotUsedAreGivenBack(t *testing.T) {
	n := new(Node)
	n.ids.last.Store(time.Now().Add(time.Hour).UnixMicro()) // the ids run ahead of the clock
	first := n.ids.last.Load()
	var e encoder
	const turns, each = 100, 65
	last := int64(0)
	for range turns {
		for range each {
			id := e.nextID(n)
			if id <= last {
				t.Fatalf("the id %d came after %d", id, last)
			}
			last = id
			e.count++
		}
		e.close(n)
	}
	if used := n.ids.last.Load() - first; used != turns*each {
		t.Errorf("%d ids have moved the clock on by %d", turns*each, used)
	}
	other := new(encoder)
	other.count = each
	e.count = each
	taken := e.nextID(n)
	later := other.nextID(n) // e must not give back what comes before this
	e.close(n)
	if next := e.nextID(n); next <= later || later <= taken {
		t.Errorf("the ids %d, %d and %d were given out in a row", taken, later, next)
	}
}

func TestARunThatIsLargerThanQueueBytesIsSplit(t *testing.T) {
	for _, last := range []int{blobBytes - 1, 60 << 10} {
		t.Run(fmt.Sprint("last ", last), func(t *testing.T) {
			bubble(t, 2, func(t *testing.T, cfg Config) {
				cfg.QueueBytes = minQueueBytes
				a := join(t, 0, cfg) // 1 is not there
				enc, p := new(encoder), patient{wait: true, leave: true}
				const small = 61
				for range small {
					a.add(enc, &Envelope{1, 0, make([]byte, 1000)}, p)
				}
				a.add(enc, &Envelope{1, 0, make([]byte, last)}, p)
				if len(enc.open) != 1 {
					t.Fatalf("there are %d runs, want one", len(enc.open))
				}
				l, _ := a.link(1)
				l.put(&enc.open[0].run, p)
				if s := a.Stats().Sent; s.QueueBytes > cfg.QueueBytes || s.Queued != small {
					t.Errorf("%d messages of %d bytes are queued, want %d, and %d bytes at most", s.Queued, s.QueueBytes, small, cfg.QueueBytes)
				}
			})
		})
	}
}

// How large a batch gets decides how long a slow path takes for it, how much is lost with it,
// and what buffers it needs at both ends.
func TestARunFillsABatchAndEndsThere(t *testing.T) {
	for _, size := range []int{0, 16, 256, 1000, 6000, 10_000, 20_000, blobBytes - 1} {
		var r run
		r.reset()
		for !r.full() {
			if _, err := r.encode(int64(r.count+1), make([]byte, size), 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		if len(r.buf) > batchBytes || r.count > runMessages {
			t.Errorf("messages of %d bytes: a run has %d of them, and %d bytes", size, r.count, len(r.buf))
		}
		if len(r.buf)+size+wire.ShortSize <= batchBytes && r.count < runMessages {
			t.Errorf("messages of %d bytes: a run of %d, and %d bytes, has room for another", size, r.count, len(r.buf))
		}
	}
}

// heap is how many bytes of memory are in use.
func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// comes hands a frame to the node, in memory as a listener gives it.
func comes(n *Node, h wire.Header, body []byte) {
	h.To, h.From, h.Cluster = uint16(n.pid), 1, n.cluster
	head := transport.GetBuffer(wire.HeaderSize + len(body))
	h.Put(head)
	copy(head[wire.HeaderSize:], body)
	n.inbox.frame(head, nil, "", false)
}

func TestWhatWaitsTakesLittleMoreMemoryThanIsCounted(t *testing.T) {
	for _, size := range []int{100, 2000, 8000, 16_000, 31_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			cfg := config(t, "mem", 2)
			cfg.InboxSize = 1
			n := join(t, 0, cfg)
			body := records(t, make([]byte, size), make([]byte, size))
			before := heap()
			counted := func() int {
				s := statsOf(n, 1).Received
				return s.BacklogBytes + s.HeldBytes
			}
			for seq := uint64(1); counted() < 4<<20; seq += 2 {
				comes(n, wire.Header{Incarnation: 1, Start: wire.Position{Seq: seq}, Count: 2}, body)
			}
			if grown := heap() - before; grown > 5*counted()/2 {
				t.Errorf("frames of %d bytes: %d KiB wait, and take %d KiB", len(body), counted()>>10, grown>>10)
			}
		})
	}
}

func TestThePromiseOfALargeMessageTakesNoMemory(t *testing.T) {
	n := join(t, 0, config(t, "mem", 2))
	body := make([]byte, wire.RecordSize+1)
	wire.PutRecordHeader(body, 1, uint8(codec.Bytes), 1<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const count = 1000
	for life := range uint64(count) {
		comes(n, wire.Header{Flags: wire.FlagPiece, Incarnation: 1 + life, Start: wire.Position{Seq: 1}, Count: 1}, body)
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / count; each > 64<<10 {
		t.Errorf("%d bytes that announce 1 MiB have made the node allocate %d", wire.HeaderSize+len(body), each)
	}
}

func TestQueuedLargeMessagesHoldNoBuffersBesideThem(t *testing.T) {
	b := newBatch()
	b.buf = append(b.buf, make([]byte, batchBytes)...)
	b.free()
	var q queue
	r := run{blob: make([]byte, blobBytes), count: 1}
	q.push(&r, true)
	if got := cap(q.pop().buf); got > 256 {
		t.Errorf("a message that travels alone holds a buffer of %d bytes", got)
	}
}
