//go:build linux

package main

import "time"

func init() {
	register(row{
		name:    "late",
		promise: "nothing of an old life of a server is delivered after the first message of its new one",
		fault:   "what a server had sent before it was killed arrives seconds later, after what it sends in its next life",
		quick:   true,
		run:     late,
	})
}

func late(t *trial) error {
	const victim, hearer = 0, 1
	f, err := t.newField(2, nil)
	if err != nil {
		return err
	}
	proxies, err := f.behind(hearer)
	if err != nil {
		return err
	}
	work := load{Rate: 500, Size: 500}
	if err := f.startUnder(work); err != nil {
		return err
	}
	before, err := t.sleep(time.Second)
	if err != nil {
		return err
	}
	rounds := scale(t, 5, 2)
	for range rounds {
		t.say("what server %d sends is kept, and it is killed and started again", victim)
		proxies[hearer].keep()
		if _, err := t.sleep(300 * time.Millisecond); err != nil {
			return err
		}
		f.kill(victim)
		if err := f.start(victim); err != nil {
			return err
		}
		if err := f.load(victim, work); err != nil {
			return err
		}
		if _, err := t.sleep(time.Second); err != nil {
			return err
		}
		proxies[hearer].unshut()
		if _, err := t.sleep(500 * time.Millisecond); err != nil {
			return err
		}
	}
	after, err := t.sleep(time.Second)
	if err != nil {
		return err
	}
	b, err := f.finish()
	if err != nil {
		return err
	}
	t.fail(b.traffic(200, from(victim, hearer), before, after)...)
	refused := b.of(hearer)[0].counters.Peers[victim].Refused["older incarnation"]
	if refused == 0 {
		t.fail(found(oracleVacuity, "nothing of an earlier life came"))
	}
	t.figure("frames of an earlier life", "%d, all refused, in %d restarts", refused, rounds)
	return nil
}
