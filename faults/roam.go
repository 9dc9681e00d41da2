//go:build linux

package main

import (
	"fmt"
	"time"
)

func init() {
	register(row{
		name:    "roam",
		promise: "between servers that live a broken connection costs nothing: what was on its way is sent again",
		fault:   "every second one of two hosts gets another address to connect from, and loses the one before, while 100,000 messages are sent",
		needs:   needNetwork,
		quick:   true,
		run:     roam,
	})
}

// roamInterval is how often the address changes.
const roamInterval = time.Second

// A roamer is a host that others reach at its own address, and that connects from one which changes.
type roamer struct {
	n    *network
	host int
	at   int // how many addresses it has had
}

func (r *roamer) address(i int) string { return fmt.Sprintf("10.77.0.%d", 100+i%100) }

// move gives the host another address to connect from. What goes out from the one before is not routed any more, and
// what is sent there finds nobody; nobody says so to either end.
func (r *roamer) move() error {
	before := r.address(r.at)
	r.at++
	commands := [][]string{
		{"ip", "address", "add", r.address(r.at) + "/32", "dev", device},
		{"ip", "route", "replace", "10.77.0.0/24", "dev", device, "src", r.address(r.at)},
	}
	if r.at > 1 {
		commands = append(commands, []string{"ip", "address", "delete", before + "/32", "dev", device})
	}
	for _, command := range commands {
		if err := r.n.run(r.host, command...); err != nil {
			return err
		}
	}
	return nil
}

func roam(t *trial) error {
	n, err := t.newNetwork(2)
	if err != nil {
		return err
	}
	f, err := n.newField(2)
	if err != nil {
		return err
	}
	r := &roamer{n: n, host: 1}
	if err := r.move(); err != nil {
		return err
	}
	if err := f.startUnder(load{Rate: 500, Size: 256}); err != nil {
		return err
	}
	before, err := t.sleep(time.Second)
	if err != nil {
		return err
	}
	each := scale(t, 50_000, 10_000)
	t.say("each of two servers sends %d messages; every %v one of them connects from another address", each, roamInterval)
	during, times, err := f.whileSending(load{Rate: 2500, Size: 256, Count: each}, roamInterval, r.move)
	if err != nil {
		return err
	}
	healed := now()
	if err := f.loadAll(load{Rate: 500, Size: 256}); err != nil {
		return err
	}
	after, err := t.sleep(3 * time.Second)
	if err != nil {
		return err
	}
	b, err := f.finish()
	if err != nil {
		return err
	}
	worst, vs := b.recovery(healed, time.Second, f.ids(), f.ids())
	t.fail(vs...)
	t.fail(b.traffic(100, nil, before, after)...)
	t.fail(b.traffic(each, nil, during)...)
	resent := t.nothingLost(b)
	t.figure("addresses", "%d", times+1)
	t.figure("first delivery after", "%v", worst.Round(time.Millisecond))
	if resent == 0 {
		t.fail(found(oracleVacuity, "the changes of address have cost nothing"))
	}
	return nil
}
