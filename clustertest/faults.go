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

// compare puts links into order.
func (l Link) compare(m Link) int {
	return cmp.Or(cmp.Compare(l.From, m.From), cmp.Compare(l.To, m.To))
}

// Faults is what happens to messages on a link. The zero value disturbs nothing.
type Faults struct {
	// Nothing passes. What is sent waits to be repeated, as TCP does, and if it lasts until the
	// connection breaks, to be sent again by its node on the next one, as long as that keeps it; what is sent the other way gets no acknowledgments, and so soon does not pass either.
	Cut       bool
	Loss      float64 // the probability that a message is lost for good (an urgent one is sent again); 1 also breaks connections, as Cut does
	Duplicate float64 // that it arrives a second time (acknowledgments do not)
	Reorder   float64 // that others may overtake it: it takes up to 4 times as long, or up to 3 ms longer if that is more
	// Delay is how long a message takes. Messages keep their order: one that
	// takes less time than the one before waits for it. Nil: Between(1, 2 ms).
	Delay Delay
	// Bandwidth is in bytes a second; 0 is without limit. Acknowledgments take none. Urgent messages do not wait for the others.
	Bandwidth int
	// InFlight is how many bytes of messages may be on their way at a time, with 120 for
	// the headers of each, but for urgent ones; 0 means 1 MiB. What waits for a cut to end counts as well. The next
	// leaves when there is room for it, and
	// one that is larger than InFlight when nothing else is on its way; a message of
	// more than 128 KiB travels in pieces of that. When 16 times as much waits, but at
	// least 256 KiB and at most 1 MiB, the sending node waits as well.
	InFlight int
}

// A Delay turns a number that is drawn evenly from [0, 1) into a time. It is called
// with the network locked, so it calls no method of that.
type Delay func(p float64) time.Duration

// Fixed is always d. Messages arrive a nanosecond or a few after they are due, so that
// each has a moment of its own; see Network.
func Fixed(d time.Duration) Delay { return func(float64) time.Duration { return d } }

// Between is drawn evenly from least to most, which may be in either order.
func Between(least, most time.Duration) Delay {
	return func(p float64) time.Duration { return least + time.Duration(p*float64(most-least)) }
}

var usualDelay = Between(time.Millisecond, 2*time.Millisecond)

const usualInFlight = 1 << 20

// Set makes these the faults of some links, all if none is given, instead of those that
// they had: what is zero in f ends. What was set last counts, also where a link is meant
// by Any. Add leaves what is zero as it is.
func (n *Network) Set(f Faults, links ...Link) {
	n.t.Helper()
	if n.wrong("Set", errors.Join(f.check(), n.checkLinks(links))) {
		return
	}
	n.set(f, links, func(l Link) { n.faults[l] = f })
}

// Add adds faults to those that some links have, all if none is given: what is zero in f
// stays as it is.
func (n *Network) Add(f Faults, links ...Link) {
	n.t.Helper()
	if n.wrong("Add", errors.Join(f.check(), n.checkLinks(links))) {
		return
	}
	n.set(f, links, func(l Link) { n.faults[l] = n.faults[l].with(f) })
}

