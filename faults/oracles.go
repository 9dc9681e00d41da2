//go:build linux

package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The oracles. Those of the delivery contract judge every trial; rows ask the others.
const (
	oraclePhantom      = "phantom"      // what is delivered was sent, there
	oracleCorruption   = "corruption"   // as it was sent
	oracleDuplicate    = "duplicate"    // once
	oracleInversion    = "inversion"    // in the order sent
	oracleIncarnation  = "incarnation"  // nothing of an earlier life after a later one
	oracleConservation = "conservation" // sent = delivered + dropped + lost
	oracleDeliver      = "deliver"      // what Deliver says is so
	oracleStale        = "stale"        // nothing old beyond what was on its way
	oracleRecovery     = "recovery"     // the first delivery after healing comes in time
	oracleRate         = "rate"         // others keep their rate
	oracleDelay        = "delay"        // and do not become slower
	oracleVacuity      = "vacuity"      // there was traffic for the fault to hurt
	oracleLeak         = "leak"         // a process holds no more than before
	oracleBound        = "bound"        // queues stay within their bounds
	oracleSize         = "size"         // what is too large does not pass
	oracleClose        = "close"        // closing loses nothing
	oracleState        = "state"        // a link is up, or down, when it should be
	oracleError        = "error"        // an error is there, and says what is wrong
	oracleHang         = "hang"         // everything ends in time
	oracleCrash        = "crash"        // no process ends, or complains, by itself
	oracleSetup        = "setup"        // the trial itself could be carried out
)

// A violation is what an oracle has found. It is an error, so that what finds it on the
// way can return it.
type violation struct{ oracle, text string }

func (v violation) Error() string { return v.oracle + ": " + v.text }

func found(oracle, format string, args ...any) violation {
	return violation{oracle, fmt.Sprintf(format, args...)}
}

// contract are the oracles of every trial.
func (b *books) contract() (vs []violation) {
	vs = append(vs, b.phantoms()...)
	vs = append(vs, b.duplicates()...)
	vs = append(vs, b.inversions()...)
	vs = append(vs, b.incarnations()...)
	return append(vs, b.conservation()...)
}

// foundMost is how many of a kind are told.
const foundMost = 3

// few keeps the first of many findings, and says how many there were.
func few(vs []violation) []violation {
	if len(vs) <= foundMost {
		return vs
	}
	more := found(vs[0].oracle, "and %d more", len(vs)-foundMost)
	return append(vs[:foundMost:foundMost], more)
}

// phantoms finds what was delivered and never sent, or sent to somebody else, and what
// is not equal to what was sent.
func (b *books) phantoms() []violation {
	sums := make(map[flow][]*record) // by number
	for i := range b.lives {
		for j := range b.lives[i].sent {
			r := &b.lives[i].sent[j]
			sums[r.flow()] = append(sums[r.flow()], r)
		}
	}
	var phantoms, corrupt []violation
	for i := range b.lives {
		l := &b.lives[i]
		for j := range l.received {
			r := &l.received[j]
			if r.corrupt != 0 {
				corrupt = append(corrupt, found(oracleCorruption, "%v took %v, whose checksum is wrong, or whose sender is not who it says", l, r))
				continue
			}
			list := sums[r.flow()]
			at, ok := slices.BinarySearchFunc(list, r.number, func(s *record, n uint64) int { return cmp.Compare(s.number, n) })
			switch {
			case int(r.to) != l.pid:
				phantoms = append(phantoms, found(oraclePhantom, "%v took %v", l, r))
			case !ok || list[at].from != r.from:
				phantoms = append(phantoms, found(oraclePhantom, "%v took %v, which was never sent", l, r))
			case list[at].sum != r.sum || list[at].size != r.size:
				corrupt = append(corrupt, found(oracleCorruption, "%v took %v, of %d bytes and checksum %#x; sent were %d bytes, checksum %#x",
					l, r, r.size, r.sum, list[at].size, list[at].sum))
			}
		}
	}
	return append(few(phantoms), few(corrupt)...)
}

// duplicates finds what was delivered more than once, to whatever life of its receiver.
func (b *books) duplicates() []violation {
	var vs []violation
	for _, pid := range b.pids() {
		seen := make(map[flow]*bits)
		for _, l := range b.of(pid) {
			for j := range l.received {
				r := &l.received[j]
				if seen[r.flow()] == nil {
					seen[r.flow()] = new(bits)
				}
				if seen[r.flow()].set(r.number) {
					vs = append(vs, found(oracleDuplicate, "%v took %v a second time", l, r))
				}
			}
		}
	}
	return few(vs)
}

// bits is a set of small numbers.
type bits struct{ words []uint64 }

