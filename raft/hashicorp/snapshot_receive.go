package hashicorp

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// pieceBytes is how much of a snapshot travels in one message.
	pieceBytes = 64 << 10
	// firstWindow is how much of it may be sent before its receiver has said how far to go.
	firstWindow = pieceBytes
	// restoreRate is how fast a snapshot is stored and restored at the least, in bytes per Config.Timeout: the scale
	// that Raft's own transport over TCP has by default.
	restoreRate = raft.DefaultTimeoutScale
	// maxScaled is the largest snapshot that is given more time for its size.
	maxScaled = 1 << 40
)

var (
	errReplaced = errors.New("hashicorp: the snapshot is sent anew")
	errGap      = errors.New("hashicorp: a piece of the snapshot was lost")
	errFlood    = errors.New("hashicorp: more of the snapshot came than there was room for")
)

// A stream is a snapshot as it comes, for Raft to read. It holds no more than a window of it.
type stream struct {
	t      *Transport
	from   int
	number uint64
	size   int64

	arrived chan struct{} // of one: there is something new for Read
	taken   chan struct{} // of one: the sender may go further

	mu       sync.Mutex // guards what follows
	pieces   [][]byte   // received and not read
	received uint64     // the offset up to which pieces have come
	read     uint64     // and up to which Raft has read them
	limit    uint64     // and up to which the sender may send
	err      error      // what Read returns after pieces: io.EOF after the last
}

func newStream(t *Transport, from int, number uint64, size int64) *stream {
	return &stream{
		t: t, from: from, number: number, size: size,
		arrived: make(chan struct{}, 1), taken: make(chan struct{}, 1),
		limit: uint64(t.cfg.SnapshotWindow),
	}
}

// signal puts a token into a channel of one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// add takes in a piece. It never waits.
func (s *stream) add(p piece) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return
	case p.Failed != "":
		s.err = errors.New(p.Failed)
	case p.Offset != s.received:
		s.err = errGap
	case uint64(len(p.Data)) > s.limit-s.received:
		s.err = errFlood
	default:
		if len(p.Data) > 0 {
			s.pieces = append(s.pieces, p.Data)
			s.received += uint64(len(p.Data))
		}
		if p.Last {
			s.err = io.EOF
		}
	}
	signal(s.arrived)
}

// fail lets Read return err, after what has come.
func (s *stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	signal(s.arrived)
}

// discard forgets what Raft has not read, and keeps nothing of what comes.
func (s *stream) discard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pieces, s.err = nil, io.EOF
	signal(s.arrived)
}

// Read implements io.Reader for Raft. It waits for the next piece, for a few times Config.Timeout at most.
func (s *stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	silence := time.NewTimer(patience * s.t.cfg.Timeout)
	defer silence.Stop()
	for {
		if n, err := s.next(p); n > 0 || err != nil {
			return n, err
		}
		select {
		case <-s.arrived:
		case <-silence.C:
			s.fail(fmt.Errorf("hashicorp: server %d has sent nothing of the snapshot for %v", s.from, patience*s.t.cfg.Timeout))
		case <-s.t.ctx.Done():
			s.fail(raft.ErrTransportShutdown)
		}
	}
}

// next is Read without waiting: 0 and nil if there is nothing.
func (s *stream) next(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pieces) == 0 {
		return 0, s.err
	}
	n := copy(p, s.pieces[0])
	if s.pieces[0] = s.pieces[0][n:]; len(s.pieces[0]) == 0 {
		s.pieces[0] = nil
		s.pieces = s.pieces[1:]
	}
	s.read += uint64(n)
	// The sender is told in steps that fill a message, but early enough that it need not wait.
	window := uint64(s.t.cfg.SnapshotWindow)
	if further := s.read + window; further-s.limit >= min(window/2, 4*pieceBytes) {
		s.limit = further
		signal(s.taken)
	}
	return n, nil
}

// position is how far the sender may go, and how far Raft has come.
func (s *stream) position() (limit, read uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limit, s.read
}

// attend tells who sends a snapshot how far to go, and that this server is at it, until Raft has answered. The answer is
// not waited for without end: a Raft that has shut down gives none.
func (t *Transport) attend(in *inbound) {
	s := in.snapshot
	alive := time.NewTicker(t.cfg.Timeout / 4)
	defer alive.Stop()
	var before uint64
	idle := time.Now()
	longest := t.cfg.Timeout * time.Duration(max(patience, min(s.size, maxScaled)/restoreRate))
	for {
		limit, read := s.position()
		if read != before {
			before, idle = read, time.Now()
		}
		if time.Since(idle) > longest {
			s.fail(fmt.Errorf("hashicorp: Raft has not taken the snapshot for %v", longest))
			return
		}
		t.reply(t.node.Send, in.from, progress{in.number, limit})
		select {
		case r := <-in.answer:
			s.discard()
			t.reply(t.node.Send, in.from, in.response(r).message())
			return
		case <-s.taken:
		case <-alive.C:
		case <-t.ctx.Done():
			return
		}
	}
}
