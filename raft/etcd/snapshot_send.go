package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

const (
	// pieceBytes is how much of a snapshot travels in one message.
	pieceBytes = 64 << 10
	// firstWindow is how much of it may be sent before its receiver has said how far to go.
	firstWindow = pieceBytes
)

var errReplaced = errors.New("etcd: a later snapshot is sent")

// An upload is a snapshot on its way to another server.
type upload struct {
	t      *Transport
	to     uint64 // in Raft
	number uint64
	head   []byte
	data   []byte
	sent   uint64 // up to which it is
	limit  uint64 // up to which it may be

	replaced bool // by a later one, which reports this one, too; guarded by the transport's mu
	owed     int  // how many it has replaced; before run

	ctx      context.Context // ends when it is given up
	cancel   context.CancelCauseFunc
	progress chan uint64  // of one: the latest limit that was not looked at
	outcome  chan outcome // of one
}

// upload sends a MsgSnap, in the place of one that is under way to the same server.
func (t *Transport) upload(m *raftpb.Message) {
	u := &upload{t: t, to: m.GetTo(), number: t.number.Add(1), limit: firstWindow}
	u.ctx, u.cancel = context.WithCancelCause(t.ctx)
	u.progress, u.outcome = make(chan uint64, 1), make(chan outcome, 1)
	err := t.own(m)
	if err == nil {
		u.head, u.data, err = split(m)
	}
	if err == nil && len(u.head) > maxHeadBytes {
		err = fmt.Errorf("it is of %d bytes without its data: %d are the most", len(u.head), maxHeadBytes)
	}
	if err != nil {
		t.complain("a snapshot cannot be sent", "to", u.to, "reason", err)
		u.cancel(err)
	}
	t.toward(u.to) // for watch
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		u.cancel(nil)
		return
	}
	if before := t.uploads[u.to]; before != nil {
		before.replaced, u.owed = true, before.owed+1
		before.cancel(errReplaced)
	}
	t.uploads[u.to] = u
	t.running.Go(u.run)
}

// uploadTo is the upload that something from a server belongs to; nil if that is over.
func (t *Transport) uploadTo(pid int, number uint64) *upload {
	t.mu.Lock()
	defer t.mu.Unlock()
	if u := t.uploads[ID(pid)]; u != nil && u.number == number {
		return u
	}
	return nil
}

// run sends the snapshot, and tells Raft what became of it and of those that it has replaced. They are reported behind it: a
// failure is of the snapshot that Raft believes to be under way, and makes it send yet another one in its place.
func (u *upload) run() {
	err := u.send()
	u.cancel(nil)
	u.t.mu.Lock()
	replaced := u.replaced
	if !replaced {
		delete(u.t.uploads, u.to)
	}
	u.t.mu.Unlock()
	if replaced {
		return
	}
	u.report(err)
	for range u.owed {
		u.t.raft.ReportSnapshot(u.to, raft.SnapshotFailure)
	}
}

// report tells Raft what became of the snapshot.
func (u *upload) report(err error) {
	if err == nil {
		u.t.raft.ReportSnapshot(u.to, raft.SnapshotFinish)
		return
	}
	if refused, ok := err.(refusal); ok {
		u.t.complain("a snapshot is refused", "by", u.to, "reason", refused.reason)
	} else if u.t.ctx.Err() == nil {
		u.t.raft.ReportUnreachable(u.to)
	}
	u.t.raft.ReportSnapshot(u.to, raft.SnapshotFailure)
}

// A refusal is why a receiver does not take a snapshot.
type refusal struct{ reason string }

func (r refusal) Error() string { return r.reason }

// send sends the announcement and the pieces, and returns nil once the other side's Raft has taken it all.
func (u *upload) send() error {
	if err := u.post(snapshot{u.number, u.head, uint64(len(u.data))}); err != nil {
		return err
	}
	for u.sent < uint64(len(u.data)) {
		if u.sent >= u.limit {
			if done, err := u.await(); done || err != nil {
				return err
			}
			continue
		}
		end := min(u.sent+pieceBytes, u.limit, uint64(len(u.data)))
		if err := u.post(piece{u.number, u.sent, u.data[u.sent:end]}); err != nil {
			return err
		}
		u.sent = end
	}
	for {
		if done, err := u.await(); done || err != nil {
			return err
		}
	}
}

// await waits for the next that the receiver says: that it is done, with or without an error, or how far to go on.
func (u *upload) await() (done bool, err error) {
	silence := time.NewTimer(u.t.o.Timeout)
	defer silence.Stop()
	select {
	case o := <-u.outcome:
		switch {
		case o.Failed != "":
			return true, refusal{o.Failed}
		case u.sent < uint64(len(u.data)):
			return true, refusal{"it was taken before it was sent"}
		}
		return true, nil
	case limit := <-u.progress:
		u.limit = max(u.limit, limit)
		return false, nil
	case <-silence.C:
		return true, fmt.Errorf("etcd: nothing was heard from %d about the snapshot for %v", u.to, u.t.o.Timeout)
	case <-u.ctx.Done():
		return true, context.Cause(u.ctx)
	}
}

// post sends a message to the receiver, and waits for room.
func (u *upload) post(msg any) error {
	timeout := u.t.o.Timeout
	ctx, cancel := context.WithTimeoutCause(u.ctx, timeout, fmt.Errorf("etcd: there was no room for the snapshot to %d for %v", u.to, timeout))
	defer cancel()
	return u.t.post(ctx, u.t.node.Send, u.to, msg)
}

// advance notes how far the receiver lets it go. Only the receiving goroutine calls it, so that there is room after one was
// taken out.
func (u *upload) advance(limit uint64) {
	select {
	case before := <-u.progress:
		limit = max(limit, before)
	default:
	}
	u.progress <- limit
}

// end notes what the receiver says in the end.
func (u *upload) end(o outcome) {
	select {
	case u.outcome <- o:
	default: // a second one
	}
}