// set adds a number, and reports whether it was there.
func (b *bits) set(n uint64) bool {
	if n > 1<<32 {
		return false // no such message was ever sent: another oracle's
	}
	for uint64(len(b.words)) <= n/64 {
		b.words = append(b.words, 0)
	}
	was := b.words[n/64]&(1<<(n%64)) != 0
	b.words[n/64] |= 1 << (n % 64)
	return was
}

func (b *bits) has(n uint64) bool {
	return b != nil && n < 64*uint64(len(b.words)) && b.words[n/64]&(1<<(n%64)) != 0
}

// inversions finds what was delivered after what had been sent later, by one life of a
// sender to one life of a receiver.
func (b *books) inversions() []violation {
	var vs []violation
	for i := range b.lives {
		l := &b.lives[i]
		last := make(map[flow]uint64)
		for j := range l.received {
			r := &l.received[j]
			if r.number < last[r.flow()] {
				vs = append(vs, found(oracleInversion, "%v took %v after number %d", l, r, last[r.flow()]))
			}
			last[r.flow()] = max(last[r.flow()], r.number)
		}
	}
	return few(vs)
}

// incarnations finds what was delivered of an earlier life of its sender after a
// message of a later one.
func (b *books) incarnations() []violation {
	var vs []violation
	for i := range b.lives {
		l := &b.lives[i]
		newest := make(map[uint16]uint32)
		for j := range l.received {
			r := &l.received[j]
			if r.life < newest[r.from] {
				vs = append(vs, found(oracleIncarnation, "%v took %v after one of life %d", l, r, newest[r.from]))
			}
			newest[r.from] = max(newest[r.from], r.life)
		}
	}
	return few(vs)
}

// conservation holds what was handed over against what was delivered, dropped and lost.
//
// The books of a life that closed in peace have to close exactly. One that was killed
// has left its counters as they were up to keepInterval before, and took along what was
// on its way from it, and to it: that much may be unexplained. So may what was on its way to a life that
// closed in peace, as far as its sender says that nobody has confirmed it.
func (b *books) conservation() (vs []violation) {
	for i := range b.lives {
		vs = append(vs, b.ownBooks(&b.lives[i])...)
	}
	for _, from := range b.pids() {
		for _, to := range b.pids() {
			if v := b.pair(from, to); v != nil {
				vs = append(vs, *v)
			}
		}
	}
	return few(vs)
}

// ownBooks holds one life's counters against what it wrote down.
func (b *books) ownBooks(l *lifeBook) (vs []violation) {
	if l.killed {
		return nil
	}
	handed, taken := make(map[int]uint64), make(map[int]uint64)
	for i := range l.sent {
		handed[int(l.sent[i].to)]++
	}
	for i := range l.received {
		taken[int(l.received[i].from)]++
	}
	c := l.counters
	accepted := sum(c.Unaddressed) + uint64(c.OutboxLen)
	for _, id := range slices.Sorted(maps.Keys(c.Peers)) {
		p := c.Peers[id]
		accepted += p.Accepted
		if p.Accepted != p.Sent+p.Queued+p.dropped() {
			vs = append(vs, found(oracleConservation, "%v: for %d it accepted %d, but sent %d, holds %d and dropped %d",
				l, id, p.Accepted, p.Sent, p.Queued, p.dropped()))
		}
		if p.Accepted > handed[id] {
			vs = append(vs, found(oracleConservation, "%v: for %d it accepted %d, and %d were handed over", l, id, p.Accepted, handed[id]))
		}
		if p.Received != taken[id] {
			vs = append(vs, found(oracleConservation, "%v: from %d it counts %d received, and %d were taken", l, id, p.Received, taken[id]))
		}
	}
	if all := uint64(len(l.sent)); all != accepted {
		vs = append(vs, found(oracleConservation, "%v: %d were handed over, and it accounts for %d", l, all, accepted))
	}
	return vs
}

// A balance is what became of all that one server sent to another.
type balance struct {
	handed, delivered     int
	dropped               int // by the senders: in all, and by reason
	reasons               map[string]uint64
	unaddressed           int // dropped before they got as far as the peer, or still in Outbox
	lost, missed, refused int // by the receivers
	unexplained           int
	allowed               int // for what was on its way when a process was killed or closed
}

func (x *balance) String() string {
	reasons := ""
	for _, r := range slices.Sorted(maps.Keys(x.reasons)) {
		reasons += fmt.Sprintf(", %s %d", r, x.reasons[r])
	}
	return fmt.Sprintf("%d were handed over, %d delivered, %d dropped (%s), %d never accepted, %d lost by gap, %d missed, %d refused: %d are unexplained, and %d may be",
		x.handed, x.delivered, x.dropped, strings.TrimPrefix(reasons, ", "), x.unaddressed, x.lost, x.missed, x.refused, x.unexplained, x.allowed)
}

// pair balances what one server has sent to another, over all their lives.
func (b *books) pair(from, to int) *violation {
	if from == to {
		return nil
	}
	x := b.balance(from, to)
	if x.unexplained < 0 || x.unexplained > x.allowed {
		v := found(oracleConservation, "from %d to %d %v", from, to, &x)
		return &v
	}
	return nil
}

