package clustertest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
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
	mu      sync.Mutex // guards what follows
	id      int64
	streams map[Link]*stream
	faults  []error
	ledgers map[int][]*ledger // of each server, by life
	copies  map[copyKey]*int  // how many copies of an envelope were received, by anybody
	// receivers are for whom an envelope was sent.
	receivers map[copyKey][]int
}

// A copyKey tells envelopes apart of which several servers get copies: by who sent it, its id, and for whom.
type copyKey struct {
	from  int
	msgID int64
	to    int // as Pid has it
}

// A stream is what one server sent to another.
type stream struct {
	sent     map[int64]*sending
	order    []*sending
	greatest int // the place in order of what was received last
	ends     []ending
}

type sending struct {
	msgID    int64
	place    int // from 1
	payload  []byte
	kind     codec.Kind
	unfit    error // why it cannot be encoded, and so not be sent
	received int
	copies   *int // of the same envelope that were received, by anybody
	answer   answer
	err      error // of Deliver
	before   int   // the place of the last that was sent before Deliver had returned
}

// Sent is told of an envelope before that is put into Outbox, or passed to Send or
// Deliver, in the same order for each receiver. It sets MsgId if that is 0, for messages are told apart by it. If
// Pid is not the id of one server, to lists the ids of those that it goes to; a list that is empty and not nil, such as
// the Peers of a server that is alone, is nobody.
func (h *History) Sent(from int, env *cluster.Envelope, to ...int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if env.MsgId == 0 {
		h.id++
		env.MsgId = h.id
	}
	if to == nil && env.Pid >= 0 {
		to = []int{env.Pid}
	}
	if to == nil || slices.ContainsFunc(to, func(id int) bool { return id < 0 }) {
		h.faults = append(h.faults, fmt.Errorf("the test has not said to whom message %d goes, which is for Pid %d: Sent needs the ids", env.MsgId, env.Pid))
		return
	}
	if h.receivers == nil {
		h.receivers = make(map[copyKey][]int)
	}
	payload, kind, err := codec.Append(nil, env.Msg, codec.Limits{})
	key := copyKey{from, env.MsgId, env.Pid}
	copies := h.copiesOf(key)
	for i, id := range to {
		if slices.Contains(to[:i], id) {
			continue // a group has each server once
		}
		s := h.stream(Link{from, id})
		if s.sent[env.MsgId] != nil {
			h.faults = append(h.faults, fmt.Errorf("the test has used message id %d twice from %d to %d", env.MsgId, from, id))
			continue
		}
		x := &sending{msgID: env.MsgId, place: len(s.order) + 1, payload: payload, kind: kind, unfit: err, copies: copies}
		s.sent[env.MsgId] = x
		s.order = append(s.order, x)
		h.receivers[key] = append(h.receivers[key], id)
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
// order. Check reports nil, which a closed Inbox gives and which is no envelope.
func (h *History) Received(by int, env *cluster.Envelope) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if env == nil {
		h.faults = append(h.faults, fmt.Errorf("no envelope: server %d has received nil, as from an Inbox that is closed", by))
		return
	}
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
	*x.copies++
	switch {
	case x.received > 1:
		fault("duplicate: received %d times", x.received)
	case x.place < s.greatest:
		h.faults = append(h.faults, &inversion{Link{env.Pid, by}, x, s.greatest})
	}
	s.greatest = max(s.greatest, x.place)
	if x.unfit != nil {
		fault("phantom: it cannot have been sent: %v", x.unfit)
		return
	}
	want, _, err := codec.Decode(x.kind, x.payload, false, codec.Limits{}, nil)
	if err == nil && !x.is(env.Msg, want) {
		fault("corruption: %s", difference(env.Msg, want))
	}
}

// is reports whether got is the message, which is decoded in want. What is not equal to itself, such as NaN, or
// differs in what does not travel, is the same if it is of the same types and encoded alike.
func (x *sending) is(got, want any) bool {
	if reflect.DeepEqual(got, want) {
		return sameZeros(reflect.ValueOf(got), reflect.ValueOf(want))
	}
	if _, g, w := differ("", reflect.ValueOf(got), reflect.ValueOf(want)); reflect.TypeOf(g) != reflect.TypeOf(w) {
		return false
	}
	again, kind, err := codec.Append(nil, got, codec.Limits{})
	return err == nil && kind == x.kind && bytes.Equal(again, x.payload)
}

// Explain takes in the books of one life of a server, as they are at its end: how many
// messages it dropped, and how many it found missing. It may be told again of the same
// life, and goes by the last. The lives of a server are explained in their order, each
// before the next one sends or receives: what was sent last in an earlier life of the
// sender, or was on its way when the receiver ended, may be lost, but not what was sent
// before something that has arrived in the same lives. Without any books, whatever does
// not arrive is unexplained.
func (h *History) Explain(s cluster.Stats) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ledgers == nil {
		h.ledgers = make(map[int][]*ledger)
	}
	all := h.ledgers[s.Pid]
	i := slices.IndexFunc(all, func(b *ledger) bool { return b.Incarnation == s.Incarnation && s.Incarnation != 0 })
	if i < 0 {
		i = len(all)
		all = append(all, new(ledger))
		h.ledgers[s.Pid] = all
	}
	all[i].Stats = s
	if i == len(all)-1 { // the next life has not begun
		all[i].mark(h.streams)
	}
}

