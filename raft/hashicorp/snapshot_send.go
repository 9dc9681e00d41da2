package hashicorp

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"
)

// InstallSnapshot implements raft.Transport. It reads data as the other server takes it, and returns when that one's Raft
// has answered, or when nothing was heard from there for Config.Timeout.
func (t *Transport) InstallSnapshot(_ raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	pid, err := Pid(target)
	if err != nil {
		return err
	}
	c := t.calls.begin(pid, installSnapshot, nil)
	defer t.calls.end(c)
	u := &upload{t: t, call: c, limit: firstWindow}
	if err := u.post(requestMessage(c.number, installSnapshot, args)); err != nil {
		return err
	}
	reply, err := u.send(data)
	if err != nil {
		return err
	}
	return reply.into(resp)
}

// An upload is a snapshot on its way to another server.
type upload struct {
	t      *Transport
	call   *call
	offset uint64 // up to which it is sent
	limit  uint64 // up to which it may be
}

// send sends the pieces, and returns the other side's answer, which may come before the last of them.
func (u *upload) send(data io.Reader) (response, error) {
	for last := false; !last; {
		for u.offset >= u.limit {
			if reply, err := u.await(); reply != nil || err != nil {
				return value(reply), err
			}
		}
		p := piece{Number: u.call.number, Offset: u.offset, Data: make([]byte, min(pieceBytes, u.limit-u.offset))}
		n, err := io.ReadFull(data, p.Data)
		switch last = err == io.EOF || err == io.ErrUnexpectedEOF; {
		case last:
			p.Data, p.Last = p.Data[:n], true
		case err != nil:
			u.post(piece{Number: u.call.number, Failed: failure(fmt.Errorf("hashicorp: the sender cannot read the snapshot: %w", err))})
			return response{}, err
		}
		if err := u.post(p); err != nil {
			return response{}, err
		}
		u.offset += uint64(n)
	}
	for {
		if reply, err := u.await(); reply != nil || err != nil {
			return value(reply), err
		}
	}
}

func value(r *response) response {
	if r == nil {
		return response{}
	}
	return *r
}

// await waits for the next that the receiver says: its answer, or how far to go on.
func (u *upload) await() (*response, error) {
	silence := time.NewTimer(u.t.cfg.Timeout)
	defer silence.Stop()
	select {
	case r := <-u.call.reply:
		return &r, nil
	case limit := <-u.call.progress:
		u.limit = max(u.limit, limit)
		return nil, nil
	case <-silence.C:
		return nil, noReply{u.call.pid, installSnapshot, u.t.cfg.Timeout}
	case <-u.t.ctx.Done():
		return nil, context.Cause(u.t.ctx)
	}
}

// post sends a message to the receiver.
func (u *upload) post(msg any) error {
	timeout := u.t.cfg.Timeout
	ctx, cancel := context.WithTimeoutCause(u.t.ctx, timeout, noReply{u.call.pid, installSnapshot, timeout})
	defer cancel()
	return post(ctx, u.t.node.Send, u.call.pid, msg)
}
