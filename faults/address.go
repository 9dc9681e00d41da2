//go:build linux

package main

import (
	"fmt"
	"time"
)

func init() {
	const promise = "a server that is found at another address is found again within the back-off"
	register(row{
		name:    "takeover",
		promise: "what is sent to a server is not delivered by another one that has its address, and it is found again when it is back",
		fault:   "a server is killed, and another one of the cluster listens at its address for 5 s",
		needs:   needNetwork,
		run:     takeover,
	}, row{
		name:    "move",
		promise: promise,
		fault:   "a server is killed and started again on another host, and the others' catalogues are told",
		needs:   needNetwork,
		run:     func(t *trial) error { return move(t, false) },
	}, row{
		name:    "move-name",
		promise: promise,
		fault:   "the same, where the others know it by a name, which stands for the other host from then on (`/etc/hosts`)",
		needs:   needNetwork,
		run:     func(t *trial) error { return move(t, true) },
	})
}

// foundAgain is how soon a server is to be heard, and to hear, at its new address.
const foundAgain = time.Second

func takeover(t *trial) error {
	const victim, usurper = 2, 3
	n, err := t.newNetwork(4)
	if err != nil {
		return err
	}
	f, err := n.newField(4)
	if err != nil {
		return err
	}
	// The usurper knows the victim by an address where nobody is.
	plan := f.servers[usurper]
	plan.prefix = n.on(victim)
	plan.cfg.Peers[usurper].Address, plan.cfg.Peers[victim].Address = plan.cfg.Peers[victim].Address, plan.cfg.Peers[usurper].Address
	servers := f.others(usurper)
	if err := f.each(servers, f.start); err != nil {
		return err
	}
	work := func(id int) error { return f.load(id, load{Rate: 200, Size: 500, To: without(servers, id)}) }
	if err := f.each(servers, work); err != nil {
		return err
	}
	before, err := t.calm(2 * time.Second)
	if err != nil {
		return err
	}
	t.say("server %d is killed, and server %d listens in its place", victim, usurper)
	f.kill(victim)
	if err := f.start(usurper); err != nil {
		return err
	}
	if err := work(usurper); err != nil {
		return err
	}
	during, err := t.sleep(5 * time.Second)
	if err != nil {
		return err
	}
	c, err := f.counters(usurper)
	if err != nil {
		return err
	}
	if err := f.quit(usurper); err != nil {
		return err
	}
	if err := f.start(victim); err != nil {
		return err
	}
	if err := work(victim); err != nil {
		return err
	}
	back := now()
	t.say("server %d is back", victim)
	after, err := t.sleep(3 * time.Second)
	if err != nil {
		return err
	}
	f.elsewhere = map[int]span{victim: during}
	b, err := f.finish()
	if err != nil {
		return err
	}
	others := without(servers, victim)
	ratio, v := b.keptRate(before, during, among(others...))
	t.failIf(v)
	worst, vs := b.recovery(back, foundAgain, servers, servers)
	t.fail(vs...)
	t.fail(b.traffic(500, nil, before, after)...)
	misrouted := c.Refused["destination"]
	for _, p := range c.Peers {
		misrouted += p.Refused["destination"]
	}
	if misrouted == 0 {
		t.fail(found(oracleVacuity, "nothing came to the wrong server"))
	}
	t.figure("frames refused by the other server", "%d", misrouted)
	t.figure("rate of the others", "%.1f %%", 100*ratio)
	t.figure("first delivery after", "%v", worst.Round(time.Millisecond))
	return nil
}

func move(t *trial, byName bool) error {
	const victim, spare, name = 2, 3, "two.faults"
	n, err := t.newNetwork(4)
	if err != nil {
		return err
	}
	f, err := n.newField(3)
	if err != nil {
		return err
	}
	newAddress := fmt.Sprintf("%s:%d", hostAddress(spare), serverPort)
	if byName {
		if err := n.hostsFile(hostAddress(victim), name); err != nil {
			return err
		}
		for _, plan := range f.servers {
			p := &plan.cfg.Peers[victim]
			p.Address, p.Bind = fmt.Sprintf("%s:%d", name, serverPort), p.Address
		}
	}
	work := load{Rate: 200, Size: 500}
	if err := f.startUnder(work); err != nil {
		return err
	}
	before, err := t.calm(2 * time.Second)
	if err != nil {
		return err
	}
	t.say("server %d moves to %s", victim, newAddress)
	f.kill(victim)
	began := now()
	plan, others := f.servers[victim], f.others(victim)
	plan.prefix = n.on(spare)
	if byName {
		plan.cfg.Peers[victim].Bind = newAddress
		if err := n.hostsFile(hostAddress(spare), name); err != nil {
			return err
		}
	} else {
		plan.cfg.Peers[victim].Address = newAddress
		err := f.each(others, func(id int) error {
			_, err := f.ask(id, command{Do: "peer", Peer: &peer{victim, newAddress}})
			return err
		})
		if err != nil {
			return err
		}
	}
	if _, err := t.sleep(2 * time.Second); err != nil { // links are down by now
		return err
	}
	during := span{began, now()}
	if err := f.start(victim); err != nil {
		return err
	}
	if err := f.load(victim, work); err != nil {
		return err
	}
	back := now()
	after, err := t.sleep(3 * time.Second)
	if err != nil {
		return err
	}
	b, err := f.finish()
	if err != nil {
		return err
	}
	ratio, v := b.keptRate(before, during, among(others...))
	t.failIf(v)
	worst, vs := b.recovery(back, foundAgain, f.ids(), f.ids())
	t.fail(vs...)
	t.fail(b.traffic(500, nil, before, after)...)
	t.figure("rate of the others", "%.1f %%", 100*ratio)
	t.figure("first delivery after", "%v", worst.Round(time.Millisecond))
	return nil
}

// hostsFile makes a name stand for an address, on all hosts.
func (n *network) hostsFile(address, name string) error {
	for host := range n.hosts {
		if err := n.file(host, "hosts", fmt.Sprintf("127.0.0.1 localhost\n%s %s\n", address, name)); err != nil {
			return err
		}
	}
	return nil
}

// without are the ids but one.
func without(ids []int, but int) (left []int) {
	for _, id := range ids {
		if id != but {
			left = append(left, id)
		}
	}
	return left
}
