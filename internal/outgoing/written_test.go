package outgoing

import (
	"bytes"
	"testing"

	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/wire"
)

func writtenOf(size int, with byte) *codec.Written {
	return &codec.Written{Size: size, Append: func(b []byte) []byte { return append(b, bytes.Repeat([]byte{with}, size)...) }}
}

// queued is the parcel of a batch with one message.
func queued(t *testing.T, b *Batch) *parcel {
	t.Helper()
	var q queue
	q.push(b, false)
	b.Drop()
	return q.pop()
}

func TestWhatIsWrittenLargeIsInMemoryThatIsUsedAgainOnceItIsKeptNoMore(t *testing.T) {
	const size = 100 << 10
	batch := func() (b Batch) {
		b.Reset()
		if err := b.Append(1, writtenOf(size, 'x'), &codec.Limits{Bytes: size}); err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := batch()
	p := queued(t, &b)
	if p.seq = 1; !p.pooled || !transport.IsPooled(p.large) || len(p.large) != size {
		t.Fatalf("%d bytes are in memory that is not used again", len(p.large))
	}
	var k kept
	k.add(p)
	k.use(p)
	k.release(wire.Position{Seq: 2})
	if p.large == nil {
		t.Error("its memory is given back while it is written again")
	}
	k.use(nil)
	if p.large != nil {
		t.Error("its memory is not given back")
	}
	b = batch()
	b.Keep()
	p = queued(t, &b)
	if p.free(); p.large == nil {
		t.Error("one of several links gives the memory back")
	}
	b.Reset()
	if err := b.Append(1, &codec.Written{Size: 10, Append: writtenOf(size, 'x').Append}, &codec.Limits{Bytes: size}); err != nil || b.pooled {
		t.Errorf("what takes more than was said is in memory that is used again: %v", err)
	}
}

func TestWhatIsWrittenIsHeldAgainstTheLimits(t *testing.T) {
	for _, size := range []int{2, LargeBytes - 1, LargeBytes, 100 << 10, 300 << 10} {
		var b Batch
		b.Reset()
		err := b.Append(1, writtenOf(size, 'x'), &codec.Limits{Bytes: size - 1, Cost: 1 << 30})
		if err == nil || b.Count() > 0 {
			t.Errorf("%d bytes, of which one is too many: %v, and the batch has %d messages", size, err, b.Count())
		}
		b.Reset()
		if err := b.Append(1, writtenOf(size, 'x'), &codec.Limits{Bytes: size, Cost: 1 << 30}); err != nil || b.Count() != 1 {
			t.Errorf("%d bytes: %v, and the batch has %d messages", size, err, b.Count())
		}
	}
}
