//go:build linux

package main

import (
	"fmt"
	"time"
)

func init() {
	const promise = "a peer that cannot be reached is noticed, the others keep their rate, and it is found again"
	hole := func(name, fault string, both bool, d time.Duration) row {
		return row{
			name: name, promise: promise, fault: fault, needs: needNetwork,
			run: func(t *trial) error { return blackHole(t, both, d) },
		}
	}
	register(
		hole("hole-1s", "for a second nothing passes between one of three hosts and the others (`nft drop`)", true, time.Second),
		hole("hole-1s-oneway", "for a second nothing reaches one of three hosts, and what it sends arrives", false, time.Second),
		hole("hole-30s", "for 30 s nothing passes between one of three hosts and the others", true, 30*time.Second),
		hole("hole-30s-oneway", "for 30 s nothing reaches one of three hosts, and what it sends arrives", false, 30*time.Second),
	)
}

func blackHole(t *trial, both bool, d time.Duration) error {
	const victim = 2
	n, err := t.newNetwork(3)
	if err != nil {
		return err
	}
	f, err := n.newField(3)
	if err != nil {
		return err
	}
	if err := f.startAll(); err != nil {
		return err
	}
	if err := f.loadAll(load{Rate: 300, Size: 500}); err != nil {
		return err
	}
	if _, err := t.sleep(time.Second); err != nil {
		return err
	}
	before, err := t.sleep(3 * time.Second)
	if err != nil {
		return err
	}
	t.say("host %d is cut off", victim)
	if err := n.filter(victim, ""); err != nil {
		return err
	}
	others := f.others(victim)
	if both {
		for _, host := range others {
			if err := n.filter(host, "ip saddr "+hostAddress(victim)); err != nil {
				return err
			}
		}
	}
	began := now()
	noticed := time.Duration(0)
	if long := d > 5*time.Second; long {
		err := t.await(5*time.Second, fmt.Sprintf("servers %v find that %d cannot be reached", others, victim), func() (bool, error) {
			for _, id := range others {
				c, err := f.counters(id)
				if err != nil || c.Peers[victim].State != "down" {
					return false, err
				}
			}
			return true, nil
		})
		if err != nil {
			return err
		}
		noticed = since(began, now())
	}
	if _, err := t.sleep(d - since(began, now())); err != nil {
		return err
	}
	during := span{began, now()}
	dropped := 0
	for host := range n.hosts {
		if host != victim && !both {
			continue
		}
		some, err := n.unfilter(host)
		if err != nil {
			return err
		}
		dropped += some
	}
	healed := now()
	t.say("and is there again")
	after, err := t.sleep(4 * time.Second)
	if err != nil {
		return err
	}
	b, err := f.finish()
	if err != nil {
		return err
	}
	t.judge(b)
	ratio, v := b.keptRate(before, during, among(others...))
	t.failIf(v)
	t.figure("rate of the others", "%.1f %%", 100*ratio)
	if noticed > 0 {
		t.figure("noticed after, at most", "%v", noticed.Round(10*time.Millisecond))
	}
	// Connections outlive a short hole, and TCP repeats after twice the time each time: a
	// hole that came out longer than planned may have caught it in a longer pause.
	allowed := time.Second
	if d == time.Second && during.length() > 1200*time.Millisecond {
		allowed = max(allowed, during.length())
	}
	worst, vs := b.recovery(healed, allowed, f.ids(), f.ids())
	t.fail(vs...)
	t.figure("first delivery after", "%v", worst.Round(time.Millisecond))
	t.fail(b.traffic(300, with(victim), before, after)...)
	if dropped < 10 {
		t.fail(found(oracleVacuity, "only %d segments were dropped", dropped))
	}
	counted := 0
	for _, id := range others {
		for _, x := range []balance{b.balance(id, victim), b.balance(victim, id)} {
			counted += x.lost + x.missed + x.dropped
		}
	}
	t.figure("lost or dropped, all counted", "%d", counted)
	return nil
}