// Faults are those that were set for a link of two servers, the zero value where there are
// none. What Disturb has drawn is not among them.
func (n *Network) Faults(l Link) Faults {
	n.t.Helper()
	err := n.checkLinks([]Link{l})
	if err == nil && (l.From == Any || l.To == Any) {
		err = fmt.Errorf("link %v: want two servers", l)
	}
	if n.wrong("Faults", err) {
		return Faults{}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.faults[l]
}

// set calls change for each link of two servers that is meant, and notes that these are
// disturbed with f. Change is called with mu held.
func (n *Network) set(f Faults, links []Link, change func(Link)) {
	text := f.String() // which calls Delay
	n.mu.Lock()
	defer n.mu.Unlock()
	if links == nil {
		links = []Link{{Any, Any}}
	}
	for _, l := range links {
		for _, from := range n.meant(l.From) {
			for _, to := range n.meant(l.To) {
				change(Link{from, to})
			}
		}
		n.note(Event{Kind: Disturbed, From: l.From, To: l.To, Why: text})
	}
	n.advanceAll()
}

// meant are the servers that an end of a link stands for.
func (n *Network) meant(id int) []int {
	if id == Any {
		return n.ids
	}
	return []int{id}
}

// advanceAll lets those leave who wait, where there is room after a change, and connections
// stand or break as it wants. The caller holds mu.
func (n *Network) advanceAll() {
	n.lookAll()
	for _, p := range n.sortedPaths() {
		n.advance(p)
	}
}

// with is f with what is not zero in g.
func (f Faults) with(g Faults) Faults {
	sum := Faults{
		Cut:       f.Cut || g.Cut,
		Loss:      cmp.Or(g.Loss, f.Loss),
		Duplicate: cmp.Or(g.Duplicate, f.Duplicate),
		Reorder:   cmp.Or(g.Reorder, f.Reorder),
		Delay:     g.Delay,
		Bandwidth: cmp.Or(g.Bandwidth, f.Bandwidth),
		InFlight:  cmp.Or(g.InFlight, f.InFlight),
	}
	if sum.Delay == nil {
		sum.Delay = f.Delay
	}
	return sum
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
	if f, ok := n.drawn[l]; ok {
		return n.faults[l].with(f)
	}
	return n.faults[l]
}

// Partition lets messages pass only within each of the groups, instead of an earlier
// partition; all links between groups are Cut: see Faults. The servers that are in none of them are
// one more group: Partition([]int{2}) cuts 2 off from all others, who go on hearing each other.
func (n *Network) Partition(groups ...[]int) {
	n.t.Helper()
	listed := slices.Concat(groups...)
	err := n.checkIDs(listed...)
	if len(listed) == 0 {
		err = errors.New("no server is in a group, so nothing would be cut off: Heal ends a partition")
	}
	if n.wrong("Partition", err) {
		return
	}
	var all [][]int
	for _, ids := range groups {
		all = append(all, slices.Clone(ids))
	}
	rest := slices.DeleteFunc(slices.Clone(n.ids), func(id int) bool { return slices.Contains(listed, id) })
	if len(rest) > 0 {
		all = append(all, rest)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.group = make(map[int]int)
	for g, ids := range all {
		for _, id := range ids {
			n.group[id] = g
		}
	}
	n.note(Event{Kind: Partitioned, From: Any, To: Any, Groups: all})
	n.advanceAll()
}

// Heal ends the partition. Faults that were Set stay. Connections that have broken are made anew within
// a second, and on others arrives what waited.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.group = nil
	n.note(Event{Kind: Healed, From: Any, To: Any})
	n.lookAll()
}

// Pause stalls a server as seen by the others: what it sends, and what is sent to
// it, waits until Resume. It answers no heartbeat, so that connections to it break. What was sent to it
// before is with its machine, and comes after Resume nevertheless. Connections from it go on after
// Resume, unless their other ends have heard nothing for six seconds by then. The program that runs on it is not stopped.
func (n *Network) Pause(id int) {
	n.t.Helper()
	if n.wrong("Pause", n.checkIDs(id)) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paused[id] = true
	n.note(Event{Kind: Paused, From: id, To: id})
	for _, p := range n.sortedPaths() {
		p.look(n)
		n.queue(p)
	}
}

// Resume ends Pause. What should have arrived meanwhile does so within the next
// millisecond, and what was to be sent leaves.
func (n *Network) Resume(id int) {
	n.t.Helper()
	if n.wrong("Resume", n.checkIDs(id)) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.paused, id)
	n.note(Event{Kind: Resumed, From: id, To: id})
	for _, p := range n.sortedPaths() {
		if p.link.To == id {
			p.resume(n)
		}
	}
	n.lookAll()
}

// severed says why nothing passes on the link, or is empty. The caller holds mu.
func (n *Network) severed(l Link) string {
	switch {
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
	number, offset := p.number, p.offset
	if p.bare != 0 {
		number, offset = 0, 0 // where its stream stands may differ with what else is sent at that moment
	}
	var b [8]byte
	for _, v := range []uint64{uint64(p.From), uint64(p.To), uint64(p.life), number, uint64(offset), p.bare} {
		binary.LittleEndian.PutUint64(b[:], v)
		h.Write(b[:])
	}
	h.Write([]byte(what))
	if p.urgent {
		h.Write([]byte(", urgent"))
	}
	if p.try > 0 {
		binary.LittleEndian.PutUint64(b[:], uint64(p.try))
		h.Write(b[:])
	}
	return rand.New(rand.NewPCG(n.seed, h.Sum64())).Float64()
}

// delay is how long the message takes with these faults.
func (n *Network) delay(f Faults, p *parcel, what string) time.Duration {
	d := f.Delay
	if d == nil {
		d = usualDelay
	}
	return max(0, d(n.chance(what, p))) // one of the test's own may be negative somewhere
}

func (f Faults) inFlight() int { return cmp.Or(f.InFlight, usualInFlight) }
