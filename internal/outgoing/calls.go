package outgoing

import (
	"slices"
	"time"

	"github.com/abhishekg16/cluster/internal/calls"
	"github.com/abhishekg16/cluster/internal/codec"
	"github.com/abhishekg16/cluster/internal/stream"
	"github.com/abhishekg16/cluster/internal/wire"
)

// asideBytes is how much of what is put aside the queue takes beyond its bound: who puts it there cannot wait for room, and who
// waits for it may wait without end.
const asideBytes = 64 << 10

// A Part is what a message is in a call. The zero value is none: it is an ordinary message.
type Part struct {
	Kind   codec.Kind // Request, Reply or Failure
	Number uint64     // of the call
	Why    wire.Why   // of a Failure, whose text the message is; 0: the program says it
}

// Wrapped is the message of a request that is encoded already, for any call.
type Wrapped []byte

// Wrap encodes a message that several requests have. The error is as that of Append.
func Wrap(msg any, lim *codec.Limits) (Wrapped, error) {
	w, err := codec.AppendWrapped(nil, 0, msg, *lim)
	return w, err
}

// appendWrapped appends the payload of a request or a reply.
func appendWrapped(dst []byte, number uint64, msg any, lim *codec.Limits) ([]byte, error) {
	w, ok := msg.(Wrapped)
	if !ok {
		return codec.AppendWrapped(dst, number, msg, *lim)
	}
	dst = append(dst, w...)
	codec.Renumber(dst[len(dst)-len(w):], number)
	return dst, nil
}

// AppendPart is Append for a message that is a part of a call. What is around it does not count in the limits.
func (b *Batch) AppendPart(id int64, p Part, msg any, lim *codec.Limits) error {
	at := len(b.buf)
	payload := at + wire.RecordSize
	buf := slices.Grow(b.buf, wire.RecordSize+codec.WrapBytes)[:payload]
	if p.Kind == codec.Failure {
		text, _ := msg.(string)
		buf = codec.AppendFailure(buf, p.Number, uint8(p.Why), text)
	} else {
		var err error
		if buf, err = appendWrapped(buf, p.Number, msg, lim); err != nil {
			return err
		}
	}
	size := len(buf) - payload
	if size > wire.MaxPayload {
		return &TooLarge{size}
	}
	if size >= LargeBytes {
		if &buf[0] == &b.buf[:1][0] {
			b.buf = slices.Clone(b.buf) // the buffer goes with the message
		}
		return b.appendLarge(id, p.Kind, buf[payload:], lim.Bytes)
	}
	wire.PutRecordHeader(buf[at:], id, uint8(p.Kind), size)
	b.buf = buf
	b.last, b.newest = id, len(buf)-at
	b.count++
	return nil
}

// KnowsCalls reports whether it is known that the peer takes calls, or does not.
func (l *Link) KnowsCalls() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sender.Calling() != stream.CallsUnknown
}

// TakesCalls is Knows for whether the peer takes calls. Without wait it does not wait, and returns Stopped where it would.
func (l *Link) TakesCalls(since time.Time, stop <-chan struct{}, wait bool) Knowing {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if verdict, _ := l.sender.Admit(true, true); verdict != stream.Accept {
			return Tells
		}
		calling := l.sender.Calling()
		if calling == stream.TakesCalls {
			return Tells
		}
		now := time.Now()
		if l.sender.Query(now) { // also one that does not: it may have become another since
			l.wakeUp()
		}
		switch due := l.sender.AnswerDue(since); {
		case calling == stream.CallsNot:
			return TellsNot
		case !wait:
			return Stopped
		case !now.Before(due) && l.sender.CallsUnanswered(since):
			return TellsNot
		case !now.Before(due):
			return Silent
		case !l.awaitWord(min(due.Sub(now), stream.QueryInterval), stop):
			return Stopped
		}
	}
}

// next is what the sender wants done next. When it does not know any more who its peer is, calls to that peer end.
// The caller holds io and mu.
func (l *Link) next(now time.Time) (stream.Step, time.Time) {
	l.sender.Expect(l.calls.Waits(), now)
	knew := l.sender.Calling()
	step, deadline := l.sender.Next(now)
	if gone := l.sender.Forsaken(); gone || step != stream.GiveUp && l.sender.Calling() != knew {
		l.endCalls(calls.Down)
	}
	return step, deadline
}

// endCalls ends the calls whose requests were written, or are being written. The caller holds mu.
func (l *Link) endCalls(e calls.End) {
	written := l.queue.pushed - uint64(l.queue.messages)
	if p := l.current; p != nil && (p == l.kept.used || l.sender.Begun()) {
		written += uint64(p.count)
	}
	if l.calls.End(e, written) {
		l.cfg.Woke()
	}
}

// endAllCalls also ends those whose requests are queued, and stay so. The caller holds mu.
func (l *Link) endAllCalls(e calls.End) {
	if l.calls.End(e, l.queue.pushed) {
		l.cfg.Woke()
	}
}

// dropCalls ends the calls whose requests are among the messages that were queued last, and are dropped. The caller holds mu.
func (l *Link) dropCalls(r stream.Reason, messages int) {
	if l.calls.Drop(r, l.queue.pushed-uint64(messages)) {
		l.cfg.Woke()
	}
}

// tearCall ends the call whose request is the record at hand, of which a part was written, and nothing more will be: the peer never has all
// of it. The caller holds mu.
func (l *Link) tearCall(r stream.Reason) {
	if l.calls.Tear(r, l.queue.pushed-uint64(l.queue.messages)+1) {
		l.cfg.Woke()
	}
}
