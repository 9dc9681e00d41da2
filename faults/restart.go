//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

func init() {
	for _, c := range []struct {
		name  string
		group int
		quick bool
		who   string
	}{
		{"restart-one", 1, false, "one of five servers is"},
		{"restart-minority", 2, true, "two of five servers are"},
		{"restart-majority", 3, false, "three of five servers are"},
	} {
		register(row{
			name:    c.name,
			promise: "a new life of a server is seen as such, nothing of an old one is delivered after its first message, and only what was on its way is unexplained",
			fault:   "every 5 s " + c.who + " killed (SIGKILL) and started again",
			quick:   c.quick,
			run:     func(t *trial) error { return restarts(t, c.group) },
		})
	}
}

const (
	restartPeriod = 5 * time.Second
	// restarted is how soon the others are to hear a server that was started again, and
	// it them.
	restarted = time.Second
)

// A restarting is a cluster under load of which a group of servers is killed, and started again.
type restarting struct {
	*field
	work   load
	group  int
	spared []int // live through it all: server 0, and one more where there are enough others
	random *rand.Rand
	rounds []killing
}

// A killing is one round.
type killing struct {
	victims []int
	up      int64 // when all of them ran again
	after   span
}

func restarts(t *trial, group int) error {
	f, err := t.newField(5, nil)
	if err != nil {
		return err
	}
	r := &restarting{field: f, work: load{Rate: 200, Size: 500}, group: group, spared: []int{0, 1}, random: rand.New(rand.NewPCG(t.seed, 1))}
	if len(f.others(r.spared...)) <= group { // too few others: only server 0 is spared
		r.spared = r.spared[:1]
	}
	if err := f.startUnder(r.work); err != nil {
		return err
	}
	before, err := t.calm(scale(t, 4*time.Second, 2*time.Second))
	if err != nil {
		return err
	}
	held, err := f.holdings(0)
	if err != nil {
		return err
	}
	during := span{from: now()}
	count := scale(t, 6, 2)
	if t.long {
		count = 60
	}
	for range count {
		if err := r.round(); err != nil {
			return err
		}
	}
	during.to = now()
	b, err := f.finishHolding(held)
	if err != nil {
		return err
	}
	t.fail(b.traffic(1000, nil, before)...)
	if len(r.spared) > 1 {
		ratio, v := b.keptRate(before, during, among(r.spared...))
		t.failIf(v)
		t.figure("rate of those never killed", "%.1f %%", 100*ratio)
	}
	return r.judge(b)
}

// round kills some servers, starts them again, and waits for the end of the period.
func (r *restarting) round() error {
	t, victims := r.t, r.others(r.spared...)
	r.random.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
	k := killing{victims: victims[:r.group]}
	t.say("servers %v are killed", k.victims)
	began := now()
	for _, id := range k.victims {
		r.kill(id)
	}
	if _, err := t.sleep(scale(t, 2*time.Millisecond, time.Millisecond) * time.Duration(250+r.random.IntN(750))); err != nil {
		return err
	}
	err := r.each(k.victims, func(id int) error {
		if err := r.start(id); err != nil {
			return err
		}
		return r.load(id, r.work)
	})
	if err != nil {
		return err
	}
	k.up = now()
	if k.after, err = t.sleep(scale(t, restartPeriod, 3*time.Second) - since(began, now())); err != nil {
		return err
	}
	r.rounds = append(r.rounds, k)
	return nil
}

// judge holds that those that were killed were soon back, and seen to have started anew, and that no more is unexplained than may be.
func (r *restarting) judge(b *books) error {
	t, worst := r.t, time.Duration(0)
	for _, k := range r.rounds {
		for _, way := range [][2][]int{{k.victims, r.ids()}, {r.ids(), k.victims}} {
			w, vs := b.recovery(k.up, restarted, way[0], way[1])
			worst = max(worst, w)
			t.fail(vs...)
		}
		t.fail(b.traffic(50, with(k.victims...), k.after)...)
	}
	seen := uint64(0)
	for id, p := range b.of(0)[0].counters.Peers {
		again := uint64(len(b.of(id)) - 1)
		if seen += p.Restarts; p.Restarts != again {
			t.fail(found(oracleIncarnation, "server 0 has seen %d restarts of server %d, which was restarted %d times", p.Restarts, id, again))
		}
	}
	unexplained, allowed := 0, 0
	for _, a := range b.pids() {
		for _, z := range b.pids() {
			x := b.balance(a, z)
			unexplained, allowed = unexplained+x.unexplained, allowed+x.allowed
		}
	}
	t.figure("kills", "%d; restarts seen by server 0: %d", r.group*len(r.rounds), seen)
	t.figure("first delivery after", "%v", worst.Round(time.Millisecond))
	t.figure("on its way at a kill", "%d of %d messages", unexplained, b.handedAll)
	if unexplained > allowed {
		return fmt.Errorf("%d messages are unexplained", unexplained)
	}
	return nil
}
