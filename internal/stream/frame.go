package stream

import (
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// A Frame is one that has come from a known peer, with its header read. Check says whether the
// rest of it is well formed.
type Frame struct {
	wire.Header
	Body, Tail []byte // after the header, in two parts; see transport.Listener
	Buffer     []byte // that Body is in
	Came       time.Time
	Key        string // the public key that its sender has proved to have, if there are keys
}

// Check reports whether the frame's content is well formed, so that it is taken whole or not
// at all. It joins the two parts, but for a frame that is split where its only record's payload begins.
func (f *Frame) Check() error {
	if f.names() {
		f.Body, f.Tail = wire.Join(f.Body, f.Tail), nil
		return wire.CheckUndelivered(f.Body)
	}
	if f.Flags&wire.FlagPiece != 0 {
		_, err := wire.ParsePiece(f.Body, f.Tail, f.Start.Offset)
		return err
	}
	if _, ok := wire.ParseSplit(f.Body, f.Tail, f.Count); ok {
		return nil
	}
	f.Body, f.Tail = wire.Join(f.Body, f.Tail), nil
	return wire.CheckRecords(f.Body, f.Count)
}

func (f *Frame) size() int { return wire.HeaderSize + len(f.Body) + len(f.Tail) }

// isPiece reports whether the frame carries a part of a large record.
func (f *Frame) isPiece() bool { return f.Flags&wire.FlagPiece != 0 }

// names reports whether the frame carries no records, and names some that were not delivered.
func (f *Frame) names() bool { return f.Bare() && f.Flags&wire.FlagConfirm != 0 }

// end is where the content of a frame that has some ends in the stream; of a piece of a record, where it ends if it is the last.
func (f *Frame) end() wire.Position {
	if !f.isPiece() {
		return wire.Position{Seq: f.Start.Seq + uint64(f.Count)}
	}
	n := len(f.Body) + len(f.Tail)
	if f.Start.Offset == 0 {
		n -= wire.RecordSize
	}
	return wire.Position{Seq: f.Start.Seq, Offset: f.Start.Offset + uint32(n)}
}
