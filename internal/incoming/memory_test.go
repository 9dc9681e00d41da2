package incoming

import (
	"fmt"
	"log/slog"
	"runtime"
	"testing"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/delivery"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/mem"
	"github.com/abhishekg16/cluster/internal/wire"
	"github.com/abhishekg16/cluster/peercatalog"
)

// envelope is what these tests deliver.
type envelope struct {
	from int
	id   int64
	msg  any
}

// open makes the receiving half of server 0, which hears server 1, with room for so many
// envelopes that nobody takes.
func open(t *testing.T, inbox int) *In {
	t.Helper()
	const maxMessage, queueBytes = 64 << 20, 16 << 20
	listener, err := mem.Default.Listen("mem://"+t.Name(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	catalog, err := peercatalog.New(peercatalog.Peer{ID: 0, Address: "mem://" + t.Name()}, peercatalog.Peer{ID: 1, Address: "mem://nobody"})
	if err != nil {
		t.Fatal(err)
	}
	stage := delivery.New(delivery.Config[envelope]{
		Out:        make(chan *envelope, inbox),
		Fill:       func(e *envelope, from int, id int64, msg any) { *e = envelope{from, id, msg} },
		MaxMessage: maxMessage,
		MaxBytes:   queueBytes,
		Woke:       func() {},
	})
	in := New(Config{
		Catalog: catalog,
		Limits:  stream.Limits{Window: Window(queueBytes, 1), MaxMessage: maxMessage},
		Log:     slog.New(slog.DiscardHandler),
		Queue:   func(from int, o delivery.Owner) Queue { return stage.Queue(from, o) },
		Link:    func(int, bool) Link { return nil },
		Name:    func(stream.Refusal) string { return "" },
		Inbox:   func() int { return 0 },
		Failed:  func(err error) { t.Error(err) },
		Mistake: func(stream.Refusal, int) {},
	})
	in.Open(listener)
	t.Cleanup(func() {
		stage.Halt()
		stage.Close()
		in.Close()
		listener.Close()
	})
	return in
}

// comes hands a frame of server 1 over, in memory as a listener gives it.
func comes(in *In, h wire.Header, body []byte) {
	h.To, h.From = 0, 1
	head := transport.GetBuffer(wire.HeaderSize + len(body))
	h.Put(head)
	copy(head[wire.HeaderSize:], body)
	in.frame(head, nil, "", false)
}

// heap is how many bytes of memory are in use.
func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func TestWhatWaitsTakesLittleMoreMemoryThanIsCounted(t *testing.T) {
	for _, size := range []int{100, 2000, 8000, 16_000, 31_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			in := open(t, 1)
			var body []byte
			for range 2 {
				body = wire.AppendRecordHeader(body, 1, uint8(codec.Bytes), size)
				body = append(body, make([]byte, size)...)
			}
			before := heap()
			counted := func() int {
				var s Stats
				in.Each(func(_ int, of Stats) { s = of })
				return s.Backlog + s.Held
			}
			for seq := uint64(1); counted() < 4<<20; seq += 2 {
				comes(in, wire.Header{Incarnation: 1, Start: wire.Position{Seq: seq}, Count: 2}, body)
			}
			if grown := heap() - before; grown > 5*counted()/2 {
				t.Errorf("frames of %d bytes: %d KiB wait, and take %d KiB", len(body), counted()>>10, grown>>10)
			}
		})
	}
}

func TestThePromiseOfALargeMessageTakesNoMemory(t *testing.T) {
	in := open(t, 1)
	body := make([]byte, wire.RecordSize+1)
	wire.PutRecordHeader(body, 1, uint8(codec.Bytes), 1<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const count = 1000
	for life := range uint64(count) {
		comes(in, wire.Header{Flags: wire.FlagPiece, Incarnation: 1 + life, Start: wire.Position{Seq: 1}, Count: 1}, body)
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / count; each > 64<<10 {
		t.Errorf("%d bytes that announce 1 MiB have made the node allocate %d", wire.HeaderSize+len(body), each)
	}
}
