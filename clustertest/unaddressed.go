package clustertest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/abhishekg16/cluster"
)

// A message that is too large, or cannot be encoded, is dropped before its sender looks for whom it is: the books count
// it once, and do not say which peers it was for. So it may explain a loss on any link of its sender, but only of a
// message of which no copy has arrived anywhere, and not of more than one.

// copiesOf counts the copies of an envelope that were received.
func (h *History) copiesOf(k copyKey) *int {
	if h.copies == nil {
		h.copies = make(map[copyKey]*int)
	}
	if h.copies[k] == nil {
		h.copies[k] = new(int)
	}
	return h.copies[k]
}

// unaddressed is how many messages the ledger says were dropped so.
func (b *ledger) unaddressed() int {
	return int(b.Unaddressed.DroppedTotal() - b.Unaddressed.Dropped[cluster.ReasonUnknownPeer])
}

// nowhere is how many of the messages have arrived nowhere.
func nowhere(missing []*sending) (count int) {
	for _, x := range missing {
		if *x.copies == 0 {
			count++
		}
	}
	return count
}

// lossOverall are the errors for what is missing on all links of a server together, where the books explain it for each
// link by itself: what was dropped before it was addressed does not explain one loss here and another one there.
func (h *History) lossOverall() (faults []error) {
	unexplained := make(map[int]int)         // by sender: how many messages only that can explain
	candidates := make(map[int]map[*int]int) // by sender and envelope: on how many of these links it is missing
	for l, s := range h.streams {
		byLife := h.missing(l, s.order)
		missing := slices.Concat(byLife...)
		excess := len(missing) - h.explained(l, byLife, h.ledgers[l.To], len(s.order), false) - h.excused(l, missing)
		if excess <= 0 {
			continue
		}
		unexplained[l.From] += excess
		if candidates[l.From] == nil {
			candidates[l.From] = make(map[*int]int)
		}
		for _, x := range missing {
			if *x.copies == 0 {
				candidates[l.From][x.copies]++
			}
		}
	}
	for _, from := range slices.Sorted(maps.Keys(unexplained)) {
		links := slices.Sorted(maps.Values(candidates[from]))
		dropped, most := 0, 0
		for _, b := range h.ledgers[from] {
			dropped += b.unaddressed()
		}
		for _, n := range links[max(0, len(links)-dropped):] {
			most += n
		}
		if unexplained[from] > most {
			faults = append(faults, fmt.Errorf("unexplained loss: %d messages from %d did not arrive that only the %d can explain which its books count as for no peer, and these explain %d",
				unexplained[from], from, dropped, most))
		}
	}
	return faults
}
