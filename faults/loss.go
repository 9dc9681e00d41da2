//go:build linux

package main

import "time"

func init() {
	register(row{
		name:    "loss",
		promise: "where segments are lost, messages arrive in order, and what is missing is counted",
		fault:   "between two hosts a tenth of all segments is lost both ways, while 10,000 messages of 1 kB are sent; and then half of them for a second",
		needs:   needNetwork,
		run:     loss,
	})
}

func loss(t *trial) error {
	n, err := t.newNetwork(2)
	if err != nil {
		return err
	}
	f, err := n.newField(2)
	if err != nil {
		return err
	}
	if err := f.startAll(); err != nil {
		return err
	}
	const rate = 500
	if err := f.loadAll(load{Rate: rate, Size: 1000}); err != nil {
		return err
	}
	before, err := t.sleep(2 * time.Second)
	if err != nil {
		return err
	}
	dropped := 0
	lose := func(rule string, d time.Duration) (span, error) {
		for host := range n.hosts {
			if err := n.filter(host, rule); err != nil {
				return span{}, err
			}
		}
		during, err := t.sleep(d)
		for host := range n.hosts {
			some, e := n.unfilter(host)
			if e != nil {
				return during, e
			}
			dropped += some
		}
		return during, err
	}
	t.say("a tenth of all segments is lost")
	tenth, err := lose("numgen random mod 100 < 10", scale(t, 12*time.Second, 4*time.Second))
	if err != nil {
		return err
	}
	t.say("half of all segments is lost")
	if _, err := lose("numgen random mod 100 < 50", time.Second); err != nil {
		return err
	}
	healed := now()
	after, err := t.sleep(6 * time.Second)
	if err != nil {
		return err
	}
	b, err := f.finish()
	if err != nil {
		return err
	}
	t.judge(b)
	// TCP's own back-off, while half of what it repeats is lost, comes on top.
	worst, vs := b.recovery(healed, 5*time.Second, f.ids(), f.ids())
	t.fail(vs...)
	t.fail(b.traffic(rate, nil, before, after)...)
	t.fail(b.traffic(scale(t, 10_000, 1000), nil, tenth)...)
	if dropped < 100 {
		t.fail(found(oracleVacuity, "only %d segments were lost", dropped))
	}
	lost := 0
	for _, to := range f.ids() {
		x := b.balance(1-to, to)
		lost += x.lost + x.missed + x.dropped
	}
	t.figure("delivered", "%d of %d, with %d segments lost", b.received, b.handedAll, dropped)
	t.figure("lost or dropped, all counted", "%d", lost)
	t.figure("first delivery after", "%v", worst.Round(time.Millisecond))
	return nil
}
