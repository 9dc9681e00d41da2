package clustertest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/abhishekg16/cluster"
)

// A ledger is the books of one life of a server, as they were when Explain was last told of
// that life.
type ledger struct {
	cluster.Stats
	// How many messages the server had sent to each other one, and how many of those of
	// each other one, in their order, it had received or passed over. What is sent and
	// received later is of the next life, if there is one.
	ends, passed map[int]int
	asked        map[int]int // how many each other one had sent to the server
}

// mark notes how far the server has come in all streams.
func (b *ledger) mark(streams map[Link]*stream) {
	b.ends, b.passed, b.asked = make(map[int]int), make(map[int]int), make(map[int]int)
	for l, s := range streams {
		if l.From == b.Pid {
			b.ends[l.To] = len(s.order)
		}
		if l.To == b.Pid {
			b.passed[l.From], b.asked[l.From] = s.greatest, len(s.order)
		}
	}
}

// peer is what the ledger says of one peer, and whether it knows it.
func (b *ledger) peer(id int) (cluster.PeerStats, bool) {
	i := slices.IndexFunc(b.Peers, func(p cluster.PeerStats) bool { return p.ID == id })
	if i < 0 {
		return cluster.PeerStats{ID: id}, false
	}
	return b.Peers[i], true
}

// dropped is how many messages to a server the ledger says were not sent, without those of which it does not
// say for whom they were.
func (b *ledger) dropped(to int) int {
	p, known := b.peer(to)
	count := p.Sent.DroppedTotal() + p.Sent.Queued
	if !known {
		count += b.Unaddressed.Dropped[cluster.ReasonUnknownPeer]
	}
	return int(count)
}

// contradictions are the errors for books that contradict themselves: they would explain any loss.
func (h *History) contradictions() (faults []error) {
	for _, pid := range slices.Sorted(maps.Keys(h.ledgers)) {
		for _, b := range h.ledgers[pid] {
			for _, p := range b.Peers {
				s := p.Sent
				if exceed(s.Accepted, append(slices.Collect(maps.Values(s.Dropped)), s.Sent, s.Queued)...) {
					faults = append(faults, fmt.Errorf("contradicting books: of %d messages that server %d has accepted for %d, it says that %d were sent, %d are queued, and were dropped: %v",
						s.Accepted, pid, p.ID, s.Sent, s.Queued, s.Dropped))
				}
				if exceed(s.Sent, s.Confirmed, s.Unconfirmed) {
					faults = append(faults, fmt.Errorf("contradicting books: of %d messages that server %d has sent to %d, it says that %d are confirmed, and %d unconfirmed",
						s.Sent, pid, p.ID, s.Confirmed, s.Unconfirmed))
				}
			}
			if u := b.Unaddressed; exceed(u.Accepted, slices.Collect(maps.Values(u.Dropped))...) {
				faults = append(faults, fmt.Errorf("contradicting books: of %d messages that server %d has accepted for no peer, it says that were dropped: %v",
					u.Accepted, pid, u.Dropped))
			}
		}
	}
	return faults
}

// exceed reports whether the parts are more than the whole, however large they are.
func exceed(whole uint64, parts ...uint64) bool {
	for _, p := range parts {
		if p > whole {
			return true
		}
		whole -= p
	}
	return false
}

// unkept is the error for messages that a sender takes for delivered, as its books say, and that no life of the receiver has put
// into Inbox, or refused. Where the books of a life of the receiver are missing, nothing can be said.
func (h *History) unkept(l Link) error {
	confirmed, heard := uint64(0), uint64(0)
	lives := len(h.ledgers[l.To])
	for _, b := range h.ledgers[l.From] {
		p, _ := b.peer(l.To)
		confirmed += p.Sent.Confirmed
		if int(p.Received.Restarts) >= lives {
			return nil
		}
	}
	for _, b := range h.ledgers[l.To] {
		p, _ := b.peer(l.From)
		heard += p.Received.Received + p.Received.Refused[cluster.RefusedTooLarge] +
			p.Received.Refused[cluster.RefusedUnregistered] + p.Received.Refused[cluster.RefusedUndecodable]
	}
	if lives == 0 || confirmed <= heard {
		return nil
	}
	return fmt.Errorf("unkept promise: of the messages from %d to %d, %d are confirmed, and %d were put into Inbox or refused", l.From, l.To, confirmed, heard)
}

// heard is how far a receiver has come in the streams of a sender, according to its
// ledger: how many messages it has received or given up, how many of them it has received,
// and of how many lives of the sender they are.
func (b *ledger) heard(from int) (upTo, received, lives int) {
	p, _ := b.peer(from)
	r := p.Received
	upTo = int(r.Received + r.Lost + r.Missed + r.Refused[cluster.RefusedTooLarge] +
		r.Refused[cluster.RefusedUnregistered] + r.Refused[cluster.RefusedUndecodable] + r.Refused[cluster.RefusedClosed])
	if upTo > 0 || r.Restarts > 0 {
		lives = int(r.Restarts) + 1
	}
	return upTo, int(r.Received), lives
}

