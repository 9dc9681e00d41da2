//go:build !linux || zmtpqueue

package zmtp

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

// replyTimeout is how long a PONG may take to be written.
const replyTimeout = 100 * time.Millisecond

// A queue is where the goroutines that read connections put what they have found.
type queue struct {
	c     chan queued
	ended chan struct{} // closed by close
	// busy is how many of them have read something that they have not put there yet, or have more to
	// read at once.
	busy atomic.Int64

	mu      sync.Mutex // guards what follows
	closed  bool
	streams map[*stream]struct{} // that are read
}

func newQueue() *queue {
	return &queue{c: make(chan queued, framesMost), ended: make(chan struct{}), streams: make(map[*stream]struct{})}
}

// enter notes a stream, and reports false after close.
func (q *queue) enter(s *stream) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.streams[s] = struct{}{}
	}
	return !q.closed
}

func (q *queue) leave(s *stream) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.streams, s)
}

// close ends all streams.
func (q *queue) close(*Listener) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	close(q.ended)
	for s := range q.streams {
		s.end()
	}
}

// idle reports whether nothing is about to be put into the queue.
func (q *queue) idle() bool { return q.busy.Load() == 0 }

// A connInput reads a connection in a goroutine of its own.
type connInput struct {
	net.Conn
	handing atomic.Bool // its goroutine waits for room in the queue
}

func (c *connInput) reply(frame []byte) bool {
	c.SetWriteDeadline(time.Now().Add(replyTimeout))
	n, err := c.Write(frame)
	return err == nil || n == 0 && isTimeout(err)
}

func (c *connInput) unread() bool { return c.handing.Load() }

func (c *connInput) end() { c.Close() }

// read reads a stream until it ends. rest came behind the handshake.
func (q *queue) read(l *Listener, s *stream, c *connInput, rest []byte) {
	defer c.Close()
	defer s.close(l)
	b := transport.GetBuffer(scratchSize)
	defer transport.PutBuffer(b)
	o := outlet{q.c, q.ended, &c.handing, func() {}}
	q.busy.Add(1)
	defer q.busy.Add(-1)
	for full := false; ; {
		if !s.handOn(l, rest, o) {
			return
		}
		l.budget.settle(s)
		into := s.room()
		direct := len(into) >= directLeast
		if !direct {
			into = s.space(nil, b)
		}
		if !full {
			q.busy.Add(-1)
		}
		n, err := c.Read(into)
		if !full {
			q.busy.Add(1)
		}
		if n == 0 && err != nil {
			return
		}
		s.idleTimeout.came()
		full, rest = n == len(into), nil
		if direct {
			s.took(n)
		} else {
			rest = b[:n]
		}
	}
}
