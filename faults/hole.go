//go:build linux

package main

import (
	"fmt"
	"time"
)

func init() {
	const promise = "a peer that cannot be reached is noticed, the others keep their rate, and it is found again"
	hole := func(name, fault string, how cut, both bool, d time.Duration) row {
		return row{
			name: name, promise: promise, fault: fault, needs: needNetwork,
			run: func(t *trial) error { return blackHole(t, how, both, d) },
		}
	}
	register(
		hole("hole-1s", "for a second nothing passes between one of three hosts and the others (`nft drop`)", byDropping, true, time.Second),
		hole("hole-1s-oneway", "for a second nothing reaches one of three hosts, and what it sends arrives", byDropping, false, time.Second),
		hole("hole-1s-route", "for a second one of three hosts and the others have no route to each other (`ip route add blackhole`)", byRoute, true, time.Second),
		hole("hole-1s-route-oneway", "for a second one of three hosts has no route to the others, and what they send arrives", byRoute, false, time.Second),
		hole("hole-30s", "for 30 s nothing passes between one of three hosts and the others", byDropping, true, 30*time.Second),
		hole("hole-30s-oneway", "for 30 s nothing reaches one of three hosts, and what it sends arrives", byDropping, false, 30*time.Second),
		hole("hole-30s-route", "for 30 s one of three hosts and the others have no route to each other", byRoute, true, 30*time.Second),
		hole("hole-30s-route-oneway", "for 30 s one of three hosts has no route to the others, and what they send arrives", byRoute, false, 30*time.Second),
		// A time after which TCP by itself repeats what was lost only seconds later, and which
		// ends early in the wait for a connect.
		hole("hole-7s", "for 7 s nothing passes between one of three hosts and the others", byDropping, true, 7*time.Second),
		hole("hole-7s-route", "for 7 s one of three hosts and the others have no route to each other", byRoute, true, 7*time.Second),
	)
}

// A cut parts a host from others: both ways, or one. What it returns joins them again, and
// tells how many segments were lost.
type cut func(n *network, victim int, others []int, both bool) (join func() (lost int, err error), err error)

// byDropping has hosts drop what comes from each other. One way, it is what comes to the
// victim.
func byDropping(n *network, victim int, others []int, both bool) (join func() (int, error), err error) {
	deaf := []int{victim}
	if both {
		deaf = append(deaf, others...)
	}
	for _, host := range deaf {
		rule := "ip saddr " + hostAddress(victim)
		if host == victim {
			rule = ""
		}
		if err := n.filter(host, rule); err != nil {
			return nil, err
		}
	}
	return func() (lost int, err error) {
		for _, host := range deaf {
			some, err := n.unfilter(host)
			if err != nil {
				return 0, err
			}
			lost += some
		}
		return lost, nil
	}, nil
}

// byRoute has nothing leave hosts for each other, and an attempt to connect fail at once.
// One way, it is the victim that has no route.
func byRoute(n *network, victim int, others []int, both bool) (join func() (int, error), err error) {
	type route struct{ host, to int }
	var routes []route
	mute := []int{victim}
	for _, other := range others {
		routes = append(routes, route{victim, other})
		if both {
			routes = append(routes, route{other, victim})
			mute = append(mute, other)
		}
	}
	// What cannot be answered is still to come in.
	const lax = "for dev in all " + device + "; do echo 0 >/proc/sys/net/ipv4/conf/$dev/rp_filter; done"
	if err := n.run(victim, "sh", "-c", lax); err != nil {
		return nil, err
	}
	failed := func() (sum int, err error) {
		for _, host := range mute {
			some, err := n.count(host, "Ip", "OutNoRoutes")
			if err != nil {
				return 0, err
			}
			sum += some
		}
		return sum, nil
	}
	before, err := failed()
	if err != nil {
		return nil, err
	}
	change := func(verb string) error {
		for _, r := range routes {
			if err := n.run(r.host, "ip", "route", verb, "blackhole", hostAddress(r.to)); err != nil {
				return err
			}
		}
		return nil
	}
	return func() (int, error) {
		if err := change("delete"); err != nil {
			return 0, err
		}
		after, err := failed()
		return after - before, err
	}, change("add")
}

// noticedWithin is how soon servers on both sides of a hole are to know that the others
// cannot be reached.
const noticedWithin = 5 * time.Second

// findDown waits until each of some servers has found that others are down, and returns how
// long after the beginning that was, at most.
func (t *trial) findDown(f *field, began int64, ids, down []int) (time.Duration, error) {
	what := fmt.Sprintf("servers %v find that %v cannot be reached", ids, down)
	err := t.await(noticedWithin-since(began, now()), what, func() (bool, error) {
		for _, id := range ids {
			c, err := f.counters(id)
			if err != nil {
				return false, err
			}
			for _, other := range down {
				if c.Peers[other].State != "down" {
					return false, nil
				}
			}
		}
		return true, nil
	})
	return since(began, now()), err
}

func blackHole(t *trial, how cut, both bool, d time.Duration) error {
	const victim = 2
	n, err := t.newNetwork(3)
	if err != nil {
		return err
	}
	f, err := n.underLoad(3, load{Rate: 300, Size: 500})
	if err != nil {
		return err
	}
	before, err := t.calm(3 * time.Second)
	if err != nil {
		return err
	}
	t.say("host %d is cut off", victim)
	others := f.others(victim)
	join, err := how(n, victim, others, both)
	if err != nil {
		return err
	}
	began := now()
	long := d > noticedWithin
	var byOthers, byVictim time.Duration
	if long {
		if byOthers, err = t.findDown(f, began, others, []int{victim}); err != nil {
			return err
		}
		// One way too: heartbeats, or what answers them, do not pass.
		if byVictim, err = t.findDown(f, began, []int{victim}, others); err != nil {
			return err
		}
	}
	if _, err := t.sleep(d - since(began, now())); err != nil {
		return err
	}
	during := span{began, now()}
	lost, err := join()
	if err != nil {
		return err
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
	ratio, v := b.keptRate(before, during, among(others...))
	t.failIf(v)
	t.figure("rate of the others", "%.1f %%", 100*ratio)
	if long {
		t.figure("noticed after, at most", "%v by the others, %v by that host",
			byOthers.Round(10*time.Millisecond), byVictim.Round(10*time.Millisecond))
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
	if lost < 10 {
		t.fail(found(oracleVacuity, "only %d segments were lost", lost))
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
