package outgoing

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/wire"
)

// queueBlob is encoded, whereas bytes of its size are taken as they are.
type queueBlob struct{ B []byte }

// What is encoded together, split anywhere, queued for several servers, and gathered in
// parcels comes out with the ids that it had, in order, and is counted by its size.
func TestBatchesKeepIdsAndSizesHoweverTheyAreSplit(t *testing.T) {
	codec.Register("queueBlob", queueBlob{})
	random := rand.New(rand.NewPCG(1, 2))
	const limit = 40 << 10
	var r Batch
	var queues [3]queue // of which the last takes buffers
	var want [len(queues)][]int64
	failed, large, short, shared := 0, 0, 0, 0
	empty := func(i int) {
		q := &queues[i]
		size := 0
		for _, b := range q.parcels {
			size += b.size()
		}
		if size != q.bytes || len(want[i]) != q.messages {
			t.Fatalf("%d bytes of %d messages count as %d of %d", size, len(want[i]), q.bytes, q.messages)
		}
		for !q.empty() {
			b := q.pop()
			body := append(append([]byte{}, b.buf[headRoom:]...), b.large...)
			if b.block != nil {
				body = append(body, b.block.buf[headRoom:]...)
				shared++
			}
			if err := wire.CheckRecords(body, uint32(b.count)); err != nil {
				t.Fatal(err)
			}
			var rec wire.Record
			for range b.count {
				if wire.IsShort(body) {
					short++
				}
				if rec, body = wire.NextRecord(body, rec.MsgID); rec.MsgID != want[i][0] {
					t.Fatalf("a message has the id %d, want %d", rec.MsgID, want[i][0])
				}
				want[i] = want[i][1:]
			}
			q.release(b.size(), b.count)
			b.free()
		}
		if q.bytes != 0 || q.messages != 0 || len(want[i]) != 0 {
			t.Fatalf("of an empty queue %d bytes and %d messages are left; %d messages are missing", q.bytes, q.messages, len(want[i]))
		}
	}
	id := int64(math.MaxInt64 - 20)
	for round := range 3000 {
		r.Reset()
		small := 100 + 900*random.IntN(2)
		for n := 1 + random.IntN(200); n > 0 && !r.Full(); n-- {
			switch random.IntN(80) {
			case 0:
				id = int64(random.Uint64())
			case 1:
				id = math.MaxInt64 - 2
			}
			id++
			var msg any = make([]byte, random.IntN(small))
			switch random.IntN(150) {
			case 0:
				msg = make(chan int)
			case 1:
				msg = make([]byte, LargeBytes-2000+random.IntN(13_000))
			case 2:
				msg = queueBlob{make([]byte, LargeBytes-2000+random.IntN(13_000))}
			case 3:
				msg = make([]byte, random.IntN(6000))
			}
			if err := r.Append(id, msg, &codec.Limits{Bytes: limit}); err != nil {
				failed++
				continue
			}
			if r.large != nil {
				large++
			}
			for i := range want {
				want[i] = append(want[i], id)
			}
		}
		if r.count == 0 {
			continue
		}
		together := random.IntN(2) == 0 && r.Share()
		for i := range queues {
			rest := r
			for rest.count > 1 && random.IntN(3) > 0 {
				var one Batch
				one, rest = rest.first()
				queues[i].push(&one, false)
			}
			give := !together && i == len(queues)-1
			queues[i].push(&rest, give)
			if give {
				r = rest
			}
		}
		r.Drop()
		if round%5 == 4 {
			for i := range queues {
				empty(i)
			}
		}
	}
	if failed < 100 || large < 100 || short < 10_000 || shared < 100 {
		t.Errorf("%d messages failed, %d were large, %d had short headers, %d parcels were shared", failed, large, short, shared)
	}
}

