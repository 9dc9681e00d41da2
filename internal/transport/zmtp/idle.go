package zmtp

import (
	"sync/atomic"
	"time"

	"github.com/abhishekg16/cluster/internal/transport"
)

// looks is how often a stream is looked at within its peer's TTL.
const looks = 4

// An idleTimeout ends a stream of which nothing has come for as long as its peer has said in a PING.
type idleTimeout struct {
	reads atomic.Uint32 // how often something came
	ttl   atomic.Int64  // a time.Duration; 0: for ever
	over  atomic.Bool   // the stream has ended

	// Used by who reads the stream.
	timer *time.Timer // nil before the first PING with a TTL

	// Used by the timer.
	seen  uint32 // reads at the last look
	quiet int    // looks in a row at which it had not changed
}

// came notes that something came.
func (p *idleTimeout) came() { p.reads.Add(1) }

// set takes the TTL of a PING.
func (p *idleTimeout) set(ttl time.Duration, s *stream) {
	p.ttl.Store(int64(ttl))
	if ttl > 0 && p.timer == nil {
		p.timer = time.AfterFunc(time.Hour, func() { p.look(s) }) // look uses timer
		p.timer.Reset(ttl / looks)
	}
}

// look ends the stream if it was silent at as many looks in a row as make a TTL. That it has not
// been read for as long is not its peer's silence.
func (p *idleTimeout) look(s *stream) {
	if p.over.Load() {
		return
	}
	ttl := time.Duration(p.ttl.Load())
	if reads := p.reads.Load(); reads != p.seen || ttl == 0 || s.unread() {
		p.seen, p.quiet = reads, 0
	} else if p.quiet++; p.quiet >= looks {
		s.end()
		return
	}
	if ttl == 0 {
		ttl = transport.HeartbeatTTL // it may be given another
	}
	p.timer.Reset(ttl / looks)
	if p.over.Load() {
		p.timer.Stop() // stop was called before Reset
	}
}

// stop is called when the stream has ended.
func (p *idleTimeout) stop() {
	p.over.Store(true)
	if p.timer != nil {
		p.timer.Stop()
	}
}
