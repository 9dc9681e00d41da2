//go:build linux

package main

import (
	"time"

	"github.com/abhishekg16/cluster"
)

func init() {
	const fault = "between two hosts a tenth of all segments is lost both ways, and every second all connections are reset (`ss -K`), while 100,000 messages are sent"
	needs := append([]need{tool("ss")}, needNetwork...)
	register(row{
		name:    "resets-loss",
		promise: "nothing is dropped while the link to its receiver is up, and nothing is of unknown fate but what was written in the first second of that",
		fault:   fault,
		needs:   needs,
		run:     func(t *trial) error { return resetsAndLoss(t, 0) },
	}, row{
		name:    "resets-loss-patient",
		promise: "who has patience loses nothing between servers that live",
		fault:   fault + "; SendTimeout is 15 s",
		needs:   needs,
		run:     func(t *trial) error { return resetsAndLoss(t, 15*time.Second) },
	})
}

// endConnections ends all connections of a host, and returns how many it had.
func (n *network) endConnections(host int) (ended int, err error) {
	return endEstablished(n.on(host))
}

func resetsAndLoss(t *trial, patience time.Duration) error {
	n, err := t.newNetwork(2)
	if err != nil {
		return err
	}
	f, err := n.newField(2)
	if err != nil {
		return err
	}
	for _, plan := range f.servers {
		plan.cfg.SendTimeout = patience
	}
	if err := f.startUnder(load{Rate: 500, Size: 256}); err != nil {
		return err
	}
	before, err := t.sleep(time.Second)
	if err != nil {
		return err
	}
	if err := n.filterAll("numgen random mod 100 < 10"); err != nil {
		return err
	}
	each := scale(t, 50_000, 10_000)
	t.say("each of two servers sends %d messages, of whose segments a tenth is lost; every second all connections are reset", each)
	accounts := f.keepAccounts()
	ended := 0
	during, times, err := f.whileSending(load{Rate: 2000, Size: 256, Count: each}, time.Second, func() error {
		for host := range n.hosts {
			some, err := n.endConnections(host)
			if err != nil {
				return err
			}
			ended += some
		}
		return nil
	})
	if err != nil {
		return err
	}
	dropped, err := n.unfilterAll()
	if err != nil {
		return err
	}
	healed := now()
	if err := f.loadAll(load{Rate: 500, Size: 256}); err != nil {
		return err
	}
	after, err := t.sleep(5 * time.Second)
	if err != nil {
		return err
	}
	accounts.end()
	b, err := f.finish()
	if err != nil {
		return err
	}
	worst, vs := b.recovery(healed, 5*time.Second, f.ids(), f.ids())
	t.fail(vs...)
	t.fail(b.traffic(100, nil, before, after)...)
	t.fail(b.traffic(each/2, nil, during)...)
	if patience > 0 {
		t.nothingLost(b)
	} else {
		t.fail(accounts.faults...)
		t.figure("messages", "%d; dropped or of unknown fate, while a link was stalled, unacknowledged or down: %d", b.handedAll, accounts.gone)
	}
	t.figure("segments lost", "%d; connections ended: %d, %d times", dropped, ended, times)
	t.figure("links went down", "%d times", accounts.flaps)
	t.figure("first delivery after", "%v", worst.Round(time.Millisecond))
	if least := scale(t, 1000, 200); dropped < least || ended < times {
		t.fail(found(oracleVacuity, "only %d segments were lost, and %d connections ended in %d resets; %d and %d are wanted", dropped, ended, times, least, times))
	}
	return nil
}

// An account holds what becomes of messages against what their sender says of its links meanwhile.
type account struct {
	end    func()           // of the observation
	gone   uint64           // messages dropped or of unknown fate
	flaps  uint64           // times that a link went down
	upAt   map[[2]int]int64 // when each link came up for the last time
	faults []violation
}

// keepAccounts observes all servers until end is called.
func (f *field) keepAccounts() *account {
	a := &account{upAt: make(map[[2]int]int64)}
	last := make(map[[2]int]peerCounters)
	a.end = f.observe(f.ids(), func(id int, c counters) {
		for to, p := range c.Peers {
			link := [2]int{id, to}
			was, known := last[link]
			if last[link] = p; !known || to == id {
				continue
			}
			gone := p.gone() - was.gone()
			a.gone += gone
			a.flaps += p.Flaps - was.Flaps
			up := p.State == cluster.LinkUp.String()
			if up && p.Since != was.Since {
				a.upAt[link] = c.At
				continue
			}
			// What is written until the peer has announced again what it knows is of unknown fate at first.
			if wrong := p.dropped() > was.dropped() || gone > 0 && c.At-a.upAt[link] > int64(time.Second); up && wrong && len(a.faults) < foundMost {
				a.faults = append(a.faults, found(oracleState, "server %d has dropped %d messages to server %d, and does not know the fate of %d, while its link is up", id, p.dropped()-was.dropped(), to, p.Unconfirmed-was.Unconfirmed))
			}
		}
	})
	return a
}

// gone is how many messages were dropped, or were written and are of unknown fate.
func (p peerCounters) gone() uint64 { return p.dropped() + p.Unconfirmed }
