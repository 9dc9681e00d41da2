package zmtp

import (
	"net"
	"sync/atomic"

	"github.com/abhishekg16/cluster/internal/transport"
	"github.com/abhishekg16/cluster/internal/transport/zmtp/curve"
	"github.com/abhishekg16/cluster/internal/wire"
)

const (
	// scratchSize is how much is read at once where most of it is of small frames.
	scratchSize = 64 << 10
	// directLeast is how much has to be missing of a frame to be read to where it belongs, and
	// aheadSize is how much of what comes behind it is read with it, and behind the end of one large payload where
	// another is expected: what is read ahead has to be copied.
	directLeast = 16 << 10
	aheadSize   = 4 << 10
	// framesMost is how many messages that goroutines have read wait to be received at most.
	framesMost = 16
)

// An input is how a stream is read.
type input interface {
	// reply writes a frame if there is room for it, and reports false if the connection is to end,
	// since a part of it was written.
	reply(frame []byte) bool
	// unread reports whether more has come than was read.
	unread() bool
	// end makes reading fail. Any goroutine may call it.
	end()
}

// A stream is a connection to a Listener that has been through its handshake. One goroutine at a
// time reads it.
type stream struct {
	decoder
	input
	key         string // that the peer has proved to have
	origin      string // the peer's host
	idleTimeout idleTimeout
	share       share // of the listener's budget
}

func newStream(key string, s *curve.Session, origin string) *stream {
	return &stream{decoder: decoder{most: wire.MaxFrame, seal: s}, key: key, origin: origin}
}

// space is what part of scratch is read to, beside the room for the frame at hand.
func (s *stream) space(room, scratch []byte) []byte {
	if len(room) >= directLeast || s.isLarge() {
		return scratch[:aheadSize]
	}
	return scratch
}

// originOf is the host at the other end; empty for what has none.
func originOf(nc net.Conn) string {
	host, _, err := net.SplitHostPort(nc.RemoteAddr().String())
	if err != nil {
		return ""
	}
	return host
}

// close is called when nobody reads the stream any more.
func (s *stream) close(l *Listener) {
	s.idleTimeout.stop()
	l.budget.release(s)
	if s.seal != nil {
		s.seal.Close()
	}
}

// A found is what a stream has found: a message, or nothing more, and before it messages that
// were passed over.
type found struct {
	kind       kind
	head, tail []byte
	passed     int
	cause      error // of isBroken
}

// find takes what was read up to the next message, and returns the rest. It answers commands, and
// passes over messages whose first part is shorter than least, up to most of them. It reports
// false if the connection is to end.
func (s *stream) find(b []byte, least, most int) (f found, rest []byte, ok bool) {
	s.least = least
	for f.passed < most {
		used, k, err := s.next(b)
		if err != nil {
			f.kind, f.cause = isBroken, err
			return f, nil, false
		}
		switch b = b[used:]; k {
		case isCommand:
			ok := s.heed()
			s.body = nil // it keeps in memory what b lies in
			if !ok {
				return f, nil, false
			}
		case isTooShort:
			f.passed++
		case isMessage:
			f.kind, f.head, f.tail = k, s.head, s.tail
			s.head, s.tail = nil, nil
			return f, b, true
		default:
			f.kind = k
			return f, b, true
		}
	}
	f.kind = isTooShort
	return f, b, true
}

// take is find within the limits that the listener sets to floods.
func (s *stream) take(l *Listener, b []byte) (f found, rest []byte, ok bool) {
	least, most := l.flood.Limits(s.seal != nil)
	return s.find(b, least, most)
}

// A queued is what a goroutine has found in a stream that it reads.
type queued struct {
	from *stream
	found
}

// An outlet is where a goroutine puts what it finds.
type outlet struct {
	c       chan<- queued
	over    <-chan struct{} // closed when nobody takes it any more
	handing *atomic.Bool    // the goroutine waits for room
	put     func()          // called after each
}

// handOn puts what is in b into an outlet. It reports false if the stream is to end.
func (s *stream) handOn(l *Listener, b []byte, o outlet) bool {
	for {
		f, rest, ok := s.take(l, b)
		if b = rest; f.kind == nothing && f.passed == 0 {
			return ok
		}
		o.handing.Store(true)
		select {
		case o.c <- queued{s, f}:
		case <-o.over:
			return false
		}
		o.handing.Store(false)
		o.put()
		if f.kind == nothing || !ok {
			return ok
		}
	}
}

// heed answers the command that has come. It reports false if the connection is to end.
func (s *stream) heed() bool {
	if isError(s.body) {
		return false
	}
	pong, ttl, ok := answerPing(s.body)
	if !ok {
		return true // what other commands are for concerns other kinds of sockets
	}
	s.idleTimeout.set(ttl, s)
	frame := transport.GetBuffer(leastBuffer)
	defer transport.PutBuffer(frame)
	return s.reply(appendFrame(frame[:0], s.seal, flagCommand, pong))
}