// Check returns all that is wrong with the history: phantoms, duplicates,
// inversions and corruption as they were received, what Deliver said and was not so (see Delivered),
// messages that were not
// received though no books that were given to Explain account for it, messages that the sender's
// books say are confirmed and the receiver's do not know of, and books that contradict themselves: more
// sent, queued and dropped than accepted, or more confirmed and unconfirmed than sent. What is still
// on its way counts as not received. What was on its way when the receiver crashed is
// noticed only if a later message of the same life of its sender arrives; so is what
// was lost last of all.
func (h *History) Check() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	faults := slices.DeleteFunc(slices.Clone(h.faults), func(err error) bool {
		i, ok := err.(*inversion)
		return ok && i.behind <= i.until()
	})
	for _, l := range slices.SortedFunc(maps.Keys(h.streams), Link.compare) {
		faults = append(faults, h.answers(l)...)
		for _, err := range []error{h.loss(l), h.unkept(l)} {
			if err != nil {
				faults = append(faults, err)
			}
		}
	}
	faults = append(faults, h.contradictions()...)
	if len(faults) == 0 {
		faults = h.lossOverall()
	}
	return errors.Join(faults...)
}

// loss is the error for messages that are missing and not accounted for. What a life of
// the receiver has passed over has to be explained by its books and those of the lives
// before: a later one says of that only that it has missed it as well.
func (h *History) loss(l Link) error {
	order := h.streams[l].order
	lives := h.ledgers[l.To]
	for i := range max(1, len(lives)) {
		upTo := len(order)
		if i < len(lives)-1 {
			if upTo = lives[i].passed[l.From]; upTo == lives[i+1].passed[l.From] {
				continue
			}
		}
		byLife := h.missing(l, order[:upTo])
		missing := slices.Concat(byLife...)
		explained := h.explained(l, byLife, lives[:min(i+1, len(lives))], upTo, true)
		if len(missing) <= explained+h.excused(l, missing) {
			continue
		}
		err := fmt.Errorf("unexplained loss: of %d messages from %d to %d, %d did not arrive, the first of them message %d",
			upTo, l.From, l.To, len(missing), missing[0].msgID)
		if len(h.ledgers) > 0 {
			err = fmt.Errorf("%w; the books account for %d", err, max(0, explained))
		}
		return err
	}
	return nil
}

// missing are those of the messages in order that were not received, by the lives of the sender whose
// books are known. Those that were sent last in a life before its latest are not among them.
func (h *History) missing(l Link, order []*sending) (byLife [][]*sending) {
	var ends []int
	for _, b := range h.ledgers[l.From] {
		ends = append(ends, b.ends[l.To])
	}
	if len(ends) > 0 {
		ends = ends[:len(ends)-1]
	}
	begin := 0
	for i, end := range append(ends, len(order)) {
		end = max(begin, min(end, len(order)))
		life := order[begin:end]
		if i < len(ends) {
			life = life[:1+lastIndex(life, func(x *sending) bool { return x.received > 0 })]
		}
		byLife = append(byLife, slices.DeleteFunc(slices.Clone(life), func(x *sending) bool { return x.received > 0 }))
		begin = end
	}
	return byLife
}

// lastIndex is the index of the last element for which f holds, or -1.
func lastIndex[E any](s []E, f func(E) bool) int {
	for i, e := range slices.Backward(s) {
		if f(e) {
			return i
		}
	}
	return -1
}
