package clustertest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/abhishekg16/cluster"
)

const (
	briefest = 500 * time.Millisecond // that a period lasts, or a crashed server is down
	longest  = 3 * time.Second
	laggard  = 250 * time.Millisecond // the most that a message is delayed by, but for reordering
	settled  = time.Microsecond       // before the end, by when all is well again
)

// Disturb schedules faults ahead, from now until that time since the network was made
// (see At). They come in periods of half a second to three seconds. One in four is
// quiet; each other brings one or two of these: a partition, links cut in one
// direction, loss, delay, reordering, duplicates, paused servers and, unless restart is
// nil, crashes. A crashed server is started again half a second to three seconds later,
// as it was configured, and restart is given the new node, to run on it what the test
// runs. restart should return soon: what is scheduled next waits for it.
//
// restart is called where At calls its functions: from the goroutine that is in
// Network.Sleep at that time, if there is one.
//
// It is an error if until is less than half a second from now: nothing would be disturbed.
//
// At until all has been well for a microsecond: nothing is cut, lost or paused, and every
// server that Disturb crashed is back. Messages that were delayed before may still arrive,
// up to a second and a quarter later.
//
// The faults and their times are drawn from the seed, and depend on nothing else but
// the number of servers, the two times, and whether restart is nil. They add to what the
// test has Set. Disturb takes back what it does by Heal and Resume, and so what the test
// has done of that kind too.
func (n *Network) Disturb(until time.Duration, restart func(*cluster.Node)) {
	n.t.Helper()
	if now := time.Since(n.start); until < now+briefest {
		n.wrong("Disturb", fmt.Errorf("until %v, and it is %v: want a time, since the network was made, at least %v from now", until, now, briefest))
		return
	}
	until = max(time.Since(n.start), until-settled)
	s := schedule{
		net: n, until: until, restart: restart,
		rand: rand.New(rand.NewPCG(n.seed, 2)),
		up:   make(map[int]time.Duration),
	}
	for begin := time.Since(n.start); begin < until; {
		over := min(begin+s.between(briefest, longest), until)
		s.period(begin, over)
		begin = over
	}
	// Last at its moment: what the others had waiting for the server leaves at once.
	s.steps = append(s.steps, s.restarts...)
	slices.SortStableFunc(s.steps, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	// What begins now does so before the test goes on.
	now := time.Since(n.start)
	for len(s.steps) > 0 && s.steps[0].at <= now {
		s.steps[0].do()
		s.steps = s.steps[1:]
	}
	n.play(s.steps)
}

// A step is what is done at one moment.
type step struct {
	at time.Duration
	do func()
}

// play takes the steps one after the other, each at its time. The last that was begun
// before the end of the test is the last.
func (n *Network) play(steps []step) {
	if len(steps) == 0 {
		return
	}
	n.At(steps[0].at, func() {
		steps[0].do()
		n.play(steps[1:])
	})
}

// A schedule is one being drawn.
type schedule struct {
	net     *Network
	until   time.Duration
	restart func(*cluster.Node)
	rand    *rand.Rand
	up      map[int]time.Duration // when each server is back from its last crash so far
	steps   []step
	// restarts are steps too.
	restarts []step

	// Of the period being drawn:
	begin, end time.Duration
	all        Faults // of all links, but
	cut        []Link // for these
}

// period draws what happens from begin to end.
func (s *schedule) period(begin, end time.Duration) {
	if s.rand.IntN(4) == 0 {
		return
	}
	s.begin, s.end, s.all, s.cut = begin, end, Faults{}, nil
	kinds := []func(){s.partition, s.oneWay, s.lose, s.delay, s.reorder, s.duplicate, s.pause}
	if s.restart != nil {
		kinds = append(kinds, s.crash)
	}
	s.rand.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	for _, draw := range kinds[:1+s.rand.IntN(2)] {
		draw()
	}
	s.setFaults()
}

func (s *schedule) step(at time.Duration, do func()) { s.steps = append(s.steps, step{at, do}) }

func (s *schedule) partition() {
	n := s.net
	if len(n.ids) < 2 {
		return
	}
	groups := make([][]int, 2+s.rand.IntN(min(2, len(n.ids)-1)))
	for i, at := range s.rand.Perm(len(n.ids)) {
		g := i // so that none is empty
		if i >= len(groups) {
			g = s.rand.IntN(len(groups))
		}
		groups[g] = append(groups[g], n.ids[at])
	}
	s.step(s.begin, func() { n.Partition(groups...) })
	s.step(s.end, n.Heal)
}

func (s *schedule) oneWay() {
	var links []Link
	for _, from := range s.net.ids {
		for _, to := range s.net.ids {
			if from != to {
				links = append(links, Link{from, to})
			}
		}
	}
	s.rand.Shuffle(len(links), func(i, j int) { links[i], links[j] = links[j], links[i] })
	if len(links) > 0 {
		s.cut = links[:1+s.rand.IntN((len(links)+1)/2)]
	}
}

func (s *schedule) lose()      { s.all.Loss = s.chance() }
func (s *schedule) duplicate() { s.all.Duplicate = s.chance() }
func (s *schedule) delay()     { s.all.Delay = Between(time.Millisecond, s.between(laggard/10, laggard)) }

// reorder delays too: messages that pass in a millisecond seldom meet one to overtake.
func (s *schedule) reorder() {
	s.all.Reorder = s.chance()
	s.delay()
}

// chance is one that makes a difference, but leaves something of the traffic.
func (s *schedule) chance() float64 { return 0.05 + float64(0.45*s.rand.Float64()) }

// setFaults schedules what was drawn for the links.
func (s *schedule) setFaults() {
	n, all, cut := s.net, s.all, s.cut
	if all.Loss == 0 && all.Duplicate == 0 && all.Delay == nil && cut == nil {
		return
	}
	draw := func(f Faults, links []Link) { n.set(f, links, func(l Link) { n.drawn[l] = f }) }
	s.step(s.begin, func() {
		draw(all, nil)
		if cut != nil {
			draw(Faults{Cut: true}, cut)
		}
	})
	s.step(s.end, func() { draw(Faults{}, nil) })
}

func (s *schedule) pause() {
	for _, id := range s.some() {
		s.step(s.begin, func() { s.net.Pause(id) })
		s.step(s.end, func() { s.net.Resume(id) })
	}
}

func (s *schedule) crash() {
	for _, id := range s.some() {
		at := s.begin + s.between(0, s.end-s.begin)
		if at < s.up[id] || at+briefest > s.until {
			continue
		}
		s.up[id] = min(at+s.between(briefest, longest), s.until)
		crashed := false // It stays so if the test had done that itself.
		s.step(at, func() { crashed = s.net.crash(id) })
		s.restarts = append(s.restarts, step{s.up[id], func() {
			if crashed && s.net.Node(id) == nil {
				s.restart(s.net.StartWith(id, s.net.configOf(id)))
			}
		}})
	}
}

// some servers are as many as half of them, and one more, at most.
func (s *schedule) some() []int {
	size := len(s.net.ids)
	var ids []int
	for _, at := range s.rand.Perm(size)[:min(size, 1+s.rand.IntN(size/2+1))] {
		ids = append(ids, s.net.ids[at])
	}
	return ids
}

// between is drawn evenly from least to most.
func (s *schedule) between(least, most time.Duration) time.Duration {
	return Between(least, most)(s.rand.Float64())
}
