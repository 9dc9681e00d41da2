package clustertest

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/abhishekg16/cluster"
	"github.com/abhishekg16/cluster/internal/codec"
)

// A History is what servers say that they have sent and received. Check holds it
// against what cluster promises. The zero value is empty; all methods may be called
// concurrently, for any implementation of cluster.Server.
type History struct {
	mu        sync.Mutex // guards what follows
	id        int64
	streams   map[Link]*stream
	faults    []error
	books     bool
	explained map[Link]int // messages that the books say were not delivered
	blanket   map[int]int  // the same, by sender, for each receiver
	unknown   map[int]int  // the same, for receivers that the sender does not know
	known     map[Link]bool
}

// A stream is what one server sent to another.
type stream struct {
	sent     map[int64]*sending
	order    []*sending
	greatest int // the place in order of what was received last
}

type sending struct {
	msgID    int64
	place    int // from 1
	payload  []byte
	kind     codec.Kind
	plain    bool // it can be encoded
	received int
}

// Sent is told of an envelope before that is put into Outbox, in the same order for
// each receiver. It sets MsgId if that is 0, for messages are told apart by it. If
// Pid is not the id of one server, to lists the ids of those that it goes to.
func (h *History) Sent(from int, env *cluster.Envelope, to ...int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if env.MsgId == 0 {
		h.id++
		env.MsgId = h.id
	}
	if len(to) == 0 {
		to = []int{env.Pid}
	}
	if env.Pid < 0 && to[0] == env.Pid {
		h.faults = append(h.faults, fmt.Errorf("the test has not said to whom message %d goes, which is for Pid %d: Sent needs the ids", env.MsgId, env.Pid))
		return
	}
	payload, kind, err := codec.Append(nil, env.Msg)
	for _, id := range to {
		s := h.stream(Link{from, id})
		if s.sent[env.MsgId] != nil {
			h.faults = append(h.faults, fmt.Errorf("the test has used message id %d twice from %d to %d", env.MsgId, from, id))
			continue
		}
		x := &sending{msgID: env.MsgId, place: len(s.order) + 1, payload: payload, kind: kind, plain: err == nil}
		s.sent[env.MsgId] = x
		s.order = append(s.order, x)
	}
}

func (h *History) stream(l Link) *stream {
	if h.streams == nil {
		h.streams = make(map[Link]*stream)
	}
	s := h.streams[l]
	if s == nil {
		s = &stream{sent: make(map[int64]*sending)}
		h.streams[l] = s
	}
	return s
}

// Received is told of each envelope that the server by took from its Inbox, in that
// order.
func (h *History) Received(by int, env *cluster.Envelope) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fault := func(format string, args ...any) {
		h.faults = append(h.faults, fmt.Errorf("message %d from %d to %d: %s", env.MsgId, env.Pid, by, fmt.Sprintf(format, args...)))
	}
	s := h.stream(Link{env.Pid, by})
	x := s.sent[env.MsgId]
	if x == nil {
		fault("phantom: it was never sent there")
		return
	}
	x.received++
	switch {
	case x.received > 1:
		fault("duplicate: received %d times", x.received)
	case x.place < s.greatest:
		fault("inversion: it was sent as number %d, and number %d had been received before", x.place, s.greatest)
	}
	s.greatest = max(s.greatest, x.place)
	if !x.plain {
		return
	}
	want, err := codec.Decode(x.kind, x.payload, false)
	if err != nil || reflect.DeepEqual(want, env.Msg) {
		return
	}
	// What is not equal to itself, such as NaN, is the same if it is encoded alike.
	if again, kind, err := codec.Append(nil, env.Msg); err != nil || kind != x.kind || !bytes.Equal(again, x.payload) {
		fault("corruption: got %v, want %v", env.Msg, want)
	}
}

// Explain takes in the books of one life of a server, as they are at its end: how
// many messages it dropped, and how many it found missing. Without any books,
// whatever does not arrive is unexplained.
func (h *History) Explain(s cluster.Stats) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.explained == nil {
		h.explained, h.blanket = make(map[Link]int), make(map[int]int)
		h.unknown, h.known = make(map[int]int), make(map[Link]bool)
	}
	h.books = true
	unknown := s.Unaddressed.Dropped[cluster.ReasonUnknownPeer]
	h.unknown[s.Pid] += int(unknown)
	h.blanket[s.Pid] += int(s.Unaddressed.DroppedTotal() - unknown)
	for _, p := range s.Peers {
		h.known[Link{s.Pid, p.ID}] = true
		h.explained[Link{s.Pid, p.ID}] += int(p.Sent.DroppedTotal() + p.Sent.Queued)
		r := p.Received
		h.explained[Link{p.ID, s.Pid}] += int(r.Lost + r.Missed + r.Refused[cluster.RefusedTooLarge] +
			r.Refused[cluster.RefusedUnregistered] + r.Refused[cluster.RefusedUndecodable] + r.Refused[cluster.RefusedClosed])
	}
}

// Check returns all that is wrong with the history: phantoms, duplicates,
// inversions and corruption as they were received, and messages that were not
// received though no books that were given to Explain account for it. What is still
// on its way counts as not received. What was on its way when a server crashed is
// noticed only if a later message of the same life of its sender arrives; so is what
// was lost last of all.
func (h *History) Check() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	faults := slices.Clone(h.faults)
	var links []Link
	for l := range h.streams {
		links = append(links, l)
	}
	slices.SortFunc(links, func(a, b Link) int { return (a.From-b.From)<<20 + a.To - b.To })
	for _, l := range links {
		missing, first := 0, int64(0)
		for _, x := range h.streams[l].order {
			if x.received == 0 {
				if missing++; missing == 1 {
					first = x.msgID
				}
			}
		}
		explained := h.explained[l] + h.blanket[l.From]
		if !h.known[l] {
			explained += h.unknown[l.From]
		}
		if missing > explained {
			err := fmt.Errorf("unexplained loss: of %d messages from %d to %d, %d did not arrive, the first of them message %d",
				len(h.streams[l].order), l.From, l.To, missing, first)
			if h.books {
				err = fmt.Errorf("%w; the books account for %d", err, explained)
			}
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}