// explained is how many of the missing messages, which are given by the lives of the sender, its ledgers and those of the
// receiver that are given say did not arrive, of the first upTo that were sent; with or without what was dropped before it
// was addressed.
func (h *History) explained(l Link, missing [][]*sending, receiver []*ledger, upTo int, unaddressed bool) int {
	count := 0
	var written []int // by each life of the sender
	for i, b := range h.ledgers[l.From] {
		dropped := b.dropped(l.To)
		if unaddressed {
			dropped += min(b.unaddressed(), nowhere(missing[i]))
		}
		// What a life dropped last of all may be among those that nobody misses, and explains nothing else.
		count += min(dropped, len(missing[i]))
		p, _ := b.peer(l.To)
		written = append(written, int(p.Sent.Sent))
	}
	var came, lives []int
	inboxes, heard := 0, 0
	for _, b := range receiver {
		inboxes += b.InboxLen
		u, received, n := b.heard(l.From)
		came, lives = append(came, u), append(lives, n)
		heard += received
	}
	// What is in an Inbox does not say from whom it is; no more of it is from this sender than was received and not taken.
	waiting := min(inboxes, max(0, heard-h.taken(l, upTo)))
	return count + waiting - heard + reached(came, lives, written)
}

// taken is how many of the first upTo messages of a stream the program of the receiver has taken.
func (h *History) taken(l Link, upTo int) (count int) {
	for _, x := range h.streams[l].order[:upTo] {
		if x.received > 0 {
			count++
		}
	}
	return count
}

// reached is how many messages of a sender its receiver can have received or given up, at
// most, in all lives of both. What a life of the receiver says that it came up to in the
// streams of some lives of the sender includes, as missed, what an earlier life of the
// receiver had come up to in the same stream. Lives follow one another at both ends, so
// two lives of the receiver in a row have heard at most one life of the sender both. How
// many messages each of these has written tells, together with how many of them were heard,
// where that must have been so. Where it need not, it is taken not to have been.
func reached(upTo, lives, written []int) int {
	most, total := 0, 0
	for i := range upTo {
		most += upTo[i]
	}
	for _, w := range written {
		total += w
	}
	if len(written) == 0 { // the books of the sender are not known
		total = most
		for range slices.Max(append(slices.Clone(lives), 1)) {
			written = append(written, most)
		}
	}
	// By the last life of the sender that was heard so far, the first being 1.
	states := map[int]heardSoFar{0: {}}
	for i := range upTo {
		if lives[i] > 0 {
			states = follow(states, upTo[i], lives[i], written)
		}
	}
	best := -1
	for _, s := range states {
		best = max(best, s.sum)
	}
	if best < 0 {
		return most // a life of the sender has not been explained
	}
	return min(best, total)
}

// A heardSoFar is how many messages were heard so far, and how many of the last life of the
// sender, at least, by the last life of the receiver.
type heardSoFar struct{ sum, shared int }

// follow adds a life of the receiver that has come up to upTo in the streams of so many
// lives of the sender.
func follow(states map[int]heardSoFar, upTo, lives int, written []int) map[int]heardSoFar {
	next := make(map[int]heardSoFar)
	for before, s := range states {
		for first := max(1, before); first <= len(written); first++ {
			for last := first + lives - 1; last <= len(written); last++ {
				if lives == 1 && last > first {
					break
				}
				ofFirst, ofLast, possible := share(first, last, upTo, lives, written)
				if !possible {
					continue
				}
				r := heardSoFar{s.sum + upTo, ofLast}
				if first == before {
					// It may have been told of less: of what its sender knew that the one before had.
					r.sum -= min(s.shared, ofFirst)
					if lives == 1 {
						r.shared = max(r.shared, s.shared)
					}
				}
				if old, ok := next[last]; ok {
					r = heardSoFar{max(r.sum, old.sum), min(r.shared, old.shared)}
				}
				next[last] = r
			}
		}
	}
	return next
}

// share is how many of the messages that a life of the receiver has come up to, in so many lives of the sender, are
// of the first of these, at least, and of the last; and whether these can have written so many.
func share(first, last, upTo, lives int, written []int) (ofFirst, ofLast int, possible bool) {
	if lives == 1 {
		return upTo, upTo, upTo <= written[first-1]
	}
	between := slices.Sorted(slices.Values(written[first : last-1]))
	others := 0
	for _, w := range between[len(between)-(lives-2):] {
		others += w
	}
	ofFirst = max(0, upTo-others-written[last-1])
	ofLast = max(0, upTo-others-written[first-1])
	return ofFirst, ofLast, ofFirst <= written[first-1]
}
