//go:build linux

package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

func init() {
	const promise = "a slow path is not taken for a dead one: at the defaults no link goes down"
	register(row{
		name:    "delay",
		promise: promise,
		fault:   "a proxy delays everything by 75 ± 50 ms",
		run:     delay,
	}, row{
		name:    "bandwidth",
		promise: promise,
		fault:   "between two hosts there is 1 Mbit/s (`tc tbf`), two thirds of which messages of 8 kB take",
		needs:   append([]need{tool("tc")}, needNetwork...),
		run:     bandwidth,
	})
}

// stayedUp holds that no server's log says that a link went down.
func (t *trial) stayedUp(f *field) {
	for _, l := range f.lives {
		if line := lineWith(l.proc.words(), "link is down"); line != "" {
			t.fail(found(oracleState, "%v: %s", l, line))
		}
	}
}

func delay(t *trial) error {
	f, err := t.newField(3, nil)
	if err != nil {
		return err
	}
	proxies, err := f.behind(f.ids()...)
	if err != nil {
		return err
	}
	for _, p := range proxies {
		p.change(delayed(75*time.Millisecond, 50*time.Millisecond))
	}
	if err := f.startUnder(load{Rate: 200, Size: 1000}); err != nil {
		return err
	}
	during, err := t.sleep(scale(t, 15*time.Second, 4*time.Second))
	if err != nil {
		return err
	}
	b, err := f.finish()
	if err != nil {
		return err
	}
	t.stayedUp(f)
	t.fail(b.traffic(1000, nil, during)...)
	t.allDelivered(b)
	t.figure("latest delivery", "%v after it was sent", b.latest(nil).Round(time.Millisecond))
	return nil
}

// narrow lets so many Mbit/s pass between hosts.
func (n *network) narrow(megabits int) error {
	for host := range n.hosts {
		command := fmt.Sprintf("tc qdisc add dev %s root tbf rate %dmbit burst 32kbit latency 400ms", device, megabits)
		err := n.run(host, strings.Fields(command)...)
		if err != nil {
			return err
		}
	}
	return nil
}

func bandwidth(t *trial) error {
	n, err := t.newNetwork(2)
	if err != nil {
		return err
	}
	if err := n.narrow(1); err != nil {
		return err
	}
	// Each is twice what passes at once, and so has to wait.
	f, err := n.underLoad(2, load{Rate: 10, Size: 8000})
	if err != nil {
		return err
	}
	during, err := t.sleep(scale(t, 15*time.Second, 4*time.Second))
	if err != nil {
		return err
	}
	for host := range n.hosts {
		line := append(n.on(host), strings.Fields("tc -s qdisc show dev eth0")...)
		out, err := exec.Command(line[0], line[1:]...).Output()
		if err != nil {
			return fmt.Errorf("%s: %w", strings.Join(line, " "), err)
		}
		if m := overlimits.FindSubmatch(out); m == nil || string(m[1]) == "0" {
			t.fail(found(oracleVacuity, "nothing had to wait on host %d: %s", host, out))
		}
	}
	b, err := f.finish()
	if err != nil {
		return err
	}
	t.stayedUp(f)
	t.fail(b.traffic(60, nil, during)...)
	t.allDelivered(b)
	t.figure("latest delivery", "%v after it was sent", b.latest(nil).Round(time.Millisecond))
	return nil
}

// allDelivered holds that nothing was lost or dropped, where nothing was broken.
func (t *trial) allDelivered(b *books) {
	if b.received != b.handedAll {
		t.fail(found(oracleConservation, "%d of %d messages were delivered, and nothing was broken", b.received, b.handedAll))
	}
	t.figure("delivered", "%d of %d", b.received, b.handedAll)
}

// overlimits counts what a limit of bandwidth has kept waiting.
var overlimits = regexp.MustCompile(`overlimits (\d+)`)

// latest is the longest that a message took from being handed over to being taken.
func (b *books) latest(which func(*record) bool) (most time.Duration) {
	b.deliveries(func(r *record) {
		if which == nil || which(r) {
			most = max(most, since(r.handed, r.at))
		}
	})
	return most
}