func (b *books) balance(from, to int) (x balance) {
	x.reasons = make(map[string]uint64)
	least := uint32(1 << 30) // the smallest message
	for _, l := range b.of(from) {
		handed := 0
		for i := range l.sent {
			if int(l.sent[i].to) == to {
				handed++
				least = min(least, l.sent[i].size)
				x.allowed += btoi(b.elsewhere[to].has(l.sent[i].at))
			}
		}
		x.handed += handed
		p := l.counters.Peers[to]
		x.dropped += int(p.dropped())
		for reason, n := range p.Dropped {
			x.reasons[reason] += n
		}
		if !l.killed {
			x.unaddressed += handed - int(p.Accepted)
			if len(b.of(to)) > 1 {
				// What reaches a life while it closes it does not take, and its next life does not know of.
				x.allowed += int(p.Unconfirmed)
			}
			continue
		}
		// What was not acknowledged when it last kept its counters, or came later.
		arrived := max(0, int(p.Sent)-p.FlightBytes/int(least)-1)
		x.allowed += handed - int(p.dropped()) - arrived
	}
	seen := make(map[flow]*bits)
	for j, l := range b.of(to) {
		for i := range l.received {
			r := &l.received[i]
			if int(r.from) != from {
				continue
			}
			if seen[r.flow()] == nil {
				seen[r.flow()] = new(bits)
			}
			if !seen[r.flow()].set(r.number) {
				x.delivered++
			}
		}
		p := l.counters.Peers[from]
		x.lost += int(p.Lost)
		x.refused += int(p.refused())
		if j == 0 {
			x.missed += int(p.Missed) // a later life's were for an earlier one
		}
		if l.killed {
			x.allowed += b.onItsWay(l, from, int(least))
		}
	}
	x.unexplained = x.handed - x.delivered - x.dropped - x.unaddressed - x.lost - x.missed - x.refused
	return x
}

// onItsWay is how many messages of least bytes or more from one server may have been on
// their way to a life, or waiting there, when that was killed.
func (b *books) onItsWay(l *lifeBook, from, least int) int {
	window := min(max(b.queue/max(1, len(b.pids())-1), 256<<10), 4<<20)
	bound := (window+256<<10)/least + 1 + b.inbox
	// None of them can have been handed over long before or after.
	recent := 0
	around := span{l.ended - int64(slowest), l.ended + int64(slowest)}
	for _, s := range b.of(from) {
		for i := range s.sent {
			if int(s.sent[i].to) == l.pid && around.has(s.sent[i].at) {
				recent++
			}
		}
	}
	return min(bound, recent)
}

// slowest is how long a message takes at most from where it is handed over to where it is
// taken, while both run: as long as it waits for a peer that is slow, or just dead, and
// for a machine that is busy.
const slowest = 2 * time.Second

// recoveryMost is after how long a server that was not heard counts as lost for good.
const recoveryMost = 30 * time.Second

// recovery is how long after the moment of healing each of these servers had something
// from each of the sources, at the latest.
func (b *books) recovery(healed int64, within time.Duration, sources, servers []int) (worst time.Duration, vs []violation) {
	first := make(map[[2]int]int64)
	b.deliveries(func(r *record) {
		k := [2]int{int(r.from), int(r.to)}
		// What was sent before may come out of a queue: that is recovery too.
		if r.at < healed || r.at > healed+int64(recoveryMost) {
			return
		}
		if at, ok := first[k]; !ok || r.at < at {
			first[k] = r.at
		}
	})
	for _, a := range sources {
		for _, z := range servers {
			if a == z {
				continue
			}
			at, ok := first[[2]int{a, z}]
			if took := since(healed, at); !ok {
				vs = append(vs, found(oracleRecovery, "nothing came from %d to %d after healing", a, z))
			} else if worst = max(worst, took); took > within {
				vs = append(vs, found(oracleRecovery, "the first from %d to %d came %v after healing; %v is allowed", a, z, took.Round(time.Millisecond), within))
			}
		}
	}
	return worst, few(vs)
}

// leaks compares what a process holds with what it held before.
func leaks(who string, before, after holdings) (vs []violation) {
	exceeds := func(what string, was, is, slack int) {
		if is > was+slack {
			vs = append(vs, found(oracleLeak, "%s has %d %s; it had %d, and %d more are allowed", who, is, what, was, slack))
		}
	}
	exceeds("goroutines", before.Goroutines, after.Goroutines, 2)
	exceeds("descriptors", before.Descriptors, after.Descriptors, 2)
	exceeds("threads", before.Threads, after.Threads, 4)
	exceeds("MiB resident", before.AnonymousBytes>>20, after.AnonymousBytes>>20, 24)
	return vs
}
