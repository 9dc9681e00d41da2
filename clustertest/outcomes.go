package clustertest

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/abhishekg16/cluster"
)

// What Deliver returned for a message, and whether the receiver can still be expected to have it.

// An answer is what Deliver has said of a message to one server.
type answer int

const (
	answerNone         answer = iota // nothing, or the message was sent in another way
	answerDelivered                  // nil
	answerNotDelivered               // an error: it was certainly not
	answerUnsupported                // ErrUnsupported: nor does it stand in any books
	answerUnknown                    // ErrUnconfirmed
)

func answerOf(err error) answer {
	switch {
	case err == nil:
		return answerDelivered
	case errors.Is(err, cluster.ErrUnconfirmed):
		return answerUnknown
	case errors.Is(err, cluster.ErrUnsupported):
		return answerUnsupported
	}
	return answerNotDelivered
}

// Delivered is told what Deliver returned for an envelope, which Sent was told of before Deliver was called. Check holds that
// against what was received:
//   - what was delivered (nil) is received, unless the receiver ended before (see Ended);
//   - what was certainly not delivered (any other error than ErrUnconfirmed) is not;
//   - of what nobody knows (ErrUnconfirmed) either may be.
//
// An error that has a PeerError in it is about the servers that these name, and the others have the message.
// Another one is about all of them. If Deliver never returned, since its server was killed, the error is ErrUnconfirmed.
//
// What was passed to Deliver keeps its order with what the same server sent before, in any way, and with what was sent after Deliver had
// returned. What other goroutines sent while it waited may come before it.
func (h *History) Delivered(from int, env *cluster.Envelope, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	to := h.receivers[copyKey{from, env.MsgId, env.Pid}]
	if len(to) == 0 {
		h.faults = append(h.faults, fmt.Errorf("the test has told of Deliver for message %d from %d, and not before that it is sent: Delivered needs a Sent", env.MsgId, from))
		return
	}
	failed := unreached(err)
	for _, id := range slices.Sorted(maps.Keys(failed)) {
		if !slices.Contains(to, id) {
			h.faults = append(h.faults, fmt.Errorf("message %d from %d: another server is named: Deliver has returned %q, and the message was not sent to %d",
				env.MsgId, from, err, id))
		}
	}
	for _, id := range to {
		s := h.streams[Link{from, id}]
		x := s.sent[env.MsgId]
		if x.answer != answerNone {
			h.faults = append(h.faults, fmt.Errorf("the test has told of Deliver for message %d from %d to %d twice", env.MsgId, from, id))
			continue
		}
		x.err = err
		if len(failed) > 0 {
			x.err = failed[id]
		}
		x.answer, x.before = answerOf(x.err), len(s.order)
	}
}

// unreached are the servers that an error of Deliver names, wherever in it, with the error for each.
func unreached(err error) map[int]error {
	all := make(map[int]error)
	var look func(error)
	look = func(err error) {
		switch e := err.(type) {
		case *cluster.PeerError:
			all[e.Peer] = e.Err
		case interface{ Unwrap() []error }:
			for _, err := range e.Unwrap() {
				look(err)
			}
		case interface{ Unwrap() error }:
			look(e.Unwrap())
		}
	}
	look(err)
	return all
}

// Ended is told that a server has ended, by Close or otherwise, before its program has taken all that was in its Inbox: of what was delivered to it
// until now, what its program was to take last need not be received any more. Who passes the books of each life to Explain need not
// tell this of any life but the last.
func (h *History) Ended(server int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l, s := range h.streams {
		if l.To == server {
			s.ends = append(s.ends, ending{len(s.order), s.greatest})
		}
	}
}

// An ending is where a stream stood when its receiver ended.
type ending struct {
	sent   int // messages, until then
	passed int // the place of what was received last
}

// endings are where a stream stood at each end of a receiver's life.
func (h *History) endings(l Link) []ending {
	all := h.streams[l].ends
	lives := h.ledgers[l.To]
	for _, b := range lives[:max(0, len(lives)-1)] {
		all = append(all[:len(all):len(all)], ending{b.asked[l.From], b.passed[l.From]})
	}
	return all
}

// answers are the errors for what was received though Deliver denied it, and for what was not though Deliver returned nil.
func (h *History) answers(l Link) (faults []error) {
	ends := h.endings(l)
	for _, x := range h.streams[l].order {
		fault := func(format string, args ...any) {
			faults = append(faults, fmt.Errorf("message %d from %d to %d: %s", x.msgID, l.From, l.To, fmt.Sprintf(format, args...)))
		}
		switch denied := x.answer == answerNotDelivered || x.answer == answerUnsupported; {
		case denied && x.received > 0:
			fault("false denial: it was received, and Deliver had returned %q, so it was certainly not to be", x.err)
		case x.answer == answerDelivered && x.received == 0 && !x.forgotten(ends):
			fault("unkept promise: Deliver has returned nil, and it was not received")
		}
	}
	return faults
}

// forgotten reports whether the receiver may have ended with the message in its Inbox: nothing that comes behind it was received before.
func (x *sending) forgotten(ends []ending) bool {
	for _, e := range ends {
		if x.place <= e.sent && e.passed <= x.until() {
			return true
		}
	}
	return false
}

// An inversion is the error for a message that was received behind one that was sent after it. It is none if Deliver had not returned for
// the message by then, of which the test may be told later.
type inversion struct {
	Link
	*sending
	behind int // the place of that other
}

func (i *inversion) Error() string {
	return fmt.Sprintf("message %d from %d to %d: inversion: it was sent as number %d, and number %d had been received before",
		i.msgID, i.From, i.To, i.place, i.behind)
}

// until is the place of the last message of which it is not known that it was sent behind this one.
func (x *sending) until() int { return max(x.place, x.before) }

// excused is how many of the missing messages no books need to account for, since Deliver has said what became of them: those that answers tells
// of, and those of which the books that would have them are not known, or end before.
func (h *History) excused(l Link, missing []*sending) (count int) {
	sender, receiver := len(h.ledgers[l.From]) > 0, len(h.ledgers[l.To]) > 0
	ends, greatest := h.endings(l), h.streams[l].greatest
	for _, x := range missing {
		excused := false
		switch x.answer {
		case answerDelivered:
			excused = !receiver || !x.forgotten(ends)
		case answerNotDelivered:
			excused = !sender
		case answerUnsupported:
			excused = true
		case answerUnknown:
			excused = !sender || !receiver || x.place > greatest
		}
		if excused {
			count++
		}
	}
	return count
}
