package stream

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// Who reads the network reads for all peers: a piece of a long message must not cost it more than a short time.
func TestNoPieceOfALongMessageCopiesTheMessage(t *testing.T) {
	for _, c := range []struct {
		name        string
		size, piece int
	}{
		{"one block", blockBytes, 128 << 10},
		{"one block and a byte", blockBytes + 1, 128 << 10},
		{"pieces across the ends of blocks", 9*blockBytes + 12_345, 100_003},
		{"a piece of several blocks", 5 * blockBytes, 3*blockBytes + 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := make([]byte, c.size)
			for i := range want {
				want[i] = byte(i * i >> 8)
			}
			r := NewReceiver(&Limits{Window: 1 << 30, MaxMessage: c.size})
			var last Delivery
			for at := 0; at < c.size; at += c.piece {
				end := min(at+c.piece, c.size)
				f := pieceFrame(1, 1, at, end, c.size, time.Unix(1000, 0))
				copy(f.Tail, want[at:])
				allocated := totalAlloc()
				effects := r.Arrive(f)
				if n := totalAlloc() - allocated; n > uint64(c.piece+2*blockBytes) {
					t.Errorf("the piece at %d made the receiver allocate %d bytes", at, n)
				}
				for _, e := range effects {
					if e.Do == Deliver {
						last = e.Delivery
					}
				}
				if left := r.Assembling(); left != end%c.size {
					t.Errorf("%d bytes have come up to %d", left, end)
				}
			}
			if last.Join(); !last.Assembled || last.Blocks != nil {
				t.Fatalf("the last piece gave %+v, want the message", last.Place)
			}
			if want := (wire.Record{MsgID: 1, Payload: want}); last.Record.MsgID != want.MsgID || !bytes.Equal(last.Record.Payload, want.Payload) {
				t.Errorf("message %d of %d bytes came, not as it was sent", last.Record.MsgID, len(last.Record.Payload))
			}
		})
	}
}

func totalAlloc() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
