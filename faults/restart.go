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

func restarts(t *trial, group int) error {
	f, err := t.newField(5, nil)
	if err != nil {
		return err
	}
	work := load{Rate: 200, Size: 500}
	if err := f.startUnder(work); err != nil {
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
	random := rand.New(rand.NewPCG(t.seed, 1))
	type round struct {
		victims []int
		up      int64 // when all of them ran again
		after   span
	}
	var rounds []round
	// Server 0 lives through it all, and one more where there are enough others.
	spared := []int{0, 1}
	if len(f.ids())-len(spared) <= group {
		spared = spared[:1]
	}
	during := span{from: now()}
	count := scale(t, 6, 2)
	if t.long {
		count = 60
	}
	for range count {
		r := round{victims: f.others(spared...)}
		random.Shuffle(len(r.victims), func(i, j int) { r.victims[i], r.victims[j] = r.victims[j], r.victims[i] })
		r.victims = r.victims[:group]
		t.say("servers %v are killed", r.victims)
		began := now()
		for _, id := range r.victims {
			f.kill(id)
		}
		if _, err := t.sleep(scale(t, 2*time.Millisecond, time.Millisecond) * time.Duration(250+random.IntN(750))); err != nil {
			return err
		}
		err := f.each(r.victims, func(id int) error {
			if err := f.start(id); err != nil {
				return err
			}
			return f.load(id, work)
		})
		if err != nil {
			return err
		}
		r.up = now()
		if r.after, err = t.sleep(scale(t, restartPeriod, 3*time.Second) - since(began, now())); err != nil {
			return err
		}
		rounds = append(rounds, r)
	}
	during.to = now()
	if err := t.returnsTo(f, 0, held); err != nil {
		return err
	}
	b, err := f.finish()
	if err != nil {
		return err
	}
	t.judge(b)
	worst := time.Duration(0)
	for _, r := range rounds {
		for _, victims := range [][2][]int{{r.victims, f.ids()}, {f.ids(), r.victims}} {
			w, vs := b.recovery(r.up, restarted, victims[0], victims[1])
			worst = max(worst, w)
			t.fail(vs...)
		}
		t.fail(b.traffic(50, with(r.victims...), r.after)...)
	}
	t.fail(b.traffic(1000, nil, before)...)
	seen := uint64(0)
	for id, p := range b.of(0)[0].counters.Peers {
		again := uint64(len(b.of(id)) - 1)
		if seen += p.Restarts; p.Restarts != again {
			t.fail(found(oracleIncarnation, "server 0 has seen %d restarts of server %d, which was restarted %d times", p.Restarts, id, again))
		}
	}
	if len(spared) > 1 {
		ratio, v := b.keptRate(before, during, among(spared...))
		t.failIf(v)
		t.figure("rate of those never killed", "%.1f %%", 100*ratio)
	}
	unexplained, allowed := 0, 0
	for _, a := range b.pids() {
		for _, z := range b.pids() {
			x := b.balance(a, z)
			unexplained, allowed = unexplained+x.unexplained, allowed+x.allowed
		}
	}
	t.figure("kills", "%d; restarts seen by server 0: %d", group*len(rounds), seen)
	t.figure("first delivery after", "%v", worst.Round(time.Millisecond))
	t.figure("on its way at a kill", "%d of %d messages", unexplained, b.handedAll)
	if unexplained > allowed {
		return fmt.Errorf("%d messages are unexplained", unexplained)
	}
	return nil
}
