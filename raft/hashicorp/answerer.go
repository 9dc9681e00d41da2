package hashicorp

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// An answerer waits for Raft's answer to one request at a time, and sends it. It waits already when a request is given to
// it, so that it has to be woken only once for each: by the answer.
type answerer struct {
	t      *Transport
	answer chan raft.RPCResponse   // of the next request, or the one that it has, with room for the answer: Raft never waits
	in     atomic.Pointer[inbound] // its request; who takes that out gives the answerer back
	limit  *time.Timer             // runs while it has a request
}

// answerers are those that have no request.
type answerers struct {
	mu   sync.Mutex // guards idle
	idle []*answerer
}

// maxIdle is how many answerers wait for requests. A leader has Config.MaxInFlight under way, and servers vote now and then.
const maxIdle = 8

// patience is how many times Config.Timeout an answer of Raft's is waited for: who asked has given up long before.
const patience = 10

// offer gives a request to Raft if that has room for it, and sees to its answer.
func (t *Transport) offer(in *inbound) bool {
	a := t.answerers.take()
	if a == nil {
		a = &answerer{t: t, answer: make(chan raft.RPCResponse, 1), limit: time.NewTimer(time.Hour)}
		if !t.start(a.run) {
			return false
		}
	}
	in.rpc.RespChan = a.answer
	a.in.Store(in)
	a.limit.Reset(patience * t.cfg.Timeout)
	select {
	case t.consumer <- in.rpc:
		return true
	default:
		a.limit.Stop()
		if a.in.Swap(nil) != nil { // or it has given up already
			t.answerers.put(a, maxIdle+1) // It was there before, or is one more at most.
		}
		return false
	}
}

// run ends when the transport closes, which waits for it, or when there are enough others.
func (a *answerer) run() {
	for {
		select {
		case r := <-a.answer:
			a.limit.Stop()
			in := a.in.Swap(nil)
			a.t.reply(way(a.t.node, in.rpc.Command), in.from, in.response(r).message())
		case <-a.limit.C:
			if a.in.Swap(nil) == nil {
				continue // Raft was not given it, and offer has taken it out.
			}
		case <-a.t.ctx.Done():
			return
		}
		a.answer = make(chan raft.RPCResponse, 1) // What Raft may still say to the request before is for nobody.
		if !a.t.answerers.put(a, maxIdle) {
			return
		}
	}
}

// take returns one that waits, the latest first; nil if there is none.
func (s *answerers) take() *answerer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle) == 0 {
		return nil
	}
	last := len(s.idle) - 1
	a := s.idle[last]
	s.idle[last] = nil
	s.idle = s.idle[:last]
	return a
}

// put adds one that waits, unless there are most of them.
func (s *answerers) put(a *answerer, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle) >= most {
		return false
	}
	s.idle = append(s.idle, a)
	return true
}
