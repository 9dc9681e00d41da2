package testcluster

import (
	"bytes"
	"encoding/binary"
	"sync"
	"time"

	"github.com/abhishekg16/cluster"
)

// Traffic makes numbered messages and sends them from one node. Each carries
// which life of its sender it is of, and its number among those to the same peer,
// from 1.
type Traffic struct {
	n    *cluster.Node
	life uint64
	stop chan struct{} // closed by halt
	done chan struct{} // closed when the current send has ended; nil before the first

	mu      sync.Mutex // guards what follows
	next    map[int]uint64
	slowest time.Duration
}

// NewTraffic makes traffic from n, which has sent nothing yet.
func NewTraffic(n *cluster.Node) *Traffic {
	return &Traffic{n: n, life: uint64(time.Now().UnixNano()), next: make(map[int]uint64)}
}

// numberedBytes is the least size of a numbered message. What is larger is filled
// with the number's lowest byte.
const numberedBytes = 16

var fillings = func() (f [256][]byte) {
	for i := range f {
		f[i] = bytes.Repeat([]byte{byte(i)}, 4096)
	}
	return f
}()

// Message makes the next message for a peer.
func (s *Traffic) Message(to, size int) *cluster.Envelope {
	s.mu.Lock()
	s.next[to] = max(1, s.next[to])
	number := s.next[to]
	s.next[to]++
	s.mu.Unlock()
	b := make([]byte, size)
	binary.LittleEndian.PutUint64(b, s.life)
	binary.LittleEndian.PutUint64(b[8:], number)
	for rest := b[numberedBytes:]; len(rest) > 0; {
		rest = rest[copy(rest, fillings[byte(number)]):]
	}
	return &cluster.Envelope{Pid: to, Msg: b}
}

// Send begins to send, as Child.Send has it, when what was to be sent before
// has been.
func (s *Traffic) Send(to []int, count, size int, pause time.Duration) {
	s.Wait()
	s.stop, s.done = make(chan struct{}), make(chan struct{})
	go func() { // halt ends it, and so does the end of the node; wait waits for it.
		defer close(s.done)
		for i := 0; count == 0 || i < count; i++ {
			for _, pid := range to {
				if !s.put(s.Message(pid, size)) {
					return
				}
			}
			if pause > 0 {
				select {
				case <-time.After(pause):
				case <-s.stop:
					return
				}
			}
		}
	}()
}

// put puts an envelope into Outbox, and reports false if it was told to stop.
func (s *Traffic) put(e *cluster.Envelope) bool {
	select {
	case <-s.stop:
		return s.unsent(e)
	case s.n.Outbox() <- e:
		return true
	default:
	}
	began := time.Now()
	select {
	case s.n.Outbox() <- e:
	case <-s.stop:
		return s.unsent(e)
	case <-s.n.Done():
		return s.unsent(e)
	}
	s.mu.Lock()
	s.slowest = max(s.slowest, time.Since(began))
	s.mu.Unlock()
	return true
}

func (s *Traffic) unsent(e *cluster.Envelope) bool {
	s.mu.Lock()
	s.next[e.Pid]--
	s.mu.Unlock()
	return false
}

// Number is that of the next message to a peer.
func (s *Traffic) Number(to int) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(1, s.next[to])
}

// SlowestPut is the longest that Outbox took to take a message.
func (s *Traffic) SlowestPut() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.slowest
}

// Wait waits until all is in Outbox that was to be sent.
func (s *Traffic) Wait() {
	if s.done != nil {
		<-s.done
	}
}

// Halt ends a Send that is under way.
func (s *Traffic) Halt() {
	if s.done != nil {
		close(s.stop)
		<-s.done
		s.done = nil
	}
}

func (s *Traffic) sending() bool {
	select {
	case <-s.done: // nil blocks
		return false
	default:
		return s.done != nil
	}
}
