package cluster

import (
	"time"

	"github.com/abhishekg16/cluster/internal/wire"
)

// pushNow puts as many envelopes of the chunk into the inbox as there is room
// for, and leaves the others in it. The caller holds mu, and nothing is
// delivering.
func (in *inbox) pushNow(c *chunk) {
	for i, e := range c.envelopes {
		if !in.heavy.fits(len(in.c), c.size(i)) {
			c.envelopes = c.envelopes[i:]
			return
		}
		select {
		case in.c <- e:
			in.heavy.pushed(c.size(i))
		default:
			c.envelopes = c.envelopes[i:]
			return
		}
	}
	c.envelopes = nil
}

// size is that of the chunk's i-th payload, if that matters: only a large
// message is alone in its frame.
func (c *chunk) size(i int) int {
	if len(c.envelopes) > 1 {
		return 0
	}
	return c.sizes
}

// deliverBacklog is the goroutine that waits for room in the inbox, while there
// is a backlog.
func (in *inbox) deliverBacklog() {
	defer in.deliver.Done()
	for {
		in.mu.Lock()
		if len(in.backlog) == 0 {
			in.backlog = nil
			in.delivering = false
			in.mu.Unlock()
			return
		}
		c := in.backlog[0]
		in.backlog[0] = chunk{}
		in.backlog = in.backlog[1:]
		in.mu.Unlock()
		done := 0
		for done < len(c.envelopes) && in.push(&c, done) {
			done++
		}
		in.mu.Lock()
		in.delivered(&c, done)
		stopped := done < len(c.envelopes)
		in.mu.Unlock()
		if stopped {
			return
		}
	}
}

// push puts one envelope into the inbox. It reports false if stop came first.
func (in *inbox) push(c *chunk, i int) bool {
	for pause := 50 * time.Microsecond; !in.heavy.fits(len(in.c), c.size(i)); pause = min(2*pause, 2*time.Millisecond) {
		// Only the program knows when it takes from a channel, so the bound on
		// bytes, which matters for large messages alone, has to be polled.
		select {
		case <-time.After(pause):
		case <-in.stop:
			return false
		}
	}
	select {
	case in.c <- c.envelopes[i]:
		in.heavy.pushed(c.size(i))
		return true
	default:
	}
	select {
	case in.c <- c.envelopes[i]:
		in.heavy.pushed(c.size(i))
		in.report(c, i+1)
		return true
	case <-in.stop:
		return false
	}
}

// report tells the sender of a chunk, now and then, that its messages are being
// taken, if slowly: the first done are.
func (in *inbox) report(c *chunk, done int) {
	now := time.Now()
	if now.Sub(in.reported) < ackInterval {
		return
	}
	in.reported = now
	in.mu.Lock()
	defer in.mu.Unlock()
	s := c.source
	if c.incarnation == s.incarnation {
		s.taken = wire.Position{Seq: c.end.Seq - uint64(len(c.envelopes)-done)}
		in.acknowledge(s, now)
	}
}

// delivered takes note that the first done envelopes of the chunk are in the
// inbox. The caller holds mu.
func (in *inbox) delivered(c *chunk, done int) {
	s := c.source
	s.waiting -= c.bytes
	if left := len(c.envelopes) - done; left > 0 {
		s.books.received -= uint64(left)
		s.books.refused[RefusedClosed] += uint64(left)
		return
	}
	if c.incarnation == s.incarnation {
		s.backlog -= done
		s.taken = c.end
	}
	in.taken(c, time.Now())
}

// taken decides when the sender of a chunk that was taken is to be told. The
// caller holds mu.
func (in *inbox) taken(c *chunk, now time.Time) {
	s := c.source
	if c.incarnation != s.incarnation {
		return
	}
	s.unacked += c.bytes
	switch {
	case s.unacked >= int(in.window)/4:
		in.acknowledge(s, now)
	case s.asked:
		in.offer(s, now.Add(ackDelay))
	default:
		if l := in.node.linkIfAny(s.id); l != nil {
			l.offer(s.incarnation, s.position(), time.Time{})
		}
	}
}

// acknowledge tells the peer at once how far it was taken. The caller holds mu.
func (in *inbox) acknowledge(s *source, now time.Time) {
	s.unacked = 0
	in.offer(s, now)
}

// offer sees to it that the peer is told by due. The caller holds mu.
func (in *inbox) offer(s *source, due time.Time) {
	// What is not taken yet is to be told of as well.
	s.asked = s.asked && (s.backlog > 0 || len(s.held) > 0)
	if l, ok := in.node.link(s.id); ok {
		l.offer(s.incarnation, s.position(), due)
	}
}

// close ends delivery, gives up the backlog and closes the channel. What is in
// the channel can still be read.
func (in *inbox) close() {
	close(in.stop)
	in.deliver.Wait()
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	for i := range in.backlog {
		in.delivered(&in.backlog[i], 0)
	}
	in.backlog = nil
	close(in.c)
}

// heavy bounds the bytes of large messages in a channel, whose capacity bounds
// only their number.
type heavy struct {
	limit int
	count uint64 // envelopes put into the channel so far
	bytes int    // of the messages below
	large []heavyMessage
}

type heavyMessage struct {
	index uint64 // the value of count when it was put there
	bytes int
}

// fits reports whether a message of size bytes may join the queued ones.
func (h *heavy) fits(queued, size int) bool {
	if size < blobBytes {
		return true
	}
	taken := h.count - uint64(queued)
	for len(h.large) > 0 && h.large[0].index < taken {
		h.bytes -= h.large[0].bytes
		h.large = h.large[1:]
	}
	return h.bytes == 0 || h.bytes+size <= h.limit
}

func (h *heavy) pushed(size int) {
	if size >= blobBytes {
		h.large = append(h.large, heavyMessage{h.count, size})
		h.bytes += size
	}
	h.count++
}
