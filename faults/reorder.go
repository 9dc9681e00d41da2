//go:build linux

package main

import "time"

func init() {
	register(row{
		name:    "reorder",
		promise: "segments that overtake one another are not taken for a broken path: at the defaults no link goes down, no connection is changed, and messages arrive in order",
		fault:   "between two hosts each packet is delayed for itself, by 75 ± 50 ms, so that segments of one connection arrive out of order (TUN)",
		needs:   append([]need{needTUN}, needNetwork...),
		run:     reorder,
	})
}

func reorder(t *trial) error {
	const base, jitter = 75 * time.Millisecond, 50 * time.Millisecond
	n, r, err := t.newRelayed(2, base, jitter)
	if err != nil {
		return err
	}
	f, err := n.underLoad(2, load{Rate: 200, Size: 1000})
	if err != nil {
		return err
	}
	// A server that starts before the other one may have to try more than once.
	if _, err := t.sleep(time.Second); err != nil {
		return err
	}
	before, err := n.opened()
	if err != nil {
		return err
	}
	during, err := t.sleep(scale(t, 15*time.Second, 4*time.Second))
	if err != nil {
		return err
	}
	after, err := n.opened()
	if err != nil {
		return err
	}
	if after != before {
		t.fail(found(oracleState, "%d connections were opened in place of others", after-before))
	}
	b, err := f.finish()
	if err != nil {
		return err
	}
	t.stayedUp(f)
	t.fail(b.traffic(1000, nil, during)...)
	t.allDelivered(b)
	// The relay tells what it did, and the kernels of the hosts what they saw of it.
	seen := 0
	for host := range n.hosts {
		queued, err := n.count(host, "TcpExt", "TCPOFOQueue")
		if err != nil {
			return err
		}
		if queued < 100 {
			t.fail(found(oracleVacuity, "host %d saw %d segments out of order", host, queued))
		}
		seen += queued
	}
	p, err := r.told()
	if err != nil {
		return err
	}
	if p.overtaken < p.carrying/4 {
		t.fail(found(oracleVacuity, "%d of %d segments were overtaken", p.overtaken, p.carrying))
	}
	if p.least > base-jitter/2 || p.most < base+jitter/2 {
		t.fail(found(oracleVacuity, "packets were under way for %v to %v", p.least, p.most))
	}
	t.figure("latest delivery", "%v after it was sent", b.latest(func(r *record) bool { return during.has(r.handed) }).Round(time.Millisecond))
	t.figure("segments", "%d with data, %d of them overtaken by a later one of their connection", p.carrying, p.overtaken)
	t.figure("kept by the receiving kernels until earlier ones came", "%d", seen)
	t.figure("each under way for", "%v to %v", p.least.Round(time.Millisecond), p.most.Round(time.Millisecond))
	return nil
}
