package clustertest

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Link is one direction between two servers, or, with Any, between several.
type Link struct{ From, To int }

// Any, in a Link, stands for each server.
const Any = -1

// String is "2 -> 3", or has "all" in the place of Any.
func (l Link) String() string {
	end := func(id int) string {
		if id == Any {
			return "all"
		}
		return strconv.Itoa(id)
	}
	return end(l.From) + " -> " + end(l.To)
}

// Faults is what happens to messages on a link. The zero value disturbs nothing.
type Faults struct {
	Cut       bool    // nothing passes
	Loss      float64 // the probability that a message is lost
	Duplicate float64 // that it arrives a second time (acknowledgments do not)
	Reorder   float64 // that others may overtake it, since it takes up to 4 times longer
	// Delay is how long a message takes. Messages keep their order: one that
	// takes less time than the one before waits for it. Nil: Between(1, 2 ms).
	Delay Delay
	// Bandwidth is in bytes a second; 0 is without limit.
	Bandwidth int
	// InFlight is how many bytes may be on their way at a time; the sender waits
	// when there are more. 0 means 1 MiB. How many messages a node sends together is
	// left to chance, and so which of them wait: a test with little InFlight does not
	// always run the same way for a seed.
	InFlight int
}

// A Delay turns a number that is drawn evenly from [0, 1) into a time. It is called
// with the network locked, so it calls no method of that.
type Delay func(p float64) time.Duration

// Fixed is always d.
func Fixed(d time.Duration) Delay { return func(float64) time.Duration { return d } }

// Between is drawn evenly from least to most, which may be in either order.
func Between(least, most time.Duration) Delay {
	return func(p float64) time.Duration { return least + time.Duration(p*float64(most-least)) }
}

var usualDelay = Between(time.Millisecond, 2*time.Millisecond)

const usualInFlight = 1 << 20

// Set makes these the faults of some links, all if none is given, instead of those
// that they had. For a link the faults that were set for it alone count, then those
// for its sender, then those for its receiver, then those for all.
func (n *Network) Set(f Faults, links ...Link) {
	n.t.Helper()
	if n.wrong("Set", errors.Join(f.check(), n.checkLinks(links))) {
		return
	}
	text := f.String() // which calls Delay
	n.mu.Lock()
	defer n.mu.Unlock()
	if links == nil {
		clear(n.faults)
		links = []Link{{Any, Any}}
	}
	for _, l := range links {
		n.faults[l] = f
		n.note(Event{Kind: Disturbed, From: l.From, To: l.To, Why: text})
	}
}

// String is a few words for people, "no faults" for the zero value.
func (f Faults) String() string {
	var all []string
	if f.Cut {
		all = append(all, "cut")
	}
	for _, p := range []struct {
		name  string
		value float64
	}{{"loss", f.Loss}, {"duplicate", f.Duplicate}, {"reorder", f.Reorder}} {
		if p.value > 0 {
			all = append(all, fmt.Sprintf("%s %.2f", p.name, p.value))
		}
	}
	if f.Delay != nil {
		all = append(all, fmt.Sprintf("delay about %v", f.Delay(0.5).Round(time.Microsecond)))
	}
	if f.Bandwidth > 0 {
		all = append(all, fmt.Sprintf("%d B/s", f.Bandwidth))
	}
	if f.InFlight > 0 {
		all = append(all, fmt.Sprintf("%d B in flight", f.InFlight))
	}
	return cmp.Or(strings.Join(all, ", "), "no faults")
}

// faultsOf is what is set for a link. The caller holds mu.
func (n *Network) faultsOf(l Link) Faults {
	for _, k := range []Link{l, {l.From, Any}, {Any, l.To}, {Any, Any}} {
		if f, ok := n.faults[k]; ok {
			return f
		}
	}
	return Faults{}
}

// Partition lets messages pass only within each of the groups. A server that is in
// none of them is alone.
func (n *Network) Partition(groups ...[]int) {
	n.t.Helper()
	if n.wrong("Partition", n.checkIDs(slices.Concat(groups...)...)) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.group = make(map[int]int)
	for id := range n.size {
		n.group[id] = -1 - id
	}
	for g, ids := range groups {
		for _, id := range ids {
			n.group[id] = g
		}
	}
	n.note(Event{Kind: Partitioned, From: Any, To: Any, Groups: groups})
}

// Heal ends the partition. Faults that were Set stay.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.group = nil
	n.note(Event{Kind: Healed, From: Any, To: Any})
}

// Pause stalls a server as seen by the others: what it sends, and what is sent to
// it, waits until Resume. The program that runs on it is not stopped.
func (n *Network) Pause(id int) {
	n.t.Helper()
	if n.wrong("Pause", n.checkIDs(id)) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paused[id] = true
	n.note(Event{Kind: Paused, From: id, To: id})
}

// Resume ends Pause. What should have arrived meanwhile does so within the next
// millisecond.
func (n *Network) Resume(id int) {
	n.t.Helper()
	if n.wrong("Resume", n.checkIDs(id)) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.paused, id)
	n.note(Event{Kind: Resumed, From: id, To: id})
	for l, p := range n.paths {
		if l.From == id || l.To == id {
			p.resume(n)
		}
	}
}

// cut says why nothing passes on the link, or is empty. What a server had sent before
// it crashed goes on. The caller holds mu.
func (n *Network) cut(l Link) string {
	switch {
	case n.dead[l.To]:
		return "the receiver has crashed"
	case n.group != nil && n.group[l.From] != n.group[l.To]:
		return "partition"
	case n.faultsOf(l).Cut:
		return "cut"
	}
	return ""
}

// chance draws a number from [0, 1) for what may become of a message. It depends on
// nothing but the seed and the arguments.
func (n *Network) chance(what string, p *parcel) float64 {
	h := fnv.New64a()
	var b [8]byte
	for _, v := range []uint64{uint64(p.From), uint64(p.To), uint64(p.life), p.number, uint64(p.offset), p.bare} {
		binary.LittleEndian.PutUint64(b[:], v)
		h.Write(b[:])
	}
	h.Write([]byte(what))
	return rand.New(rand.NewPCG(n.seed, h.Sum64())).Float64()
}

// delay is how long the message takes with these faults.
func (n *Network) delay(f Faults, p *parcel, what string) time.Duration {
	d := f.Delay
	if d == nil {
		d = usualDelay
	}
	return max(0, d(n.chance(what, p)))
}

func (f Faults) inFlight() int { return cmp.Or(f.InFlight, usualInFlight) }
