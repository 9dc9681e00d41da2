package cluster

import (
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// A writer turns batches into frames: it holds the batch that is being written,
// and numbers its records as they go out. Records are numbered when they are
// written, so a gap in the numbers is a loss on the way and nothing else.
type writer struct {
	next  uint64 // number of the next record
	batch *batch // nil when all is written
	off   int    // bytes of batch.blob that earlier frames carried

	// The frame at hand; its header is made anew for each attempt.
	head, tail []byte
	end        wire.Position // of the frame in the stream
	whole      bool          // it ends the batch
	bareHead   [wire.HeaderSize]byte
}

func (w *writer) load(b *batch) { w.batch, w.off = b, 0 }

// frameSize is the size of the frame that message would make.
func (w *writer) frameSize() int {
	switch {
	case w.batch == nil:
		return 0
	case w.off > 0:
		return wire.HeaderSize + min(len(w.batch.blob)-w.off, pieceBytes)
	}
	return len(w.batch.buf) + min(len(w.batch.blob), pieceBytes)
}

// message makes the next frame of the batch. The caller holds the link's mu.
func (w *writer) message(l *link) {
	b := w.batch
	var flags uint8
	if l.flight.crowded(w.frameSize()) {
		flags |= wire.FlagAckNow
	}
	upTo := min(len(b.blob), w.off+pieceBytes)
	w.head, w.tail = b.buf, b.blob[w.off:upTo]
	w.whole = upTo == len(b.blob)
	w.end = wire.Position{Seq: w.next + uint64(b.count)}
	if w.off > 0 {
		w.head = b.buf[:wire.HeaderSize]
	}
	if len(b.blob) > pieceBytes {
		flags |= wire.FlagPiece
	}
	if !w.whole {
		w.end = wire.Position{Seq: w.next, Offset: uint32(upTo)}
	}
	h := l.header(flags, wire.Position{Seq: w.next, Offset: uint32(w.off)}, b.count)
	h.Put(w.head)
	l.flight.leaving(w.end)
}

// bare makes a frame without records, for an acknowledgment or to ask for one.
// The caller holds the link's mu.
func (w *writer) bare(l *link, flags uint8) {
	h := l.header(flags, wire.Position{Seq: w.next, Offset: uint32(w.off)}, 0)
	h.Put(w.bareHead[:])
	w.head, w.tail = w.bareHead[:], nil
}

// isBare reports whether the frame at hand carries no records.
func (w *writer) isBare() bool { return &w.head[0] == &w.bareHead[0] }

// wrote takes in that the frame at hand was handed over. The caller holds the
// link's mu.
func (w *writer) wrote(l *link) {
	l.ack.carried()
	if w.isBare() {
		return
	}
	l.wrote = time.Now()
	l.flight.add(w.end, len(w.head)+len(w.tail))
	if w.whole {
		w.finish(l)
		return
	}
	w.off += len(w.tail)
}

// finish counts the batch as sent and lets go of it. A batch that was begun has
// used its numbers up.
func (w *writer) finish(l *link) {
	b := w.batch
	w.next += uint64(b.count)
	l.books.sent += uint64(b.count)
	l.books.sentBytes += uint64(b.size())
	l.queue.release(b.size(), b.count)
	l.release()
	w.batch, w.off, w.head, w.tail = nil, 0, nil, nil
	b.free()
}

// abandon lets go of a batch that is not to be written any more, and reports
// how many messages are to be counted as dropped. A message of which a part has
// left counts as sent: its receiver counts it as lost.
func (w *writer) abandon(l *link) int {
	b := w.batch
	if b == nil {
		return 0
	}
	if w.off > 0 {
		w.finish(l)
		l.flight.leaving(wire.Position{Seq: w.next})
		return 0
	}
	l.queue.release(b.size(), b.count)
	w.batch, w.head, w.tail = nil, nil, nil
	n := b.count
	b.free()
	return n
}

// givenUp lets go of a batch that the peer has given up halfway: what is left of
// it would only be refused. The caller holds the link's mu; the frame at hand may
// be on its way all the same.
func (w *writer) givenUp(l *link) {
	if w.batch != nil && w.off > 0 && w.next < l.flight.done.Seq {
		w.finish(l)
		l.flight.leaving(wire.Position{Seq: w.next})
	}
}

// header is the header of the next frame. The caller holds mu.
func (l *link) header(flags uint8, start wire.Position, count int) wire.Header {
	l.ack.aboard, l.ack.tellsTaking = l.ack.upTo, l.ack.taking
	if l.ack.taking {
		flags |= wire.FlagTaking
	}
	return wire.Header{
		Flags:          flags,
		To:             uint16(l.id),
		From:           uint16(l.node.pid),
		Cluster:        l.node.cluster,
		Incarnation:    l.node.incarnation,
		Start:          start,
		AckIncarnation: l.ack.incarnation,
		Ack:            l.ack.upTo,
		Window:         l.node.inbox.window,
		Count:          uint32(count),
	}
}