// What is sent to many is in memory once, until the last link has let go of it, and goes into one frame of each.
func TestWhatSeveralLinksSendIsInMemoryOnce(t *testing.T) {
	var b Batch
	b.Reset()
	for !b.Full() {
		if err := b.Append(int64(b.count+1), make([]byte, 1<<10), &codec.Limits{Bytes: 1 << 20}); err != nil {
			t.Fatal(err)
		}
	}
	records := b.records()
	b.Share()
	var queues [3]queue
	for i := range queues {
		rest := b
		queues[i].push(&rest, false)
	}
	b.Drop()
	b.Reset()
	if b.Append(1, "another", &codec.Limits{Bytes: 1 << 20}); &b.buf[0] == &records[:1][0] || &b.buf[headRoom] == &records[0] {
		t.Error("the batch is built where parcels have what they send")
	}
	var s *block
	for i := range queues {
		p := queues[i].pop()
		s = p.block
		f := stream.Outbound{Header: wire.Header{Count: uint32(p.count)}}
		head, tail := p.frame(&f)
		if len(tail) != len(records) || &tail[0] != &records[0] || len(head) != f.Header.Size() {
			t.Errorf("link %d has %d bytes of its own, and %d others", i, len(head), len(tail))
		}
		if users := int(s.users.Load()); users != len(queues)-i {
			t.Errorf("%d have the block, want %d", users, len(queues)-i)
		}
		p.free()
	}
	if s.users.Load() != 0 {
		t.Errorf("%d still have the block", s.users.Load())
	}
}

// How large a batch gets decides how long a slow path takes for it, how much is lost with it,
// and what buffers it needs at both ends.
func TestABatchFillsAFrameAndEndsThere(t *testing.T) {
	for _, size := range []int{0, 16, 256, 1000, 6000, 10_000, 20_000, LargeBytes - 1} {
		var r Batch
		r.Reset()
		for !r.Full() {
			if err := r.Append(int64(r.count+1), make([]byte, size), &codec.Limits{Bytes: 1 << 20}); err != nil {
				t.Fatal(err)
			}
		}
		if len(r.buf) > BatchBytes || r.count > batchMessages {
			t.Errorf("messages of %d bytes: a batch has %d of them, and %d bytes", size, r.count, len(r.buf))
		}
		if len(r.buf)+size+wire.ShortSize <= BatchBytes && r.count < batchMessages {
			t.Errorf("messages of %d bytes: a batch of %d, and %d bytes, has room for another", size, r.count, len(r.buf))
		}
	}
}

func TestQueuedLargeMessagesHoldNoBuffersBesideThem(t *testing.T) {
	b := newParcel()
	b.buf = append(b.buf, make([]byte, BatchBytes)...)
	b.free()
	var q queue
	r := Batch{large: make([]byte, LargeBytes), count: 1}
	q.push(&r, true)
	if got := cap(q.pop().buf); got > 256 {
		t.Errorf("a message that travels alone holds a buffer of %d bytes", got)
	}
}

// With single, each message has a parcel of its own, and the books of the queue come out even.
func TestASingleMessageMakesAParcel(t *testing.T) {
	for _, single := range []bool{false, true} {
		q, b := queue{single: single}, new(Batch)
		b.Reset()
		for i := range 5 {
			if err := b.Append(int64(100+i), "hi", &codec.Limits{Bytes: 1 << 20, Cost: 1 << 20}); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Append(200, make([]byte, LargeBytes), &codec.Limits{Bytes: 1 << 20, Cost: 8 << 20}); err != nil {
			t.Fatal(err)
		}
		q.push(b, true)
		want := 2
		if single {
			want = 6
		}
		if len(q.parcels) != want || q.messages != 6 || q.pushed != 6 {
			t.Errorf("single %v: %d parcels of %d messages, want %d of 6", single, len(q.parcels), q.messages, want)
		}
		for id := int64(100); !q.empty(); id++ {
			p := q.pop()
			if single && p.large == nil {
				if r, _ := wire.NextRecord(p.buf[headRoom:], 0); p.count != 1 || r.MsgID != id {
					t.Errorf("a parcel has %d messages, the first with id %d, want one with %d", p.count, r.MsgID, id)
				}
			}
			q.release(p.size(), p.count)
		}
		if single && q.bytes != 0 || q.messages != 0 {
			t.Errorf("single %v: %d bytes of %d messages are left", single, q.bytes, q.messages)
		}
	}
}
